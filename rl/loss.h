// The policy loss of one micro-batch: a ratio, a clip and a normaliser, each chosen once (the normaliser is the weight
// that make_batch gave to every token). With log r_t = policy_logprob_t - sampler_logprob_t:
//
//   grpo, dapo, dr_grpo  l_t = -min(r_t A, clip(r_t, 1 - eps, 1 + eps_high) A)         (DeepSeekMath eq. 3; DAPO eq. 8)
//                        with delta the first r_t is min(r_t, delta)              (two-sided, INTELLECT-2 2025, eq. 2)
//   bnpo                 dapo with the mean over the tokens of every bnpo_sequences completions             (BNPO 2025)
//   gspo                 the same with s = exp(mean_t log r_t) of the sequence          (Zheng et al. 2025, eq. 5-7)
//   cispo                l_t = -stop_gradient(clip(r_t, 1 - eps, 1 + eps_high)) A log pi (MiniMax-M1 2025, eq. 4)
//   sapo                 l_t = -sigmoid(tau (r_t - 1)) (4 / tau) A, tau by the sign of A     (Gao et al. 2025, SAPO)
//   loss                 sum_t w_t (l_t + beta KL_t),  d_t = ref_logprob_t - policy_logprob_t,
//                        k1 = -d, k2 = d^2 / 2, k3 = e^d - d - 1                         (Schulman 2020; DSM eq. 4)
//                        with use_bias_correction_kl r_t (or s) times that              (DeepSeek-V3.2 2025)
//
// Left out: entropy bonus, dual clip, sampler-correction weights (sampler and trainer agree here).
//
// TRL 1.16 computes the same losses and gradients (tests/python/trl_parity_test.py) under these settings:
//   advantages  sample_std: true, advantage_epsilon: 1e-4
//   KL          k3; use_bias_correction_kl alike, which is true by default there and false here, as in DeepSeekMath
//   cispo       epsilon: 1, epsilon_high: E - 1 for TRL's epsilon_high E, the largest weight itself (no lower bound)
//   gspo        TRL's loss_type grpo with importance_sampling_level sequence
//   dapo, cispo steps_per_generation equal to gradient_accumulation_steps; else TRL divides by the mean number of
//               tokens of the steps of a rollout, and here by that of the step
//   bnpo        bnpo_sequences equal to per_device_train_batch_size
// Its clip_ratio of gspo is a mean over sequences, that of cispo counts large ratios of good completions only; here
// both count the tokens whose ratio is not their weight's.
#pragma once

#include <cstdint>
#include <functional>

#include <ATen/core/Tensor.h>

#include "rl/batch.h"
#include "rl/config.h"

namespace hone {

enum class Ratio { kToken, kSequence };
enum class Clip {
  kPessimistic,  ///< min(...) as in PPO
  kDetached,     ///< the clipped ratio as a constant weight
  kSoft          ///< a sigmoid in place of the clip
};
enum class KlEstimator { kK1, kK2, kK3 };

struct LossSpec {
  Ratio ratio = Ratio::kToken;
  Clip clip = Clip::kPessimistic;
  Normaliser normaliser = Normaliser::kTokenMean;
  double epsilon = 0.2, epsilon_high = 0.2;
  double delta = 0;  ///< 0: off
  double temperature_pos = 1, temperature_neg = 1.05;
  double beta = 0;
  KlEstimator kl = KlEstimator::kK3;
  bool kl_has_ratio = false;
};
/// loss_type, epsilon, epsilon_high, delta, beta, .. of a recipe. Throws
/// std::invalid_argument for unknown words.
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
  at::Tensor loss;                           ///< scalar
  double clipped = 0;                        ///< tokens whose clip is active
  double clipped_low = 0, clipped_high = 0;  ///< of these, those with a negative and with a positive advantage
  double low_min = 0, high_max = 0;          ///< least and largest share of such tokens in one sequence
  double kl = 0;                             ///< sum over tokens of the estimate against the reference
};
LossOutput policy_loss(const LossSpec& spec, const LossInput& in);

/// A loss in place of policy_loss(); what it leaves 0 is reported as 0. Called from several threads at once.
using PolicyLoss = std::function<LossOutput(const LossInput&)>;

}  // namespace hone
