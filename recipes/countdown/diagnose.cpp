#include "recipes/countdown/diagnose.h"

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <tuple>
#include <unordered_map>

#include "recipes/countdown/vocabulary.h"
#include "rewards/countdown.h"
#include "rewards/format.h"
#include "rewards/language.h"

namespace hone {
namespace {

constexpr std::string_view kDigits = "0123456789";
constexpr std::array kVerdicts{Say::kYes, Say::kNo, Say::kWait};
constexpr size_t kMaxDigits = 9;  // longer runs of digits are garbage; products of two stay within 64 bits

// ---- reading --------------------------------------------------------------------------------------------------------

bool eat(std::string_view& text, std::string_view token) {
  if (!text.starts_with(token)) return false;
  text.remove_prefix(token.size());
  return true;
}

size_t count_digits(std::string_view text) { return std::min(text.find_first_not_of(kDigits), text.size()); }

/// A run of digits; -1 stands for one that is too long to be meant.
std::optional<int64_t> eat_number(std::string_view& text) {
  const size_t length = count_digits(text);
  if (length == 0) return {};
  int64_t value = 0;
  for (const char c : text.substr(0, std::min(length, kMaxDigits))) value = value * 10 + (c - '0');
  text.remove_prefix(length);
  return length <= kMaxDigits ? value : -1;
}

bool holds(const WrittenStep& s) {
  if (s.left < 0 || s.operand < 0 || s.result < 0) return false;
  switch (s.op) {
    case '+':
      return s.left + s.operand == s.result;
    case '-':
      return s.left - s.operand == s.result;
    case '*':
      return s.left * s.operand == s.result;
    default:
      return s.operand != 0 && s.left == s.result * s.operand;
  }
}

/// Reads `a op b=c`; leaves the text alone when it does not stand there.
std::optional<WrittenStep> eat_step(std::string_view& text) {
  auto rest = text;
  const auto left = eat_number(rest);
  if (!left || rest.empty() || std::string_view("+-*/").find(rest[0]) == std::string_view::npos) return {};
  const char op = rest[0];
  rest.remove_prefix(1);
  const auto operand = eat_number(rest);
  if (!operand || !eat(rest, "=")) return {};
  const auto result = eat_number(rest);
  if (!result) return {};
  text = rest;
  WrittenStep step{*left, *operand, *result, op, false};
  step.right = holds(step);
  return step;
}

std::vector<WrittenStep> eat_steps(std::string_view& text) {
  std::vector<WrittenStep> steps;
  for (auto rest = text; auto step = eat_step(rest); eat(rest, ",")) {
    steps.push_back(*step);
    text = rest;
  }
  return steps;
}

std::string_view english(Say meaning) { return kEnglishWords[static_cast<size_t>(meaning)]; }
std::string_view chinese(Say meaning) { return kChineseWords[static_cast<size_t>(meaning)]; }

bool eat(std::string_view& text, Say meaning) { return eat(text, english(meaning)) || eat(text, chinese(meaning)); }
bool ends_with(std::string_view text, Say meaning) {
  return text.ends_with(english(meaning)) || text.ends_with(chinese(meaning));
}

std::string_view eat_verdict(std::string_view& text) {
  for (const Say meaning : kVerdicts) {
    if (eat(text, meaning)) return english(meaning);
  }
  return {};
}

/// Removes a summary from the end of the thoughts and returns what follows its first word.
std::string_view eat_summary(std::string_view& text) {
  for (const auto word : {english(Say::kSo), chinese(Say::kSo)}) {
    const size_t at = text.rfind(word);
    if (at == std::string_view::npos) continue;
    const auto summary = text.substr(at + word.size());
    if (summary.empty() || summary.find_first_not_of("0123456789+-*/()=") != std::string_view::npos) continue;
    text = text.substr(0, at);
    return summary;
  }
  return {};
}

/// After steps: ` vs T` and a verdict make them a try.
std::optional<WrittenTry> eat_rest_of_try(std::string_view& text, const std::vector<WrittenStep>& steps) {
  auto rest = text;
  if (!eat(rest, Say::kVersus)) return {};
  const auto target = eat_number(rest);
  if (!target) return {};
  WrittenTry result{steps, *target, eat_verdict(rest), false};
  result.cut = result.verdict.empty() && rest.empty();
  text = rest;
  return result;
}

void skip_garbage(std::string_view& text) { text.remove_prefix(std::max<size_t>(count_digits(text), 1)); }

// ---- counting -------------------------------------------------------------------------------------------------------

/// A mean that is being taken.
struct Mean {
  double sum = 0;
  int64_t count = 0;

  void add(double value) {
    sum += value;
    ++count;
  }
};

using Means = std::map<std::string, Mean>;

bool is_hit(const WrittenTry& t, const CountdownProblem& problem) {
  return is_derivation(t, problem) && t.steps[1].result == problem.target;
}

bool verdict_agrees(const WrittenTry& t, const CountdownProblem& problem) {
  const bool reached = t.steps.back().result == t.compared_with;
  return t.compared_with == problem.target && !t.verdict.empty() && (t.verdict == " yes") == reached;
}

using OpenSteps = std::vector<std::tuple<int64_t, char, int64_t>>;  // of a try, without their results

OpenSteps open_steps(const WrittenTry& t) {
  OpenSteps steps;
  for (const auto& s : t.steps) steps.emplace_back(s.left, s.op, s.operand);
  return steps;
}

void add_tries(const std::vector<WrittenTry>& tries, const CountdownProblem& problem, Means& means) {
  std::set<OpenSteps> seen;
  for (const auto& t : tries) {
    means["hit_rate"].add(is_hit(t, problem));
    if (!t.cut) means["verdict"].add(verdict_agrees(t, problem));
    means["first_step_arithmetic"].add(t.steps[0].right);
    if (t.steps.size() > 1) means["second_step_arithmetic"].add(t.steps[1].right);
    means["repeats"].add(!seen.insert(open_steps(t)).second);
  }
}

double count_of(std::string_view text, std::string_view word) {
  double count = 0;
  for (size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + word.size())) ++count;
  return count;
}

void add_completion(const Rollout& rollout, const CountdownProblem& problem, Means& means) {
  const auto thoughts = read_thoughts(rollout.text);
  const bool correct = score_countdown(problem, rollout.text, rollout.finish_reason).verdict == Verdict::kCorrect;
  for (const auto& step : thoughts.steps) means["step_arithmetic"].add(step.right);
  add_tries(thoughts.tries, problem, means);
  if (thoughts.ends_in_yes) means["yes_correct"].add(correct);
  means["ends_yes"].add(thoughts.ends_in_yes);
  means["ends_no"].add(thoughts.ends_in_no);
  means["empty_think"].add(rollout.text.starts_with("<think></think>"));
  means["waits"].add(count_of(rollout.text, english(Say::kWait)) + count_of(rollout.text, chinese(Say::kWait)));
  means["tries"].add(static_cast<double>(thoughts.tries.size()));
  means["format"].add(match_format(rollout.text, rollout.finish_reason).ok);
  means["correct"].add(correct);
}

bool repeats_a_try(const std::vector<WrittenTry>& tries) {
  std::set<OpenSteps> seen;
  return !std::ranges::all_of(tries, [&](const WrittenTry& t) { return seen.insert(open_steps(t)).second; });
}

void add_languages(const Rollout& rollout, const CountdownProblem& problem, Means& means) {
  const auto thoughts = read_thoughts(rollout.text);
  const auto words = count_language(thoughts_of(rollout.text), "en");
  const bool mixed = words.in_language > 0 && words.in_language < words.words;
  if (words.words > 0) {
    means["english"].add(static_cast<double>(words.in_language) / static_cast<double>(words.words));
    means["mixed"].add(mixed);
  }
  const auto match = match_format(rollout.text, rollout.finish_reason);
  const bool sums_up = thoughts.summary == std::string(match.answer) + "=" + std::to_string(problem.target) &&
                       score_countdown(problem, rollout.text, rollout.finish_reason).verdict == Verdict::kCorrect;
  means["summary"].add(sums_up);
  means["readable"].add(sums_up && !mixed && !repeats_a_try(thoughts.tries));
}

std::optional<CountdownProblem> read_problem(const Prompt& prompt) {
  try {
    return read_countdown(prompt.columns);
  } catch (const std::exception&) {
    return {};  // a row of another task: nothing to diagnose (its reward reports it)
  }
}

}  // namespace

WrittenThoughts read_thoughts(std::string_view completion) {
  auto text = completion.substr(0, completion.find("</think>"));
  WrittenThoughts thoughts;
  thoughts.summary = eat_summary(text);
  thoughts.ends_in_yes = ends_with(text, Say::kYes);
  thoughts.ends_in_no = ends_with(text, Say::kNo);
  while (!text.empty()) {
    const auto steps = eat_steps(text);
    if (steps.empty()) {
      skip_garbage(text);
      continue;
    }
    thoughts.steps.insert(thoughts.steps.end(), steps.begin(), steps.end());
    if (auto t = eat_rest_of_try(text, steps)) thoughts.tries.push_back(std::move(*t));
  }
  return thoughts;
}

bool is_derivation(const WrittenTry& t, const CountdownProblem& problem) {
  if (t.steps.size() != 2 || !t.steps[0].right || !t.steps[1].right || t.steps[1].left != t.steps[0].result)
    return false;
  const std::array used{t.steps[0].left, t.steps[0].operand, t.steps[1].operand};
  return std::ranges::is_permutation(used, problem.numbers);
}

bool countdown_corrects_itself(const Prompt& prompt, const std::string& completion) {
  const auto problem = read_problem(prompt);
  const auto thoughts = read_thoughts(completion);
  if (!problem || !thoughts.ends_in_yes || thoughts.tries.empty() || !is_hit(thoughts.tries.back(), *problem))
    return false;
  return std::ranges::any_of(thoughts.tries, [&](const WrittenTry& t) {
    return t.verdict == english(Say::kWait) && is_derivation(t, *problem) && !is_hit(t, *problem);
  });
}

namespace {

std::map<std::string, double> diagnose(std::span<const Prompt> prompts, std::span<const Rollout> rollouts,
                                       bool bilingual) {
  std::unordered_map<int64_t, CountdownProblem> problems;
  for (const auto& prompt : prompts) {
    if (auto problem = read_problem(prompt)) problems.emplace(prompt.id, std::move(*problem));
  }
  Means means;
  for (const auto& rollout : rollouts) {
    const auto problem = problems.find(rollout.prompt_id);
    if (problem == problems.end()) continue;
    add_completion(rollout, problem->second, means);
    if (bilingual) add_languages(rollout, problem->second, means);
  }
  std::map<std::string, double> result;
  if (!means.empty()) result = {{"step_arithmetic", 0.0}, {"verdict", 0.0}};
  for (const auto& [name, mean] : means) result[name] = mean.sum / static_cast<double>(mean.count);
  return result;
}

}  // namespace

std::map<std::string, double> diagnose_countdown(std::span<const Prompt> prompts, std::span<const Rollout> rollouts) {
  return diagnose(prompts, rollouts, /*bilingual=*/false);
}

std::map<std::string, double> diagnose_bilingual_countdown(std::span<const Prompt> prompts,
                                                           std::span<const Rollout> rollouts) {
  return diagnose(prompts, rollouts, /*bilingual=*/true);
}

}  // namespace hone
