// Rejection sampling (DeepSeek-R1 2.3.1, 2.3.3): which sampled completions go on into training. Pure functions; every
// row that is dropped is counted under the first reason that applies:
//
//   python                                                                            the user's function drops it
//   unfinished, wrong, too_hard, too_easy, too_short, too_long, language, repetition   what the row itself is
//   not_rewritten                                                                     the task has no readable form
//   duplicate, per_prompt, balance, limit                                             what there is too much of
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "rl/config.h"
#include "rl/rows.h"

namespace hone {

struct FilterResult {
  std::vector<Row> rows;                   ///< kept, in the order they had
  std::map<std::string, int64_t> dropped;  ///< by reason; every reason is there
  int64_t num_read = 0;
};

/// The readable form of a row's completion; nothing when there is none.
using Rewriter = std::function<std::optional<std::string>(const Row& row)>;

/// The columns that the wanted checks need.
std::vector<Column> columns_of(const FilterConfig& config);

/// The row to keep in place of a row, if any: the user's own rule, which comes before all others.
using RowRule = std::function<std::optional<Row>(const Row& row)>;

/// Prompts are told apart by their text. The pass rate of a prompt is the share of correct ones among its rows. A
/// rewritten row has the new completion, `rewritten: true`, and no completion_ids. `rewrite` and `rule` may be
/// empty; random choices follow from `seed`. Throws std::runtime_error for a row without what a wanted check needs.
FilterResult filter_rows(std::vector<Row> rows, const FilterConfig& config, uint64_t seed, const Rewriter& rewrite,
                         const RowRule& rule = {});

/// rows/in, rows/kept, rows/dropped/REASON.
std::map<std::string, double> filter_metrics(const FilterResult& result);

/// "7142 rows, 2980 kept; dropped: 3002 wrong, 1160 language".
std::string filter_summary(const FilterResult& result);

}  // namespace hone
