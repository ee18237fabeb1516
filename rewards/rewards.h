// The rewards by name: the one place that lists them. A recipe's `reward_funcs` and `hone score --reward` come here.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "rewards/reward.h"

namespace hone {

/// Every name that make_reward knows, in alphabetical order.
std::vector<std::string> reward_names();

/// A name, or a name with options: "cosine:max_len=2000,min_value_wrong=-1" (see rewards/options.h; each reward's
/// header has its options). Throws std::invalid_argument for an unknown name or option, with those there are and the
/// nearest.
RewardFn make_reward(const std::string& text);

/// Rewards that are made elsewhere, given the text behind the first colon. Empty: refused.
struct OutsideRewards {
  std::function<NamedReward(const std::string& function)> python = {};      ///< python:module:function
  std::function<NamedReward(const std::string& folder)> reward_model = {};  ///< reward_model:FOLDER
};

/// FOLDER of reward_model:FOLDER; nothing for any other reward.
std::optional<std::string> reward_model_of(const std::string& reward);

/// One NamedReward per entry, under its name without the options (one from outside under the name it is given there);
/// no weights: each 1. Throws std::invalid_argument for an unknown or repeated name, a weight that is not finite, when
/// there are weights but not one per name, and for a reward from outside that cannot be had here.
std::vector<NamedReward> make_rewards(const std::vector<std::string>& names, const std::vector<double>& weights = {},
                                      const OutsideRewards& outside = {});

}  // namespace hone
