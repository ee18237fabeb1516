// `choice`: the answer to a multiple-choice question is the option letter in column `answer` (or `solution`), A to Z.
//
//   gold "B":  ..</think><answer>(b).</answer>                     correct: case, parentheses and a period do not count
//              .. so the \boxed{B} option                          correct
//              .. Answer: B                                        correct
//              <answer>A, B, C or D</answer>                       wrong: one letter is wanted
//              <answer>A</answer><answer>B</answer>                wrong: answer blocks must agree
//
// Read in this order; the first that is there decides, and what stands in it must be one letter:
//   1. the <answer> blocks after the last </think> (in the whole completion when it has none), which must agree;
//      an <answer> that is never closed is wrong;
//   2. the last \boxed{..} (also \boxed{\text{..}});
//   3. `answer is X` or `answer: X` at the very end of a completion that was not cut at the length limit.
// A completion that has none of them is wrong. So every completion commits to one letter, and naming all of them
// earns nothing.
#pragma once

#include <string_view>

#include "rewards/reward.h"

namespace hone {

/// True for "B", "(b)", "b." and the like: one letter from A to Z.
bool is_option_letter(std::string_view text);

/// Not applicable when the row has no gold answer or it is not one option letter.
RewardFn choice_reward();

}  // namespace hone
