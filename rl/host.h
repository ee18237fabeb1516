// What a program that embeds a run (the Python package) puts into it: functions where a recipe has names, eyes on the
// steps, and the request to stop. `hone train` leaves it empty.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "rewards/rewards.h"
#include "rl/loss.h"
#include "rl/rows.h"

namespace hone {

/// Functions named `module:function` throw std::invalid_argument when they cannot be found, Interrupted when they fail.
struct Host {
  std::function<NamedReward(const std::string& function)> reward;
  /// For `python` of a filter stage: the row to keep, if any.
  std::function<std::function<std::optional<Row>(const Row&)>(const std::string& function)> filter;
  /// For a stage of kind python: (rows, metrics) out of the rows of each data set.
  std::function<std::pair<std::vector<Row>, std::map<std::string, double>>(const std::string& function,
                                                                           const std::vector<std::vector<Row>>& data)>
      stage;
  /// In place of the loss of every rl stage; its tokens are weighed as loss_type says.
  PolicyLoss loss;
  /// After each step of a training stage, on the thread that trains.
  std::function<void(const std::string& stage, int64_t step, int64_t max_steps,
                     const std::map<std::string, double>& metrics)>
      on_step;
  /// Noticed within a part of an update or a token of a rollout; what the last whole step left is then kept as a
  /// checkpoint, and Interrupted is thrown.
  std::stop_token stop;
};

}  // namespace hone
