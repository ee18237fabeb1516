// Looks at everything that a recipe names before the run directory is touched: files, models, tasks, rewards.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "rl/config.h"

namespace hone {

struct Host;  // rl/host.h

/// Reads the models and data files that the recipe takes from outside of the run (not `${stage}`), and looks its tasks
/// and rewards up. Stages that are done in run_dir need their files no more, unless `repeat`. Throws
/// std::invalid_argument with the stage's name in front. With `missing`, a model or file that is not there is added to
/// it, a sentence each, and no reason to throw; one that is there and bad still is.
void check_inputs(const Recipe& recipe, const std::filesystem::path& recipe_dir, const std::filesystem::path& run_dir,
                  bool repeat, const Host& host, std::vector<std::string>* missing = nullptr);

}  // namespace hone
