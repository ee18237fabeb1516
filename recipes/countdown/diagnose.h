// What countdown completions did: how well they calculate, check, and search. Reads garbage leniently; never throws.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rewards/countdown.h"
#include "rollout/types.h"

namespace hone {

/// `a op b=c` as written; `right` when the equation holds (a number of ten digits or more never does).
struct WrittenStep {
  int64_t left = 0, operand = 0, result = 0;
  char op = '+';
  bool right = false;
};

/// Steps joined by commas, then ` vs T` and a verdict: `7+3=10,10+12=22 vs 33 wait`.
struct WrittenTry {
  std::vector<WrittenStep> steps;
  int64_t compared_with = 0;
  std::string_view verdict;  ///< " yes", " no", " wait" (also for the Chinese words), "" for none of them
  bool cut = false;          ///< the text ends where the verdict would stand
};

struct WrittenThoughts {
  std::vector<WrittenStep> steps;  ///< all of them, those outside of tries as well
  std::vector<WrittenTry> tries;
  bool ends_in_yes = false;  ///< the last thing before </think>, the summary or the end is ` yes`
  bool ends_in_no = false;
  std::string_view summary;  ///< of ` so (7*3)+12=33` at the end of the thoughts what follows ` so `; else empty
};

/// Reads what stands before </think> (everything, when there is none). Linear time.
WrittenThoughts read_thoughts(std::string_view completion);

/// Whether a try uses each number once and calculates right, whatever it reaches.
bool is_derivation(const WrittenTry& t, const CountdownProblem& problem);

/// Whether an honest try that missed was met with ` wait` and the last try reaches the target.
bool countdown_corrects_itself(const Prompt& prompt, const std::string& completion);

/// Means over all completions, or over all steps or tries of all completions. A mean over nothing is left out, but for
/// the two that gates stand on: step_arithmetic and verdict are 0 when the completions hold no step or no try.
/// Completions of unknown prompts, or of rows without numbers and target, are passed over.
///   step_arithmetic         share of written steps that are right; first_step_arithmetic and second_step_arithmetic:
///                           of the first and second steps of tries
///   verdict                 share of tries that compare with the prompt's target and whose verdict is ` yes` exactly
///                           when their last result is what they compare with (tries cut before the verdict left out)
///   yes_correct             share of completions ending in ` yes` whose answer is correct
///   ends_yes, ends_no       share of completions whose thoughts end so; empty_think: whose thoughts are empty
///   waits, tries            mean count in a completion
///   hit_rate                share of tries that use each number once, calculate right, and reach the target
///   repeats                 share of tries that their completion has already made
///   format, correct         share of completions with the exact format; with a correct answer
std::map<std::string, double> diagnose_countdown(std::span<const Prompt> prompts, std::span<const Rollout> rollouts);

/// The same and, for thoughts in two languages:
///   english    mean share of the thoughts' words that are English
///   mixed      share of completions whose thoughts have words of both languages
///   summary    share of completions whose thoughts end in a summary that is true and that they answer with
///   readable   share of completions with such a summary, one language, and no try made twice
/// english and mixed over completions that have words in their thoughts.
std::map<std::string, double> diagnose_bilingual_countdown(std::span<const Prompt> prompts,
                                                           std::span<const Rollout> rollouts);

}  // namespace hone
