// Samples k completions of every row of a data set and scores them: pass@1 with its interval, pass@k, maj@k, lengths.
#pragma once

#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "rewards/group.h"
#include "rl/checkpoint.h"
#include "rl/config.h"
#include "rl/task.h"

namespace hone {

struct Evaluation {
  std::vector<Group> groups;
  std::map<std::string, double> metrics;  ///< eval_* of rl/metrics.h; with a task its diagnosis as eval_NAME
};

/// The random key of a completion is (seed, eval, 0, row number or the row's own id, sample, position). `task` may be
/// null.
Evaluation evaluate(const Model& model, const std::vector<Prompt>& prompts, const std::vector<NamedReward>& rewards,
                    const EvalConfig& config, uint64_t seed, const Task* task, int threads, std::stop_token stop = {});

}  // namespace hone
