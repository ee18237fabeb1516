#include "rl/trainer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <stdexcept>

#include <fmt/format.h>

#include "rl/advantage.h"
#include "rl/evaluate.h"
#include "rl/metrics.h"
#include "rl/schedule.h"
#include "rl/update.h"
#include "rollout/dataset.h"
#include "rollout/engine.h"

namespace hone {
namespace {

class Trainer {
 public:
  Trainer(const RlConfig& config, const StageContext& stage, Model start, const std::vector<Prompt>& prompts,
          const std::vector<NamedReward>& rewards)
      : config_(config),
        stage_(stage),
        prompts_(prompts),
        rewards_(rewards),
        loss_(loss_spec(config)),
        training_(stage, std::move(start), config.optim, /*with_reference=*/config.beta > 0) {
    if (config.sampling.min_new_tokens > 1 && end_tokens(training_.policy().config()).size() > 1) {
      throw std::invalid_argument(fmt::format(
          "stage '{}': min_completion_length {} works in an rl stage with one end token only, and this model "
          "has several (eos_token_id); set it to 0",
          stage.name, config.sampling.min_new_tokens));
    }
  }

  // The loop: each line makes one value from those before it.
  Metrics run() {
    while (training_.state().step < config_.optim.max_steps) {
      const std::vector<Prompt> prompts = next_prompts();
      const std::vector<Group> groups = sample_and_score(prompts);
      const Advantages advantages = group_advantages(dealt(groups), advantage_options(config_));
      std::vector<Minibatch> minibatches = make_minibatches(groups, advantages);
      measure_gap(minibatches);
      for (int64_t pass = 0; pass < config_.num_iterations; ++pass) {
        for (Minibatch& m : minibatches) record(m, update(m, pass == 0 && &m == &minibatches.front()), pass);
      }
      training_.save_if_due();
    }
    return training_.finish();
  }

 private:
  using Advantages = std::vector<std::vector<double>>;

  // The groups of one optimizer step.
  struct Minibatch {
    std::vector<Group> groups;
    Advantages advantages;
    Batch batch;
    std::vector<float> ref_logprobs;  // (M), empty without a reference
    Metrics metrics;                  // what is known before the update
  };

  int64_t step() { return training_.state().step; }

  std::vector<Prompt> next_prompts() {
    const int64_t count = config_.prompts_per_step * config_.steps_per_generation;
    const int64_t rollout = step() / (config_.steps_per_generation * config_.num_iterations);
    std::vector<Prompt> prompts;
    for (const int64_t i :
         step_indices(stage_.seed, stage_.name, rollout, count, static_cast<int64_t>(prompts_.size()))) {
      prompts.push_back(prompts_[static_cast<size_t>(i)]);
    }
    return prompts;
  }

  // A group is scored as soon as it is complete, while others are still being sampled.
  std::vector<Group> sample_and_score(const std::vector<Prompt>& prompts) {
    watch_.lap();
    GroupScorer scorer(prompts, rewards_, stage_.threads);
    DraftCounts drafts;
    generate(training_.policy(), training_.model().tokenizer, prompts,
             {.sampling = config_.sampling,
              .samples = config_.num_generations,
              .key = {stage_.seed, Purpose::kRollout, static_cast<uint64_t>(step())},
              .slots = {},
              .policy_version = step(),
              .on_group = [&](int64_t p, std::span<const Rollout> group) { scorer.add(static_cast<size_t>(p), group); },
              .speculate = config_.speculative_decoding,
              .drafts = &drafts});
    seconds_["time/rollout"] = watch_.lap();
    std::vector<Group> groups = scorer.finish();
    seconds_["time/reward"] = watch_.lap();  // what sampling did not hide
    reward_seconds_ = scorer.seconds();
    tokens_per_forward_ = drafts.tokens_per_forward();
    return groups;
  }

  // The groups as the learner sees them: as they are, or for the control with all rewards of the step dealt at random.
  std::vector<Group> dealt(std::vector<Group> groups) {
    if (!config_.shuffle_rewards) return groups;
    std::vector<Reward*> all;
    for (Group& g : groups) {
      for (Reward& r : g.rewards) all.push_back(&r);
    }
    std::vector<Reward> shuffled;
    for (const int64_t i :
         permutation(static_cast<int64_t>(all.size()), stage_.seed, Purpose::kShuffle, static_cast<uint64_t>(step()))) {
      shuffled.push_back(*all[static_cast<size_t>(i)]);
    }
    for (size_t i = 0; i < all.size(); ++i) *all[i] = shuffled[i];
    return groups;
  }

  std::vector<Minibatch> make_minibatches(const std::vector<Group>& groups, const Advantages& advantages) {
    const BatchOptions options{.normaliser = loss_.normaliser,
                               .max_completion_length = config_.sampling.max_new_tokens,
                               .mask_truncated = config_.mask_truncated_completions,
                               .min_completion_length = config_.sampling.min_new_tokens,
                               .end_token = end_tokens(training_.policy().config())[0]};
    std::vector<Minibatch> all;
    for (int64_t k = 0; k < config_.steps_per_generation; ++k) {
      const int64_t begin = k * config_.prompts_per_step, end = begin + config_.prompts_per_step;
      Minibatch m{{groups.begin() + begin, groups.begin() + end},
                  {advantages.begin() + begin, advantages.begin() + end},
                  {},
                  {},
                  {}};
      m.batch = make_batch(m.groups, m.advantages, options);
      m.metrics = reward_metrics(m.groups, config_.reflection_words);
      all.push_back(std::move(m));
    }
    return all;
  }

  double inv_temperature() const { return config_.sampling.temperature > 0 ? 1.0 / config_.sampling.temperature : 1.0; }

  // Before any update of this rollout: the trainer's own log-prob of every sampled token against the sampler's. The
  // first minibatch is compared in its update's own forward pass, which precedes the update.
  void measure_gap(std::vector<Minibatch>& minibatches) {
    watch_.lap();
    for (Minibatch& m : minibatches) {
      if (&m != &minibatches.front()) compare(m, token_logprobs(training_.policy(), m.batch, update_options()), 0);
      if (Policy* reference = training_.reference()) {
        m.ref_logprobs = token_logprobs(*reference, m.batch, update_options());
      }
    }
    seconds_["time/logprobs"] = watch_.lap();
  }

  void compare(Minibatch& m, std::span<const float> own, int64_t first) const {
    double& largest = m.metrics["sampling/sampling_logp_difference/max"];
    double& mean = m.metrics["sampling/sampling_logp_difference/mean"];
    for (size_t i = 0; i < own.size(); ++i) {
      const size_t token = static_cast<size_t>(first) + i;
      const double gap = std::abs(static_cast<double>(own[i]) - m.batch.sampler_logprobs[token]);
      if (config_.assert_gap && !(gap == 0)) refuse_gap(m, token, own[i]);
      largest = std::max(largest, gap);
      mean += gap / static_cast<double>(m.batch.num_loss_tokens());
    }
  }

  [[noreturn]] void refuse_gap(const Minibatch& m, size_t token, float own) const {
    const auto sequence = static_cast<size_t>(m.batch.sequence[token]);
    const auto per_group = static_cast<size_t>(config_.num_generations);
    const auto first =
        std::lower_bound(m.batch.sequence.begin(), m.batch.sequence.end(), static_cast<int64_t>(sequence));
    const Rollout& r = m.groups[sequence / per_group].rollouts[sequence % per_group];
    throw std::runtime_error(fmt::format(
        "stage {}: prompt {}, sample {}, token {}: the sampler recorded log-prob {:.9g}, the trainer computes {:.9g}, "
        "so "
        "they are not the same function; report it, and go on with assert_gap: false",
        stage_.name, r.prompt_id, r.sample, static_cast<int64_t>(token) - (first - m.batch.sequence.begin()),
        m.batch.sampler_logprobs[token], own));
  }

  UpdateOptions update_options() {
    return {.micro_batch_tokens = config_.optim.micro_batch_tokens,
            .inv_temperature = inv_temperature(),
            .rate_factor = learning_rate_factor(config_.optim, step()),
            .router_bias_update_rate = config_.optim.router_bias_update_rate,
            .router_aux_loss_alpha = config_.optim.router_aux_loss_alpha};
  }

  UpdateStats update(Minibatch& m, bool first_of_rollout) {
    watch_.lap();
    const UpdateOptions options = update_options();
    LogprobsSeen seen;
    if (first_of_rollout) seen = [&](std::span<const float> own, int64_t first) { compare(m, own, first); };
    UpdateStats stats = accumulate_policy_gradient(training_.policy(), m.batch, loss_, m.ref_logprobs, options, seen);
    apply_gradient(training_.optimizer(), options, stats);
    if (config_.ref_model_sync_steps > 0 && (step() + 1) % config_.ref_model_sync_steps == 0 && training_.reference()) {
      training_.reference()->copy_from(training_.policy());
    }
    seconds_["time/update"] = watch_.lap();
    return stats;
  }

  // One row of metrics a step; the groups are stored with the first pass over them.
  void record(Minibatch& m, const UpdateStats& stats, int64_t pass) {
    Metrics metrics = m.metrics;
    metrics["loss"] = stats.loss;
    metrics["entropy"] = stats.entropy;
    if (training_.reference()) metrics["kl"] = stats.kl;
    metrics["clip_ratio/region_mean"] = stats.clip_ratio;
    metrics["grad_norm"] = stats.grad_norm;
    metrics["learning_rate"] = config_.optim.learning_rate * learning_rate_factor(config_.optim, step());
    if (stats.has_router) metrics["moe/max_vio"] = stats.max_vio;
    training_.state().num_tokens += static_cast<int64_t>(m.batch.inputs.size()) + m.batch.num_sequences();
    double total = 0;
    for (const auto& [name, seconds] : seconds_) {
      metrics[name] = seconds;
      total += seconds;
    }
    metrics["step_time"] = total + seconds_store_;
    metrics["perf/reward_seconds"] = reward_seconds_;
    if (config_.speculative_decoding) metrics["sampling/tokens_per_forward"] = tokens_per_forward_;
    metrics["time/store"] = seconds_store_;
    seconds_.clear();
    watch_.lap();
    StepRecord record{.stage = {}, .step = 0, .groups = {}, .advantages = {}, .metrics = std::move(metrics)};
    if (pass == 0) {
      record.groups = m.groups;
      record.advantages = m.advantages;
    }
    training_.finish_step(std::move(record));
    seconds_store_ = watch_.lap();
  }

  const RlConfig& config_;
  const StageContext& stage_;
  const std::vector<Prompt>& prompts_;
  const std::vector<NamedReward>& rewards_;
  LossSpec loss_;
  Training training_;
  Stopwatch watch_;
  Metrics seconds_;            // of the step in progress
  double reward_seconds_ = 0;  // of all scoring threads together
  double tokens_per_forward_ = 1;
  double seconds_store_ = 0;  // what handing the last step to the store's thread took
};

void check(const RlConfig& c, const StageContext& stage, const std::vector<Prompt>& prompts) {
  const int64_t per_rollout = c.steps_per_generation * c.num_iterations;
  auto refuse = [&](const std::string& what) {
    throw std::invalid_argument(fmt::format("stage {}: {}", stage.name, what));
  };
  if (prompts.empty()) refuse("its data hold no prompt");
  if (c.optim.max_steps % per_rollout != 0 || c.optim.save_steps % per_rollout != 0) {
    refuse(fmt::format(
        "max_steps {} and save_steps {} must be multiples of steps_per_generation x num_iterations = {}, so "
        "that a run stops and resumes between rollouts",
        c.optim.max_steps, c.optim.save_steps, per_rollout));
  }
  const SamplingOptions& s = c.sampling;
  if (s.top_k > 0 || s.top_p < 1 || s.min_p > 0 || s.repetition_penalty != 1) {
    refuse(
        "top_k, top_p, min_p and repetition_penalty must be off in training: the policy gradient is that of the whole "
        "distribution; use temperature");
  }
}

}  // namespace

Metrics train_rl(const RlConfig& config, const StageContext& stage, Model start, const std::vector<Prompt>& prompts,
                 const std::vector<NamedReward>& rewards) {
  check(config, stage, prompts);
  return Trainer(config, stage, std::move(start), prompts, rewards).run();
}

}  // namespace hone
