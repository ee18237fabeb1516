// hone score --reward NAME: rows with completions in, rows with scores out.
#include <fstream>
#include <iostream>
#include <stdexcept>

#include "cli/input.h"
#include "cli/verbs.h"
#include "models/kernels/thread_pool.h"
#include "rewards/rewards.h"
#include "rewards/score_rows.h"

namespace hone {

int score(const ScoreArgs& args) {
  if (args.reward.starts_with("python:")) {
    throw std::invalid_argument(
        "--reward " + args.reward +
        ": a Python function scores the rollouts of train, eval and replay; call it from Python");
  }
  const char* separator = args.reward.find(':') == std::string::npos ? ":" : ",";
  const RewardFn reward = make_reward(args.explain ? args.reward + separator + "explain=true" : args.reward);
  const bool is_stdin = args.cases == "-";
  std::ifstream file;
  if (!is_stdin) file.open(args.cases);
  if (!file) throw std::invalid_argument(args.cases + ": cannot be opened; give the path of a readable JSONL file");
  try {
    score_stream(is_stdin ? std::cin : file, std::cout, reward, kernel_pool().threads(),
                 is_stdin ? "standard input" : args.cases);
  } catch (const std::runtime_error& error) {
    if (!std::cout) throw;  // not the rows' fault
    throw std::invalid_argument(error.what());
  }
  return 0;
}

}  // namespace hone
