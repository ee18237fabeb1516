// Looks at everything that a recipe names before the run directory is touched: files, models, tasks, rewards.
#pragma once

#include <string>
#include <vector>

#include "rl/config.h"

namespace hone {

struct RunOptions;  // rl/run.h

/// Reads the models and data files that the recipe takes from outside of the run (not `${stage}`), and looks its tasks
/// and rewards up. Stages behind options.until are left out, and those that are done in the run directory need their
/// files no more, but for the ones from options.from on, or all if `even_done`. Throws std::invalid_argument with the
/// stage's name in front. With `missing`, a model or file that is not there is added to it, a sentence each, and no
/// reason to throw; one that is there and bad still is.
void check_inputs(const Recipe& recipe, const RunOptions& options, bool even_done,
                  std::vector<std::string>* missing = nullptr);

}  // namespace hone
