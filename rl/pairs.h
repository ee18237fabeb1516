// Pairs for a reward model out of sampled completions: of two of one prompt, the one that is preferred. Pure functions.
//
//   {"prompt": .., "chosen": "<think>..", "rejected": "<think>..", "margin": 1.0, "rollout_id": 17,
//    "rejected_rollout_id": 19}                                        rollout_id is that of the chosen one
#pragma once

#include <cstdint>
#include <vector>

#include "rl/config.h"
#include "rl/rows.h"

namespace hone {

struct PairsResult {
  std::vector<Row> rows;
  int64_t num_prompts = 0, num_without = 0;  ///< prompts, and those whose completions differ too little
};

/// The columns that the preference needs.
std::vector<Column> columns_of(const PairsConfig& config);

/// The best completion of a prompt with its worst, the second best with the second worst, and so on, in the order of
/// the prompts' first rows; of equal ones the earlier is the better. With `prefer: reward` a row whose reward is null
/// (not applicable) is in no pair. Throws std::runtime_error for a row without what the preference needs.
PairsResult preference_pairs(const std::vector<Row>& rows, const PairsConfig& config);

}  // namespace hone
