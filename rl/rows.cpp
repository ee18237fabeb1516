#include "rl/rows.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <stdexcept>

#include <fmt/core.h>

#include "models/atomic_file.h"

namespace hone {
namespace {

bool is_token_id(const Row& value) {
  return value.is_number_integer() && (value.is_number_unsigned() || value.get<int64_t>() >= 0) &&
         value.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int32_t>::max());
}

// What the value should have been; null: it is.
const char* wanted_in_place_of(const Row& value, ColumnType type) {
  switch (type) {
    case ColumnType::kAny:
      return nullptr;
    case ColumnType::kText:
      return value.is_string() ? nullptr : "text";
    case ColumnType::kNumber:
      return value.is_number() || value.is_null() ? nullptr : "a number";
    case ColumnType::kTokenIds:
      return value.is_array() && std::ranges::all_of(value, is_token_id) ? nullptr : "a list of token ids";
  }
  return nullptr;
}

// Cells of the query below.
Row to_row(const std::vector<nlohmann::json>& cells, const std::string& stage) {
  Row row{{"prompt", cells[5]},         {"completion", cells[2]},    {"prompt_ids", cells[6]},
          {"completion_ids", cells[1]}, {"finish_reason", cells[3]}, {"verdict", nullptr},
          {"reward", cells[4]},         {"rewards", Row::object()},  {"stage", stage},
          {"rollout_id", cells[0]},     {"prompt_id", cells[8]},     {"sample", cells[9]}};
  const Row columns = Row::parse(cells[7].get<std::string>());
  for (const auto& [key, value] : columns.items()) {
    if (!row.contains(key)) row[key] = value;
  }
  return row;
}

// Both queries are in the order of the rollouts' ids.
void add_rewards(std::vector<Row>& rows, const QueryResult& rewards) {
  size_t at = 0;
  for (const auto& cells : rewards.rows) {
    while (rows[at]["rollout_id"] != cells[0]) ++at;
    Row& row = rows[at];
    if (row["rewards"].empty()) row["verdict"] = cells[3];
    row["rewards"][cells[1].get<std::string>()] = cells[2];
  }
}

}  // namespace

void for_each_line(const std::filesystem::path& file,
                   const std::function<void(const std::string& line, int64_t number)>& body) {
  std::ifstream in(file);
  if (!in) throw std::runtime_error(file.string() + ": cannot be read; check the path");
  std::string line;
  for (int64_t number = 1; std::getline(in, line); ++number) {
    if (line.find_first_not_of(" \t\r") != std::string::npos) body(line, number);
  }
}

Row read_row(const std::string& line) {
  try {
    Row row = Row::parse(line);
    if (row.is_object()) return row;
    throw std::runtime_error(fmt::format("is a JSON {}, not an object", row.type_name()));
  } catch (const nlohmann::json::parse_error& error) {
    throw std::runtime_error(fmt::format("is no valid JSON near character {}", error.byte));
  } catch (const nlohmann::json::out_of_range&) {
    throw std::runtime_error("has a number beyond JSON's double precision");
  }
}

std::string fault_of(const Row& row, const std::vector<Column>& columns) {
  for (const Column& c : columns) {
    if (!row.contains(c.key)) {
      if (c.optional || row.contains(c.or_else)) continue;
      return fmt::format("has {}, which {} needs",
                         c.or_else.empty() ? fmt::format("no \"{}\"", c.key)
                                           : fmt::format("neither \"{}\" nor \"{}\"", c.key, c.or_else),
                         c.wanted_by);
    }
    const char* wanted = wanted_in_place_of(row[c.key], c.type);
    if (wanted) return fmt::format("has a \"{}\" that is not {}, which {} needs", c.key, wanted, c.wanted_by);
  }
  return "";
}

void check_columns(const Row& row, const std::vector<Column>& columns, const std::string& subject) {
  if (const auto fault = fault_of(row, columns); !fault.empty()) throw std::runtime_error(subject + fault);
}

std::vector<Row> read_rows(const std::filesystem::path& file, const std::vector<Column>& columns) {
  std::vector<Row> rows;
  for_each_line(file, [&](const std::string& line, int64_t number) {
    try {
      Row row = read_row(line);
      check_columns(row, columns);
      rows.push_back(std::move(row));
    } catch (const std::exception& error) {
      throw std::runtime_error(
          fmt::format("{}:{}: this row {}; mend or remove it", file.string(), number, error.what()));
    }
  });
  if (rows.empty()) throw std::runtime_error(file.string() + ": holds no row");
  return rows;
}

namespace {

const std::string& text_of(const std::string& row) { return row; }
std::string text_of(const Row& row) { return row.dump(); }

template <class Rows>
void write_lines(const std::filesystem::path& file, const Rows& rows) {
  std::filesystem::create_directories(file.parent_path());
  write_file_atomic(file, [&](const ByteSink& sink) {
    for (const auto& row : rows) sink(text_of(row) + "\n");
  });
}

}  // namespace

void write_rows(const std::filesystem::path& file, const std::vector<Row>& rows) { write_lines(file, rows); }
void write_rows(const std::filesystem::path& file, const std::vector<std::string>& rows) { write_lines(file, rows); }

std::vector<Row> stored_rows(const RunReader& run, const std::string& stage) {
  std::vector<Row> rows;
  const auto rollouts = run.query(
      "SELECT r.id, r.token_ids, r.text, r.finish_reason, r.reward, p.text, p.token_ids AS token_ids, p.columns, "
      "r.prompt_id, r.sample FROM rollouts r JOIN prompts p ON p.stage = r.stage AND p.id = r.prompt_id "
      "WHERE r.stage = ? ORDER BY r.id",
      {stage});
  for (const auto& cells : rollouts.rows) rows.push_back(to_row(cells, stage));
  add_rewards(rows, run.query("SELECT w.rollout_id, w.name, w.value, w.verdict FROM rewards w JOIN rollouts r ON "
                              "r.id = w.rollout_id WHERE r.stage = ? ORDER BY r.id, w.rowid",
                              {stage}));
  return rows;
}

}  // namespace hone
