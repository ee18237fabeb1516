// hone inspect RUN|MODEL: what a run has stored, or what a model is made of.
#include <cmath>
#include <filesystem>
#include <iostream>
#include <stdexcept>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "cli/input.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "rl/aha.h"
#include "rl/chart.h"
#include "rl/lineage.h"
#include "rl/recipe.h"
#include "rl/run_store.h"

namespace hone {
namespace {

namespace fs = std::filesystem;
using nlohmann::json, nlohmann::ordered_json;

// ---- run ------------------------------------------------------------------------------------------------------------

struct StageSummary {
  std::string name;
  int64_t steps = 0, last_step = 0, rollouts = 0;
  std::map<std::string, double> metrics;  ///< the last value of each
};

int64_t integer(const RunReader& run, const std::string& sql, const std::string& stage) {
  const json cell = run.query(sql, {stage}).rows.at(0).at(0);
  return cell.is_null() ? 0 : cell.get<int64_t>();
}

StageSummary summarize(const RunReader& run, const std::string& stage) {
  StageSummary s{.name = stage,
                 .steps = integer(run, "SELECT COUNT(DISTINCT step) FROM steps WHERE stage = ?", stage),
                 .last_step = integer(run, "SELECT MAX(step) FROM steps WHERE stage = ?", stage),
                 .rollouts = integer(run, "SELECT COUNT(*) FROM rollouts WHERE stage = ?", stage)};
  for (const auto& [name, series] : run.steps(stage)) {
    if (!series.empty()) s.metrics[name] = series.back().second;
  }
  return s;
}

ordered_json to_json(const StageSummary& s) {
  ordered_json metrics = ordered_json::object();
  for (const auto& [name, value] : s.metrics)
    metrics[name] = std::isfinite(value) ? ordered_json(value) : ordered_json();
  return {
      {"name", s.name}, {"steps", s.steps}, {"last_step", s.last_step}, {"rollouts", s.rollouts}, {"metrics", metrics}};
}

/// The few metrics that say how a stage went.
std::string highlights(const StageSummary& s) {
  std::vector<std::string> texts;
  for (const char* name : {"loss", "reward", "completions/mean_length", "completions/clipped_ratio", "eval_pass@1",
                           "eval_pass@8", "eval_mean_length", "eval_truncated"}) {
    if (s.metrics.count(name)) texts.push_back(fmt::format("{} {}", name, format_value(s.metrics.at(name))));
  }
  return fmt::format("{}", fmt::join(texts, ", "));
}

void print_run(const std::string& path, const RunReader& run, bool as_json) {
  std::vector<StageSummary> stages;
  for (const std::string& name : run.stages()) stages.push_back(summarize(run, name));
  int64_t rollouts = 0;
  for (const StageSummary& s : stages) rollouts += s.rollouts;
  if (as_json) {
    ordered_json out{{"run", path}, {"rollouts", rollouts}, {"stages", ordered_json::array()}};
    for (const StageSummary& s : stages) out["stages"].push_back(to_json(s));
    std::cout << out.dump() << '\n';
    return;
  }
  std::cout << fmt::format("run {}: {} stages, {} rollouts\n", path, stages.size(), rollouts);
  for (const StageSummary& s : stages) {
    std::cout << fmt::format("{:<12} step {:<7} {:>8} rollouts  {}\n", s.name, s.last_step, s.rollouts, highlights(s));
  }
}

void print_query(const QueryResult& result, bool as_json) {
  if (as_json) {
    for (const auto& name : result.columns) {
      if (std::ranges::count(result.columns, name) > 1)
        throw std::invalid_argument(fmt::format("two columns are named '{}'; rename one (AS) for --json", name));
    }
    std::string text;
    for (const auto& row : result.rows) {
      ordered_json object = ordered_json::object();
      for (size_t c = 0; c < row.size(); ++c) object[result.columns[c]] = row[c];
      text += (text.empty() ? "" : ",\n ") + object.dump();
    }
    std::cout << "[" << text << "]\n";
    return;
  }
  std::vector<std::vector<std::string>> rows;
  for (const auto& row : result.rows) {
    rows.emplace_back();
    for (const json& cell : row) rows.back().push_back(cell.is_string() ? cell.get<std::string>() : cell.dump());
  }
  std::cout << table(result.columns, rows);
}

// ---- lineage --------------------------------------------------------------------------------------------------------

/// "2980 in 1024-1031, 1040-1043, .."
std::string describe_ids(const ordered_json& ranges) {
  constexpr size_t kShown = 4;
  int64_t count = 0;
  std::vector<std::string> texts;
  for (const auto& range : ranges) {
    const auto first = range[0].get<int64_t>(), last = range[1].get<int64_t>();
    count += last - first + 1;
    texts.push_back(first == last ? fmt::format("{}", first) : fmt::format("{}-{}", first, last));
  }
  const bool cut = texts.size() > kShown;
  if (cut) texts.resize(kShown);
  return fmt::format("{} ({}{})", count, fmt::join(texts, ", "), cut ? ", .." : "");
}

void print_tree(const ordered_json& node, const std::string& indent) {
  const auto text = [&](const char* key) { return node.at(key).get<std::string>(); };
  if (node.contains("seen")) {
    std::cout << fmt::format("{}: see above\n", text("stage"));
    return;
  }
  std::cout << fmt::format("{}: {}, seed {}, recipe {:.12}\n", text("stage"), text("kind"),
                           node.at("seed").get<uint64_t>(), text("recipe_sha256"));
  const auto& rollouts = node.at("rollouts");
  const bool learns = text("kind") == "rl";
  if (!rollouts.at("own").empty()) {
    std::cout << fmt::format("{}  rollouts {}: {}\n", indent, learns ? "that taught it" : "it sampled",
                             describe_ids(rollouts.at("own")));
  }
  if (!rollouts.at("data").empty()) {
    std::cout << fmt::format("{}  rows from rollouts: {}\n", indent, describe_ids(rollouts.at("data")));
  }
  for (const auto& parent : node.at("parents")) {
    std::cout << fmt::format("{}  {} {} ({:.12}) <- ", indent, parent.at("key").get<std::string>(),
                             parent.at("value").get<std::string>(), parent.at("sha256").get<std::string>());
    if (parent.contains("from")) print_tree(parent.at("from"), indent + "    ");
    else std::cout << "outside of the run\n";
  }
}

void print_lineage(const fs::path& run, const std::string& what, bool as_json) {
  const bool is_rollout =
      !what.empty() && what.find_first_not_of("0123456789") == std::string::npos && what.size() < 19;
  const ordered_json lineage = is_rollout ? lineage_of_rollout(run, std::stoll(what)) : lineage_of_stage(run, what);
  if (as_json) {
    std::cout << lineage.dump() << '\n';
  } else if (is_rollout) {
    for (const auto& [key, value] : lineage.items()) {
      std::cout << fmt::format("{:<15} {}\n", key, value.is_string() ? value.get<std::string>() : value.dump());
    }
  } else {
    print_tree(lineage, "");
  }
}

// ---- aha ------------------------------------------------------------------------------------------------------------

/// The task whose completions an rl stage samples: that of the base stage before it.
const Task* task_of(const Recipe& recipe, const StageConfig& stage) {
  const Task* task = nullptr;
  for (const StageConfig& s : recipe.stages) {
    if (const auto* base = std::get_if<BaseConfig>(&s.options)) task = &task_named(base->task);
    if (s.name == stage.name) break;
  }
  return task;
}

ordered_json to_json(const std::string& stage, const AhaMoments& moments) {
  ordered_json out{{"stage", stage}, {"steps", ordered_json::array()}, {"first", ordered_json::array()}};
  for (const AhaStep& s : moments.steps)
    out["steps"].push_back({{"step", s.step}, {"rollouts", s.rollouts}, {"ahas", s.ahas}});
  for (const AhaRollout& r : moments.first)
    out["first"].push_back({{"rollout", r.id}, {"step", r.step}, {"prompt", r.prompt}, {"completion", r.completion}});
  return out;
}

void print_moments(const std::string& stage, const AhaMoments& moments) {
  constexpr size_t kLines = 10;
  std::cout << fmt::format("stage {}: rollouts in which a re-check changed a wrong answer into a right one\n", stage);
  const size_t count = moments.steps.size(), lines = std::min(count, kLines);
  for (size_t line = 0; line < lines; ++line) {
    const size_t begin = line * count / lines, end = (line + 1) * count / lines;
    int64_t ahas = 0, rollouts = 0;
    for (size_t i = begin; i < end; ++i) {
      ahas += moments.steps[i].ahas;
      rollouts += moments.steps[i].rollouts;
    }
    std::cout << fmt::format("  steps {:>5} to {:>5}  {:>6} of {:>6}  {:.3f}\n", moments.steps[begin].step,
                             moments.steps[end - 1].step, ahas, rollouts,
                             static_cast<double>(ahas) / static_cast<double>(rollouts));
  }
  for (const AhaRollout& r : moments.first)
    std::cout << fmt::format("step {}, rollout {}: {}{}\n", r.step, r.id, r.prompt, r.completion);
}

void print_aha(const fs::path& run_dir, const RunReader& run, bool as_json) {
  constexpr size_t kFirst = 5;
  const Recipe recipe = load_recipe(run_dir / "recipe.yaml");
  ordered_json stages = ordered_json::array();
  for (const StageConfig& stage : recipe.stages) {
    const auto* rl = std::get_if<RlConfig>(&stage.options);
    const Task* task = task_of(recipe, stage);
    if (!rl || !task || !task->corrects_itself) continue;
    const AhaMoments moments = aha_moments(run, stage.name, rl->reward_funcs.at(0), task->corrects_itself, kFirst);
    stages.push_back(to_json(stage.name, moments));
    if (!as_json) print_moments(stage.name, moments);
  }
  if (stages.empty()) {
    throw std::invalid_argument(fmt::format(
        "{}: --aha needs an rl stage on a task whose re-checks can be read; the run has none", run_dir.string()));
  }
  if (as_json) std::cout << stages.dump() << '\n';
}

// ---- model ----------------------------------------------------------------------------------------------------------

/// Numbers of parameters; a tied embedding counts once.
struct ParameterCounts {
  std::vector<std::pair<std::string, int64_t>> parts{{"embedding", 0},      {"attention", 0}, {"dense_ffn", 0},
                                                     {"shared_experts", 0}, {"experts", 0},   {"router", 0},
                                                     {"norms", 0}};
  int64_t total = 0;
  int64_t active = 0;  ///< what one token passes through: all but the experts it is not sent to
};

std::string part_of(const Parameter& p) {
  const std::string& name = p.names.at(0);
  const auto has = [&](const char* text) { return name.find(text) != std::string::npos; };
  if (p.kind == ParameterKind::kNorm) return "norms";
  if (has("embed_tokens") || has("lm_head")) return "embedding";
  if (has(".mlp.experts.")) return "experts";
  if (has(".mlp.shared_experts.")) return "shared_experts";
  if (has(".mlp.gate.")) return "router";
  return has(".self_attn.") ? "attention" : "dense_ffn";
}

ParameterCounts count_parameters(const Policy& policy) {
  ParameterCounts counts;
  int64_t experts = 0;
  for (const Parameter& p : policy.parameters().all()) {
    const std::string part = part_of(p);
    for (auto& [name, count] : counts.parts) count += name == part ? p.tensor.numel() : 0;
    experts += part == "experts" ? p.tensor.numel() : 0;
    counts.total += p.tensor.numel();
  }
  const ModelConfig& c = policy.config();
  counts.active = counts.total;
  if (experts > 0) counts.active -= experts / c.n_routed_experts * (c.n_routed_experts - c.num_experts_per_tok);
  return counts;
}

/// The layers as plain multi-head attention would cache them: keys and values of every head.
std::vector<cpu::AttentionShape> multi_head(const ModelConfig& c, size_t layers) {
  const bool latent = c.architecture == Architecture::kDeepseekV3;
  return std::vector<cpu::AttentionShape>(layers, {.heads = c.num_attention_heads,
                                                   .kv_heads = c.num_attention_heads,
                                                   .key_dim = latent ? c.qk_head_dim() : c.head_dim,
                                                   .value_dim = latent ? c.v_head_dim : c.head_dim});
}

ordered_json describe_model(const std::string& path, const Policy& policy) {
  const ModelConfig& c = policy.config();
  const ParameterCounts counts = count_parameters(policy);
  ordered_json parts = ordered_json::object();
  for (const auto& [name, count] : counts.parts) parts[name] = count;
  const int64_t bytes = cache_bytes_per_token(policy.attention_shapes());
  const int64_t mha = cache_bytes_per_token(multi_head(c, policy.attention_shapes().size()));
  return {{"model", path},
          {"architecture", model_type(c.architecture)},
          {"layers", c.num_hidden_layers},
          {"hidden_size", c.hidden_size},
          {"heads", c.num_attention_heads},
          {"vocab_size", c.vocab_size},
          {"max_position_embeddings", c.max_position_embeddings},
          {"parameters", parts},
          {"total_parameters", counts.total},
          {"active_parameters_per_token", counts.active},
          {"kv_cache_bytes_per_token", bytes},
          {"mha_cache_bytes_per_token", mha},
          {"kv_cache_ratio_to_mha", static_cast<double>(bytes) / static_cast<double>(mha)}};
}

void print_model(const ordered_json& m) {
  const auto number = [&](const char* key) { return m.at(key).get<int64_t>(); };
  std::cout << fmt::format("model {}: {}, {} layers of width {}, {} heads, vocabulary {}, {} positions\n",
                           m.at("model").get<std::string>(), m.at("architecture").get<std::string>(), number("layers"),
                           number("hidden_size"), number("heads"), number("vocab_size"),
                           number("max_position_embeddings"));
  for (const auto& [name, count] : m.at("parameters").items()) {
    if (count > 0) std::cout << fmt::format("  {:<16} {:>14}\n", name, count.get<int64_t>());
  }
  std::cout << fmt::format("  {:<16} {:>14}\n  {:<16} {:>14}\n", "total", number("total_parameters"),
                           "active per token", number("active_parameters_per_token"));
  std::cout << fmt::format("cache {} bytes per token, {:.3g} of the {} of multi-head attention (float32)\n",
                           number("kv_cache_bytes_per_token"), m.at("kv_cache_ratio_to_mha").get<double>(),
                           number("mha_cache_bytes_per_token"));
}

int inspect_model(const std::string& folder, bool as_json) {
  const auto policy = as_input([&] { return Policy::load(model_folder(folder), {.keep = Keep::kShapes}); });
  const ordered_json model = describe_model(folder, *policy);
  if (as_json) std::cout << model.dump() << '\n';
  else print_model(model);
  return 0;
}

}  // namespace

int inspect(const InspectArgs& args) {
  if (args.path.empty() && args.model.empty())
    throw std::invalid_argument("inspect: name a run directory, or a model folder (--model)");
  if (!args.model.empty()) return inspect_model(args.model, args.json);
  const fs::path path(args.path);
  if (fs::exists(path / "run.db")) {
    const auto run = as_input([&] { return std::make_unique<RunReader>(path); });
    if (args.sql) print_query(run->query(*args.sql), args.json);
    else if (args.lineage) print_lineage(path, *args.lineage, args.json);
    else if (args.aha) print_aha(path, *run, args.json);
    else print_run(args.path, *run, args.json);
    return 0;
  }
  if (args.sql || args.lineage || args.aha) {
    throw std::invalid_argument(
        fmt::format("{}: --sql, --lineage and --aha need a run directory, and there is no run.db", args.path));
  }
  if (!fs::exists(path / "config.json") && !fs::exists(path / "final" / "config.json")) {
    throw std::invalid_argument(
        fmt::format("{}: neither a run (run.db) nor a model (config.json) is there", args.path));
  }
  return inspect_model(args.path, args.json);
}

}  // namespace hone
