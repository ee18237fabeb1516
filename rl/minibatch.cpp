#include "rl/minibatch.h"

#include <algorithm>
#include <cmath>

#include "rl/advantage.h"
#include "rl/metrics.h"
#include "rl/schedule.h"
#include "rollout/random.h"

namespace hone {
namespace {

// The groups as the learner sees them: as they are, or for the control with all rewards of the rollout dealt at random.
std::vector<Group> dealt(const RlConfig& config, uint64_t seed, int64_t step, std::vector<Group> groups) {
  if (!config.shuffle_rewards) return groups;
  std::vector<Reward*> all;
  for (Group& g : groups) {
    for (Reward& r : g.rewards) all.push_back(&r);
  }
  std::vector<Reward> shuffled;
  for (const int64_t i :
       permutation(static_cast<int64_t>(all.size()), seed, Purpose::kShuffle, static_cast<uint64_t>(step))) {
    shuffled.push_back(*all[static_cast<size_t>(i)]);
  }
  for (size_t i = 0; i < all.size(); ++i) *all[i] = shuffled[i];
  return groups;
}

}  // namespace

std::vector<Minibatch> make_minibatches(const RlConfig& config, uint64_t seed, int64_t step,
                                        const std::vector<Group>& groups, int32_t end_token) {
  const BatchOptions options{.normaliser = loss_spec(config).normaliser,
                             .max_completion_length = config.sampling.max_new_tokens,
                             .micro_batch_sequences = config.bnpo_sequences,
                             .mask_truncated = config.mask_truncated_completions,
                             .min_completion_length = config.sampling.min_new_tokens,
                             .end_token = end_token};
  const auto advantages = group_advantages(dealt(config, seed, step, groups), advantage_options(config));
  std::vector<Minibatch> all;
  for (int64_t k = 0; k < config.steps_per_generation; ++k) {
    const int64_t begin = k * config.prompts_per_step, end = begin + config.prompts_per_step;
    Minibatch m{.groups = {groups.begin() + begin, groups.begin() + end},
                .advantages = {advantages.begin() + begin, advantages.begin() + end},
                .batch = {},
                .ref_logprobs = {},
                .metrics = {}};
    m.batch = make_batch(m.groups, m.advantages, options);
    m.metrics = reward_metrics(m.groups, config.reflection_words);
    all.push_back(std::move(m));
  }
  return all;
}

void measure(const RlConfig& config, const Learner& learner, std::vector<Minibatch>& minibatches, int64_t step,
             const OwnLogprobs& seen) {
  const UpdateOptions options = update_options(config, step, learner.stop);
  for (Minibatch& m : minibatches) {
    if (&m != &minibatches.front()) seen(m, token_logprobs(learner.policy, m.batch, options), 0);
    if (learner.reference) m.ref_logprobs = token_logprobs(*learner.reference, m.batch, options);
  }
}

std::optional<size_t> note_gap(Minibatch& m, std::span<const float> own, int64_t first) {
  double& largest = m.metrics["sampling/sampling_logp_difference/max"];
  double& mean = m.metrics["sampling/sampling_logp_difference/mean"];
  std::optional<size_t> different;
  for (size_t i = 0; i < own.size(); ++i) {
    const size_t token = static_cast<size_t>(first) + i;
    const double gap = std::abs(static_cast<double>(own[i]) - m.batch.sampler_logprobs[token]);
    if (!(gap == 0) && !different) different = token;
    largest = std::max(largest, gap);
    mean += gap / static_cast<double>(m.batch.num_loss_tokens());
  }
  return different;
}

UpdateOptions update_options(const RlConfig& config, int64_t step, std::stop_token stop) {
  return {.micro_batch_tokens = config.optim.micro_batch_tokens,
          .max_memory_bytes = config.optim.max_memory_bytes(),
          .inv_temperature = config.sampling.temperature > 0 ? 1.0 / config.sampling.temperature : 1.0,
          .rate_factor = learning_rate_factor(config.optim, step),
          .router_bias_update_rate = config.optim.router_bias_update_rate,
          .router_aux_loss_alpha = config.optim.router_aux_loss_alpha,
          .stop = std::move(stop)};
}

UpdateStats update(const RlConfig& config, const Learner& learner, const Minibatch& m, int64_t step,
                   const LogprobsSeen& seen) {
  const UpdateOptions options = update_options(config, step, learner.stop);
  UpdateStats stats =
      learner.loss
          ? accumulate_policy_gradient(learner.policy, m.batch, learner.loss, m.ref_logprobs, options, seen)
          : accumulate_policy_gradient(learner.policy, m.batch, loss_spec(config), m.ref_logprobs, options, seen);
  apply_gradient(learner.optimizer, options, stats);
  if (learner.reference && config.ref_model_sync_steps > 0 && (step + 1) % config.ref_model_sync_steps == 0) {
    learner.reference->copy_from(learner.policy);
  }
  return stats;
}

std::map<std::string, double> update_metrics(const RlConfig& config, const UpdateStats& stats, int64_t step) {
  std::map<std::string, double> metrics{
      {"loss", stats.loss},
      {"entropy", stats.entropy},
      {"clip_ratio/region_mean", stats.clip_ratio},
      {"grad_norm", stats.grad_norm},
      {"learning_rate", config.optim.learning_rate * learning_rate_factor(config.optim, step)}};
  if (config.beta > 0) metrics["kl"] = stats.kl;
  const Clip clip = loss_spec(config).clip;
  if (clip == Clip::kDetached) metrics["cispo_clip_ratio"] = stats.clip_high;
  if (clip == Clip::kPessimistic) {
    metrics["clip_ratio/low_mean"] = stats.clip_low;
    metrics["clip_ratio/low_min"] = stats.clip_low_min;
    metrics["clip_ratio/high_mean"] = stats.clip_high;
    metrics["clip_ratio/high_max"] = stats.clip_high_max;
  }
  if (stats.has_router) metrics["moe/max_vio"] = stats.max_vio;
  return metrics;
}

}  // namespace hone
