// From one row of logits to one token. Order of operations: a forbidden token is left out; logits are divided by the
// temperature; top-k keeps the k largest; top-p keeps the smallest set of these whose probability reaches p. The
// recorded log-prob is that of the token under exactly this distribution. No torch; pure functions.
#pragma once

#include <cstdint>
#include <vector>

namespace hone {

struct SamplingOptions {
  double temperature = 1.0;      ///< 0: the largest logit (the log-prob is then that of temperature 1)
  int64_t top_k = 0;             ///< 0: off
  double top_p = 1.0;            ///< 1: off
  int64_t max_new_tokens = 256;  ///< the end token included
  int64_t min_new_tokens = 0;    ///< no end token before this length
};

struct Draw {
  int32_t token;
  float logprob;  ///< natural log
};

/// Draws by u in [0, 1): the first token, in order of id, at which the cumulative probability exceeds u.
/// logits (vocabulary), finite; `forbidden` -1 for none; `scratch` is grown and reused by the caller.
Draw draw_token(const float* logits, int64_t vocabulary, const SamplingOptions& options, int32_t forbidden, double u,
                std::vector<float>& scratch);

}  // namespace hone
