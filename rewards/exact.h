// `exact`: the answer is, letter for letter, the one in column `answer` (or `solution`), outer white space aside.
//
//   gold "Paris":  ..</think><answer> Paris </answer>                        correct
//                  Paris                                                     correct: without tags the whole counts
//                  <answer>Paris</answer><answer>London</answer>             wrong: answer blocks must agree
//
// The answer is the content of the last <answer> block after the last </think>; where there are several blocks they
// must say the same, so that listing candidates earns nothing. Without a block it is the whole completion.
#pragma once

#include "rewards/reward.h"

namespace hone {

/// Not applicable without a gold answer (see rewards/answer.h).
RewardFn exact_reward();

}  // namespace hone
