// `repetition_penalty`: what repeats itself loses (Yeo et al., arXiv 2502.03373, appendix; open-r1's
// repetition_penalty_reward). With n = ngram_size and words split at white space, in lower case:
//
//     max_penalty * (1 - distinct n-grams / n-grams), 0 for fewer than n words
//
// Example with n = 2, max_penalty = -1: "a b a b" has the pairs ab, ba, ab: -1/3. "a b c" has no pair twice: 0.
// open-r1's lower case is Unicode's, this one ASCII's.
#pragma once

#include <cstdint>

#include "rewards/reward.h"

namespace hone {

struct RepetitionOptions {
  int64_t ngram_size = 3;
  double max_penalty = -1.0;

  template <class Visitor>
  void visit(Visitor& v) {
    v("ngram_size", ngram_size, int64_t{1}, int64_t{1000});
    v("max_penalty", max_penalty, -100, 0);
  }
};

/// Needs no columns. The verdict is "correct" for a completion that repeats nothing.
RewardFn repetition_penalty(const RepetitionOptions& options);

}  // namespace hone
