// One optimizer step: forward, loss and backward over the parts of a batch, clip, step, router balance.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "models/policy.h"
#include "rl/batch.h"
#include "rl/distillation.h"
#include "rl/loss.h"
#include "rl/optimizer.h"
#include "rollout/interrupted.h"

namespace hone {

/// Every gradient is a sum over parts of the batch, each of about part_tokens tokens and passed forward and backward by
/// itself, in one order: the same bytes for any micro_batch_tokens and any number of threads. The threads pass parts of
/// their own when the policy fits a core, and share each part when not.
struct UpdateOptions {
  int64_t micro_batch_tokens = 8192;  ///< tokens in flight on all threads together, at least one part
  int64_t part_tokens = 0;            ///< 0: 512
  /// 0: no limit. Where the process and what a part keeps for its backward would pass it, layers keep their inputs
  /// alone and are computed twice: the same bytes. Nothing for a policy that fits a core, whose parts are small.
  int64_t max_memory_bytes = 0;
  double inv_temperature = 1.0;
  double rate_factor = 1.0;
  double router_bias_update_rate = 0.0;
  double router_aux_loss_alpha = 0.0;
  std::stop_token stop = {};     ///< asked in every part; then Interrupted is thrown and no weight has changed
  double mtp_loss_weight = 0.0;  ///< of the predictor's own cross-entropy; nothing without a predictor
};

struct UpdateStats {
  double loss = 0;
  double entropy = 0;                          ///< mean over loss tokens, nats
  double kl = 0;                               ///< mean over loss tokens
  double clip_ratio = 0;                       ///< share of loss tokens
  double clip_low = 0, clip_high = 0;          ///< of these, with a negative and with a positive advantage
  double clip_low_min = 1, clip_high_max = 0;  ///< least and largest share of such tokens in one sequence
  double accuracy = 0;                         ///< share of loss tokens that are the most likely ones
  double grad_norm = 0;                        ///< before clipping
  double max_vio = 0;  ///< (largest expert load - mean) / mean, averaged over layers (Loss-Free Balancing eq. 4)
  bool has_router = false;
  double mtp_loss = 0;  ///< before its weight
};

/// log p of every loss token (M), without gradient.
std::vector<float> token_logprobs(const Policy& policy, const Batch& batch, const UpdateOptions& options);

/// Called with the policy's log-probs (M) of a part and the index of its first loss token, part by part in order.
using LogprobsSeen = std::function<void(std::span<const float> policy_logprobs, int64_t first)>;

/// Adds this batch's gradient of a policy loss to the parameters. std::runtime_error when max_memory_bytes is too
/// small even so. ref_logprobs (M) and `seen` may be empty.
UpdateStats accumulate_policy_gradient(const Policy& policy, const Batch& batch, const PolicyLoss& loss,
                                       const std::vector<float>& ref_logprobs, const UpdateOptions& options,
                                       const LogprobsSeen& seen = {});
UpdateStats accumulate_policy_gradient(const Policy& policy, const Batch& batch, const LossSpec& spec,
                                       const std::vector<float>& ref_logprobs, const UpdateOptions& options,
                                       const LogprobsSeen& seen = {});

/// Adds this batch's gradient of the weighted cross-entropy.
UpdateStats accumulate_cross_entropy_gradient(const Policy& policy, const Batch& batch, const UpdateOptions& options);

/// Adds this batch's gradient of the weighted divergence from the teacher, which has the policy's vocabulary.
UpdateStats accumulate_distillation_gradient(const Policy& policy, const Policy& teacher, const Batch& batch,
                                             const DistillationSpec& spec, const UpdateOptions& options);

/// The score head's number at the row of every loss token (M), without gradient.
std::vector<float> scores(const Policy& policy, const Batch& batch, const UpdateOptions& options);
/// Adds the gradient of the sum of weight x score over the loss tokens' rows. stats.loss is that sum.
UpdateStats accumulate_score_gradient(const Policy& policy, const Batch& batch, const UpdateOptions& options);

/// Gradients -> weights: clips, steps the optimizer; fills stats.grad_norm.
void apply_gradient(Optimizer& optimizer, const UpdateOptions& options, UpdateStats& stats);

/// Sets router biases: b_i += rate * sign(mean load - load_i), for each layer's counts (DeepSeek-V3 §2.1.2).
void update_router_biases(const Policy& policy, const std::vector<std::vector<int64_t>>& counts, double rate);

/// Mean over layers of (max - mean) / mean; 0 without layers.
double max_violation(const std::vector<std::vector<int64_t>>& counts);

}  // namespace hone
