// What a recipe is going to do, stage by stage, and about how long that takes: the end of `hone train --dry-run`.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "models/model_config.h"
#include "rl/config.h"

namespace hone {

/// Multiply-adds of one token's forward pass through weights: the parameters it meets, the output layer included.
double active_parameters(const ModelConfig& config);

struct PlanLine {
  std::string stage, kind;
  std::string work;                               ///< "6000 steps of 2048 tokens"
  double trained_tokens = 0, sampled_tokens = 0;  ///< at most; completions are counted at half their limit
  double seconds = 0;                             ///< a guess; negative where the model is not known yet
  bool is_done = false;
};

/// Rows of a base stage's data file, e.g. ("countdown", "train.jsonl") -> 3571; 0: not known.
using TaskRows = std::function<int64_t(const std::string& task, const std::string& file)>;

/// One line a stage. Model folders that are there are looked at; nothing is written.
std::vector<PlanLine> plan_of(const Recipe& recipe, const std::filesystem::path& recipe_dir,
                              const std::filesystem::path& run_dir, const TaskRows& task_rows, int threads);

/// As YAML comments, so that what --dry-run prints stays a recipe.
std::string describe(const std::vector<PlanLine>& plan);

}  // namespace hone
