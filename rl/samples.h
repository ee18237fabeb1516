// The generate stage: k completions of every row of a data set, scored, in run.db and as stages/NAME/data/rows.jsonl.
#pragma once

#include <vector>

#include "rewards/reward.h"
#include "rl/stage.h"

namespace hone {

/// The random key of a completion is (the stage's seed, generate, 0, row number or the row's own id, sample, position),
/// so that prompts_per_step changes nothing. Goes on after the last step that is stored. Returns rows/made, the share
/// of rows that the first reward calls correct, and the mean length.
Metrics generate_samples(const GenerateConfig& config, const StageContext& stage, const Model& model,
                         const std::vector<Prompt>& prompts, const std::vector<NamedReward>& rewards);

}  // namespace hone
