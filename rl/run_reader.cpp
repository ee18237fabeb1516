// The reading half of rl/run_store.h.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <optional>
#include <stdexcept>

#include <fmt/core.h>
#include <sqlite3.h>

#include "rl/run_store.h"
#include "rl/sqlite.h"

namespace hone {
namespace {

using sqlite::check_version, sqlite::Database, sqlite::open_database;

/// A SQLite URI; % ? # in a path would mean something else there.
std::string immutable_uri(const std::string& path) {
  std::string uri = "file:";
  for (char c : path) uri += c == '%' || c == '?' || c == '#' ? fmt::format("%{:02X}", int(c)) : std::string(1, c);
  return uri + "?immutable=1";
}

bool is_empty_or_missing(const std::string& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  return error || size == 0;
}

/// A log needs a writable folder. A finished run has none left and can be read from anywhere, but as immutable.
bool needs_immutable(sqlite3* db, const std::string& path) {
  const int code = sqlite3_exec(db, "SELECT 1 FROM sqlite_master", nullptr, nullptr, nullptr);
  return (code == SQLITE_CANTOPEN || code == SQLITE_READONLY) && is_empty_or_missing(path + "-wal");
}

Database open_for_reading(const std::string& path) {
  if (!std::filesystem::exists(path)) {
    throw std::runtime_error(path + ": not found; name the directory of a run that `hone train` has made");
  }
  Database db = open_database(path, path, SQLITE_OPEN_READONLY);
  if (needs_immutable(db.get(), path)) {
    db = open_database(immutable_uri(path), path, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI);
  }
  check_version(db.get(), path, kRunStoreVersion);
  return db;
}

/// Text that is not UTF-8 gets U+FFFD, so that every cell can be printed as JSON.
nlohmann::json text_cell(const char* data, int size) {
  const std::string text(data, size_t(size));
  const auto is_ascii = [](char c) { return static_cast<unsigned char>(c) < 128; };
  if (std::all_of(text.begin(), text.end(), is_ascii)) return text;
  return nlohmann::json::parse(nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

template <class Number>
nlohmann::json number_list(const void* data, int size) {
  std::vector<Number> values(size_t(size) / sizeof(Number));
  if (!values.empty()) std::memcpy(values.data(), data, values.size() * sizeof(Number));
  return values;
}

nlohmann::json blob_cell(const std::string& column, const void* data, int size) {
  if (column == "token_ids" && size % 4 == 0) return number_list<int32_t>(data, size);
  if (column == "logprobs" && size % 4 == 0) return number_list<float>(data, size);
  std::string hex;
  for (int i = 0; i < size; ++i) hex += fmt::format("{:02x}", static_cast<const unsigned char*>(data)[i]);
  return hex;
}

nlohmann::json cell(sqlite3_stmt* statement, int i) {
  switch (sqlite3_column_type(statement, i)) {
    case SQLITE_INTEGER:
      return sqlite3_column_int64(statement, i);
    case SQLITE_FLOAT:
      return sqlite3_column_double(statement, i);
    case SQLITE_NULL:
      return nullptr;
    case SQLITE_BLOB: {
      const void* data = sqlite3_column_blob(statement, i);
      return blob_cell(sqlite3_column_name(statement, i), data, sqlite3_column_bytes(statement, i));
    }
  }
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, i));
  return text_cell(text, sqlite3_column_bytes(statement, i));
}

struct Finalizer {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using OwnedStatement = std::unique_ptr<sqlite3_stmt, Finalizer>;

OwnedStatement prepare_reading(sqlite3* db, const std::string& sql) {
  const auto refuse = [&](const std::string& why) {
    throw std::invalid_argument(fmt::format("SQL '{}': {}", sql, why));
  };
  sqlite3_stmt *raw = nullptr, *more = nullptr;
  const char* tail = nullptr;
  if (sqlite3_prepare_v2(db, sql.c_str(), -1, &raw, &tail) != SQLITE_OK) refuse(sqlite3_errmsg(db));
  OwnedStatement statement(raw);
  if (!raw) refuse("empty; write one SELECT");
  if (!sqlite3_stmt_readonly(raw)) refuse("writes, but a run can only be read");
  const bool is_alone = sqlite3_prepare_v2(db, tail, -1, &more, nullptr) == SQLITE_OK && !more;
  sqlite3_finalize(more);
  if (!is_alone) refuse("more than one statement; write one SELECT");
  return statement;
}

void bind_json(sqlite3_stmt* statement, int index, const nlohmann::json& value) {
  if (value.is_number_float()) {
    sqlite3_bind_double(statement, index, value.get<double>());
  } else if (value.is_number() || value.is_boolean()) {
    sqlite3_bind_int64(statement, index, value.is_boolean() ? value.get<bool>() : value.get<int64_t>());
  } else if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    sqlite3_bind_text64(statement, index, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  }
}

// ---- a step, read back ----------------------------------------------------------------------------------------------

template <class Enum>
Enum parse_word(const std::string& word, std::initializer_list<Enum> all) {
  for (const Enum e : all) {
    if (word == to_string(e)) return e;
  }
  throw std::runtime_error(fmt::format("'{}' is none of the words that this column holds", word));
}

std::optional<double> optional_number(const nlohmann::json& cell) {
  return cell.is_null() ? std::nullopt : std::optional(cell.get<double>());
}

/// Columns: prompt_id, sample, policy_version, token_ids, logprobs, text, finish_reason.
Rollout rollout_of(const std::vector<nlohmann::json>& row) {
  return {.prompt_id = row[0].get<int64_t>(),
          .sample = row[1].get<int32_t>(),
          .token_ids = row[3].get<std::vector<int32_t>>(),
          .logprobs = row[4].get<std::vector<float>>(),
          .text = row[5].get<std::string>(),
          .finish_reason =
              parse_word(row[6].get<std::string>(), {FinishReason::kEos, FinishReason::kLength, FinishReason::kStop}),
          .policy_version = row[2].get<int64_t>()};
}

Prompt prompt_of(const RunReader& run, const std::string& stage, int64_t id) {
  const auto found = run.query("SELECT text, token_ids, columns FROM prompts WHERE stage = ? AND id = ?", {stage, id});
  if (found.rows.empty()) throw std::runtime_error(fmt::format("prompt {} of stage '{}' is not stored", id, stage));
  const auto& row = found.rows[0];
  return {id, row[0].get<std::string>(), row[1].get<std::vector<int32_t>>(), row[2].get<std::string>()};
}

/// By rollout id.
std::map<int64_t, std::vector<Reward::Part>> reward_parts(const RunReader& run, const std::string& stage,
                                                          int64_t step) {
  std::map<int64_t, std::vector<Reward::Part>> parts;
  for (const auto& row : run.query("SELECT rollout_id, name, value, verdict, reason FROM rewards WHERE rollout_id IN "
                                   "(SELECT id FROM rollouts WHERE stage = ? AND step = ?) ORDER BY rollout_id, rowid",
                                   {stage, step})
                             .rows) {
    const Verdict verdict = parse_word(
        row[3].get<std::string>(), {Verdict::kCorrect, Verdict::kWrong, Verdict::kNotApplicable, Verdict::kUndecided});
    parts[row[0].get<int64_t>()].push_back(
        {row[1].get<std::string>(), 1.0, {optional_number(row[2]), verdict, row[4].get<std::string>()}});
  }
  return parts;
}

}  // namespace

RunReader::RunReader(const std::filesystem::path& run_dir)
    : path_(run_dir / "run.db"), db_(open_for_reading(path_.string()).release()) {}

RunReader::~RunReader() { sqlite3_close(db_); }

QueryResult RunReader::query(const std::string& sql, const std::vector<nlohmann::json>& args) const {
  const OwnedStatement statement = prepare_reading(db_, sql);
  for (size_t i = 0; i < args.size(); ++i) bind_json(statement.get(), int(i) + 1, args[i]);
  QueryResult result;
  const int num_columns = sqlite3_column_count(statement.get());
  for (int i = 0; i < num_columns; ++i) result.columns.emplace_back(sqlite3_column_name(statement.get(), i));
  int code;
  while ((code = sqlite3_step(statement.get())) == SQLITE_ROW) {
    auto& row = result.rows.emplace_back();
    for (int i = 0; i < num_columns; ++i) row.push_back(cell(statement.get(), i));
  }
  if (code != SQLITE_DONE) throw std::invalid_argument(fmt::format("SQL '{}': {}", sql, sqlite3_errmsg(db_)));
  return result;
}

std::vector<std::string> RunReader::stages() const {
  std::vector<std::string> names;
  for (const char* sql : {"SELECT stage FROM steps GROUP BY stage ORDER BY min(rowid)",
                          "SELECT stage FROM rollouts GROUP BY stage ORDER BY min(id)"}) {
    for (const auto& row : query(sql).rows) {
      const auto name = row[0].get<std::string>();
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  }
  return names;
}

std::map<std::string, RunReader::Series> RunReader::steps(const std::string& stage) const {
  std::map<std::string, Series> out;
  for (const auto& row : query("SELECT name, step, value FROM steps WHERE stage = ? ORDER BY step", {stage}).rows) {
    const double value = row[2].is_null() ? std::numeric_limits<double>::quiet_NaN() : row[2].get<double>();
    out[row[0].get<std::string>()].emplace_back(row[1].get<int64_t>(), value);
  }
  return out;
}

StepRecord RunReader::step(const std::string& stage, int64_t step) const try {
  StepRecord record{.stage = stage, .step = step, .groups = {}, .advantages = {}, .metrics = {}};
  auto parts = reward_parts(*this, stage, step);
  std::vector<Group>* groups = nullptr;
  for (const auto& row : query("SELECT prompt_id, sample, policy_version, token_ids, logprobs, text, finish_reason, "
                               "reward, advantage, id FROM rollouts WHERE stage = ? AND step = ? ORDER BY id",
                               {stage, step})
                             .rows) {
    const Rollout rollout = rollout_of(row);
    if (rollout.logprobs.size() != rollout.token_ids.size()) {
      throw std::runtime_error(fmt::format("{}: rollout {} has {} token ids and {} log-probs; the file was changed",
                                           path_.string(), row[9].dump(), rollout.token_ids.size(),
                                           rollout.logprobs.size()));
    }
    const bool learnt = !row[8].is_null();
    if (rollout.sample == 0) {
      groups = learnt ? &record.groups : &record.dropped;
      groups->push_back({prompt_of(*this, stage, rollout.prompt_id), {}, {}});
      if (learnt) record.advantages.emplace_back();
    }
    if (!groups) throw std::runtime_error(fmt::format("step {} of stage '{}' begins within a group", step, stage));
    groups->back().rollouts.push_back(rollout);
    groups->back().rewards.push_back({optional_number(row[7]), std::move(parts[row[9].get<int64_t>()])});
    if (learnt) record.advantages.back().push_back(row[8].get<double>());
  }
  for (const auto& row : query("SELECT name, value FROM steps WHERE stage = ? AND step = ?", {stage, step}).rows) {
    record.metrics[row[0].get<std::string>()] = optional_number(row[1]).value_or(std::nan(""));
  }
  return record;
} catch (const nlohmann::json::type_error&) {
  throw std::runtime_error(fmt::format("{}: step {} of stage '{}' holds a value of another type; the file was changed",
                                       path_.string(), step, stage));
}

}  // namespace hone
