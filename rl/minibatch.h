// From the groups of one rollout to optimizer steps: what the trainer does with groups it has just sampled, and `hone
// replay` with groups from the store. Everything here is a function of the recipe, the groups and the weights.
//
// A rollout of steps_per_generation x prompts_per_step groups is cut into steps_per_generation minibatches in order;
// num_iterations passes over them make as many optimizer steps as both numbers together.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rl/update.h"

namespace hone {

/// The groups of one optimizer step.
struct Minibatch {
  std::vector<Group> groups;
  std::vector<std::vector<double>> advantages;
  Batch batch;
  std::vector<float> ref_logprobs;        ///< (M), empty without a reference
  std::map<std::string, double> metrics;  ///< what is known before the update
};

/// What learns. Borrowed; the reference is null without KL.
struct Learner {
  Policy& policy;
  Policy* reference;
  Optimizer& optimizer;
  std::stop_token stop = {};
  PolicyLoss loss = {};  ///< in place of the config's
};

/// Scored groups of a whole rollout, which began after `step` optimizer steps of a stage with this seed. Throws as
/// group_advantages and make_batch do.
std::vector<Minibatch> make_minibatches(const RlConfig& config, uint64_t seed, int64_t step,
                                        const std::vector<Group>& groups, int32_t end_token);

/// Called with the policy's own log-probs of a stretch of a minibatch's loss tokens and the index of the first.
using OwnLogprobs = std::function<void(Minibatch&, std::span<const float> own, int64_t first)>;

/// What must be known before a rollout's first update, `step` others having been made: the reference's log-probs of all
/// minibatches, and the policy's own of all but the first, whose update computes them anyway.
void measure(const RlConfig& config, const Learner& learner, std::vector<Minibatch>& minibatches, int64_t step,
             const OwnLogprobs& seen);

/// Keeps sampling/sampling_logp_difference/{mean,max} of a minibatch; the first loss token whose log-prob is not, to
/// the bit, the one that the sampler recorded, if any.
std::optional<size_t> note_gap(Minibatch& minibatch, std::span<const float> own, int64_t first);

/// Options of the update that follows `step` others.
UpdateOptions update_options(const RlConfig& config, int64_t step, std::stop_token stop = {});

/// The update that follows `step` others: gradient, optimizer, and the reference replaced when it is due.
UpdateStats update(const RlConfig& config, const Learner& learner, const Minibatch& minibatch, int64_t step,
                   const LogprobsSeen& seen = {});

/// loss, entropy, kl, clip_ratio/{region,low,high}_mean, clip_ratio/{low_min,high_max}, cispo_clip_ratio, grad_norm,
/// learning_rate, moe/max_vio of that update.
std::map<std::string, double> update_metrics(const RlConfig& config, const UpdateStats& stats, int64_t step);

}  // namespace hone
