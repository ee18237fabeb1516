#include "rl/evaluate.h"

#include "rl/metrics.h"
#include "rollout/engine.h"

namespace hone {

Evaluation evaluate(const Model& model, const std::vector<Prompt>& prompts, const std::vector<NamedReward>& rewards,
                    const EvalConfig& config, uint64_t seed, const Task* task, int threads, std::stop_token stop) {
  GenerateOptions options{.sampling = config.sampling,
                          .samples = config.num_generations,
                          .key = {seed, Purpose::kEval, 0},
                          .stop = std::move(stop)};
  for (const Prompt& p : prompts) options.slots.push_back(p.id);
  std::vector<Rollout> rollouts = generate(*model.policy, model.tokenizer, prompts, options);
  std::map<std::string, double> diagnosis;
  if (task) {
    std::vector<Prompt> repeated;
    for (const Rollout& r : rollouts)
      repeated.push_back(
          prompts[static_cast<size_t>(&r - rollouts.data()) / static_cast<size_t>(config.num_generations)]);
    diagnosis = task->diagnose(repeated, rollouts);
  }
  Evaluation out{score(prompts, std::move(rollouts), rewards, threads), {}};
  out.metrics = eval_metrics(out.groups, config.reflection_words);
  for (const auto& [name, value] : diagnosis) out.metrics["eval_" + name] = value;
  return out;
}

}  // namespace hone
