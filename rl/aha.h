// The moments in which a policy doubts a wrong result and mends it (DeepSeek-R1, table 3): correct rollouts of which
// the task says that a re-check led from a wrong result to the right one.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "rl/run_store.h"
#include "rollout/types.h"

namespace hone {

/// Whether a re-check in a completion that is correct changed a wrong result into the right one.
using CorrectsItself = std::function<bool(const Prompt&, const std::string& completion)>;

struct AhaStep {
  int64_t step, rollouts, ahas;
};
struct AhaRollout {
  int64_t id, step;
  std::string prompt, completion;
};
struct AhaMoments {
  std::vector<AhaStep> steps;     ///< every step with rollouts
  std::vector<AhaRollout> first;  ///< in the order in which they were sampled
};

/// Of a stage whose reward `accuracy` decides what is correct; at most `limit` rollouts.
AhaMoments aha_moments(const RunReader& run, const std::string& stage, const std::string& accuracy,
                       const CorrectsItself& corrects_itself, size_t limit);

}  // namespace hone
