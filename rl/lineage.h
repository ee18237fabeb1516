// Where things come from. Every stage that is done leaves made_by.json (its model folder has a copy): the recipe's
// hash, the seeds, and the parents with a hash of what was read. With the rollout ids in rows.jsonl that leads from a
// model back to the rollouts that taught it, and from a rollout to the models that it taught.
//
//   {"stage": "student", "kind": "distil", "recipe": "r1", "recipe_sha256": "..", "seed": 1, "stage_seed": 17..,
//    "parents": [{"key": "data", "value": "${keep}/rows.jsonl", "stage": "keep", "sha256": ".."}]}
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "rl/config.h"

namespace hone {

/// What a stage reads, as its keys name it: {"model", "${base}"}, {"data", "${base}/train.jsonl"}.
struct StageSource {
  std::string key, value;
};
std::vector<StageSource> sources_of(const StageConfig& stage);

/// The stage a value like ${base}/train.jsonl names; empty for a path.
std::string stage_of(const std::string& value);

/// The text of made_by.json. Reads the parents: data files, and the weights of model folders.
std::string made_by(const Recipe& recipe, const StageConfig& stage, const std::filesystem::path& recipe_dir,
                    const std::filesystem::path& run_dir);

/// What led to a stage: {"stage", "kind", "recipe_sha256", .., "rollouts": {"own": [ids that it trained on or made],
/// "data": [ids of its rows]}, "parents": [{"key", "value", "sha256", "from": the same for the parent stage}]}. Id
/// lists are [first, last] ranges. Throws std::invalid_argument for a stage that the run has not finished.
nlohmann::ordered_json lineage_of_stage(const std::filesystem::path& run_dir, const std::string& stage);

/// A rollout with the model that sampled it, and what it went on into: {"rollout", "stage", "step", "prompt", "text",
/// "reward", "sampled_by", "in": [stages whose rows.jsonl holds it], "taught": [stages whose weights it reached]}.
/// Throws std::invalid_argument for an id that run.db does not have.
nlohmann::ordered_json lineage_of_rollout(const std::filesystem::path& run_dir, int64_t rollout);

}  // namespace hone
