// From one row of logits to one token. Order of operations, as transformers has it: the repetition penalty; a forbidden
// token is left out; logits are divided by the temperature; top-k keeps the k largest (and what equals the last of
// them); top-p keeps the smallest set of these whose probability reaches p (of equal ones that with the lower id
// first); min-p keeps what has at least min_p times the largest probability. The recorded log-prob is that of the token
// under exactly the distribution that is left. Filters are held to transformers' LogitsProcessors by
// tests/golden/sampler_filters.json. No torch; pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "models/kernels/cpu.h"

namespace hone {

struct SamplingOptions {
  double temperature = 1.0;         ///< 0: the largest logit (the log-prob is then that of temperature 1)
  int64_t top_k = 0;                ///< 0: off
  double top_p = 1.0;               ///< 1: off
  double min_p = 0.0;               ///< 0: off
  double repetition_penalty = 1.0;  ///< 1: off; above 0
  int64_t max_new_tokens = 256;     ///< the end token included
  int64_t min_new_tokens = 0;       ///< no end token before this length
  std::vector<std::string> stop;    ///< texts that end a completion where they appear (rollout/stop_matcher.h)
};

struct Draw {
  int32_t token;
  float logprob;  ///< natural log
};

/// The row with the logit of every token of prompt and completion divided by the penalty where positive and multiplied
/// where negative, once each however often the token is there (arXiv:1909.05858). Points into `scratch`, which is grown
/// and reused by the caller; `logits` itself when the penalty is 1. Throws std::invalid_argument for a penalty not
/// above 0 or a token that is not of the vocabulary.
const float* with_repetition_penalty(const float* logits, int64_t vocabulary, double penalty,
                                     std::span<const int32_t> prompt, std::span<const int32_t> completion,
                                     std::vector<float>& scratch);

/// The ids that top-k, top-p and min-p keep, in order of id; at least one. weights[i] = exp((logits[i] - max) / t), 0
/// for the forbidden token.
std::vector<int32_t> kept_tokens(const float* logits, std::span<const float> weights, const SamplingOptions& options,
                                 int32_t forbidden);

/// What a token is drawn from: logits (vocabulary), finite, any repetition penalty already in them, under the options;
/// `forbidden` -1 for none. Borrows the logits and `scratch`, which is grown and reused by the caller.
class TokenDistribution {
 public:
  TokenDistribution(const float* logits, int64_t vocabulary, const SamplingOptions& options, int32_t forbidden,
                    std::vector<float>& scratch);

  /// The first token, in order of id, at which the cumulative probability exceeds u in [0, 1).
  int32_t draw(double u) const;
  /// Natural log, as recorded.
  float logprob(int32_t token) const;
  /// Temperature 0: 1 for the largest logit.
  float probability(int32_t token) const;
  int64_t vocabulary() const { return vocabulary_; }

 private:
  const float* logits_;
  int64_t vocabulary_;
  const std::vector<float>& weights_;  // exp((logit - max) t), 0 for what is left out; unused at temperature 0
  cpu::RowStats stats_;
  float inverse_temperature_;
  int32_t best_ = -1;  // at temperature 0
  double total_ = 0;   // of the weights
  bool is_filtered_ = false;
};

/// One draw by u in [0, 1): see TokenDistribution.
Draw draw_token(const float* logits, int64_t vocabulary, const SamplingOptions& options, int32_t forbidden, double u,
                std::vector<float>& scratch);

/// Speculative sampling (Leviathan et al. 2023, algorithm 1) for a token drafted from another distribution, of which
/// `drafted_from` (vocabulary) are the probabilities: the draft with probability min(1, p / q), else a token of
/// norm(max(p - q, 0)). What is returned has exactly the target's distribution. u_accept, u_residual in [0, 1).
int32_t verify_draft(const TokenDistribution& target, std::span<const float> drafted_from, int32_t draft,
                     double u_accept, double u_residual);

}  // namespace hone
