// hone: one binary. Each verb has a file of its own; this one binds flags and turns exceptions into exit codes:
// 0 done, 1 the run failed, 2 bad usage, recipe or input file.
#include <cstdlib>
#include <functional>
#include <iostream>
#include <stdexcept>
#include <thread>

#include <ATen/Parallel.h>
#include <CLI/CLI.hpp>

#include "cli/verbs.h"
#include "models/kernels/thread_pool.h"

namespace hone {
namespace {

// Our kernels have a pool of their own; ATen's OpenMP threads would only spin beside it.
void use_threads(int threads) {
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  set_kernel_threads(threads > 0 ? threads : cores);
  at::set_num_threads(1);
}

void add_train(CLI::App& app, std::function<int()>& run) {
  auto args = std::make_shared<TrainArgs>();
  CLI::App* verb = app.add_subcommand("train", "run the stages of a recipe");
  verb->add_option("recipe", args->recipe, "recipe file (YAML)")->required();
  verb->add_option("--set", args->set, "override an option: stage.key=value")->allow_extra_args(false);
  verb->add_option("--run-dir", args->run_dir, "where the run lives (default: runs/NAME)");
  verb->add_flag("--resume", args->resume, "go on with the run in the run directory, or start it");
  verb->add_option("--from", args->from, "run this stage and all after it again");
  verb->add_option("--until", args->until, "the last stage to run");
  verb->add_flag("--dry-run", args->dry_run, "check the recipe and print it with every default; touch nothing");
  verb->add_option("--threads", args->threads, "threads of the kernels (default: all cores)");
  verb->footer("Example:\n  hone train recipes/r1_zero_countdown.yaml --set rl.max_steps=8 --run-dir runs/quick");
  verb->callback([args, &run] {
    run = [args] {
      use_threads(args->threads);
      return train(*args);
    };
  });
}

int run_main(int argc, char** argv) {
  CLI::App app{"hone: reinforcement-learning post-training of language models (R1-Zero, R1), in one binary"};
  app.require_subcommand(1);
  std::function<int()> run;
  add_train(app, run);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  try {
    return run();
  } catch (const std::invalid_argument& error) {
    std::cerr << "hone: " << error.what() << '\n';
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "hone: " << error.what() << '\n';
    return 1;
  }
}

}  // namespace
}  // namespace hone

int main(int argc, char** argv) { return hone::run_main(argc, argv); }
