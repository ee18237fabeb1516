// Data sets inside a run: the JSONL rows that the stages generate, filter, pairs and merge hand on, and that sft and
// distil learn from.
//
//   {"prompt": "7 3 12:33\n", "completion": "<think>..", "prompt_ids": [..], "completion_ids": [..],
//    "finish_reason": "eos", "verdict": "correct", "reward": 2.0, "rewards": {"countdown": 1.0, "format": 1.0},
//    "stage": "sample", "rollout_id": 17, "prompt_id": 5, "sample": 0, "numbers": [7, 3, 12], "target": 33}
//
// verdict is the first reward's; rollout_id names the row of run.db that it came from; what follows `sample` are the
// columns of the prompt's own row.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "rl/run_store.h"

namespace hone {

using Row = nlohmann::ordered_json;

/// body(line, its number) for every line of a file that is not blank. Throws std::runtime_error for one that cannot be
/// read.
void for_each_line(const std::filesystem::path& file,
                   const std::function<void(const std::string& line, int64_t number)>& body);

/// What is asked of a column: anything, text, a number or null, token ids (whole numbers from 0 to 2^31 - 1).
enum class ColumnType { kAny, kText, kNumber, kTokenIds };

/// A column that `wanted_by` needs of every row, or what may stand in its place.
struct Column {
  std::string key;
  ColumnType type;
  std::string wanted_by;
  std::string or_else = {};  ///< another key; where it is there, `key` may be missing
  bool optional = false;     ///< a row without it is sound
};

/// What a row lacks or has of another type, as "has no .."; empty: nothing.
std::string fault_of(const Row& row, const std::vector<Column>& columns);
/// Throws std::runtime_error with the fault, if there is one, behind `subject`.
void check_columns(const Row& row, const std::vector<Column>& columns, const std::string& subject = "");

/// One line. Throws std::runtime_error, as "is ..", for what is no JSON object.
Row read_row(const std::string& line);

/// The rows of a file in order; empty lines are skipped. Throws std::runtime_error naming file and line for a line that
/// is no JSON object or has a fault, and for a file that cannot be read or holds no row.
std::vector<Row> read_rows(const std::filesystem::path& file, const std::vector<Column>& columns = {});

/// Makes the folder and writes the file whole or not at all; the texts are rows, too, a line each.
void write_rows(const std::filesystem::path& file, const std::vector<Row>& rows);
void write_rows(const std::filesystem::path& file, const std::vector<std::string>& rows);

/// Every stored rollout of a stage, in the order of their ids.
std::vector<Row> stored_rows(const RunReader& run, const std::string& stage);

}  // namespace hone
