#include "rl/trackio.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <ctime>
#include <limits>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hone {
namespace {

using nlohmann::json;

constexpr int kTrackioSchema = 2;
constexpr const char* kSchema = R"sql(
CREATE TABLE IF NOT EXISTS metrics(
  id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL, timestamp TEXT NOT NULL, run_name TEXT NOT NULL,
  step INTEGER NOT NULL, metrics TEXT NOT NULL, log_id TEXT, space_id TEXT);
CREATE INDEX IF NOT EXISTS idx_metrics_run_step ON metrics(run_id, step);
CREATE TABLE IF NOT EXISTS configs(
  id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL, run_name TEXT NOT NULL, config TEXT NOT NULL,
  created_at TEXT NOT NULL, UNIQUE(run_id));
CREATE TABLE IF NOT EXISTS system_metrics(
  id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL, timestamp TEXT NOT NULL, run_name TEXT NOT NULL,
  metrics TEXT NOT NULL, log_id TEXT, space_id TEXT);
CREATE TABLE IF NOT EXISTS traces(
  id TEXT PRIMARY KEY, run_id TEXT NOT NULL, timestamp TEXT NOT NULL, run_name TEXT NOT NULL, step INTEGER NOT NULL,
  key TEXT NOT NULL, trace_index INTEGER, messages TEXT NOT NULL, metadata TEXT NOT NULL, search_text TEXT NOT NULL,
  log_id TEXT, space_id TEXT, spans TEXT NOT NULL DEFAULT '[]');
CREATE INDEX IF NOT EXISTS idx_traces_run_step ON traces(run_id, step);
CREATE TABLE IF NOT EXISTS alerts(
  id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL, timestamp TEXT NOT NULL, run_name TEXT NOT NULL,
  title TEXT NOT NULL, text TEXT, level TEXT NOT NULL DEFAULT 'warn', step INTEGER, alert_id TEXT);
)sql";

std::string iso_time(double time) {
  const auto seconds = static_cast<std::time_t>(std::floor(time));
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}+00:00", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
                     utc.tm_hour, utc.tm_min, utc.tm_sec, static_cast<int>((time - std::floor(time)) * 1e6));
}

double seconds_of(const std::string& iso) {
  std::tm utc{};
  const char* rest = strptime(iso.c_str(), "%Y-%m-%dT%H:%M:%S", &utc);
  return static_cast<double>(timegm(&utc)) + (rest && *rest == '.' ? std::strtod(rest, nullptr) : 0);
}

/// JSON has no number for it; these are Trackio's words.
json number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return value;
}

double number_of(const json& value) {
  if (value.is_number()) return value.get<double>();
  const double infinity = std::numeric_limits<double>::infinity();
  return value == "Infinity" ? infinity : value == "-Infinity" ? -infinity : std::nan("");
}

std::string text_of(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

}  // namespace

TrackioTables::TrackioTables(sqlite3* db, const std::string& path) : db_(db), path_(path) {
  sqlite::execute(db, path, kSchema, "cannot be set up");
  sqlite::Statement version(db, path, "PRAGMA user_version");
  if (version.step() && version.integer(0) < kTrackioSchema)
    sqlite::execute(db, path, fmt::format("PRAGMA user_version = {}", kTrackioSchema).c_str(), "cannot be set up");
}

void TrackioTables::write(const StepRecord& record, double time) {
  json metrics = json::object();
  for (const auto& [name, value] : record.metrics) metrics[name] = number(value);
  const std::string when = iso_time(time);
  sqlite::Statement(db_, path_,
                    "INSERT INTO metrics(run_id, timestamp, run_name, step, metrics) VALUES (?, ?, ?, ?, ?)")
      .bind(record.stage)
      .bind(when)
      .bind(record.stage)
      .bind(record.step)
      .bind(text_of(metrics))
      .run();
  if (!record.groups.empty()) write_traces(record, when);
}

void TrackioTables::write_traces(const StepRecord& record, const std::string& time) {
  const Group& group = record.groups.front();
  sqlite::Statement insert(
      db_, path_,
      "INSERT OR REPLACE INTO traces(id, run_id, timestamp, run_name, step, key, trace_index, messages, metadata, "
      "search_text) VALUES (?, ?, ?, ?, ?, 'rollouts', ?, ?, ?, ?)");
  for (size_t g = 0; g < group.rollouts.size(); ++g) {
    const Rollout& r = group.rollouts[g];
    json metadata{{"prompt_id", r.prompt_id}, {"finish_reason", to_string(r.finish_reason)}};
    if (!record.advantages.empty()) metadata["advantage"] = record.advantages[0][g];
    if (g < group.rewards.size()) {
      if (group.rewards[g].total) metadata["reward"] = *group.rewards[g].total;
      for (const auto& part : group.rewards[g].parts) {
        if (part.score.value) metadata["rewards"][part.name] = *part.score.value;
      }
    }
    const std::string id = fmt::format("{}:{}:{}:{}", record.stage, record.step, r.prompt_id, r.sample);
    const json messages = {{{"role", "user"}, {"content", group.prompt.text}},
                           {{"role", "assistant"}, {"content", r.text}}};
    std::string search = fmt::format("{} rollouts {} {}", id, group.prompt.text, r.text);
    std::ranges::transform(search, search.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    insert.bind(id).bind(record.stage).bind(time).bind(record.stage).bind(record.step).bind(static_cast<int64_t>(g));
    insert.bind(text_of(messages)).bind(text_of(metadata)).bind(search).run();
  }
}

void TrackioTables::write_config(const std::string& stage, const std::string& text, double time) {
  sqlite::Statement(db_, path_,
                    "INSERT OR REPLACE INTO configs(run_id, run_name, config, created_at) VALUES (?, ?, ?, ?)")
      .bind(stage)
      .bind(stage)
      .bind(text)
      .bind(iso_time(time))
      .run();
}

void TrackioTables::remove_after(const std::string& stage, int64_t step) {
  for (const char* sql :
       {"DELETE FROM metrics WHERE run_id = ? AND step > ?", "DELETE FROM traces WHERE run_id = ? AND step > ?"}) {
    sqlite::Statement(db_, path_, sql).bind(stage).bind(step).run();
  }
}

void TrackioTables::for_each_step(
    const std::string& stage,
    const std::function<void(int64_t, double, const std::map<std::string, double>&)>& body) const {
  sqlite::Statement rows(db_, path_, "SELECT step, timestamp, metrics FROM metrics WHERE run_id = ? ORDER BY id");
  rows.bind(stage);
  while (rows.step()) {
    std::map<std::string, double> metrics;
    const json stored = json::parse(rows.text(2));
    for (const auto& [name, value] : stored.items()) metrics[name] = number_of(value);
    body(rows.integer(0), seconds_of(rows.text(1)), metrics);
  }
}

}  // namespace hone
