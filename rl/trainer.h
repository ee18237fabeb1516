// GRPO (Shao et al. 2024, alg. 1; DeepSeek-R1 eq. 1-3): the loop that samples, scores and updates.
#pragma once

#include <vector>

#include "rewards/reward.h"
#include "rl/stage.h"

namespace hone {

/// Trains `start` on the prompts and leaves stages/NAME/final. Continues from the newest checkpoint. Throws
/// std::invalid_argument for a recipe that cannot be run, std::runtime_error when nothing can be scored or sampler and
/// trainer disagree by a bit (assert_gap).
Metrics train_rl(const RlConfig& config, const StageContext& stage, Model start, const std::vector<Prompt>& prompts,
                 const std::vector<NamedReward>& rewards);

}  // namespace hone
