// `format`: the whole completion is `<think>` anything `</think><answer>` something `</answer>`, then the end token.
//
//   <think>3<7, so</think><answer>7-3</answer>    correct: only the four tags themselves are forbidden inside
//   <think></think><answer>4</answer>             correct: thinking may be empty, the answer may not
//   <think>a</think> <answer>4</answer>           wrong: nothing may stand before, between or after
//   (the first one, cut at the length limit)      wrong: no end token, so the policy did not say it was done
//
// Line breaks are allowed here; the countdown reward, whose rule has none, forbids them itself.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "rewards/reward.h"

namespace hone {

/// The two parts of a well-formed completion (views into it), or the sentence that says what is wrong.
struct FormatMatch {
  bool ok = false;
  std::string_view think, answer;
  std::string problem;
};

/// Linear time, no recursion. The end token's presence is read from `reason`.
FormatMatch match_format(std::string_view completion, FinishReason reason);

/// 1 for an exact match, else 0. Needs no columns.
RewardFn format_reward();

/// `think_format`, TRL's think_format_reward: the completion begins with <think>, has a </think>, and no second <think>
/// anywhere. What follows the thoughts is free, and so is how the completion ended.
///   <think>3<7</think> so 7      correct
///   ok <think>3<7</think> 7      wrong
RewardFn think_format_reward();

/// The first 80 bytes of model output, fit for a sentence: one line of ASCII, other bytes shown as "?".
std::string excerpt(std::string_view text);

}  // namespace hone
