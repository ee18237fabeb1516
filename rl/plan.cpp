#include "rl/plan.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <numeric>

#include <fmt/format.h>

#include "rl/lineage.h"
#include "rl/progress.h"
#include "rl/recipe.h"

namespace hone {
namespace fs = std::filesystem;
namespace {

// Parameters times tokens that a thread gets through in a second, measured on the shipped recipes (docs/results.md).
constexpr double kTrainRate = 3.5e10, kSampleRate = 1.0e10;

double attention_parameters(const ModelConfig& c) {
  const auto h = static_cast<double>(c.hidden_size), heads = static_cast<double>(c.num_attention_heads);
  if (c.architecture != Architecture::kDeepseekV3) {
    return h * static_cast<double>(c.head_dim) * 2 * (heads + static_cast<double>(c.num_key_value_heads));
  }
  const auto latent = static_cast<double>(c.kv_lora_rank), query = heads * static_cast<double>(c.qk_head_dim());
  const auto rank = static_cast<double>(c.q_lora_rank.value_or(0)), value = heads * static_cast<double>(c.v_head_dim);
  return (rank > 0 ? rank * (h + query) : h * query) + h * (latent + static_cast<double>(c.qk_rope_head_dim)) +
         latent * (heads * static_cast<double>(c.qk_nope_head_dim) + value) + value * h;
}

double feed_forward_parameters(const ModelConfig& c, int64_t layer) {
  const auto h = static_cast<double>(c.hidden_size);
  if (!c.is_moe_layer(layer)) return 3 * h * static_cast<double>(c.intermediate_size);
  return 3 * h * static_cast<double>(c.moe_intermediate_size * (c.num_experts_per_tok + c.n_shared_experts)) +
         h * static_cast<double>(c.n_routed_experts);
}

int64_t count_lines(const fs::path& file) {
  std::ifstream in(file);
  return std::count(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>(), '\n');
}

class Planner {
 public:
  Planner(const Recipe& recipe, const PlanOptions& options, const TaskRows& task_rows)
      : recipe_(recipe), options_(options), task_rows_(task_rows) {}

  std::vector<PlanLine> lines() {
    std::vector<PlanLine> lines;
    bool again = false, is_over = false;
    for (const StageConfig& stage : recipe_.stages) {
      again |= options_.from == stage.name;
      line_ = {.stage = stage.name, .kind = stage.kind, .work = {}};
      line_.is_done = !again && fs::exists(options_.run_dir / "stages" / stage.name / "metrics.json");
      line_.is_left_out = is_over;
      is_over |= options_.until == stage.name;
      name_ = stage.name;
      std::visit([this](const auto& options) { add(options); }, stage.options);
      lines.push_back(line_);
    }
    return lines;
  }

 private:
  void add(const BaseConfig& c) {
    nlohmann::json shape = c.model_config;
    shape["vocab_size"] = 128;
    parameters_[name_] = active_parameters(parse_recipe_model(shape, "model_config"));
    for (const char* file : {"train.jsonl", "heldout.jsonl"}) rows_[name_ + "/" + file] = task_rows_(c.task, file);
    add_documents(c.optim.max_steps, c.tokens_per_step);
    finish(parameters_[name_]);
  }
  void add(const SftConfig& c) {
    add_rows(c);
    finish(parameters_[name_] = parameters_of(c.model));
  }
  void add(const DistilConfig& c) {
    if (c.model_config.empty()) return add(c.sft);
    nlohmann::json shape = c.model_config;
    shape["vocab_size"] = 128;
    add_rows(c.sft);
    finish(parameters_[name_] = active_parameters(parse_recipe_model(shape, "model_config")));
  }
  void add(const RlConfig& c) {
    const auto completions = static_cast<double>(c.optim.max_steps * c.prompts_per_step * c.num_generations);
    line_.trained_tokens = completions * mean_length(c.sampling);
    line_.sampled_tokens = line_.trained_tokens / static_cast<double>(c.num_iterations);
    line_.work = fmt::format("{} steps of {} prompts x {} completions", c.optim.max_steps, c.prompts_per_step,
                             c.num_generations);
    finish(parameters_[name_] = parameters_of(c.model));
  }
  void add(const RewardModelConfig& c) {
    line_.work = fmt::format("{} steps of {} pairs", c.optim.max_steps, c.pairs_per_step);
    finish(parameters_[name_] = parameters_of(c.model));
  }
  void add(const GenerateConfig& c) { rows_[name_ + "/rows.jsonl"] = add_samples(c); }
  void add(const EvalConfig& c) { add_samples(c); }
  void add(const FilterConfig& c) {
    const int64_t most = rows_of(c.data);
    rows_[name_ + "/rows.jsonl"] = c.limit > 0 && most > 0 ? std::min(most, c.limit) : most;
    line_.work = fmt::format("{} rows at most", shown(most));
  }
  void add(const PairsConfig& c) { line_.work = fmt::format("pairs of {} rows", shown(rows_of(c.data))); }
  void add(const PythonConfig& c) { line_.work = fmt::format("{} of {} data sets", c.function, c.data.size()); }
  void add(const MergeConfig& c) {
    int64_t rows = c.num_rows;
    for (const auto& data : c.data) rows += c.num_rows > 0 ? 0 : rows_of(data);
    rows_[name_ + "/rows.jsonl"] = rows;
    line_.work = fmt::format("{} rows{}", shown(rows), c.num_rows > 0 ? "" : " at most");
  }

  void add_documents(int64_t steps, int64_t tokens_per_step) {
    line_.trained_tokens = static_cast<double>(steps * tokens_per_step);
    line_.work = fmt::format("{} steps of {} tokens", steps, tokens_per_step);
  }
  // Rows are counted at half their limit.
  void add_rows(const SftConfig& c) {
    if (c.rows_per_step == 0) return add_documents(c.optim.max_steps, c.tokens_per_step);
    line_.trained_tokens = static_cast<double>(c.optim.max_steps * c.rows_per_step * c.max_length) / 2;
    line_.work = fmt::format("{} steps of {} rows", c.optim.max_steps, c.rows_per_step);
  }
  template <class Config>
  int64_t add_samples(const Config& c) {
    int64_t prompts = rows_of(c.data);
    if (c.limit > 0) prompts = prompts > 0 ? std::min(prompts, c.limit) : c.limit;
    line_.sampled_tokens = static_cast<double>(prompts * c.num_generations) * mean_length(c.sampling);
    line_.work = fmt::format("{} prompts x {} completions", shown(prompts), c.num_generations);
    finish(parameters_of(c.model));
    return prompts * c.num_generations;
  }

  static std::string shown(int64_t rows) { return rows > 0 ? fmt::format("{}", rows) : "an unknown number of"; }
  static double mean_length(const SamplingConfig& s) { return static_cast<double>(s.max_new_tokens) / 2; }

  /// Of an earlier stage or of a folder; 0: not known.
  double parameters_of(const std::string& model) {
    if (const auto stage = stage_of(model); !stage.empty()) return parameters_[stage];
    fs::path folder = resolve_path(model, options_.recipe_dir, options_.run_dir);
    if (!fs::exists(folder / "config.json")) folder /= "final";
    return fs::exists(folder / "config.json") ? active_parameters(load_model_config(folder)) : 0;
  }
  int64_t rows_of(const std::string& data) {
    const auto stage = stage_of(data);
    if (!stage.empty()) return rows_[stage + data.substr(data.find('}') + 1)];
    return count_lines(resolve_path(data, options_.recipe_dir, options_.run_dir));
  }

  // Forward and backward are three forward passes.
  void finish(double parameters) {
    const bool unknown = parameters == 0 || line_.trained_tokens + line_.sampled_tokens == 0;
    line_.seconds = unknown ? -1
                            : parameters / options_.threads *
                                  (3 * line_.trained_tokens / kTrainRate + line_.sampled_tokens / kSampleRate);
  }

  const Recipe& recipe_;
  const PlanOptions& options_;
  const TaskRows& task_rows_;
  std::string name_;
  PlanLine line_;
  std::map<std::string, double> parameters_;  // by stage
  std::map<std::string, int64_t> rows_;       // by stage/file
};

}  // namespace

double active_parameters(const ModelConfig& config) {
  double sum = static_cast<double>(config.vocab_size * config.hidden_size);
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    sum += attention_parameters(config) + feed_forward_parameters(config, layer);
  }
  return sum;
}

std::vector<PlanLine> plan_of(const Recipe& recipe, const PlanOptions& options, const TaskRows& task_rows) {
  return Planner(recipe, options, task_rows).lines();
}

std::string describe(const std::vector<PlanLine>& plan) {
  std::string out = "\n# the plan; times are guesses from the sizes\n";
  double left = 0;
  bool unknown = false;
  for (const PlanLine& line : plan) {
    const std::string time = line.is_left_out   ? "not run"
                             : line.is_done     ? "done"
                             : line.seconds < 0 ? "?"
                                                : "about " + format_duration(line.seconds);
    out += fmt::format("#   {:<24} {:<9} {:<44} {}\n", line.stage, line.kind, line.work, time);
    if (line.is_done || line.is_left_out) continue;
    left += std::max(0.0, line.seconds);
    unknown |= line.seconds < 0;
  }
  return out + fmt::format("#   about {}{} in all\n", format_duration(left), unknown ? " and what is not known" : "");
}

}  // namespace hone
