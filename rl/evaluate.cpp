#include "rl/evaluate.h"

#include "rl/metrics.h"
#include "rollout/dataset.h"
#include "rollout/engine.h"

namespace hone {

std::vector<Prompt> load_prompts(const std::string& file, const Tokenizer& tokenizer) {
  return load_prompts(file, [&](std::string_view text) { return tokenizer.encode(text); });
}

SamplingOptions sampling_options(const SamplingConfig& c) {
  return {.temperature = c.temperature,
          .top_k = c.top_k,
          .top_p = c.top_p,
          .max_new_tokens = c.max_completion_length,
          .min_new_tokens = c.min_completion_length};
}

Evaluation evaluate(const Model& model, const std::vector<Prompt>& prompts, const std::vector<NamedReward>& rewards,
                    const EvalConfig& config, uint64_t seed, const Task* task, int threads) {
  GenerateOptions options{.sampling = sampling_options(config.sampling),
                          .samples = config.num_generations,
                          .key = {seed, Purpose::kEval, 0}};
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
