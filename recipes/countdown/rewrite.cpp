#include "recipes/countdown/rewrite.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "recipes/countdown/diagnose.h"
#include "recipes/countdown/vocabulary.h"
#include "rewards/countdown.h"

namespace hone {
namespace {

std::string steps_of(const WrittenTry& t) {
  const auto step = [](const WrittenStep& s) { return fmt::format("{}{}{}={}", s.left, s.op, s.operand, s.result); };
  return step(t.steps[0]) + "," + step(t.steps[1]);
}

std::string expression_of(const WrittenTry& t) {
  const auto &first = t.steps[0], &second = t.steps[1];
  return fmt::format("({}{}{}){}{}", first.left, first.op, first.operand, second.op, second.operand);
}

std::string_view word(Say meaning) { return kEnglishWords[static_cast<size_t>(meaning)]; }

}  // namespace

std::optional<std::string> rewrite_countdown(const Prompt& prompt, const std::string& completion) {
  const auto problem = read_countdown(prompt.columns);
  if (!problem || score_countdown(*problem, completion, FinishReason::kEos).verdict != Verdict::kCorrect) return {};
  std::string thoughts;
  std::set<std::string> seen;
  for (const WrittenTry& t : read_thoughts(completion).tries) {
    if (!is_derivation(t, *problem) || !seen.insert(steps_of(t)).second) continue;
    const bool hits = t.steps[1].result == problem->target;
    thoughts +=
        fmt::format("{}{}{}{}", steps_of(t), word(Say::kVersus), problem->target, word(hits ? Say::kYes : Say::kWait));
    if (!hits) continue;
    const std::string answer = expression_of(t);
    return fmt::format("<think>{}{}{}={}</think><answer>{}</answer>", thoughts, word(Say::kSo), answer, problem->target,
                       answer);
  }
  return {};
}

}  // namespace hone
