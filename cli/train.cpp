// hone train RECIPE.yaml: runs the stages of a recipe.
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include <unistd.h>

#include "cli/check_inputs.h"
#include "cli/input.h"
#include "cli/verbs.h"
#include "models/kernels/thread_pool.h"
#include "rl/plan.h"
#include "rl/recipe.h"
#include "rl/run.h"

namespace hone {
namespace fs = std::filesystem;
namespace {

int64_t task_rows(const std::string& task, const std::string& file) {
  return static_cast<int64_t>(task_named(task).problem_rows(file == "heldout.jsonl").size());
}

}  // namespace

int train(const TrainArgs& args, const Host& host) {
  const Recipe recipe = load_recipe(args.recipe, args.set, args.quick);
  RunOptions options{.recipe_dir = fs::absolute(args.recipe).parent_path(),
                     .run_dir = args.run_dir.empty() ? fs::path("runs") / recipe.name : fs::path(args.run_dir),
                     .resume = args.resume,
                     .from = args.from,
                     .until = args.until,
                     .threads = kernel_pool().threads(),
                     .progress = terminal_options(STDOUT_FILENO),
                     .host = host};
  // a plan may be asked for beside a run that goes on only with --resume
  if (!args.dry_run || args.resume || args.from || args.until) check_run(recipe, options);
  std::vector<std::string> missing;
  const bool even_done = args.dry_run && !args.resume && !args.from;
  check_inputs(recipe, options, even_done, args.allow_missing ? &missing : nullptr);
  if (args.dry_run) {
    const std::string plan = describe(plan_of(
        recipe, {options.recipe_dir, options.run_dir, options.from, options.until, options.threads}, task_rows));
    std::cout << describe(recipe) << plan;
    for (const std::string& line : missing) std::cout << "# missing: " << line << '\n';
    return 0;
  }
  options.progress.color = options.progress.terminal && std::getenv("NO_COLOR") == nullptr;
  run_recipe(recipe, options, known_tasks(), std::cout);
  return 0;
}

}  // namespace hone
