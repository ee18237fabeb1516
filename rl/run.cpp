#include "rl/run.h"

#include <algorithm>
#include <fstream>
#include <stdexcept>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "models/atomic_file.h"
#include "rewards/rewards.h"
#include "rl/evaluate.h"
#include "rl/filter.h"
#include "rl/lineage.h"
#include "rl/merge.h"
#include "rl/metrics.h"
#include "rl/pairs.h"
#include "rl/prompts.h"
#include "rl/recipe.h"
#include "rl/report.h"
#include "rl/reward_model.h"
#include "rl/run_lock.h"
#include "rl/samples.h"
#include "rl/sft.h"
#include "rl/trainer.h"
#include "rollout/engine.h"
#include "rollout/random.h"

namespace hone {
namespace fs = std::filesystem;
namespace {

const Task& task_named(const std::string& name, const Tasks& tasks) {
  const auto found = tasks.find(name);
  if (found != tasks.end()) return found->second;
  std::vector<std::string> known;
  for (const auto& [key, task] : tasks) known.push_back(key);
  throw std::invalid_argument(fmt::format("task '{}' is unknown; the tasks are: {}", name, fmt::join(known, ", ")));
}

// A gate may leave out the eval_ of its metric.
std::optional<double> gate_value(const Metrics& metrics, const std::string& name) {
  for (const std::string& key : {name, "eval_" + name}) {
    if (const auto found = metrics.find(key); found != metrics.end()) return found->second;
  }
  return std::nullopt;
}

size_t stage_index(const Recipe& recipe, const std::string& name) {
  const auto found = std::ranges::find(recipe.stages, name, &StageConfig::name);
  if (found != recipe.stages.end()) return static_cast<size_t>(found - recipe.stages.begin());
  std::vector<std::string> names;
  for (const auto& s : recipe.stages) names.push_back(s.name);
  throw std::invalid_argument(
      fmt::format("stage '{}' is not in the recipe; its stages are: {}", name, fmt::join(names, ", ")));
}

// What is kept of a run must be what this recipe would make: the seed, and every stage before the first that runs.
void check_kept(const Recipe& recipe, const Recipe& stored, const std::string& from, const fs::path& run_dir) {
  const auto refuse = [&](const std::string& what) {
    throw std::invalid_argument(
        fmt::format("--from {}: {} in the recipe that made {}, and what it made would be kept; "
                    "repeat from there, or choose another --run-dir",
                    from, what, run_dir.string()));
  };
  if (stored.seed != recipe.seed) refuse(fmt::format("seed is {}, not {},", stored.seed, recipe.seed));
  for (size_t i = 0; recipe.stages[i].name != from; ++i) {
    const StageConfig& stage = recipe.stages[i];
    if (i >= stored.stages.size() || stored.stages[i].name != stage.name)
      refuse(fmt::format("stage '{}' is not in this place", stage.name));
    if (options_of(stored.stages[i]) != options_of(stage)) refuse(fmt::format("stage '{}' is another", stage.name));
  }
}

class Run {
 public:
  Run(const Recipe& recipe, const RunOptions& options, const Tasks& tasks, std::ostream& out)
      : recipe_(recipe),
        options_(options),
        tasks_(tasks),
        lock_((check_run(recipe, options), options.run_dir)),
        store_(RunStore::open(options.run_dir)),
        progress_(out, options.progress) {}

  void all() {
    remove_stale_temporaries(options_.run_dir / "stages");
    if (options_.from) forget_from(*options_.from);
    // only now: a run of which something is left of another recipe is still that recipe's
    write_file_atomic(options_.run_dir / "recipe.yaml", to_yaml(recipe_));
    for (const StageConfig& stage : recipe_.stages) {
      const fs::path dir = stage_dir(stage.name);
      const fs::path done = dir / "metrics.json";
      Metrics metrics;
      if (fs::exists(done)) {
        metrics = nlohmann::json::parse(read_file(done)).get<Metrics>();
        note(fmt::format("{}: done already", stage.name));
      } else {
        metrics = run_stage(stage, dir);
        store_->flush();
        fs::create_directories(dir);
        write_file_atomic(done, nlohmann::json(metrics).dump(2) + "\n");
      }
      check_gates(stage, metrics);
      if (options_.until == stage.name) break;
    }
    report();
  }

 private:
  fs::path stage_dir(const std::string& name) const { return options_.run_dir / "stages" / name; }
  fs::path path_of(const std::string& value) const {
    return resolve_path(value, options_.recipe_dir, options_.run_dir);
  }

  // All of them at once, the last first: whenever this is cut short, no stage is left that rests on one that is gone.
  // The run's own recipe may have stages that this one lacks.
  void forget_from(const std::string& first) {
    const fs::path file = options_.run_dir / "recipe.yaml";
    const size_t kept = stage_index(recipe_, first);
    std::vector<StageConfig> stages = fs::exists(file) ? load_recipe(file).stages : std::vector<StageConfig>{};
    for (size_t i = stages.size(); i > kept; --i) forget(stages[i - 1].name);
    for (size_t i = recipe_.stages.size(); i > kept; --i) forget(recipe_.stages[i - 1].name);
  }

  void forget(const std::string& stage) {
    remove_folder_atomic(stage_dir(stage));
    store_->remove_stage(stage);
  }

  Metrics run_stage(const StageConfig& stage, const fs::path& dir) {
    const StageContext context{stage.name,
                               dir,
                               derive_seed(recipe_.seed, stage.name),
                               options_.threads,
                               *store_,
                               progress_,
                               made_by(recipe_, stage, options_.recipe_dir, options_.run_dir),
                               options_.host};
    nlohmann::json config = options_of(stage);
    config["recipe_dir"] = options_.recipe_dir.string();  // what paths of the recipe begin at, for a replay
    config["python_loss"] = stage.kind == "rl" && options_.host.loss != nullptr;
    store_->write_config(stage.name, config.dump());
    for (const fs::path& folder : {dir, dir / "data"}) remove_stale_temporaries(folder);
    const Metrics metrics = std::visit([&](const auto& config) { return run_kind(config, context); }, stage.options);
    fs::create_directories(dir);
    write_file_atomic(dir / "made_by.json", context.made_by);
    return metrics;
  }

  Metrics run_kind(const BaseConfig& config, const StageContext& stage) {
    return train_base(config, stage, task_named(config.task, tasks_));
  }

  Metrics run_kind(const SftConfig& config, const StageContext& stage) {
    Model model = load_model(path_of(config.model));
    return train_on_rows(config, stage, std::move(model));
  }

  Metrics run_kind(const DistilConfig& config, const StageContext& stage) {
    if (config.model_config.empty()) return run_kind(config.sft, stage);
    return train_on_rows(config.sft, stage, random_student(config, stage, load_model(path_of(config.teacher))));
  }

  Metrics train_on_rows(const SftConfig& config, const StageContext& stage, Model model) {
    const auto documents = load_documents(path_of(config.data), model, config);
    if (config.logit_teacher.empty()) return train_sft(config, stage, std::move(model), documents);
    const Model teacher = load_model(path_of(config.logit_teacher));
    return train_sft(config, stage, std::move(model), documents, &teacher);
  }

  Metrics run_kind(const RlConfig& config, const StageContext& stage) {
    Model model = load_model(path_of(config.model));
    const auto prompts = load_prompts(path_of(config.data), model);
    const auto rewards = rewards_of(config.reward_funcs, config.reward_weights, model);
    progress_.set_accuracy(rewards.empty() ? "" : rewards[0].name);
    return train_rl(config, stage, std::move(model), prompts, rewards);
  }

  std::vector<NamedReward> rewards_of(const std::vector<std::string>& names, const std::vector<double>& weights,
                                      const Model& policy) const {
    const auto reward_model = [&](const std::string& folder) {
      return model_reward(path_of(folder), policy.tokenizer);
    };
    return make_rewards(names, weights, {options_.host.reward, reward_model});
  }

  Metrics run_kind(const RewardModelConfig& config, const StageContext& stage) {
    Model model = load_model(path_of(config.model));
    const auto pairs = load_pairs(path_of(config.data), model, config.max_length);
    return train_reward_model(config, stage, std::move(model), pairs);
  }

  Metrics run_kind(const GenerateConfig& config, const StageContext& stage) {
    const Model model = load_model(path_of(config.model), {.keep = Keep::kForSampling});
    const auto rewards = rewards_of(config.reward_funcs, {}, model);
    progress_.set_accuracy(rewards[0].name);
    return generate_samples(config, stage, model, limited(load_prompts(path_of(config.data), model), config.limit),
                            rewards);
  }

  Metrics run_kind(const FilterConfig& config, const StageContext& stage) {
    Rewriter rewrite;
    if (!config.rewrite.empty()) {
      rewrite = [&task = task_named(config.rewrite, tasks_)](const Row& row) {
        return task.rewrite({.text = row.contains("prompt") ? row["prompt"].get<std::string>() : "",
                             .token_ids = {},
                             .columns = row.dump()},
                            row.at("completion").get<std::string>());
      };
    }
    // a function of the user's may add the columns that the rest needs
    const auto columns = config.python.empty() ? columns_of(config) : std::vector<Column>{};
    const FilterResult result =
        filter_rows(read_rows(path_of(config.data), columns), config, stage.seed, rewrite, own_rule(config));
    note(fmt::format("{}: {}", stage.name, filter_summary(result)));
    if (result.rows.empty()) {
      throw std::runtime_error(fmt::format("stage {}: no row is left; loosen the filter or sample more", stage.name));
    }
    return store_rows(stage, result.rows, filter_metrics(result));
  }

  RowRule own_rule(const FilterConfig& config) const {
    if (config.python.empty()) return {};
    need_python(options_.host.filter != nullptr, config.python);
    return options_.host.filter(config.python);
  }

  Metrics run_kind(const PythonConfig& config, const StageContext& stage) {
    need_python(options_.host.stage != nullptr, config.function);
    std::vector<std::vector<Row>> data;
    for (const auto& file : config.data) data.push_back(read_rows(path_of(file)));
    auto [rows, metrics] = options_.host.stage(config.function, data);
    metrics["rows/kept"] = static_cast<double>(rows.size());
    note(fmt::format("{}: {} rows", stage.name, rows.size()));
    return store_rows(stage, rows, metrics);
  }

  Metrics run_kind(const PairsConfig& config, const StageContext& stage) {
    const PairsResult result = preference_pairs(read_rows(path_of(config.data), columns_of(config)), config);
    note(fmt::format("{}: {} pairs; {} of {} prompts have none", stage.name, result.rows.size(), result.num_without,
                     result.num_prompts));
    if (result.rows.empty())
      throw std::runtime_error(
          fmt::format("stage {}: no two completions differ enough; sample more of them", stage.name));
    return store_rows(stage, result.rows, {{"rows/kept", static_cast<double>(result.rows.size())}});
  }

  Metrics run_kind(const MergeConfig& config, const StageContext& stage) {
    std::vector<std::vector<Row>> sets;
    std::vector<int64_t> sizes;
    for (const auto& data : config.data) {
      sets.push_back(read_rows(path_of(data)));
      sizes.push_back(static_cast<int64_t>(sets.back().size()));
    }
    const auto counts = merge_counts(sizes, config);
    const auto rows = merge_rows(sets, config, stage.seed);
    Metrics metrics{{"rows/kept", static_cast<double>(rows.size())}};
    std::vector<std::string> parts;
    for (size_t i = 0; i < counts.size(); ++i) {
      metrics[fmt::format("rows/from/{}", i + 1)] = static_cast<double>(counts[i]);
      parts.push_back(fmt::format("{} of the {} of {}", counts[i], sizes[i], config.data[i]));
    }
    note(fmt::format("{}: {} rows: {}", stage.name, rows.size(), fmt::join(parts, ", ")));
    return store_rows(stage, rows, metrics);
  }

  static Metrics store_rows(const StageContext& stage, const std::vector<Row>& rows, const Metrics& metrics) {
    stage.store.remove_stage(stage.name);
    stage.store.write({.stage = stage.name, .step = 0, .groups = {}, .advantages = {}, .metrics = metrics});
    write_rows(stage.dir / "data" / "rows.jsonl", rows);
    return metrics;
  }

  static std::vector<Prompt> limited(std::vector<Prompt> prompts, int64_t limit) {
    if (limit > 0 && static_cast<int64_t>(prompts.size()) > limit) prompts.resize(static_cast<size_t>(limit));
    return prompts;
  }

  Metrics run_kind(const EvalConfig& config, const StageContext& stage) {
    const Model model = load_model(path_of(config.model), {.keep = Keep::kForSampling});
    const auto prompts = limited(load_prompts(path_of(config.data), model), config.limit);
    const Task* task = config.task.empty() ? nullptr : &task_named(config.task, tasks_);
    // every evaluation of a run draws with the same key, so that two models meet the same luck
    Evaluation e = evaluate(model, prompts, rewards_of(config.reward_funcs, {}, model), config,
                            derive_seed(recipe_.seed, "eval"), task, options_.threads, options_.host.stop);
    stage.store.remove_stage(stage.name);
    stage.store.write(
        {.stage = stage.name, .step = 0, .groups = std::move(e.groups), .advantages = {}, .metrics = e.metrics});
    note(summary(stage.name, e.metrics));
    return e.metrics;
  }

  static std::string summary(const std::string& name, const Metrics& m) {
    auto value = [&](const char* key) { return m.count(key) ? m.at(key) : 0.0; };
    std::string text = fmt::format("{}: pass@1 {:.3f} ({:.3f} to {:.3f})", name, value("eval_pass@1"),
                                   value("eval_pass@1_low"), value("eval_pass@1_high"));
    for (const auto& [key, label] : {std::pair{"eval_pass@8", "pass@8"},
                                     {"eval_pass@16", "pass@16"},
                                     {"eval_mean_length", "length"},
                                     {"eval_reflections", "reflections"},
                                     {"eval_truncated", "truncated"},
                                     {"eval_step_arithmetic", "arithmetic"},
                                     {"eval_verdict", "verdict"},
                                     {"eval_mixed", "mixed"},
                                     {"eval_readable", "readable"}}) {
      if (m.count(key)) text += fmt::format(", {} {:.3g}", label, m.at(key));
    }
    return text;
  }

  void check_gates(const StageConfig& stage, const Metrics& metrics) {
    for (const auto& [name, least] : stage.gates) {
      if (least == 0) continue;
      const auto value = gate_value(metrics, name);
      if (!value)
        throw std::invalid_argument(
            fmt::format("stage {} has a gate on '{}', which it does not measure", stage.name, name));
      if (*value < least) {
        report();
        const size_t next = std::min(stage_index(recipe_, stage.name) + 1, recipe_.stages.size() - 1);
        throw std::runtime_error(
            fmt::format("stage {}: {} is {:.3f}, below its gate of {:.3f}: too weak for what follows; train the stage "
                        "before it longer, or go on without the gate: --set {}.gates.{}=0 --from {}",
                        stage.name, name, *value, least, stage.name, name, recipe_.stages[next].name));
      }
    }
  }

  void note(const std::string& line) {
    progress_.message(line);
    std::ofstream(options_.run_dir / "log.txt", std::ios::app) << line << '\n';
  }

  void report() {
    store_->flush();
    write_report(options_.run_dir, options_.run_dir / "report.html");
    note(fmt::format("report: {}", (options_.run_dir / "report.html").string()));
  }

  const Recipe& recipe_;
  const RunOptions& options_;
  const Tasks& tasks_;
  RunLock lock_;
  std::unique_ptr<RunStore> store_;
  Progress progress_;
};

}  // namespace

void need_python(bool there, const std::string& function) {
  if (there) return;
  throw std::invalid_argument(fmt::format(
      "'{}' is a Python function, and this program has no Python; use `python -m hone` in place of `hone`", function));
}

void check_run(const Recipe& recipe, const RunOptions& options) {
  const auto &from = options.from, &until = options.until;
  const size_t first = from ? stage_index(recipe, *from) : 0;
  if (until && stage_index(recipe, *until) < first)
    throw std::invalid_argument(fmt::format("--until {} comes before --from {}: nothing would run", *until, *from));
  if (fs::exists(options.run_dir) && !fs::is_directory(options.run_dir))
    throw std::invalid_argument(options.run_dir.string() + " is a file; --run-dir names the folder of a run");
  const fs::path file = options.run_dir / "recipe.yaml";
  if (!fs::exists(file)) return;
  if (from) return check_kept(recipe, load_recipe(file), *from, options.run_dir);
  if (!options.resume) {
    throw std::invalid_argument(
        fmt::format("{} holds a run already; go on with --resume, repeat from a stage with --from "
                    "STAGE, or choose another --run-dir",
                    options.run_dir.string()));
  }
  if (read_file(file) != to_yaml(recipe)) {
    throw std::invalid_argument(
        fmt::format("{} was made by another recipe (or other --set values): compare {}; resume with "
                    "the same, or choose another --run-dir",
                    options.run_dir.string(), file.string()));
  }
}

void run_recipe(const Recipe& recipe, const RunOptions& options, const Tasks& tasks, std::ostream& out) {
  Run(recipe, options, tasks, out).all();
}

}  // namespace hone
