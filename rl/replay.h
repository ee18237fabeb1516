// Counterfactual replay: a stored step computed again from what the run has kept, its rollouts in run.db and the
// checkpoint before it. With nothing changed it is the update that was made, to the bit, and every difference is
// reported; with another reward or loss it is the metrics and the gradient that the same rollouts would have given.
// Reads the run directory, writes nothing (SQLite may leave run.db-wal and run.db-shm beside run.db).
//
//   replay_step({.run_dir = "runs/demo", .step = 7, .overrides = {"rl.loss_type=grpo"}})
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "rl/host.h"

namespace hone {

struct ReplayOptions {
  std::filesystem::path run_dir;
  std::string stage;  ///< empty: the run's only rl stage
  int64_t step = 0;
  std::vector<std::string> overrides;  ///< as --set; what was sampled cannot change
  std::vector<std::string> rewards;    ///< in place of reward_funcs; empty: as they were
  int threads = 1;                     ///< for rewards
  Host host = {};                      ///< rewards in Python
};

struct Replay {
  using Metrics = std::map<std::string, double>;
  std::string stage;
  int64_t step = 0;
  int64_t first_step = 0;      ///< the steps from here to `step` were made again
  std::string start;           ///< the folder whose weights they begin with
  Metrics stored, recomputed;  ///< of `step`, under the recipe it ran with; only what recomputed names is compared
  /// "step 7, loss: .. is stored, .. was computed"; of all steps made again. Compared are the metrics, the advantages,
  /// the sampler's log-probs with those of the policy, and the weights with those of `weights`.
  std::vector<std::string> differences;
  std::string weights;                    ///< the folder that holds the weights after `step`; empty when none was kept
  std::optional<Metrics> changed;         ///< of `step` with the overrides
  std::optional<double> gradient_cosine;  ///< between its gradient with and without them
};

/// Throws std::invalid_argument for a stage, step or override that cannot be replayed (a loss in Python cannot,
/// either), std::runtime_error for a run that lacks what is needed or holds what cannot be read.
Replay replay_step(const ReplayOptions& options);

}  // namespace hone
