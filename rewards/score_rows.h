// Scores rows of JSONL outside of a run: what `hone score` does for every reward that reads completions.
//
//   {"id": 1, "completion": "<think></think><answer>7*3+12</answer>", "numbers": [7, 3, 12], "target": 33}
//   -> {"id":1,"score":1.0,"verdict":"correct","reason":"7*3+12 is 33"}
//
// `finish_reason` ("eos", "length" or "stop") is "eos" when missing. `pred` stands for `completion` (rows for `math`:
// {"id", "gold", "pred", "config"?}). `token_ids`, those of the completion, are needed only by rewards that count them.
// Every other key except id and prompt is a column.
#pragma once

#include <iosfwd>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "rewards/reward.h"

namespace hone {

/// The result row as one line of JSON, without the line break. Throws std::runtime_error for a row that is not as
/// above or whose columns have the wrong type.
std::string score_row(const RewardFn& reward, const nlohmann::json& row);

/// Reads rows to the end of `in` and writes their results in the same order, in batches, so that memory does not grow
/// with the input. Empty lines are skipped. At a bad row throws std::runtime_error naming `source` and the line; the
/// results of the rows before it are then written, and none of those after it.
void score_stream(std::istream& in, std::ostream& out, const RewardFn& reward, int threads,
                  std::string_view source = "standard input");

}  // namespace hone
