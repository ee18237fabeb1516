// Mixing data sets by weight (DeepSeek-R1 2.3.3: 600k reasoning rows and 200k others). Pure functions.
#pragma once

#include <vector>

#include "rl/config.h"
#include "rl/rows.h"

namespace hone {

/// Rows that each set gives, by largest remainder. Without num_rows as many as there are until one set runs out.
std::vector<int64_t> merge_counts(const std::vector<int64_t>& sizes, const MergeConfig& config);

/// The mixture in random order. A set is drawn without replacement, again and again where it is too short; `seed` fixes
/// both. Every set holds a row; `columns` are added to its rows, in place of those of the same name.
std::vector<Row> merge_rows(const std::vector<std::vector<Row>>& sets, const MergeConfig& config, uint64_t seed);

}  // namespace hone
