// What every stage of a run is given, and the few things all training stages do alike.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "rl/checkpoint.h"
#include "rl/config.h"
#include "rl/host.h"
#include "rl/optimizer.h"
#include "rl/progress.h"
#include "rl/run_store.h"

namespace hone {

struct StageContext {
  std::string name;
  std::filesystem::path dir;  ///< run_dir/stages/NAME
  uint64_t seed = 0;          ///< of this stage: derived from the run's seed and the stage's name
  int threads = 1;
  RunStore& store;
  Progress& progress;
  std::string made_by;  ///< made_by.json of what the stage makes; see rl/lineage.h
  Host host = {};
};

using Metrics = std::map<std::string, double>;

/// A policy in training: its weights, optimizer and counters, from the newest checkpoint of the stage if there is one
/// (the store then forgets the steps after it).
class Training {
 public:
  /// `with_reference` keeps a frozen copy of the starting policy.
  Training(const StageContext& stage, Model start, const OptimConfig& config, bool with_reference);

  const Model& model() const { return model_; }
  Policy& policy() { return *model_.policy; }
  Policy* reference() { return reference_.get(); }
  Optimizer& optimizer() { return optimizer_; }
  TrainerState& state() { return state_; }

  /// Stores a finished step and shows it; counts it.
  void finish_step(StepRecord record);
  /// A checkpoint when one is due. The store is made durable first, so no checkpoint knows of a step the store lacks.
  void save_if_due();
  /// A checkpoint of a run that is interrupted between two steps, unless there is one of this state.
  void save_interrupted();
  /// Writes final/; returns the last step's metrics.
  Metrics finish();

 private:
  void save();

  const StageContext& stage_;
  OptimConfig config_;
  Model model_;
  std::unique_ptr<Policy> reference_;
  Optimizer optimizer_;
  TrainerState state_;
  Metrics last_metrics_;
};

/// Seconds since construction or the last lap.
class Stopwatch {
 public:
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    const double s = std::chrono::duration<double>(now - last_).count();
    last_ = now;
    return s;
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

}  // namespace hone
