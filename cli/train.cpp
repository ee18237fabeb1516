#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <stdexcept>
#include <thread>

#include <unistd.h>

#include "cli/verbs.h"
#include "models/kernels/thread_pool.h"
#include "recipes/countdown/countdown.h"
#include "rl/recipe.h"
#include "rl/run.h"

namespace hone {

int train(const TrainArgs& args) {
  const Recipe recipe = load_recipe(args.recipe, args.set);
  if (args.dry_run) {
    std::cout << describe(recipe);
    return 0;
  }
  const int threads = kernel_pool().threads();
  RunOptions options{.recipe_dir = std::filesystem::absolute(args.recipe).parent_path(),
                     .run_dir = args.run_dir.empty() ? std::filesystem::path("runs") / recipe.name : std::filesystem::path(args.run_dir),
                     .resume = args.resume,
                     .from = args.from,
                     .until = args.until,
                     .threads = threads,
                     .progress = terminal_options(STDOUT_FILENO)};
  options.progress.color = options.progress.terminal && std::getenv("NO_COLOR") == nullptr;
  run_recipe(recipe, options, {{"countdown", countdown_task()}}, std::cout);
  return 0;
}

}  // namespace hone
