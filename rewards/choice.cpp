#include "rewards/choice.h"

#include <algorithm>
#include <array>

#include <fmt/core.h>

#include "rewards/answer.h"
#include "rewards/format.h"

namespace hone {
namespace {

char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

void strip(std::string_view& text, std::string_view prefix, std::string_view suffix) {
  if (text.size() >= prefix.size() + suffix.size() && text.starts_with(prefix) && text.ends_with(suffix)) {
    text = trim(text.substr(prefix.size(), text.size() - prefix.size() - suffix.size()));
  }
}

/// 'B' for "B", "(b)", "b.", "(B).", "B)"; empty for anything else.
std::optional<char> option_letter(std::string_view text) {
  text = trim(text);
  strip(text, "", ".");
  strip(text, "(", ")");
  strip(text, "", ")");
  if (text.size() != 1) return {};
  const char letter = upper(text[0]);
  return letter >= 'A' && letter <= 'Z' ? std::optional(letter) : std::nullopt;
}

/// What stands in the last \boxed{..}, up to its closing brace; empty when there is none.
std::optional<std::string_view> last_boxed(std::string_view text) {
  constexpr std::string_view kBoxed = "\\boxed{";
  const size_t start = text.rfind(kBoxed);
  if (start == std::string_view::npos) return {};
  text.remove_prefix(start + kBoxed.size());
  int depth = 1;
  for (size_t i = 0; i < text.size(); ++i) {
    depth += text[i] == '{' ? 1 : text[i] == '}' ? -1 : 0;
    if (depth > 0) continue;
    text = trim(text.substr(0, i));
    strip(text, "\\text{", "}");
    return text;
  }
  return {};
}

/// What follows the last "answer is" or "answer:" in the completion's last line; empty when neither is there.
std::optional<std::string_view> closing_statement(std::string_view text) {
  text = trim(text);
  const size_t line = text.rfind('\n');
  if (line != std::string_view::npos) text.remove_prefix(line + 1);
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; });
  size_t after = 0;
  for (const std::string_view words : {"answer is", "answer:"}) {
    const size_t at = lower.rfind(words);
    if (at != std::string::npos) after = std::max(after, at + words.size());
  }
  return after == 0 ? std::nullopt : std::optional(text.substr(after));
}

/// The place that decides, or the sentence that says why there is none.
struct Statement {
  std::optional<std::string_view> text;
  std::string problem;
};

Statement find_statement(std::string_view completion, FinishReason reason) {
  const auto blocks = answer_blocks(completion);
  for (const auto block : blocks) {
    if (option_letter(block) != option_letter(blocks.back())) {
      return {{}, fmt::format("has answers that differ: '{}' and '{}'", excerpt(block), excerpt(blocks.back()))};
    }
  }
  if (!blocks.empty()) return {blocks.back(), {}};
  const size_t thoughts = completion.rfind("</think>");
  if (completion.find("<answer>", thoughts == std::string_view::npos ? 0 : thoughts) != std::string_view::npos) {
    return {{}, "opens <answer> and never closes it"};
  }
  if (const auto boxed = last_boxed(completion)) return {boxed, {}};
  const auto closing = reason == FinishReason::kLength ? std::nullopt : closing_statement(completion);
  return {closing, closing ? "" : "has no <answer>, no \\boxed and no 'answer is' at its end"};
}

Score score_choice(char gold, const Rollout& rollout) {
  const auto statement = find_statement(rollout.text, rollout.finish_reason);
  if (!statement.text) return Score::wrong(statement.problem);
  const auto letter = option_letter(*statement.text);
  if (!letter)
    return Score::wrong(fmt::format("answers '{}', which is not one option letter", excerpt(*statement.text)));
  if (*letter == gold) return Score::correct(fmt::format("answers {}", gold));
  return Score::wrong(fmt::format("answers {}, not {}", *letter, gold));
}

}  // namespace

bool is_option_letter(std::string_view text) { return option_letter(text).has_value(); }

RewardFn choice_reward() {
  return [](const Prompt& prompt, std::span<const Rollout> rollouts) {
    const auto gold = gold_answer(prompt.columns);
    const auto letter = gold ? option_letter(*gold) : std::nullopt;
    std::vector<Score> scores;
    for (const auto& rollout : rollouts) {
      scores.push_back(letter
                           ? score_choice(*letter, rollout)
                           : Score::not_applicable("the row's column 'answer' or 'solution' holds no option letter"));
    }
    return scores;
  };
}

}  // namespace hone
