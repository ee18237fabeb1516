#include "cli/check_inputs.h"

#include <algorithm>
#include <map>
#include <optional>
#include <stdexcept>

#include <fmt/format.h>

#include "cli/input.h"
#include "models/model_config.h"
#include "rewards/rewards.h"
#include "rl/host.h"
#include "rl/recipe.h"
#include "rl/sft.h"
#include "rollout/dataset.h"

namespace hone {
namespace fs = std::filesystem;
namespace {

class InputCheck {
 public:
  InputCheck(const fs::path& recipe_dir, const fs::path& run_dir, const Host& host, std::vector<std::string>* missing)
      : recipe_dir_(recipe_dir), run_dir_(run_dir), host_(host), missing_(missing) {}

  void check(const BaseConfig& c) {
    const Task& task = task_named(c.task);
    check_shape(c.model_config, Tokenizer::from_json(task.tokenizer_json(), "tokenizer of task " + task.name));
  }
  void check(const SftConfig& c) {
    const Source* source = model_of(c.model);
    if (!c.logit_teacher.empty()) model_of(c.logit_teacher);
    if (source && is_outside(c.data) && !is_missing(c.data)) {
      load_documents(path_of(c.data), source->model, c);
    } else {
      check_exists(c.data);
    }
  }
  void check(const DistilConfig& c) {
    if (!c.sft.model.empty()) return check(c.sft);
    if (!c.sft.logit_teacher.empty()) model_of(c.sft.logit_teacher);
    check_exists(c.sft.data);
    if (const Source* teacher = model_of(c.teacher)) check_shape(c.model_config, teacher->model.tokenizer);
  }
  void check(const GenerateConfig& c) {
    check_rewards(c.reward_funcs, {});
    check_prompts(c.model, c.data);
  }
  void check(const RewardModelConfig& c) {
    model_of(c.model);
    check_exists(c.data);
  }
  void check(const FilterConfig& c) {
    check_exists(c.data);
    if (!c.rewrite.empty() && !task_named(c.rewrite).rewrite) {
      throw std::invalid_argument(fmt::format("task '{}' has no rule to rewrite completions by", c.rewrite));
    }
  }
  void check(const PairsConfig& c) { check_exists(c.data); }
  void check(const PythonConfig& c) {
    for (const auto& data : c.data) check_exists(data);
  }
  void check(const MergeConfig& c) {
    for (const auto& data : c.data) check_exists(data);
  }
  void check(const RlConfig& c) {
    check_rewards(c.reward_funcs, c.reward_weights);
    check_prompts(c.model, c.data);
  }
  void check(const EvalConfig& c) {
    check_rewards(c.reward_funcs, {});
    if (!c.task.empty()) task_named(c.task);
    check_prompts(c.model, c.data);
  }

 private:
  /// What data files are read with.
  struct Source {
    Model model;  // shapes, no weights
    PromptEncoder prompts;
  };

  static void check_shape(nlohmann::json model_config, const Tokenizer& tokenizer) {
    model_config["vocab_size"] = tokenizer.vocab_size();
    parse_recipe_model(model_config, "model_config");
  }

  static bool is_outside(const std::string& value) { return !value.starts_with("${"); }
  fs::path path_of(const std::string& value) const { return resolve_path(value, recipe_dir_, run_dir_); }

  /// Whether the value is a path where nothing is, and that is to be listed; then it is.
  bool is_missing(const std::string& value) const {
    if (!missing_ || !is_outside(value) || fs::exists(path_of(value))) return false;
    const std::string line = path_of(value).string() + " is not there";
    if (std::find(missing_->begin(), missing_->end(), line) == missing_->end()) missing_->push_back(line);
    return true;
  }

  /// Null for a model that the run itself makes, or that is missing. Each is read once.
  const Source* model_of(const std::string& value) {
    if (!is_outside(value) || is_missing(value)) return nullptr;
    const fs::path path = path_of(value);
    auto found = sources_.find(path);
    if (found == sources_.end()) {
      Model model = read_model(path.string(), {.keep = Keep::kShapes});
      PromptEncoder prompts = prompt_encoder(model);
      found = sources_.emplace(path, Source{std::move(model), std::move(prompts)}).first;
    }
    return &found->second;
  }

  void check_rewards(const std::vector<std::string>& names, const std::vector<double>& weights) {
    const auto reward_model = [this](const std::string& folder) {
      model_of(folder);
      return NamedReward{.name = "reward_model", .fn = {}};
    };
    make_rewards(names, weights, {host_.reward, reward_model});
  }

  void check_exists(const std::string& data) const {
    if (is_outside(data) && !is_missing(data) && !fs::exists(path_of(data))) {
      throw std::invalid_argument(path_of(data).string() + ": not found; check the path");
    }
  }

  /// Under a tokenizer that is yet to be made, text can only be taken as it is.
  void check_prompts(const std::string& model, const std::string& data) {
    const Source* source = model_of(model);
    if (!is_outside(data) || is_missing(data)) return;
    const auto as_it_is = [](std::string_view text) { return EncodedPrompt{std::string(text), {0}}; };
    load_prompts(path_of(data).string(), source ? source->prompts : PromptEncoder{as_it_is, as_it_is});
  }

  const fs::path &recipe_dir_, &run_dir_;
  const Host& host_;
  std::vector<std::string>* missing_;
  std::map<fs::path, Source> sources_;
};

}  // namespace

void check_inputs(const Recipe& recipe, const fs::path& recipe_dir, const fs::path& run_dir, bool repeat,
                  const Host& host, std::vector<std::string>* missing) {
  InputCheck inputs(recipe_dir, run_dir, host, missing);
  for (const StageConfig& stage : recipe.stages) {
    if (!repeat && fs::exists(run_dir / "stages" / stage.name / "metrics.json")) continue;
    try {
      as_input([&] { std::visit([&](const auto& options) { inputs.check(options); }, stage.options); });
    } catch (const std::invalid_argument& error) {
      throw std::invalid_argument(fmt::format("stage '{}': {}", stage.name, error.what()));
    }
  }
}

}  // namespace hone
