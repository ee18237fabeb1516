// What a recipe is going to do, stage by stage, and about how long that takes: the end of `hone train --dry-run`.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
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
  bool is_done = false, is_left_out = false;      ///< left out: behind --until
};

/// Rows of a base stage's data file, e.g. ("countdown", "train.jsonl") -> 3571; 0: not known.
using TaskRows = std::function<int64_t(const std::string& task, const std::string& file)>;

/// Of RunOptions, what a plan needs.
struct PlanOptions {
  std::filesystem::path recipe_dir, run_dir;
  std::optional<std::string> from, until;
  int threads = 1;
};

/// One line a stage. Model folders that are there are looked at; nothing is written.
std::vector<PlanLine> plan_of(const Recipe& recipe, const PlanOptions& options, const TaskRows& task_rows);

/// As YAML comments, so that what --dry-run prints stays a recipe.
std::string describe(const std::vector<PlanLine>& plan);

}  // namespace hone
