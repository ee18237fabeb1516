#include "rl/trainer.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <span>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "rl/advantage.h"
#include "rl/minibatch.h"
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
        dynamic_sampling_(dynamic_sampling(config)),
        training_(stage, std::move(start), config.optim, /*with_reference=*/config.beta > 0) {
    if (config.sampling.min_new_tokens > 1 && end_tokens(training_.policy().config()).size() > 1) {
      throw std::invalid_argument(fmt::format(
          "stage '{}': min_completion_length {} works in an rl stage with one end token only, and this model "
          "has several (eos_token_id); set it to 0",
          stage.name, config.sampling.min_new_tokens));
    }
  }

  // The loop: each line makes one value from those before it.
  void rollout() {
    check_stop(stage_.host.stop);
    const std::vector<Group> groups = sample_and_score();
    std::vector<Minibatch> minibatches = make_minibatches(config_, stage_.seed, step(), groups, end_token());
    measure_gap(minibatches);
    for (int64_t pass = 0; pass < config_.num_iterations; ++pass) {
      for (Minibatch& m : minibatches) record(m, update(m, pass == 0 && &m == &minibatches.front()), pass);
    }
    training_.save_if_due();
  }

  Metrics run() {
    while (step() < config_.optim.max_steps) {
      const TrainerState before = training_.state();
      try {
        rollout();
      } catch (const Interrupted&) {
        keep_progress(before);
        throw;
      }
    }
    return training_.finish();
  }

 private:
  // Runs go on between rollouts: inside of one whose first update is done, the last checkpoint is all there is.
  void keep_progress(const TrainerState& before) {
    if (step() == before.step) training_.state() = before;
    if (step() % (config_.steps_per_generation * config_.num_iterations) == 0) training_.save_interrupted();
  }

  int64_t step() { return training_.state().step; }
  Learner learner() {
    return {training_.policy(), training_.reference(), training_.optimizer(), stage_.host.stop, stage_.host.loss};
  }
  int32_t end_token() { return end_tokens(training_.policy().config())[0]; }

  // The groups of a rollout. With dynamic sampling, those that teach nothing give way to groups of further prompts;
  // after max_sampling_rounds they fill the places that are left.
  std::vector<Group> sample_and_score() {
    rollout_ = {};
    const auto count = static_cast<size_t>(config_.prompts_per_step * config_.steps_per_generation);
    const int64_t rounds = dynamic_sampling_ == DynamicSampling::kNone ? 1 : config_.max_sampling_rounds;
    std::vector<Group> kept, flat;
    for (int64_t round = 0; round < rounds && kept.size() < count; ++round) {
      for (Group& g : sample_and_score(next_prompts(count - kept.size()), kept.size() + flat.size())) {
        (teaches(g, dynamic_sampling_) ? kept : flat).push_back(std::move(g));
      }
      ++rollout_.rounds;
    }
    rollout_.flat_frac = static_cast<double>(flat.size()) / static_cast<double>(kept.size() + flat.size());
    const auto filling = flat.begin() + static_cast<int64_t>(count - kept.size());
    kept.insert(kept.end(), flat.begin(), filling);
    rollout_.dropped.assign(filling, flat.end());
    return kept;
  }

  // The next prompts of the data; a prompt that was drawn is used up, whatever became of its group.
  std::vector<Prompt> next_prompts(size_t count) {
    int64_t& drawn = training_.state().num_prompts;
    std::vector<Prompt> prompts;
    for (const int64_t i : prompt_indices(stage_.seed, stage_.name, drawn, static_cast<int64_t>(count),
                                          static_cast<int64_t>(prompts_.size()))) {
      prompts.push_back(prompts_[static_cast<size_t>(i)]);
    }
    drawn += static_cast<int64_t>(count);
    return prompts;
  }

  // A group is scored as soon as it is complete, while others are still being sampled. Prompts of one rollout have the
  // slots from first_slot on in the random key.
  std::vector<Group> sample_and_score(const std::vector<Prompt>& prompts, size_t first_slot) {
    watch_.lap();
    GroupScorer scorer(prompts, rewards_, stage_.threads);
    std::vector<int64_t> slots(prompts.size());
    std::iota(slots.begin(), slots.end(), static_cast<int64_t>(first_slot));
    generate(training_.policy(), training_.model().tokenizer, prompts,
             {.sampling = config_.sampling,
              .samples = config_.num_generations,
              .key = {stage_.seed, Purpose::kRollout, static_cast<uint64_t>(step())},
              .slots = std::move(slots),
              .policy_version = step(),
              .on_group = [&](int64_t p, std::span<const Rollout> group) { scorer.add(static_cast<size_t>(p), group); },
              .speculate = config_.speculative_decoding,
              .drafts = rollout_.drafts.get(),
              .stop = stage_.host.stop});
    seconds_["time/rollout"] += watch_.lap();
    std::vector<Group> groups = scorer.finish();
    seconds_["time/reward"] += watch_.lap();  // what sampling did not hide
    rollout_.reward_seconds += scorer.seconds();
    return groups;
  }

  // The trainer's own log-prob of every sampled token against the sampler's.
  void measure_gap(std::vector<Minibatch>& minibatches) {
    watch_.lap();
    measure(config_, learner(), minibatches, step(),
            [this](Minibatch& m, std::span<const float> own, int64_t first) { compare(m, own, first); });
    seconds_["time/logprobs"] = watch_.lap();
  }

  void compare(Minibatch& m, std::span<const float> own, int64_t first) {
    const auto token = note_gap(m, own, first);
    if (token && config_.assert_gap) refuse_gap(m, *token, own[*token - static_cast<size_t>(first)]);
  }

  [[noreturn]] void refuse_gap(const Minibatch& m, size_t token, float own) {
    if (!std::isfinite(own)) {
      throw std::runtime_error(
          fmt::format("stage {}, step {}: the policy's log-probs are no finite numbers, so it has diverged; lower "
                      "learning_rate or max_grad_norm and repeat the stage",
                      stage_.name, step() + 1));
    }
    const auto sequence = static_cast<size_t>(m.batch.sequence[token]);
    const auto per_group = static_cast<size_t>(config_.num_generations);
    const auto first =
        std::lower_bound(m.batch.sequence.begin(), m.batch.sequence.end(), static_cast<int64_t>(sequence));
    const Rollout& r = m.groups[sequence / per_group].rollouts[sequence % per_group];
    throw std::runtime_error(fmt::format(
        "stage {}: prompt {}, sample {}, token {}: the sampler recorded log-prob {:.9g}, the trainer computes {:.9g}, "
        "so they are not the same function; report it, and go on with assert_gap: false",
        stage_.name, r.prompt_id, r.sample, static_cast<int64_t>(token) - (first - m.batch.sequence.begin()),
        m.batch.sampler_logprobs[token], own));
  }

  UpdateStats update(Minibatch& m, bool first_of_rollout) {
    watch_.lap();
    LogprobsSeen seen;
    if (first_of_rollout) seen = [&](std::span<const float> own, int64_t first) { compare(m, own, first); };
    const UpdateStats stats = hone::update(config_, learner(), m, step(), seen);
    seconds_["time/update"] = watch_.lap();
    return stats;
  }

  // One row of metrics a step; the groups are stored with the first pass over them.
  void record(Minibatch& m, const UpdateStats& stats, int64_t pass) {
    Metrics metrics = m.metrics;
    metrics.merge(update_metrics(config_, stats, step()));
    training_.state().num_tokens += static_cast<int64_t>(m.batch.inputs.size()) + m.batch.num_sequences();
    double total = 0;
    for (const auto& [name, seconds] : seconds_) {
      metrics[name] = seconds;
      total += seconds;
    }
    metrics["step_time"] = total + seconds_store_;
    metrics["perf/reward_seconds"] = rollout_.reward_seconds;
    if (config_.speculative_decoding) metrics["sampling/tokens_per_forward"] = rollout_.drafts->tokens_per_forward();
    if (dynamic_sampling_ != DynamicSampling::kNone) {
      metrics["dynamic_sampling/rounds"] = static_cast<double>(rollout_.rounds);
      metrics["dynamic_sampling/flat_frac"] = rollout_.flat_frac;
    }
    metrics["time/store"] = seconds_store_;
    metrics["epoch"] = static_cast<double>(training_.state().num_prompts) / static_cast<double>(prompts_.size());
    seconds_.clear();
    watch_.lap();
    StepRecord record{.stage = {}, .step = 0, .groups = {}, .advantages = {}, .metrics = std::move(metrics)};
    if (pass == 0) {
      record.groups = m.groups;
      record.advantages = m.advantages;
      record.dropped = std::exchange(rollout_.dropped, {});
    }
    training_.finish_step(std::move(record));
    seconds_store_ = watch_.lap();
  }

  // What is known of the rollout in progress beside its groups.
  struct RolloutState {
    std::unique_ptr<DraftCounts> drafts = std::make_unique<DraftCounts>();
    double reward_seconds = 0;  // of all scoring threads together
    int64_t rounds = 0;
    double flat_frac = 0;  // of the groups sampled, those that teach nothing
    std::vector<Group> dropped;
  };

  const RlConfig& config_;
  const StageContext& stage_;
  const std::vector<Prompt>& prompts_;
  const std::vector<NamedReward>& rewards_;
  DynamicSampling dynamic_sampling_;
  Training training_;
  Stopwatch watch_;
  Metrics seconds_;  // of the step in progress
  RolloutState rollout_;
  double seconds_store_ = 0;  // what handing the last step to the store's thread took
};

}  // namespace

Metrics train_rl(const RlConfig& config, const StageContext& stage, Model start, const std::vector<Prompt>& prompts,
                 const std::vector<NamedReward>& rewards) {
  if (prompts.empty()) throw std::invalid_argument(fmt::format("stage {}: its data hold no prompt", stage.name));
  return Trainer(config, stage, std::move(start), prompts, rewards).run();
}

}  // namespace hone
