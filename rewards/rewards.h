// The rewards by name: the one place that lists them. A recipe's `reward_funcs` and `hone score --reward` come here.
#pragma once

#include <string>
#include <vector>

#include "rewards/reward.h"

namespace hone {

/// Every name that make_reward knows, in alphabetical order.
std::vector<std::string> reward_names();

/// Throws std::invalid_argument for an unknown name, with the names there are and the nearest one.
RewardFn make_reward(const std::string& name);

/// One NamedReward per name; no weights: each 1. Throws std::invalid_argument for an unknown or repeated name, a
/// weight that is not finite, and when there are weights but not one per name.
std::vector<NamedReward> make_rewards(const std::vector<std::string>& names, const std::vector<double>& weights = {});

}  // namespace hone
