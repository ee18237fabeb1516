#include "rl/samples.h"

#include <algorithm>
#include <span>

#include "rl/metrics.h"
#include "rl/rows.h"
#include "rollout/engine.h"

namespace hone {
namespace {

Metrics row_metrics(const std::vector<Row>& rows) {
  double correct = 0, tokens = 0;
  for (const Row& row : rows) {
    correct += row["verdict"] == "correct";
    tokens += static_cast<double>(row["completion_ids"].size());
  }
  const auto n = static_cast<double>(rows.size());
  return {{"rows/made", n}, {"rows/correct", correct / n}, {"rows/mean_length", tokens / n}};
}

class Sampler {
 public:
  Sampler(const GenerateConfig& config, const StageContext& stage, const Model& model,
          const std::vector<Prompt>& prompts, const std::vector<NamedReward>& rewards)
      : config_(config), stage_(stage), model_(model), prompts_(prompts), rewards_(rewards) {}

  void run() {
    const auto count = static_cast<int64_t>(prompts_.size());
    const int64_t steps = (count + config_.prompts_per_step - 1) / config_.prompts_per_step;
    int64_t step = stage_.store.last_step(stage_.name).value_or(0);
    stage_.progress.begin(stage_.name, step, steps);
    while (step < steps) {
      StepRecord record = sample(step++);
      stage_.progress.step(step, record.metrics);
      stage_.store.write(std::move(record));
    }
    stage_.progress.end();
    stage_.store.flush();
  }

 private:
  StepRecord sample(int64_t step) {
    watch_.lap();
    const auto begin = prompts_.begin() + step * config_.prompts_per_step;
    const auto end = std::min(begin + config_.prompts_per_step, prompts_.end());
    const std::vector<Prompt> prompts(begin, end);
    GroupScorer scorer(prompts, rewards_, stage_.threads);
    GenerateOptions options{
        .sampling = config_.sampling,
        .samples = config_.num_generations,
        .key = {stage_.seed, Purpose::kGenerate, 0},
        .on_group = [&](int64_t p, std::span<const Rollout> group) { scorer.add(static_cast<size_t>(p), group); },
        .stop = stage_.host.stop};
    for (const Prompt& p : prompts) options.slots.push_back(p.id);
    generate(*model_.policy, model_.tokenizer, prompts, options);
    StepRecord record{
        .stage = stage_.name, .step = step + 1, .groups = scorer.finish(), .advantages = {}, .metrics = {}};
    record.metrics = reward_metrics(record.groups, {});
    record.metrics["step_time"] = watch_.lap();
    return record;
  }

  const GenerateConfig& config_;
  const StageContext& stage_;
  const Model& model_;
  const std::vector<Prompt>& prompts_;
  const std::vector<NamedReward>& rewards_;
  Stopwatch watch_;
};

}  // namespace

Metrics generate_samples(const GenerateConfig& config, const StageContext& stage, const Model& model,
                         const std::vector<Prompt>& prompts, const std::vector<NamedReward>& rewards) {
  Sampler(config, stage, model, prompts, rewards).run();
  const auto rows = stored_rows(RunReader(stage.dir.parent_path().parent_path()), stage.name);
  write_rows(stage.dir / "data" / "rows.jsonl", rows);
  return row_metrics(rows);
}

}  // namespace hone
