#include "rl/lineage.h"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <map>
#include <set>
#include <stdexcept>
#include <string_view>
#include <type_traits>

#include <fmt/format.h>

#include "models/atomic_file.h"
#include "models/sha256.h"
#include "rewards/rewards.h"
#include "rl/recipe.h"
#include "rl/rows.h"
#include "rl/run_store.h"
#include "rollout/random.h"

namespace hone {
namespace fs = std::filesystem;
namespace {

using nlohmann::ordered_json;

/// Collects the options that name a model or a data set.
struct SourceLister {
  std::vector<StageSource> sources;

  template <class Field, class... Rest>
  void operator()(std::string_view key, Field& field, Rest&&...) {
    if constexpr (std::is_same_v<Field, std::string>) {
      if (!field.empty() && (key == "model" || key == "data" || key.ends_with("teacher")))
        sources.push_back({std::string(key), field});
    } else if constexpr (std::is_same_v<Field, std::vector<std::string>>) {
      for (const std::string& value : field) {
        if (key == "data") sources.push_back({std::string(key), value});
        else if (const auto folder = reward_model_of(value); key == "reward_funcs" && folder)
          sources.push_back({"reward_model", *folder});
      }
    }
  }
};

/// Of a data file, or of the weights in a model folder.
std::string hash_of(const fs::path& path) {
  if (!fs::is_directory(path)) return sha256_of_file(path);
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(path)) {
    if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
  }
  if (files.empty() && fs::exists(path / "final")) return hash_of(path / "final");
  std::ranges::sort(files);
  std::string all;
  for (const auto& file : files) all += sha256_of_file(file);
  return files.size() == 1 ? all : sha256(all);
}

std::map<std::string, ordered_json> read_records(const fs::path& run_dir) {
  std::map<std::string, ordered_json> records;
  if (!fs::is_directory(run_dir / "stages")) return records;
  for (const auto& entry : fs::directory_iterator(run_dir / "stages")) {
    const fs::path file = entry.path() / "made_by.json";
    if (fs::exists(file)) records[entry.path().filename().string()] = ordered_json::parse(read_file(file));
  }
  return records;
}

/// [[1, 4], [7, 7]] of 1 2 3 4 7.
ordered_json ranges(const std::set<int64_t>& ids) {
  auto out = ordered_json::array();
  for (const int64_t id : ids) {
    if (!out.empty() && out.back()[1] == id - 1) out.back()[1] = id;
    else out.push_back({id, id});
  }
  return out;
}

fs::path rows_file(const fs::path& run_dir, const std::string& stage) {
  return run_dir / "stages" / stage / "data" / "rows.jsonl";
}

std::set<int64_t> ids_in(const fs::path& file) {
  std::set<int64_t> ids;
  if (!fs::exists(file)) return ids;
  for (const Row& row : read_rows(file)) {
    for (const char* key : {"rollout_id", "rejected_rollout_id"}) {
      if (row.contains(key) && row[key].is_number_integer()) ids.insert(row[key].get<int64_t>());
    }
  }
  return ids;
}

/// Whether a row of the file has the id; cheaper than reading the rows.
bool has_id(const fs::path& file, int64_t id) {
  std::ifstream in(file);
  const std::string text = fmt::format("rollout_id\":{}", id);  // rejected_rollout_id, too
  std::string line;
  while (std::getline(in, line)) {
    for (size_t at = line.find(text); at != line.npos; at = line.find(text, at + 1)) {
      if (!std::isdigit(static_cast<unsigned char>(line[at + text.size()]))) return true;
    }
  }
  return false;
}

using Records = std::map<std::string, ordered_json>;

/// The stages of the run whose data a stage has read. Its ids are the run's if theirs are: a file from outside may hold
/// the ids of another run.
std::vector<std::string> data_parents(const Records& records, const std::string& stage) {
  std::vector<std::string> names;
  for (const auto& parent : records.at(stage)["parents"]) {
    const auto name = parent["stage"].get<std::string>();
    if (parent["key"] == "data" && records.contains(name)) names.push_back(name);
  }
  return names;
}

/// The run's rollouts that a stage's rows.jsonl holds.
std::set<int64_t> rollouts_in(const fs::path& run_dir, const Records& records, const std::string& stage) {
  std::set<int64_t> ids = ids_in(rows_file(run_dir, stage));
  if (ids.empty() || records.at(stage)["kind"] == "generate") return ids;
  std::set<int64_t> known;
  for (const auto& parent : data_parents(records, stage)) known.merge(rollouts_in(run_dir, records, parent));
  std::erase_if(ids, [&](int64_t id) { return !known.contains(id); });
  return ids;
}

bool holds_rollout(const fs::path& run_dir, const Records& records, const std::string& stage, int64_t id) {
  if (!has_id(rows_file(run_dir, stage), id)) return false;
  return records.at(stage)["kind"] == "generate" ||
         std::ranges::any_of(data_parents(records, stage),
                             [&](const auto& parent) { return holds_rollout(run_dir, records, parent, id); });
}

class Tree {
 public:
  explicit Tree(const fs::path& run_dir) : run_dir_(run_dir), run_(run_dir), records_(read_records(run_dir)) {}

  ordered_json of(const std::string& stage) {
    const auto record = records_.find(stage);
    if (record == records_.end()) {
      throw std::invalid_argument(
          fmt::format("{}: stage '{}' is not there or not finished; `hone inspect {}` lists the stages",
                      run_dir_.string(), stage, run_dir_.string()));
    }
    if (!seen_.insert(stage).second) return {{"stage", stage}, {"seen", true}};
    ordered_json node = record->second;
    node["rollouts"] = {{"own", own_rollouts(stage)}, {"data", ranges(rollouts_in(run_dir_, records_, stage))}};
    for (auto& parent : node["parents"]) {
      const auto name = parent["stage"].get<std::string>();
      if (!name.empty()) parent["from"] = of(name);
    }
    return node;
  }

 private:
  ordered_json own_rollouts(const std::string& stage) const {
    std::set<int64_t> ids;
    for (const auto& row : run_.query("SELECT id FROM rollouts WHERE stage = ?", {stage}).rows) {
      ids.insert(row[0].get<int64_t>());
    }
    return ranges(ids);
  }

  fs::path run_dir_;
  RunReader run_;
  std::map<std::string, ordered_json> records_;
  std::set<std::string> seen_;
};

bool has_parent(const ordered_json& record, const std::string& key, const std::set<std::string>& stages) {
  return std::ranges::any_of(record["parents"], [&](const auto& parent) {
    return (key.empty() || parent["key"] == key) && stages.contains(parent["stage"].template get<std::string>());
  });
}

bool is_one_of(const ordered_json& value, std::initializer_list<const char*> words) {
  return std::ranges::any_of(words, [&](const char* word) { return value == word; });
}

}  // namespace

std::vector<StageSource> sources_of(const StageConfig& stage) {
  SourceLister lister;
  auto options = stage.options;
  std::visit([&](auto& o) { o.visit(lister); }, options);
  return lister.sources;
}

std::string stage_of(const std::string& value) {
  return value.starts_with("${") ? value.substr(2, value.find('}') - 2) : "";
}

std::string made_by(const Recipe& recipe, const StageConfig& stage, const fs::path& recipe_dir,
                    const fs::path& run_dir) {
  ordered_json record{{"stage", stage.name},
                      {"kind", stage.kind},
                      {"recipe", recipe.name},
                      {"recipe_sha256", sha256(to_yaml(recipe))},
                      {"seed", recipe.seed},
                      {"stage_seed", derive_seed(recipe.seed, stage.name)},
                      {"parents", ordered_json::array()}};
  for (const auto& [key, value] : sources_of(stage)) {
    record["parents"].push_back({{"key", key},
                                 {"value", value},
                                 {"stage", stage_of(value)},
                                 {"sha256", hash_of(resolve_path(value, recipe_dir, run_dir))}});
  }
  return record.dump(2) + "\n";
}

ordered_json lineage_of_stage(const fs::path& run_dir, const std::string& stage) { return Tree(run_dir).of(stage); }

ordered_json lineage_of_rollout(const fs::path& run_dir, int64_t rollout) {
  const RunReader run(run_dir);
  const auto found = run.query(
      "SELECT r.stage, r.step, r.policy_version, p.text, r.text, r.reward FROM rollouts r LEFT JOIN prompts p "
      "ON p.stage = r.stage AND p.id = r.prompt_id WHERE r.id = ?",
      {rollout});
  if (found.rows.empty()) {
    throw std::invalid_argument(
        fmt::format("{}: there is no rollout {}; ids are those of the table rollouts", run_dir.string(), rollout));
  }
  const auto& row = found.rows[0];
  const auto stage = row[0].get<std::string>();
  const auto records = read_records(run_dir);
  std::set<std::string> holders, taught, downstream;
  for (const auto& [name, record] : records) {
    if (holds_rollout(run_dir, records, name, rollout)) holders.insert(name);
  }
  std::string sampled_by = stage;
  if (const auto record = records.find(stage); record != records.end()) {
    if (record->second["kind"] == "rl") taught.insert(stage);
    else
      for (const auto& parent : record->second["parents"]) {
        if (parent["key"] == "model") sampled_by = parent["value"].get<std::string>();
      }
  }
  for (const auto& [name, record] : records) {
    if (is_one_of(record["kind"], {"sft", "distil", "reward_model"}) && has_parent(record, "data", holders))
      taught.insert(name);
  }
  for (size_t size = 0; downstream.size() != size || size == 0;) {
    size = downstream.size();
    std::set<std::string> reached = taught;
    reached.insert(downstream.begin(), downstream.end());
    for (const auto& [name, record] : records) {
      if (has_parent(record, "", reached) && !taught.contains(name)) downstream.insert(name);
    }
    if (downstream.empty()) break;
  }
  return {{"rollout", rollout}, {"stage", stage},   {"step", row[1]},           {"prompt", row[3]},
          {"text", row[4]},     {"reward", row[5]}, {"sampled_by", sampled_by}, {"policy_version", row[2]},
          {"in", holders},      {"taught", taught}, {"downstream", downstream}};
}

}  // namespace hone
