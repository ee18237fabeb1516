// hone eval --model DIR --data FILE.jsonl --reward NAME: samples k completions of every row and scores them.
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <stdexcept>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/input.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "models/atomic_file.h"
#include "models/kernels/thread_pool.h"
#include "rewards/rewards.h"
#include "rl/evaluate.h"
#include "rl/metrics.h"
#include "rl/reward_model.h"

namespace hone {
namespace {

using Metrics = std::map<std::string, double>;

// Known before an hour of sampling, not after it.
void check_save(const std::string& file) {
  const auto folder = std::filesystem::absolute(file).parent_path();
  if (file.empty() || std::filesystem::is_directory(folder)) return;
  throw std::invalid_argument(fmt::format("--save {}: there is no folder {}; make it first", file, folder.string()));
}

/// One limit for all rows: that of the longest prompt, of the whole file so that --limit does not change it.
SamplingConfig sampling_config(const EvalArgs& args, const Model& model, const std::vector<Prompt>& prompts) {
  int64_t longest = 0;
  for (const Prompt& p : prompts) longest = std::max(longest, static_cast<int64_t>(p.token_ids.size()));
  return {sampling_options(args.sampling, model, longest)};
}

std::string completion_rows(const std::vector<Group>& groups) {
  std::string text;
  for (size_t p = 0; p < groups.size(); ++p) {
    for (size_t g = 0; g < groups[p].rollouts.size(); ++g) {
      const Rollout& r = groups[p].rollouts[g];
      const Score& s = groups[p].rewards[g].parts.at(0).score;
      text += fmt::format(
          "{{\"prompt_index\":{},\"id\":{},\"sample\":{},\"prompt\":{},\"completion\":{},\"tokens\":{},"
          "\"finish_reason\":\"{}\",\"score\":{},\"verdict\":\"{}\",\"reason\":{}}}\n",
          p, r.prompt_id, r.sample, json_text(groups[p].prompt.text), json_text(r.text), r.token_ids.size(),
          to_string(r.finish_reason), s.value ? fmt::format("{:.9g}", *s.value) : "null", to_string(s.verdict),
          json_text(s.reason));
    }
  }
  return text;
}

std::string summary(const EvalArgs& args, const SamplingConfig& sampling, const Metrics& m) {
  std::string text = fmt::format(
      "model        {}\ndata         {}: {} problems x {} samples\nsampling     temperature {:g}, at most {} tokens, "
      "seed {}\n",
      args.model, args.data, m.at("eval_num_problems"), args.k, sampling.temperature, sampling.max_new_tokens,
      args.sampling.seed);
  text += fmt::format("pass@1       {:.4f}  (95 % interval {:.4f} to {:.4f})\n", m.at("eval_pass@1"),
                      m.at("eval_pass@1_low"), m.at("eval_pass@1_high"));
  for (int64_t k = 2; k <= args.k; ++k) {
    const auto pass = m.find(fmt::format("eval_pass@{}", k));
    if (pass != m.end()) text += fmt::format("{:<12} {:.4f}\n", fmt::format("pass@{}", k), pass->second);
  }
  text += fmt::format("{:<12} {:.4f}\n", fmt::format("maj@{}", args.k), m.at(fmt::format("eval_maj@{}", args.k)));
  text += fmt::format("mean length  {:.1f} tokens\ntruncated    {:.2f} %\n", m.at("eval_mean_length"),
                      100 * m.at("eval_truncated"));
  if (m.at("eval_not_scored") > 0) text += fmt::format("not scored   {:.2f} %\n", 100 * m.at("eval_not_scored"));
  return text;
}

/// What the task's diagnosis added to the metrics.
std::string diagnosis(const Evaluation& e) {
  const Metrics plain = eval_metrics(e.groups, {});
  std::string text = "diagnosis\n";
  for (const auto& [name, value] : e.metrics) {
    if (!plain.count(name)) text += fmt::format("  {:<24} {:.4g}\n", name.substr(std::string("eval_").size()), value);
  }
  return text;
}

}  // namespace

int eval(const EvalArgs& args, const Host& host) {
  const Task* task = args.task.empty() ? nullptr : &task_named(args.task);
  if (!reward_model_of(args.reward))
    make_rewards({args.reward}, {}, {host.reward, {}});  // refused before the model is read
  if (!args.save.empty()) check_save(args.save);
  const Model model = read_model(args.model, {.keep = Keep::kForSampling});
  const auto rewards =
      make_rewards({args.reward}, {}, {host.reward, [&](const std::string& folder) {
                                         return as_input([&] { return model_reward(folder, model.tokenizer); });
                                       }});
  auto prompts = read_prompts(args.data, model, prompt_encoder(model));
  const EvalConfig config{.num_generations = args.k, .sampling = sampling_config(args, model, prompts)};
  if (args.limit > 0 && static_cast<int64_t>(prompts.size()) > args.limit)
    prompts.resize(static_cast<size_t>(args.limit));
  const Evaluation e = evaluate(model, prompts, rewards, config, args.sampling.seed, task, kernel_pool().threads());
  if (!args.save.empty()) write_file_atomic(args.save, completion_rows(e.groups));
  if (args.json) {
    std::cout << nlohmann::json(e.metrics).dump() << '\n';
  } else {
    std::cout << summary(args, config.sampling, e.metrics) << (task ? diagnosis(e) : "");
  }
  return 0;
}

}  // namespace hone
