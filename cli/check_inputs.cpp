#include "cli/check_inputs.h"

#include <algorithm>
#include <map>
#include <optional>
#include <stdexcept>

#include <fmt/format.h>

#include "cli/input.h"
#include "models/model_config.h"
#include "rewards/rewards.h"
#include "rl/filter.h"
#include "rl/host.h"
#include "rl/lineage.h"
#include "rl/pairs.h"
#include "rl/recipe.h"
#include "rl/reward_model.h"
#include "rl/run.h"
#include "rl/sft.h"
#include "rollout/dataset.h"

namespace hone {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kAnyVocabulary = 128;  // of a tokenizer that is yet to be made

class InputCheck {
 public:
  InputCheck(const fs::path& recipe_dir, const fs::path& run_dir, const Host& host, std::vector<std::string>* missing)
      : recipe_dir_(recipe_dir), run_dir_(run_dir), host_(host), missing_(missing) {}

  void check(const StageConfig& stage) {
    name_ = stage.name;
    std::visit([&](const auto& options) { check(options); }, stage.options);
  }

 private:
  void check(const BaseConfig& c) {
    const Task& task = task_named(c.task);
    check_shape(c.model_config,
                Tokenizer::from_json(task.tokenizer_json(), "tokenizer of task " + task.name).vocab_size());
  }
  void check(const SftConfig& c) {
    const Source* source = trained(c.model);
    if (!c.logit_teacher.empty()) model_of(c.logit_teacher);
    if (source && is_given(c.data)) {
      load_documents(path_of(c.data), source->model, c);
    } else {
      check_exists(c.data);
    }
  }
  void check(const DistilConfig& c) {
    if (!c.sft.model.empty()) return check(c.sft);
    if (!c.sft.logit_teacher.empty()) model_of(c.sft.logit_teacher);
    check_exists(c.sft.data);
    const Source* teacher = model_of(c.teacher);
    nlohmann::json shape = c.model_config;
    if (!teacher) {
      for (const char* key : {"bos_token_id", "eos_token_id", "pad_token_id"}) shape.erase(key);
    }
    check_shape(std::move(shape), teacher ? teacher->model.policy->config().vocab_size : kAnyVocabulary);
  }
  void check(const GenerateConfig& c) {
    check_rewards(c.reward_funcs, {});
    check_prompts(c.model, c.data);
    check_length(c.model, c.sampling);
  }
  void check(const RewardModelConfig& c) {
    const Source* source = model_of(c.model);
    if (source && is_given(c.data)) load_pairs(path_of(c.data), source->model, c.max_length);
    else check_exists(c.data);
  }
  void check(const FilterConfig& c) {
    if (!c.python.empty()) need_python(host_.filter != nullptr, c.python);
    check_rows(c.data, c.python.empty() ? columns_of(c) : std::vector<Column>{});
    if (!c.rewrite.empty() && !task_named(c.rewrite).rewrite) {
      throw std::invalid_argument(fmt::format("task '{}' has no rule to rewrite completions by", c.rewrite));
    }
  }
  void check(const PairsConfig& c) { check_rows(c.data, columns_of(c)); }
  void check(const PythonConfig& c) {
    need_python(host_.stage != nullptr, c.function);
    for (const auto& data : c.data) check_rows(data);
  }
  void check(const MergeConfig& c) {
    for (const auto& data : c.data) check_rows(data);
  }
  void check(const RlConfig& c) {
    check_rewards(c.reward_funcs, c.reward_weights);
    check_prompts(c.model, c.data);
    trained(c.model);
    check_length(c.model, c.sampling);
  }
  void check(const EvalConfig& c) {
    check_rewards(c.reward_funcs, {});
    if (!c.task.empty()) task_named(c.task);
    check_prompts(c.model, c.data);
    check_length(c.model, c.sampling);
  }

  /// What data files are read with.
  struct Source {
    Model model;  // shapes, no weights
    PromptEncoder prompts;
  };

  void check_shape(nlohmann::json model_config, int64_t vocab_size) {
    model_config["vocab_size"] = vocab_size;
    positions_[name_] = parse_recipe_model(model_config, "model_config").max_position_embeddings;
  }

  /// model_of(), for a stage whose own model reads as many tokens.
  const Source* trained(const std::string& value) {
    const Source* source = model_of(value);
    positions_[name_] = positions_of(value);
    return source;
  }

  /// 0: not known.
  int64_t positions_of(const std::string& value) {
    if (!is_outside(value)) return positions_[stage_of(value)];
    const Source* source = model_of(value);
    return source ? source->model.policy->config().max_position_embeddings : 0;
  }

  void check_length(const std::string& model, const SamplingConfig& sampling) {
    const int64_t positions = positions_of(model);
    if (positions == 0 || sampling.max_new_tokens < positions) return;
    throw std::invalid_argument(fmt::format(
        "max_completion_length is {}, which leaves a prompt no room: the model's max_position_embeddings is "
        "{}; lower it",
        sampling.max_new_tokens, positions));
  }

  void check_rows(const std::string& data, const std::vector<Column>& columns = {}) const {
    if (is_given(data)) read_rows(path_of(data), columns);
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

  /// Whether the value is a path, and not of something missing that is listed.
  bool is_given(const std::string& value) const { return is_outside(value) && !is_missing(value); }

  /// Null for a model that the run itself makes, or that is missing. Each is read once.
  const Source* model_of(const std::string& value) {
    if (!is_given(value)) return nullptr;
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
    if (is_given(data) && !fs::exists(path_of(data))) {
      throw std::invalid_argument(path_of(data).string() + ": not found; check the path");
    }
  }

  /// Under a tokenizer that is yet to be made, text can only be taken as it is.
  void check_prompts(const std::string& model, const std::string& data) {
    const Source* source = model_of(model);
    if (!is_given(data)) return;
    const auto as_it_is = [](std::string_view text) { return EncodedPrompt{std::string(text), {0}}; };
    load_prompts(path_of(data).string(), source ? source->prompts : PromptEncoder{as_it_is, as_it_is});
  }

  const fs::path &recipe_dir_, &run_dir_;
  const Host& host_;
  std::vector<std::string>* missing_;
  std::map<fs::path, Source> sources_;
  std::string name_;                          // of the stage that is checked
  std::map<std::string, int64_t> positions_;  // max_position_embeddings of a stage's model; 0: not known
};

}  // namespace

void check_inputs(const Recipe& recipe, const RunOptions& options, bool even_done, std::vector<std::string>* missing) {
  InputCheck inputs(options.recipe_dir, options.run_dir, options.host, missing);
  bool again = even_done;
  for (const StageConfig& stage : recipe.stages) {
    again |= options.from == stage.name;
    if (!again && fs::exists(options.run_dir / "stages" / stage.name / "metrics.json")) continue;
    try {
      as_input([&] { inputs.check(stage); });
    } catch (const std::invalid_argument& error) {
      throw std::invalid_argument(fmt::format("stage '{}': {}", stage.name, error.what()));
    }
    if (options.until == stage.name) break;
  }
}

}  // namespace hone
