// The verbs of the command line: what each is given, and the function that does it. Flags are bound in main.cpp.
// Every function returns the exit status; exceptions are turned into one in main.cpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace hone {

struct TrainArgs {
  std::string recipe;
  std::vector<std::string> set;
  std::string run_dir;  ///< empty: runs/NAME
  bool resume = false;
  std::optional<std::string> from, until;
  bool dry_run = false;
  int threads = 0;      ///< 0: all cores
};
int train(const TrainArgs& args);

}  // namespace hone
