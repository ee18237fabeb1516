#include "rl/run_store.h"

#include <bit>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <string_view>
#include <thread>

#include <fmt/core.h>

#include "rl/event_file.h"
#include "rl/sqlite.h"
#include "rl/trackio.h"

namespace hone {
namespace {

using sqlite::check_version, sqlite::Database, sqlite::open_database;
using sqlite::execute, sqlite::Statement;

static_assert(std::endian::native == std::endian::little, "blobs are written as they lie in memory");

constexpr const char* kSchema = R"sql(
CREATE TABLE IF NOT EXISTS prompts(
  id INTEGER NOT NULL, stage TEXT NOT NULL, text TEXT NOT NULL, token_ids BLOB NOT NULL, columns TEXT NOT NULL,
  PRIMARY KEY (stage, id));
CREATE TABLE IF NOT EXISTS rollouts(
  id INTEGER PRIMARY KEY, stage TEXT NOT NULL, step INTEGER NOT NULL, prompt_id INTEGER NOT NULL,
  sample INTEGER NOT NULL, policy_version INTEGER NOT NULL, token_ids BLOB NOT NULL, logprobs BLOB NOT NULL,
  text TEXT NOT NULL, finish_reason TEXT NOT NULL, reward REAL, advantage REAL);
CREATE INDEX IF NOT EXISTS rollouts_by_step ON rollouts(stage, step);
CREATE TABLE IF NOT EXISTS rewards(
  rollout_id INTEGER NOT NULL, name TEXT NOT NULL, value REAL, verdict TEXT NOT NULL, reason TEXT NOT NULL,
  PRIMARY KEY (rollout_id, name));
CREATE TABLE IF NOT EXISTS steps(
  stage TEXT NOT NULL, step INTEGER NOT NULL, name TEXT NOT NULL, value REAL,
  PRIMARY KEY (stage, step, name));
)sql";

Database open_for_writing(const std::string& path) {
  Database db = open_database(path, path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  check_version(db.get(), path, kRunStoreVersion);  // before anything is changed
  execute(db.get(), path, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;", "cannot be set up");
  const std::string setup = fmt::format("BEGIN IMMEDIATE; {} PRAGMA application_id = {}; COMMIT;", kSchema,
                                        sqlite::kApplicationId + kRunStoreVersion);
  execute(db.get(), path, setup.c_str(), "cannot be set up");
  return db;
}

// ---- writing --------------------------------------------------------------------------------------------------------

/// The connection of the writer's thread. Each call is one transaction.
class Writer {
 public:
  explicit Writer(const std::filesystem::path& run_dir)
      : run_dir_(run_dir), path_((run_dir / "run.db").string()), db_(open_for_writing(path_)) {
    find_next_id();
  }

  void write_config(const std::string& stage, const std::string& json) {
    transaction([&] { trackio_.write_config(stage, json, now()); });
  }

  void write(const StepRecord& record) {
    refuse_twice(record);
    const double time = now();
    EventFile& events = event_file(record.stage);
    transaction([&] {
      static const std::vector<double> kNone;
      for (size_t p = 0; p < record.groups.size(); ++p) {
        write_group(record, record.groups[p], record.advantages.empty() ? kNone : record.advantages[p]);
      }
      for (const Group& group : record.dropped) write_group(record, group, kNone);
      for (const auto& [name, value] : record.metrics) {
        insert_step_.bind(record.stage).bind(record.step).bind(name).bind(value).run();
      }
      trackio_.write(record, time);
    });
    events.write(record.step, time, record.metrics);
  }

  void truncate_after(const std::string& stage, int64_t step) {
    transaction([&] {
      remove("DELETE FROM rewards WHERE rollout_id IN (SELECT id FROM rollouts WHERE stage = ? AND step > ?)", stage,
             step);
      remove("DELETE FROM rollouts WHERE stage = ? AND step > ?", stage, step);
      remove("DELETE FROM steps WHERE stage = ? AND step > ?", stage, step);
      Statement prompts(
          db_.get(), path_,
          "DELETE FROM prompts WHERE stage = ? AND id NOT IN (SELECT prompt_id FROM rollouts WHERE stage = ?)");
      prompts.bind(stage).bind(stage).run();
      trackio_.remove_after(stage, step);
    });
    find_next_id();
    event_files_.erase(stage);
    std::filesystem::remove_all(run_dir_ / "tensorboard" / stage);
  }

  std::optional<int64_t> last_step(const std::string& stage) {
    Statement statement(db_.get(), path_,
                        "SELECT max(step) FROM (SELECT step FROM steps WHERE stage = ? UNION ALL "
                        "SELECT step FROM rollouts WHERE stage = ?)");
    statement.bind(stage).bind(stage);
    if (!statement.step() || statement.is_null(0)) return {};
    return statement.integer(0);
  }

 private:
  static double now() {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  }

  /// Begins with the steps that an earlier process stored.
  EventFile& event_file(const std::string& stage) {
    const auto found = event_files_.find(stage);
    if (found != event_files_.end()) return found->second;
    EventFile& file = event_files_.try_emplace(stage, run_dir_ / "tensorboard" / stage, now()).first->second;
    trackio_.for_each_step(stage,
                           [&](int64_t step, double time, const auto& metrics) { file.write(step, time, metrics); });
    return file;
  }

  template <class Body>
  void transaction(Body body) {
    execute(db_.get(), path_, "BEGIN IMMEDIATE", "a step cannot be stored");
    try {
      body();
      execute(db_.get(), path_, "COMMIT", "a step cannot be stored");
    } catch (...) {
      sqlite3_exec(db_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
      throw;
    }
  }

  void remove(const char* sql, const std::string& stage, int64_t step) {
    Statement(db_.get(), path_, sql).bind(stage).bind(step).run();
  }

  /// "UNIQUE constraint failed" would not tell a person what happened.
  void refuse_twice(const StepRecord& record) {
    Statement stored(db_.get(), path_, "SELECT 1 FROM steps WHERE stage = ? AND step = ? AND name = ?");
    if (record.metrics.empty()) return;
    stored.bind(record.stage).bind(record.step).bind(record.metrics.begin()->first);
    if (!stored.step()) return;
    throw std::runtime_error(
        fmt::format("{}: step {} of stage '{}' is stored already; go on with --resume, or choose another --run-dir",
                    path_, record.step, record.stage));
  }

  void write_group(const StepRecord& record, const Group& group, const std::vector<double>& advantages) {
    const Prompt& prompt = group.prompt;
    insert_prompt_.bind(prompt.id).bind(record.stage).bind(prompt.text);
    insert_prompt_.bind_blob(prompt.token_ids).bind(prompt.columns).run();
    for (size_t g = 0; g < group.rollouts.size(); ++g) {
      const std::optional<double> advantage = advantages.empty() ? std::nullopt : std::optional(advantages[g]);
      const std::optional<double> reward = g < group.rewards.size() ? group.rewards[g].total : std::nullopt;
      write_rollout(record, group.rollouts[g], reward, advantage);
      if (g < group.rewards.size()) write_rewards(group.rewards[g]);
      ++next_id_;
    }
  }

  void write_rollout(const StepRecord& record, const Rollout& rollout, std::optional<double> reward,
                     std::optional<double> advantage) {
    insert_rollout_.bind(next_id_).bind(record.stage).bind(record.step).bind(rollout.prompt_id);
    insert_rollout_.bind(int64_t(rollout.sample)).bind(rollout.policy_version);
    insert_rollout_.bind_blob(rollout.token_ids).bind_blob(rollout.logprobs).bind(rollout.text);
    insert_rollout_.bind(std::string_view(to_string(rollout.finish_reason))).bind(reward).bind(advantage).run();
  }

  void write_rewards(const Reward& reward) {
    for (const auto& part : reward.parts) {
      insert_reward_.bind(next_id_).bind(part.name).bind(part.score.value);
      insert_reward_.bind(std::string_view(to_string(part.score.verdict))).bind(part.score.reason).run();
    }
  }

  void find_next_id() {
    Statement statement(db_.get(), path_, "SELECT coalesce(max(id), 0) + 1 FROM rollouts");
    next_id_ = statement.step() ? statement.integer(0) : 1;
  }

  std::filesystem::path run_dir_;
  std::string path_;
  Database db_;
  TrackioTables trackio_{db_.get(), path_};
  std::map<std::string, EventFile> event_files_;
  int64_t next_id_ = 1;
  Statement insert_prompt_{db_.get(), path_, "INSERT OR IGNORE INTO prompts VALUES (?, ?, ?, ?, ?)"};
  Statement insert_rollout_{db_.get(), path_, "INSERT INTO rollouts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"};
  Statement insert_reward_{db_.get(), path_, "INSERT INTO rewards VALUES (?, ?, ?, ?, ?)"};
  Statement insert_step_{db_.get(), path_, "INSERT INTO steps VALUES (?, ?, ?, ?)"};
};

void check_shape(const StepRecord& record) {
  if (record.advantages.empty()) return;
  bool fits = record.advantages.size() == record.groups.size();
  for (size_t p = 0; fits && p < record.groups.size(); ++p) {
    fits = record.advantages[p].size() == record.groups[p].rollouts.size();
  }
  if (!fits) throw std::invalid_argument("RunStore::write: advantages must be one per rollout of each group, or none");
}

}  // namespace

/// A thread that runs jobs in order on its Writer. After the first error it takes no more.
class RunStore::Impl {
 public:
  using Job = std::function<void(Writer&)>;

  explicit Impl(const std::filesystem::path& run_dir) : writer_(run_dir), thread_([this] { work(); }) {}
  ~Impl() {
    {
      std::lock_guard lock(mutex_);
      closing_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  /// Returns the job's ticket. Waits while the queue is full.
  int64_t push(Job job) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return error_ || queue_.size() < kMaxQueued; });
    rethrow();
    queue_.push_back(std::move(job));
    changed_.notify_all();
    return ++pushed_;
  }
  void wait(int64_t ticket) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return error_ || done_ >= ticket; });
    rethrow();
  }
  void run(Job job) { wait(push(std::move(job))); }

 private:
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return closing_ || !queue_.empty(); });
      if (queue_.empty() || error_) return;
      const Job job = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      const std::exception_ptr error = attempt(job);
      lock.lock();
      ++done_;
      if (error) {
        error_ = error;
        queue_.clear();  // nothing after a lost step; whoever waits for one of these gets the error
      }
      changed_.notify_all();
    }
  }

  std::exception_ptr attempt(const Job& job) {
    try {
      job(writer_);
      return nullptr;
    } catch (...) {
      return std::current_exception();
    }
  }

  Writer writer_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> queue_;
  int64_t pushed_ = 0, done_ = 0;
  bool closing_ = false;
  std::exception_ptr error_;
  std::thread thread_;  // last, so that it starts when all else is there
};

RunStore::RunStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RunStore::~RunStore() = default;

std::unique_ptr<RunStore> RunStore::open(const std::filesystem::path& run_dir) {
  std::filesystem::create_directories(run_dir);
  return std::unique_ptr<RunStore>(new RunStore(std::make_unique<Impl>(run_dir)));
}

void RunStore::write(StepRecord record) {
  check_shape(record);
  impl_->push([shared = std::make_shared<const StepRecord>(std::move(record))](Writer& w) { w.write(*shared); });
}

void RunStore::write_config(const std::string& stage, const std::string& json) {
  impl_->push([=](Writer& w) { w.write_config(stage, json); });
}

void RunStore::flush() {
  impl_->run([](Writer&) {});
}

void RunStore::truncate_after(const std::string& stage, int64_t step) {
  impl_->run([=](Writer& w) { w.truncate_after(stage, step); });
}

void RunStore::remove_stage(const std::string& stage) { truncate_after(stage, std::numeric_limits<int64_t>::min()); }

std::optional<int64_t> RunStore::last_step(const std::string& stage) {
  auto result = std::make_shared<std::optional<int64_t>>();
  impl_->run([=](Writer& w) { *result = w.last_step(stage); });
  return *result;
}

}  // namespace hone
