// The policy loss of one micro-batch: a ratio, a clip and a normaliser, each chosen once (the normaliser is the weight
// that make_batch gave to every token). With log r_t = policy_logprob_t - sampler_logprob_t:
//
//   grpo, dapo, dr_grpo  l_t = -min(r_t A, clip(r_t, 1 - eps, 1 + eps_high) A)         (DeepSeekMath eq. 3; DAPO eq. 8)
//   gspo                 the same with s = exp(mean_t log r_t) of the sequence          (Zheng et al. 2025, eq. 5-7)
//   cispo                l_t = -stop_gradient(clip(r_t, 1 - eps, 1 + eps_high)) A log pi (MiniMax-M1 2025, eq. 4)
//   loss                 sum_t w_t (l_t + beta KL_t),  d_t = ref_logprob_t - policy_logprob_t,
//                        k1 = -d, k2 = d^2 / 2, k3 = e^d - d - 1                         (Schulman 2020; DSM eq. 4)
//
// Left out: entropy bonus, dual clip, sampler-correction weights (sampler and trainer agree here).
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

#include "rl/batch.h"
#include "rl/config.h"

namespace hone {

enum class Ratio { kToken, kSequence };
enum class Clip { kPessimistic, kDetached };  // min(...) as in PPO, or the clipped ratio as a constant weight
enum class KlEstimator { kK1, kK2, kK3 };

struct LossSpec {
  Ratio ratio = Ratio::kToken;
  Clip clip = Clip::kPessimistic;
  Normaliser normaliser = Normaliser::kTokenMean;
  double epsilon = 0.2, epsilon_high = 0.2;
  double beta = 0;
  KlEstimator kl = KlEstimator::kK3;
};
/// loss_type, epsilon, epsilon_high, beta, kl_estimator of a recipe. Throws std::invalid_argument for unknown words.
LossSpec loss_spec(const RlConfig& config);

/// All (M), of whole sequences.
struct LossInput {
  at::Tensor policy_logprobs;  ///< with gradient
  at::Tensor sampler_logprobs;
  at::Tensor advantages;
  at::Tensor weights;
  at::Tensor sequence;  ///< int64, 0 .. num_sequences - 1
  int64_t num_sequences = 0;
  at::Tensor ref_logprobs;  ///< undefined unless beta > 0
};
struct LossOutput {
  at::Tensor loss;     ///< scalar
  double clipped = 0;  ///< tokens whose clip is active
  double kl = 0;       ///< sum over tokens of the estimate against the reference
};
LossOutput policy_loss(const LossSpec& spec, const LossInput& in);

}  // namespace hone
