// `countdown`: reach the target with the given numbers, each used exactly once. Columns: `numbers` (a list of integers
// from 0) and `target` (an integer). With numbers 7 3 12 and target 33:
//
//   <think>7+3=10</think><answer>12+3*7</answer>     correct
//   <think>7+3=10</think><answer>33</answer>         wrong: uses 33, which is not among the numbers
//   <think></think><answer>(7*3)+12+0*7</answer>     wrong: uses 0 and a second 7, though the value is right
//
// Correct means all of: the exact format (rewards/format.h) with the end token and no line break in the thoughts; an
// answer of decimal integers without leading zeros, + - * /, and parentheses (no spaces, no sign before a number or
// parenthesis, no ** or //); the multiset of its integers is that of `numbers`; its exact rational value is `target`.
// The thoughts are not checked. Division by zero is wrong.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "rewards/reward.h"

namespace hone {

struct CountdownProblem {
  std::vector<int64_t> numbers;  ///< in the prompt's order
  int64_t target = 0;
};

/// Scores one completion. Linear time and no recursion, so nesting and length have no limit. Exact, or undecided: the
/// value is computed as a reduced fraction of 128-bit integers, and where one does not fit the verdict says so. That
/// takes many given numbers of many digits; integers that are not given never reach the arithmetic.
Score score_countdown(const CountdownProblem& problem, std::string_view completion, FinishReason reason);

/// Reads the two columns of a row (a JSON object). Empty when one is missing or null. Throws std::runtime_error naming
/// the column when it has another type than stated above.
std::optional<CountdownProblem> read_countdown(const std::string& columns);

/// score_countdown for rows; a row without the columns is not applicable.
RewardFn countdown_reward();

}  // namespace hone
