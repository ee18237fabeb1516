// Conflicts between the keys of a recipe, and where its ${stage} references lead.
#include <algorithm>
#include <cctype>
#include <optional>
#include <set>
#include <stdexcept>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "rewards/rewards.h"
#include "rl/recipe.h"
#include "rl/suggest.h"

namespace hone {
namespace {

using Names = std::vector<std::string>;

bool contains(const Names& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// ---- ${stage} -------------------------------------------------------------------------------------------------------

/// `${stage}` or `${stage}/file`.
struct StageRef {
  std::string stage, file;
};

/// Empty when the value names no stage; throws std::invalid_argument for a `${` in any other form.
std::optional<StageRef> stage_ref(const std::string& value) {
  const size_t open = value.find("${"), close = value.find('}');
  if (open == std::string::npos) return {};
  const bool ends_well = close != std::string::npos && (close + 1 == value.size() || value[close + 1] == '/');
  if (open != 0 || !ends_well || value.find("${", 2) != std::string::npos || close == 2) {
    throw std::invalid_argument(
        fmt::format("'{}' is neither a path nor of the form ${{stage}} or ${{stage}}/file", value));
  }
  return StageRef{value.substr(2, close - 2), close + 1 == value.size() ? "" : value.substr(close + 2)};
}

// ---- conflicts ------------------------------------------------------------------------------------------------------

/// Adds the conflicts of one stage to `conflicts`.
class StageChecker {
 public:
  StageChecker(const Recipe& recipe, size_t index, Names& conflicts)
      : recipe_(recipe), index_(index), stage_(recipe.stages[index]), conflicts_(conflicts) {}

  void check() {
    std::visit([this](const auto& options) { check_options(options); }, stage_.options);
  }

 private:
  void require(bool sound, const std::string& sentence) {
    if (!sound) conflicts_.push_back(fmt::format("stage '{}': {}", stage_.name, sentence));
  }

  void check_options(const BaseConfig& o) {
    require(!o.task.empty(), "task is missing");
    require(!o.model_config.empty(), "model_config is missing; it holds the fields of config.json");
    require(o.optim.lora.rank == 0, "lora_r is set, but random weights must all be trained; leave it out");
    check_optim(o.optim);
  }
  void check_options(const SftConfig& o) {
    check_sources(o.model, o.data);
    check_teaching(o);
  }
  // What an sft and a distil stage have in common.
  void check_teaching(const SftConfig& o) {
    check_optim(o.optim);
    if (!o.logit_teacher.empty()) check_model("logit_teacher", o.logit_teacher);
    require(o.on_policy_share == 0 || !o.logit_teacher.empty(),
            "on_policy_share is set, but without a logit_teacher nobody judges what the student samples; set it");
    require(o.on_policy_share == 0 || o.completion_only_loss,
            "on_policy_share is set, but without completion_only_loss a row has no prompt to go on from");
  }
  void check_options(const RlConfig& o) {
    check_sources(o.model, o.data);
    check_rewards(o.reward_funcs);
    check_weights(o);
    check_sampling(o.sampling);
    check_optim(o.optim);
    require(o.num_generations > 1,
            "num_generations is 1, but an advantage compares the completions of a prompt; use 2 or more");
    require(o.sampling.temperature > 0,
            "temperature is 0, so that the completions of a prompt are all the same; use e.g. 1");
    const int64_t per_rollout = o.steps_per_generation * o.num_iterations;
    require(
        o.optim.max_steps % per_rollout == 0 && o.optim.save_steps % per_rollout == 0,
        fmt::format("max_steps {} and save_steps {} must be multiples of steps_per_generation x num_iterations = {}, "
                    "so that a run stops and resumes between rollouts",
                    o.optim.max_steps, o.optim.save_steps, per_rollout));
    require(
        o.sampling.top_k == 0 && o.sampling.top_p == 1 && o.sampling.min_p == 0 && o.sampling.repetition_penalty == 1,
        "top_k, top_p, min_p and repetition_penalty must be off in training: the policy gradient is that of the "
        "whole distribution; use temperature");
    require(o.ref_model_sync_steps == 0 || o.beta > 0,
            "ref_model_sync_steps is set, but with beta 0 there is no reference model; set beta or leave it out");
  }
  void check_options(const EvalConfig& o) {
    check_sources(o.model, o.data);
    check_rewards(o.reward_funcs);
    check_sampling(o.sampling);
  }

  void check_options(const GenerateConfig& o) {
    check_sources(o.model, o.data);
    check_rewards(o.reward_funcs);
    check_sampling(o.sampling);
  }
  void check_options(const RewardModelConfig& o) {
    check_model("model", o.model);
    check_source("data", o.data, {"pairs", "filter", "merge", "python"}, "data of pairs");
    check_optim(o.optim);
    require(o.optim.lora.rank == 0, "lora_r is set, but a reward model's new head must be trained; leave it out");
  }
  void check_options(const FilterConfig& o) {
    check_data(o.data);
    if (!o.python.empty()) check_function("python", o.python);
    require(o.max_length == 0 || o.min_length <= o.max_length,
            fmt::format("min_length {} is above max_length {}", o.min_length, o.max_length));
    require(o.min_pass_rate <= o.max_pass_rate,
            fmt::format("min_pass_rate {} is above max_pass_rate {}", o.min_pass_rate, o.max_pass_rate));
  }
  void check_options(const PairsConfig& o) { check_data(o.data); }
  void check_options(const MergeConfig& o) {
    require(!o.data.empty(), "data is missing; list at least one data set");
    for (const auto& data : o.data) check_data(data);
    require(o.columns.empty() || o.columns.size() == o.data.size(),
            fmt::format("columns has {} objects and data {} data sets; give one each, or none", o.columns.size(),
                        o.data.size()));
    if (o.weights.empty()) return;
    require(o.weights.size() == o.data.size(),
            fmt::format("weights has {} numbers and data {} data sets; give one weight each, or none", o.weights.size(),
                        o.data.size()));
    require(std::all_of(o.weights.begin(), o.weights.end(), [](double w) { return w > 0; }),
            "weights must be above 0; leave out a data set that is not wanted");
  }
  void check_options(const PythonConfig& o) {
    check_function("function", o.function);
    for (const auto& data : o.data) check_data(data);
  }
  void check_function(const char* key, const std::string& value) {
    const size_t colon = value.find(':');
    require(colon > 0 && colon + 1 < value.size(),
            fmt::format("{} is '{}', but must name a Python function as module:function", key, value));
  }
  void check_options(const DistilConfig& o) {
    check_data(o.sft.data);
    check_teaching(o.sft);
    if (!o.teacher.empty()) check_model("teacher", o.teacher);
    if (!o.sft.model.empty()) check_model("model", o.sft.model);
    require(o.sft.model.empty() != o.model_config.empty(),
            "a student is either a model (folder or ${stage}) or a model_config; give one of them");
    require(o.model_config.empty() || o.sft.optim.lora.rank == 0,
            "lora_r is set, but a new student's random weights must all be trained; leave it out");
    require(o.model_config.empty() || !o.teacher.empty(),
            "teacher is missing; a student of model_config takes its tokenizer");
  }

  void check_optim(const OptimConfig& o) {
    require(o.adam_beta1 < 1 && o.adam_beta2 < 1, "adam_beta1 and adam_beta2 must be below 1");
    require(o.lora.target_modules.empty() || o.lora.rank > 0,
            "lora_target_modules is set, but with lora_r 0 there are no adapters; set lora_r or leave it out");
  }
  void check_sampling(const SamplingConfig& s) {
    require(
        s.min_new_tokens <= s.max_new_tokens,
        fmt::format("min_completion_length {} is above max_completion_length {}", s.min_new_tokens, s.max_new_tokens));
  }
  void check_rewards(const Names& rewards) {
    require(!rewards.empty(), "reward_funcs is missing; name at least one, e.g. [countdown]");
    require(std::set<std::string>(rewards.begin(), rewards.end()).size() == rewards.size(),
            "reward_funcs names a reward twice; give it one larger weight instead");
    for (const auto& reward : rewards) {
      if (const auto folder = reward_model_of(reward))
        check_source("reward_model", *folder, {"reward_model"}, "reward model");
    }
  }
  void check_weights(const RlConfig& o) {
    if (o.reward_weights.empty()) return;
    require(o.reward_weights.size() == o.reward_funcs.size(),
            fmt::format("reward_weights has {} numbers and reward_funcs {} names; give one weight each, or none",
                        o.reward_weights.size(), o.reward_funcs.size()));
    require(std::any_of(o.reward_weights.begin(), o.reward_weights.end(), [](double w) { return w != 0; }),
            "reward_weights are all 0, so that no reward counts");
  }

  void check_sources(const std::string& model, const std::string& data) {
    check_model("model", model);
    check_data(data);
  }
  void check_model(const std::string& key, const std::string& value) {
    check_source(key, value, {"base", "sft", "rl", "distil"}, "model");
  }
  void check_data(const std::string& value) {
    check_source("data", value, {"base", "generate", "filter", "pairs", "merge", "python"}, "data");
  }
  void check_source(const std::string& key, const std::string& value, const Names& makers, const std::string& what) {
    if (value.empty()) return require(false, key + " is missing; it is a path or ${stage}");
    try {
      if (const auto ref = stage_ref(value)) check_ref(key, value, *ref, makers, what);
    } catch (const std::invalid_argument& e) {
      require(false, key + ": " + e.what());
    }
  }
  void check_ref(const std::string& key, const std::string& value, const StageRef& ref, const Names& makers,
                 const std::string& what) {
    const StageConfig* maker = find_earlier(key, value, ref.stage);
    if (!maker) return;
    if (!contains(makers, maker->kind)) {
      return require(false, fmt::format("{} is {}, but a stage of kind {} makes no {}", key, value, maker->kind, what));
    }
    const bool wants_file = key == "data";
    require(wants_file == !ref.file.empty(), fmt::format("{} is {}, but must be of the form {}", key, value,
                                                         wants_file ? "${stage}/file.jsonl" : "${stage}"));
    if (!wants_file || ref.file.empty()) return;
    const Names files = maker->kind == "base" ? Names{"train.jsonl", "heldout.jsonl"} : Names{"rows.jsonl"};
    require(contains(files, ref.file), fmt::format("{} is {}, but a stage of kind {} makes {}", key, value, maker->kind,
                                                   fmt::join(files, " and ")));
  }
  const StageConfig* find_earlier(const std::string& key, const std::string& value, const std::string& name) {
    Names earlier;
    for (size_t i = 0; i < recipe_.stages.size(); ++i) {
      const auto& stage = recipe_.stages[i];
      if (stage.name == name && i < index_) return &stage;
      if (stage.name == name) {
        require(false, fmt::format("{} is {}, but stage '{}' does not come before this one", key, value, name));
        return nullptr;
      }
      if (i < index_) earlier.push_back(stage.name);
    }
    const std::string hint = earlier.empty() ? "no stage comes before this one" : did_you_mean(name, earlier);
    require(false, fmt::format("{} is {}, but the recipe has no stage '{}'; {}", key, value, name, hint));
    return nullptr;
  }

  const Recipe& recipe_;
  size_t index_;
  const StageConfig& stage_;
  Names& conflicts_;
};

/// Names become folders, so nothing that could leave the run directory.
bool is_sound_name(const std::string& name) {
  const auto sound = [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '.' || c == '-'; };
  return !name.empty() && name.size() <= 100 && name[0] != '.' && name[0] != '-' &&
         std::all_of(name.begin(), name.end(), sound);
}

void check_name(const char* what, const std::string& name, Names& conflicts) {
  if (is_sound_name(name)) return;
  conflicts.push_back(fmt::format(
      "the name of {}, '{}', must be of A-Z a-z 0-9 _ . - (100 at most) and begin with none of . -", what, name));
}

}  // namespace

std::vector<std::string> validate(const Recipe& recipe) {
  Names conflicts;
  check_name("the recipe", recipe.name, conflicts);
  if (recipe.stages.empty()) conflicts.emplace_back("the recipe has no stages; list at least one under 'stages:'");
  std::set<std::string> seen;
  for (size_t i = 0; i < recipe.stages.size(); ++i) {
    const auto& name = recipe.stages[i].name;
    check_name("a stage", name, conflicts);
    if (!seen.insert(name).second) conflicts.push_back(fmt::format("two stages have the name '{}'", name));
    StageChecker(recipe, i, conflicts).check();
  }
  return conflicts;
}

std::filesystem::path resolve_path(const std::string& value, const std::filesystem::path& recipe_dir,
                                   const std::filesystem::path& run_dir) {
  if (const auto ref = stage_ref(value)) {
    const auto stage = run_dir / "stages" / ref->stage;
    return ref->file.empty() ? stage / "final" : stage / "data" / ref->file;
  }
  const std::filesystem::path beside_recipe = recipe_dir / value;  // an absolute value stands alone
  return std::filesystem::exists(beside_recipe) ? beside_recipe : std::filesystem::path(value);
}

}  // namespace hone
