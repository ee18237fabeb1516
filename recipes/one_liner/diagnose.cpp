#include "recipes/one_liner/diagnose.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <unordered_map>

namespace hone {
namespace {

/// ` 2:4+3=7 no` as written.
struct Check {
  int input = 0, left = 0, right = 0, result = 0;
  char op = '+';
  bool says_ok = false;

  bool holds() const { return (op == '+' ? left + right : left - right) == result; }
};

bool eat(std::string_view& text, std::string_view token) {
  if (!text.starts_with(token)) return false;
  text.remove_prefix(token.size());
  return true;
}

std::optional<int> eat_number(std::string_view& text) {
  const size_t length = std::min(text.find_first_not_of("0123456789"), text.size());
  if (length == 0 || length > 4) return {};
  int value = 0;
  for (const char c : text.substr(0, length)) value = value * 10 + (c - '0');
  text.remove_prefix(length);
  return value;
}

std::optional<Check> eat_check(std::string_view text) {
  const auto input = eat(text, " ") ? eat_number(text) : std::nullopt;
  const auto left = input && eat(text, ":") ? eat_number(text) : std::nullopt;
  if (!left || text.empty() || (text[0] != '+' && text[0] != '-')) return {};
  const char op = text[0];
  text.remove_prefix(1);
  const auto right = eat_number(text);
  const auto result = right && eat(text, "=") ? eat_number(text) : std::nullopt;
  if (!result) return {};
  const bool ok = eat(text, " ok");
  if (!ok && !eat(text, " no")) return {};
  return Check{*input, *left, *right, *result, op, ok};
}

/// The examples of a prompt: "1:5 2:8 4:14\n".
std::map<int, int> examples_of(std::string_view prompt) {
  std::map<int, int> examples;
  for (;;) {
    const auto input = eat_number(prompt);
    const auto output = input && eat(prompt, ":") ? eat_number(prompt) : std::nullopt;
    if (!output) return examples;
    examples[*input] = *output;
    eat(prompt, " ");
  }
}

struct Counts {
  double checks = 0, holding = 0, judged = 0, tries = 0, waits = 0, ends_yes = 0;
};

int occurrences(std::string_view text, std::string_view word) {
  int count = 0;
  for (size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + word.size())) ++count;
  return count;
}

void add(const std::map<int, int>& examples, std::string_view completion, Counts& counts) {
  const std::string_view thoughts = completion.substr(0, completion.find("</think>"));
  for (size_t at = thoughts.find(' '); at != std::string_view::npos; at = thoughts.find(' ', at + 1)) {
    const auto check = eat_check(thoughts.substr(at));
    if (!check) continue;
    const auto wanted = examples.find(check->input);
    counts.checks += 1;
    counts.holding += check->holds();
    counts.judged += wanted != examples.end() && check->says_ok == (wanted->second == check->result);
  }
  counts.tries += occurrences(thoughts, "x*");
  counts.waits += occurrences(thoughts, " wait");
  counts.ends_yes += thoughts.ends_with(" yes");
}

}  // namespace

std::map<std::string, double> diagnose_one_liner(std::span<const Prompt> prompts, std::span<const Rollout> rollouts) {
  std::unordered_map<int64_t, std::map<int, int>> examples;
  for (const auto& prompt : prompts) examples.emplace(prompt.id, examples_of(prompt.text));
  Counts counts;
  for (const auto& rollout : rollouts) add(examples[rollout.prompt_id], rollout.text, counts);
  const double checks = std::max(1.0, counts.checks), all = std::max(1.0, static_cast<double>(rollouts.size()));
  return {{"step_arithmetic", counts.holding / checks},
          {"verdict", counts.judged / checks},
          {"tries", counts.tries / all},
          {"waits", counts.waits / all},
          {"ends_yes", counts.ends_yes / all}};
}

}  // namespace hone
