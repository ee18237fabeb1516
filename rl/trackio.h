// The tables by which run.db is a project of PyPI Trackio (schema 2, trackio 0.43): TRACKIO_DIR=RUN shows the project
// "run", in it every stage as a run with its metrics, its options and, as traces, the first prompt's rollouts of every
// step (all of them are in the table rollouts).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "rl/run_store.h"
#include "rl/sqlite.h"

namespace hone {

/// Its caller opens the transactions.
class TrackioTables {
 public:
  /// Makes what is not there.
  TrackioTables(sqlite3* db, const std::string& path);

  /// `time`: seconds since 1970.
  void write(const StepRecord& record, double time);
  /// Replaces the options of a stage, a JSON object.
  void write_config(const std::string& stage, const std::string& json, double time);
  void remove_after(const std::string& stage, int64_t step);

  /// body(step, time, metrics) for every step of a stage, in order.
  void for_each_step(const std::string& stage,
                     const std::function<void(int64_t, double, const std::map<std::string, double>&)>& body) const;

 private:
  void write_traces(const StepRecord& record, const std::string& time);

  sqlite3* db_;
  const std::string& path_;
};

}  // namespace hone
