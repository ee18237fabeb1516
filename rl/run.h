// A run: the stages of a recipe, one after another, into a run directory. A stage that is done is not repeated; one
// that was cut short goes on from its newest checkpoint.
//
//   RUN/run.db, recipe.yaml, log.txt, report.html, stages/NAME/{final,checkpoints,data,metrics.json}
#pragma once

#include <filesystem>
#include <iosfwd>
#include <map>
#include <optional>
#include <string>

#include "rl/config.h"
#include "rl/host.h"
#include "rl/progress.h"
#include "rl/task.h"

namespace hone {

struct RunOptions {
  std::filesystem::path recipe_dir;  ///< relative data and model paths are looked up here first
  std::filesystem::path run_dir;
  bool resume = false;               ///< also starts a run whose directory is empty or missing
  std::optional<std::string> from;   ///< this stage and all after it run again
  std::optional<std::string> until;  ///< the last stage to run
  int threads = 1;
  ProgressOptions progress;
  Host host = {};
};

/// The tasks by name, handed in by cli/.
using Tasks = std::map<std::string, Task>;

/// Throws std::invalid_argument unless `there`: the host has the means to call a Python function.
void need_python(bool there, const std::string& function);

/// All that can be refused before anything is written: stages that are not there, --until before --from, a directory
/// that holds another run, or one of which --from would keep what another recipe made. Throws std::invalid_argument.
void check_run(const Recipe& recipe, const RunOptions& options);

/// Runs the recipe. Throws std::invalid_argument for what check_run() refuses (nothing is written then),
/// std::runtime_error when a stage fails or a gate is not reached.
void run_recipe(const Recipe& recipe, const RunOptions& options, const Tasks& tasks, std::ostream& out);

}  // namespace hone
