// run.db: every prompt, rollout, named reward and step metric of a run, in SQLite, to be looked at with SQL.
//
//   prompts(id, stage, text, token_ids, columns)             one row per (stage, id); token ids little-endian int32
//   rollouts(id, stage, step, prompt_id, sample, policy_version, token_ids, logprobs, text, finish_reason, reward,
//            advantage)                                       log-probs little-endian float32
//   rewards(rollout_id, name, value, verdict, reason)         one row per reward function
//   steps(stage, step, name, value)                           one row per (stage, step, name); NULL = not finite
//   and those of rl/trackio.h; tensorboard/STAGE/ holds the steps as event files
//
// A step is one transaction in a write-ahead log with synchronous=FULL: after a kill -9 or a power cut the file holds
// each flushed step whole and no step in part. One fsync a step, on the writer's thread, costs the training nothing.
// Rollout ids count up from 1 (largest stored + 1), so equal runs, resumed or not, have equal rows.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "rewards/group.h"

struct sqlite3;

namespace hone {

/// Format of the files we write, in PRAGMA application_id; a newer one is refused.
inline constexpr int kRunStoreVersion = 1;

/// All that one step leaves behind. A step of a stage may come in several records with different metrics.
struct StepRecord {
  std::string stage;
  int64_t step = 0;
  std::vector<Group> groups;                    ///< (P) may be empty (base, sft)
  std::vector<std::vector<double>> advantages;  ///< (P)(G), or empty: NULL is stored
  std::vector<Group> dropped = {};              ///< sampled, but not learnt from: stored with the advantage NULL
  std::map<std::string, double> metrics;
};

/// The writer. At most one per file at a time (the caller holds a RunLock). Thread-safe; calls take effect in order.
/// An error of the writer's thread (disk full) is thrown by the next call of any kind, and by all after it.
class RunStore {
 public:
  /// Opens or makes run_dir/run.db, and run_dir. Throws std::runtime_error for a file that is no database or is of a
  /// newer version.
  static std::unique_ptr<RunStore> open(const std::filesystem::path& run_dir);
  /// Writes what is queued, then closes. Does not throw; call flush() first to learn of errors.
  ~RunStore();
  RunStore(const RunStore&) = delete;
  RunStore& operator=(const RunStore&) = delete;

  /// The resolved options of a stage, a JSON object, for those who look at the run.
  void write_config(const std::string& stage, const std::string& json);
  /// Queues one step and returns; waits only while kMaxQueued steps are pending. Throws std::invalid_argument when
  /// `advantages` does not fit `groups`.
  void write(StepRecord record);
  /// Waits until all that was written is durable. Call it before a checkpoint is renamed into place, so that no
  /// checkpoint knows of a step that the store lacks.
  void flush();
  /// For resume: drops the stage's steps after `step`, and prompts that no rollout names any more. Durable on return.
  void truncate_after(const std::string& stage, int64_t step);
  /// Drops everything of a stage that is to run again. Durable on return.
  void remove_stage(const std::string& stage);
  /// The last step stored for a stage (rollouts or metrics).
  std::optional<int64_t> last_step(const std::string& stage);

  static constexpr size_t kMaxQueued = 16;

 private:
  class Impl;
  explicit RunStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// What a query gave. Cells are null, numbers or strings; a blob in a column called token_ids or logprobs is a list of
/// numbers, any other blob a hexadecimal string.
struct QueryResult {
  std::vector<std::string> columns;
  std::vector<std::vector<nlohmann::json>> rows;
};

/// Reads run.db, also while a run writes it or from a read-only folder. Not thread-safe.
class RunReader {
 public:
  using Series = std::vector<std::pair<int64_t, double>>;  ///< (step, value) by step; NaN where NULL is stored

  /// Throws std::runtime_error when run_dir has no run.db, or one that RunStore would refuse.
  explicit RunReader(const std::filesystem::path& run_dir);
  ~RunReader();
  RunReader(const RunReader&) = delete;
  RunReader& operator=(const RunReader&) = delete;

  /// One SQL statement that reads; `args` are bound to its `?` in order. Throws std::invalid_argument for one that
  /// writes or that SQLite rejects.
  QueryResult query(const std::string& sql, const std::vector<nlohmann::json>& args = {}) const;
  /// Names of the stages, in the order in which they ran.
  std::vector<std::string> stages() const;
  /// Metric name -> its values over the steps of a stage.
  std::map<std::string, Series> steps(const std::string& stage) const;
  /// What one step left behind, as it was written; the parts of rewards have lost their weights (1 each). Empty groups
  /// where the step stored none. Throws std::runtime_error for a rollout whose prompt is missing.
  StepRecord step(const std::string& stage, int64_t step) const;

 private:
  std::filesystem::path path_;
  sqlite3* db_ = nullptr;
};

}  // namespace hone
