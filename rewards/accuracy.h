// `accuracy` (TRL's and open-r1's accuracy_reward): is the answer right? Which rule decides follows from the row's
// columns, the first that fits:
//
//   tests of a program (rewards/code_tests.h)    code (rewards/code.h), in the sandbox
//   answer/solution is one option letter         choice (rewards/choice.h)
//   answer/solution/gold                         math (rewards/math_reward.h)
//
//   {"answer": "B"}: "<answer>b</answer>" 1      {"answer": "1/2"}: "\boxed{0.5}" 1       {}: not applicable
#pragma once

#include "rewards/reward.h"

namespace hone {

RewardFn accuracy_reward();

}  // namespace hone
