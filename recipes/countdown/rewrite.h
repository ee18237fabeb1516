// The readable form of a correct countdown completion, for a cold start: what DeepSeek-V3 and people did for R1, by
// rule.
//
//   <think>7+3=10,10+12=22比33 wait7+3=10,10+12=22 vs 33等7*3=21,21+12=33 vs 33对</think><answer>(7*3)+12</answer>
//   <think>7+3=10,10+12=22 vs 33 wait7*3=21,21+12=33 vs 33 yes so (7*3)+12=33</think><answer>(7*3)+12</answer>
//
// English words; no try twice, none that miscalculates or uses other numbers; the search ends at the first hit, with a
// summary, which is the answer.
#pragma once

#include <optional>
#include <string>

#include "rollout/types.h"

namespace hone {

/// Nothing for a completion that is not correct or whose thoughts hold no try that reaches the target.
std::optional<std::string> rewrite_countdown(const Prompt& prompt, const std::string& completion);

}  // namespace hone
