// hone sandbox: rows with programs in, rows with verdicts out. Torch-free, so that it is also a program of its own.
#pragma once

#include <string>
#include <vector>

namespace hone {

struct SandboxArgs {
  int jobs = 0;             ///< 0: one a core
  std::string cases = "-";  ///< JSONL file; "-": standard input
  bool capabilities = false;
  std::vector<std::string> require;  ///< isolation layers without which nothing runs
  std::string python, compiler;      ///< empty: the usual ones
  std::vector<std::string> without;  ///< for the test of the tests; `hone` has no flag for it and refuses it
};
int sandbox_verb(const SandboxArgs& args);

}  // namespace hone
