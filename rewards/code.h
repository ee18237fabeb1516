// `code`: runs the program in a completion against the row's tests, in the sandbox. Which tests a row may hold:
// rewards/code_tests.h; what of a completion is its program: rewards/code_block.h.
//
//   row {"test_cases": [{"input": "2 3\n", "output": "5"}, {"input": "1 1\n", "output": "2"}]}
//   "```python\nprint(sum(map(int, input().split())))\n```"    correct: both tests pass
//   "```python\nprint(5)\n```"                                 wrong: test 2 of 2: WA (1/2 with partial=true)
//   "```python\nimport sys; sys.exit(0)\n```"                  wrong: what a program says or how it ends proves nothing
//
// A program's output must equal the expected one, all of it; white space at the ends of lines and empty lines at the
// end do not count. A time-out, too much memory or output, a crash, a program that does not compile: wrong, with the
// verdict as the reason. A fault of the sandbox is no score: it throws.
#pragma once

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

#include "rewards/reward.h"
#include "sandbox/sandbox.h"

namespace hone {

struct CodeOptions {
  std::string language = "auto";  ///< of a program whose row and fence name none ("auto": python), or the only one
  bool partial = false;           ///< the share of tests passed instead of all or nothing
  double time_limit = 2;          ///< seconds of CPU time a test; the row's time_limit counts first. Wall: three times
  double memory_limit = 512;      ///< MiB; the row's memory_limit counts first
  int64_t jobs = 0;               ///< programs at the same time; 0: one a core

  template <class Visitor>
  void visit(Visitor& v) {
    v("language", language, {"auto", "python", "cpp"});
    v("partial", partial);
    v("time_limit", time_limit, .01, 3600);
    v("memory_limit", memory_limit, 16, 1 << 20);
    v("jobs", jobs, 0, 4096);
  }
};

/// The sandbox failed twice at a program that is not to blame.
struct SandboxFault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Gives the pool to run in; called when there is a program to run. Thread-safe.
using PoolSource = std::function<std::shared_ptr<sandbox::Pool>()>;

/// A pool of its own, started with the first program and kept as long as the function or a copy of it.
PoolSource lazy_pool(sandbox::PoolOptions options);

/// The completions of a prompt run side by side, each one's tests one after the other; equal programs run once. Rows
/// without tests are not applicable. The function throws SandboxFault, and std::runtime_error for a row whose columns
/// are of other types.
RewardFn code_reward(const CodeOptions& options, PoolSource pool);
RewardFn code_reward(const CodeOptions& options);

}  // namespace hone
