// Rewards of length. Two of them ask whether the answer is correct (rewards/accuracy.h) and shape that by the length.
//
// soft_overlong_punishment  L tokens, the end token included (DAPO, eq. 13, arXiv 2503.14476; TRL):
//     0 up to max_completion_len - soft_punish_cache, falling linearly to -1 at max_completion_len, -1 beyond
// cosine  L characters (Yeo et al., arXiv 2502.03373; open-r1): with p = cos(pi * L / max_len)
//     correct: min_value_correct + (max_value_correct - min_value_correct) * (1 + p) / 2: short ones earn most
//     wrong:   max_value_wrong + (min_value_wrong - max_value_wrong) * (1 + p) / 2: long ones lose least
//     Beyond max_len the length counts as max_len (in open-r1 the cosine turns back there).
// length  L characters, over the completions of one prompt (Kimi k1.5, arXiv 2501.12599, 2.3.3; open-r1):
//     s = 0.5 - (L - shortest) / (longest - shortest); correct: s, wrong: min(0, s); 0 when all are equally long
//
// Example: max_completion_len=100, soft_punish_cache=20: 70 tokens 0, 90 tokens -0.5, 130 tokens -1.
// These values may be negative; the verdict is "correct" for an answer that is, and for an unpunished length.
#pragma once

#include <cstdint>

#include "rewards/reward.h"

namespace hone {

struct OverlongOptions {
  int64_t max_completion_len = 16384;
  int64_t soft_punish_cache = 4096;

  template <class Visitor>
  void visit(Visitor& v) {
    v("max_completion_len", max_completion_len, int64_t{1}, int64_t{1} << 40);
    v("soft_punish_cache", soft_punish_cache, int64_t{0}, int64_t{1} << 40);
  }
};
/// Not applicable to a rollout without token ids. Throws std::invalid_argument when the cache is longer than the limit.
RewardFn soft_overlong_punishment(const OverlongOptions& options);

struct CosineOptions {
  double min_value_wrong = -1.0, max_value_wrong = -0.5;
  double min_value_correct = 0.5, max_value_correct = 1.0;
  int64_t max_len = 1000;

  template <class Visitor>
  void visit(Visitor& v) {
    v("min_value_wrong", min_value_wrong, -100, 100);
    v("max_value_wrong", max_value_wrong, -100, 100);
    v("min_value_correct", min_value_correct, -100, 100);
    v("max_value_correct", max_value_correct, -100, 100);
    v("max_len", max_len, int64_t{1}, int64_t{1} << 40);
  }
};
/// Not applicable and undecided where `accuracy` is.
RewardFn cosine_reward(const CosineOptions& options, RewardFn accuracy);

/// Not applicable and undecided where `accuracy` is; such completions do not count for the shortest and longest.
RewardFn length_reward(RewardFn accuracy);

}  // namespace hone
