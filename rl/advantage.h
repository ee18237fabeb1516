// Group-relative advantages (GRPO, arXiv:2402.03300 eq. 3 / R1 arXiv:2501.12948 eq. 3):
//
//   A[p][g] = (R[p][g] - mean_g R[p]) / (std + epsilon)
//
// std: over the group (population; sample if asked, as TRL has it), over all rewards of the step, or 1 for `none`
// (Dr. GRPO, arXiv:2503.20783). 16 samples of which 4 earn 1 and 12 earn 0: +1.7321 and -0.5774.
// A rollout without a reward (not applicable, undecided) is in no mean or std and has advantage 0.
#pragma once

#include <vector>

#include "rewards/group.h"
#include "rl/config.h"

namespace hone {

enum class RewardScale { kNone, kGroup, kBatch };

struct AdvantageOptions {
  RewardScale scale = RewardScale::kGroup;
  bool sample_std = false;  ///< divide by n - 1
  double epsilon = 1e-6;
};

/// scale_rewards, sample_std and advantage_epsilon of a recipe.
AdvantageOptions advantage_options(const RlConfig& config);

/// (P)(G), in the order of the rollouts. Equal rewards in a group give exactly 0. Throws std::runtime_error when not
/// one rollout could be scored, std::invalid_argument when a group's rewards do not match its rollouts.
std::vector<std::vector<double>> group_advantages(const std::vector<Group>& groups, const AdvantageOptions& options);

/// Which groups are worth an update (DAPO, arXiv:2503.14476 eq. 11).
enum class DynamicSampling {
  kNone,      ///< all
  kReward,    ///< those whose scored rewards are not all equal: an advantage is not 0
  kAccuracy,  ///< those in which the first reward finds some completions correct and some not: 0 < #correct < G
};
/// dynamic_sampling of a recipe.
DynamicSampling dynamic_sampling(const RlConfig& config);
bool teaches(const Group& group, DynamicSampling rule);

/// Share of groups that teach nothing: their scored rewards are all equal (or there are none).
double frac_reward_zero_std(const std::vector<Group>& groups);

}  // namespace hone
