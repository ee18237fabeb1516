// The trainer's loss, gradient and advantages for batches that tests/python/trl_parity_test.py sends, one JSON object a
// line; every setting is a recipe's, so that what is compared is what a recipe gets.
//   {"model", "gradient", "part_tokens", "recipe", "reference"?, "groups": [{"prompt_ids", "completions":
//   [{"token_ids",
//     "logprobs", "reward", "finish_reason"}]}]}     recipe: YAML with one rl stage
//   {"model", "gradient", "part_tokens", "documents", "recipe", "teacher"?}     documents: JSONL, read as the recipe's
//   one
//     sft stage reads them
// Answers {"loss", "entropy", "kl", "clip_ratio", "advantages"}; the gradient goes to a safetensors file under the
// names of the checkpoint.
#include <iostream>

#include <nlohmann/json.hpp>

#include "models/kernels/thread_pool.h"
#include "models/safetensors.h"
#include "rl/advantage.h"
#include "rl/checkpoint.h"
#include "rl/recipe.h"
#include "rl/sft.h"
#include "rl/update.h"

namespace hone {
namespace {

using Json = nlohmann::json;

std::vector<Group> groups_of(const Json& rows) {
  std::vector<Group> groups;
  for (const Json& row : rows) {
    Group group;
    group.prompt.token_ids = row.at("prompt_ids").get<std::vector<int32_t>>();
    for (const Json& c : row.at("completions")) {
      Rollout r{.token_ids = c.at("token_ids").get<std::vector<int32_t>>(),
                .logprobs = c.at("logprobs").get<std::vector<float>>()};
      if (c.at("finish_reason") == "eos") r.finish_reason = FinishReason::kEos;
      group.rollouts.push_back(std::move(r));
      Reward reward;
      if (!c.at("reward").is_null()) reward.total = c.at("reward").get<double>();
      group.rewards.push_back(reward);
    }
    groups.push_back(std::move(group));
  }
  return groups;
}

void save_gradient(const Policy& policy, const std::string& file) {
  std::vector<TensorInfo> tensors;
  std::vector<at::Tensor> keep;
  for (const Parameter& p : policy.parameters().all()) {
    if (!p.trainable() || !p.tensor.grad().defined()) continue;
    const at::Tensor& grad = keep.emplace_back(p.tensor.grad().contiguous());
    const auto shape = grad.sizes().vec();
    tensors.push_back({p.names.at(0), "F32", shape, reinterpret_cast<const std::byte*>(grad.const_data_ptr<float>()),
                       static_cast<size_t>(grad.numel()) * sizeof(float)});
  }
  write_safetensors(file, tensors);
}

Json answer(const UpdateStats& s, const std::vector<std::vector<double>>& advantages) {
  return {
      {"loss", s.loss}, {"entropy", s.entropy}, {"kl", s.kl}, {"clip_ratio", s.clip_ratio}, {"advantages", advantages}};
}

Json policy_loss_of(const Json& row, const Model& model, UpdateOptions options) {
  const Recipe recipe = parse_recipe(row.at("recipe"), "recipe");
  const auto& config = std::get<RlConfig>(recipe.stages.at(0).options);
  const LossSpec spec = loss_spec(config);
  options.inv_temperature = 1 / config.sampling.temperature;
  const auto groups = groups_of(row.at("groups"));
  const auto advantages = group_advantages(groups, advantage_options(config));
  const Batch batch = make_batch(groups, advantages,
                                 {.normaliser = spec.normaliser,
                                  .max_completion_length = config.sampling.max_new_tokens,
                                  .micro_batch_sequences = config.bnpo_sequences,
                                  .mask_truncated = config.mask_truncated_completions});
  std::vector<float> reference;
  if (config.beta > 0)
    reference = token_logprobs(*load_model(row.at("reference").get<std::string>()).policy, batch, options);
  return answer(accumulate_policy_gradient(*model.policy, batch, spec, reference, options), advantages);
}

Json document_loss_of(const Json& row, const Model& model, const UpdateOptions& options) {
  const Recipe recipe = parse_recipe(row.at("recipe"), "recipe");
  const auto& config = std::get<SftConfig>(recipe.stages.at(0).options);
  const Batch batch = make_batch(load_documents(row.at("documents").get<std::string>(), model, config));
  if (!row.contains("teacher")) return answer(accumulate_cross_entropy_gradient(*model.policy, batch, options), {});
  const Model teacher = load_model(row.at("teacher").get<std::string>());
  return answer(
      accumulate_distillation_gradient(*model.policy, *teacher.policy, batch, distillation_spec(config), options), {});
}

Json run(const Json& row) {
  const Model model = load_model(row.at("model").get<std::string>());
  model.policy->set_requires_grad(true);
  const UpdateOptions options{.part_tokens = row.at("part_tokens").get<int64_t>()};
  const Json out = row.contains("groups") ? policy_loss_of(row, model, options) : document_loss_of(row, model, options);
  save_gradient(*model.policy, row.at("gradient"));
  return out;
}

}  // namespace
}  // namespace hone

int main() {
  hone::set_kernel_threads(1);
  for (std::string line; std::getline(std::cin, line);) {
    nlohmann::json out;
    try {
      out = hone::run(nlohmann::json::parse(line));
    } catch (const std::exception& e) {
      out = {{"error", e.what()}};
    }
    std::cout << out.dump() << std::endl;
  }
}
