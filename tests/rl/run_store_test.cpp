#include "rl/run_store.h"

#include <atomic>
#include <chrono>
#include <cmath>
#include <csignal>
#include <fstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/rl/groups.h"

namespace hone {
namespace {

using ::testing::HasSubstr;
using testing::make_group;
using testing::TemporaryDir;
using Json = nlohmann::json;

constexpr int kPrompts = 3, kSamples = 4;

/// A step of kPrompts groups of kSamples; prompt ids go on from step to step.
StepRecord make_record(const std::string& stage, int64_t step) {
  StepRecord record{.stage = stage, .step = step, .groups = {}, .advantages = {}, .metrics = {}};
  for (int p = 0; p < kPrompts; ++p) {
    record.groups.push_back(make_group(step * kPrompts + p, {1.0, 0.0, {}, 0.0}));
    record.advantages.push_back({1.5, -0.75, 0, -0.75});
  }
  record.metrics = {{"reward", double(step) / 8}, {"loss", -1.0}};
  return record;
}

void execute(const std::filesystem::path& path, const std::string& sql) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
  sqlite3_close(db);
}

int64_t count(const std::filesystem::path& dir, const std::string& table_and_condition) {
  return RunReader(dir).query("SELECT count(*) FROM " + table_and_condition).rows[0][0].get<int64_t>();
}

/// Every row of every table, as text.
std::string dump(const std::filesystem::path& dir) {
  const RunReader reader(dir);
  std::string out;
  for (const char* table : {"prompts", "rollouts", "rewards", "steps"}) {
    const std::string key = std::string(table) == "rollouts" ? "id" : "1, 2, 3";
    for (const auto& row : reader.query(std::string("SELECT * FROM ") + table + " ORDER BY " + key).rows) {
      out += Json(row).dump() + "\n";
    }
  }
  return out;
}

template <class Body>
std::string message_of(Body body) {
  try {
    body();
  } catch (const std::exception& e) {
    return e.what();
  }
  return "";
}

// ---- what is stored -------------------------------------------------------------------------------------------------

TEST(RunStore, StoresEverythingUnderTheContractsNames) {
  TemporaryDir dir;
  RunStore::open(dir.path())->write(make_record("rl", 2));
  const RunReader reader(dir.path());
  const auto prompts = reader.query("SELECT id, stage, text, token_ids, columns FROM prompts");
  ASSERT_EQ(prompts.rows.size(), size_t(kPrompts));
  EXPECT_EQ(Json(prompts.rows[0]), Json({6, "rl", "1 2 3:6\n", {1, 2, 3}, "{\"target\":7}"}));
  const auto rollouts = reader.query(
      "SELECT id, stage, step, prompt_id, sample, policy_version, token_ids, logprobs, text, finish_reason, reward, "
      "advantage FROM rollouts");
  ASSERT_EQ(rollouts.rows.size(), size_t(kPrompts * kSamples));
  EXPECT_EQ(Json(rollouts.rows[5]), Json({6,
                                          "rl",
                                          2,
                                          7,
                                          1,
                                          0,
                                          {4, 5, 6},
                                          {-0.5, -1.25, -2.0},
                                          "<think>try wait</think><answer>1</answer>",
                                          "eos",
                                          0.0,
                                          -0.75}));
  const auto rewards = reader.query("SELECT rollout_id, name, value, verdict, reason FROM rewards");
  EXPECT_EQ(Json(rewards.rows[2]), Json({3, "countdown", nullptr, "not_applicable", "because"}));
  EXPECT_EQ(reader.query("SELECT reward FROM rollouts WHERE id = 3").rows[0][0], nullptr);
  EXPECT_EQ(reader.steps("rl").at("reward"), (RunReader::Series{{2, 0.25}}));
  EXPECT_EQ(reader.stages(), std::vector<std::string>{"rl"});
}

TEST(RunStore, BlobsAreLittleEndian) {
  TemporaryDir dir;
  RunStore::open(dir.path())->write(make_record("rl", 0));
  const auto row = RunReader(dir.path()).query("SELECT hex(token_ids), hex(logprobs) FROM rollouts").rows[0];
  EXPECT_EQ(row[0], "040000000500000006000000");
  EXPECT_EQ(row[1], "000000BF0000A0BF000000C0");
}

TEST(RunStore, WhatIsNotFiniteIsAnEmptyRow) {
  TemporaryDir dir;
  StepRecord record;
  record.stage = "base";
  record.metrics = {{"loss", std::nan("")}, {"kl", INFINITY}, {"ok", 1.0}};
  RunStore::open(dir.path())->write(record);
  EXPECT_EQ(count(dir.path(), "steps WHERE value IS NULL"), 2);
  const auto steps = RunReader(dir.path()).steps("base");
  EXPECT_TRUE(std::isnan(steps.at("kl")[0].second));
  EXPECT_EQ(steps.at("ok")[0].second, 1.0);
}

TEST(RunStore, EmptyCompletionAndNoAdvantagesAreStored) {
  TemporaryDir dir;
  StepRecord record = make_record("eval", 0);
  record.groups[0].rollouts[0].token_ids.clear();
  record.groups[0].rollouts[0].logprobs.clear();
  record.groups[0].rollouts[0].text = std::string("nul \0 and \xff", 11);
  record.advantages.clear();
  RunStore::open(dir.path())->write(record);
  const auto row = RunReader(dir.path()).query("SELECT token_ids, advantage, text FROM rollouts WHERE id = 1").rows[0];
  EXPECT_EQ(row[0], Json::array());
  EXPECT_EQ(row[1], nullptr);
  EXPECT_EQ(row[2], std::string("nul \0 and \xEF\xBF\xBD", 13));
}

TEST(RunStore, AStepIsReadBackAsItWasWritten) {
  TemporaryDir dir;
  StepRecord record = make_record("rl", 1);
  record.groups[1].rollouts[2].finish_reason = FinishReason::kLength;
  record.groups[1].rollouts[2].logprobs = {-1e-8f, -3.4028235e38f, -0.1f};
  record.groups[2].prompt.id = record.groups[0].prompt.id;  // drawn twice
  record.groups[2].rollouts[0].policy_version = 9;
  for (auto& rollout : record.groups[2].rollouts) rollout.prompt_id = record.groups[0].prompt.id;
  record.groups[2].prompt.text = record.groups[0].prompt.text;
  record.advantages[0][1] = 1.0 / 3;
  record.dropped = {make_group(77, {1.0, 1.0})};
  record.metrics["kl"] = INFINITY;
  auto store = RunStore::open(dir.path());
  store->write(record);
  store->write(make_record("rl", 2));
  store->flush();
  const StepRecord read = RunReader(dir.path()).step("rl", 1);
  EXPECT_EQ(read.advantages, record.advantages);
  EXPECT_EQ(read.metrics.at("loss"), -1);
  EXPECT_TRUE(std::isnan(read.metrics.at("kl")));
  ASSERT_EQ(read.groups.size(), record.groups.size());
  ASSERT_EQ(read.dropped.size(), 1u);
  EXPECT_EQ(read.dropped[0].prompt.id, 77);
  EXPECT_EQ(read.dropped[0].rollouts.size(), 2u);
  for (size_t p = 0; p < read.groups.size(); ++p) {
    const Group &got = read.groups[p], &wrote = record.groups[p];
    EXPECT_EQ(got.prompt.id, wrote.prompt.id);
    EXPECT_EQ(got.prompt.text, wrote.prompt.text);
    EXPECT_EQ(got.prompt.token_ids, wrote.prompt.token_ids);
    EXPECT_EQ(got.prompt.columns, wrote.prompt.columns);
    ASSERT_EQ(got.rollouts.size(), wrote.rollouts.size());
    for (size_t g = 0; g < got.rollouts.size(); ++g) {
      EXPECT_EQ(got.rollouts[g].token_ids, wrote.rollouts[g].token_ids);
      EXPECT_EQ(got.rollouts[g].logprobs, wrote.rollouts[g].logprobs);
      EXPECT_EQ(got.rollouts[g].text, wrote.rollouts[g].text);
      EXPECT_EQ(got.rollouts[g].finish_reason, wrote.rollouts[g].finish_reason);
      EXPECT_EQ(got.rollouts[g].policy_version, wrote.rollouts[g].policy_version);
      EXPECT_EQ(got.rewards[g].total, wrote.rewards[g].total);
      ASSERT_EQ(got.rewards[g].parts.size(), 1u);
      EXPECT_EQ(got.rewards[g].parts[0].name, "countdown");
      EXPECT_EQ(got.rewards[g].parts[0].score.value, wrote.rewards[g].parts[0].score.value);
      EXPECT_EQ(got.rewards[g].parts[0].score.verdict, wrote.rewards[g].parts[0].score.verdict);
    }
  }
  EXPECT_TRUE(RunReader(dir.path()).step("rl", 3).groups.empty());
}

TEST(RunStore, APromptSeenAgainIsStoredOnce) {
  TemporaryDir dir;
  auto store = RunStore::open(dir.path());
  for (int64_t step : {1, 2}) {
    StepRecord record = make_record("rl", step);
    for (auto& group : record.groups) group.prompt.id = 5;
    store->write(record);
  }
  store->write(make_record("eval", 5 / kPrompts));  // the same id in another stage is another prompt
  store->flush();
  EXPECT_EQ(count(dir.path(), "prompts WHERE stage = 'rl'"), 1);
  EXPECT_EQ(count(dir.path(), "prompts WHERE id = 5"), 2);
}

TEST(RunStore, AStepComesInPartsButNoMetricTwice) {
  TemporaryDir dir;
  auto store = RunStore::open(dir.path());
  StepRecord more;
  more.stage = "rl";
  more.step = 1;
  more.metrics = {{"eval_pass@1", 0.5}};
  store->write(make_record("rl", 1));
  store->write(more);
  EXPECT_NO_THROW(store->flush());
  store->write(more);
  EXPECT_THAT(message_of([&] { store->flush(); }), HasSubstr("step 1 of stage 'rl' is stored already"));
}

TEST(RunStore, AdvantagesMustFitTheGroups) {
  TemporaryDir dir;
  auto store = RunStore::open(dir.path());
  StepRecord record = make_record("rl", 1);
  record.advantages[1].pop_back();
  EXPECT_THROW(store->write(record), std::invalid_argument);
  EXPECT_NO_THROW(store->flush());
}

// ---- resume ---------------------------------------------------------------------------------------------------------

TEST(RunStore, TruncateDropsLaterStepsOfThatStageOnly) {
  TemporaryDir dir;
  auto store = RunStore::open(dir.path());
  for (int64_t step = 1; step <= 5; ++step) store->write(make_record("rl", step));
  for (int64_t step = 1; step <= 5; ++step) store->write(make_record("eval", step));
  EXPECT_EQ(store->last_step("rl"), 5);
  store->truncate_after("rl", 2);
  EXPECT_EQ(store->last_step("rl"), 2);
  EXPECT_EQ(store->last_step("eval"), 5);
  EXPECT_EQ(store->last_step("sft"), std::nullopt);
  EXPECT_EQ(count(dir.path(), "rollouts WHERE stage = 'rl'"), 2 * kPrompts * kSamples);
  EXPECT_EQ(count(dir.path(), "prompts WHERE stage = 'rl'"), 2 * kPrompts);
  EXPECT_EQ(count(dir.path(), "rewards"), 7 * kPrompts * kSamples);
  EXPECT_EQ(count(dir.path(), "rewards WHERE rollout_id NOT IN (SELECT id FROM rollouts)"), 0);
  store->remove_stage("rl");
  EXPECT_EQ(count(dir.path(), "rollouts WHERE stage = 'rl'"), 0);
  EXPECT_EQ(count(dir.path(), "steps WHERE stage = 'eval'"), 10);
}

TEST(RunStore, ResumedRunHasTheRowsOfOneThatNeverStopped) {
  TemporaryDir whole, resumed;
  for (int64_t step = 1; step <= 6; ++step) RunStore::open(whole.path())->write(make_record("rl", step));
  for (int64_t step = 1; step <= 5; ++step) RunStore::open(resumed.path())->write(make_record("rl", step));
  EXPECT_NE(dump(whole.path()), dump(resumed.path()));
  auto store = RunStore::open(resumed.path());
  store->truncate_after("rl", 3);
  for (int64_t step = 4; step <= 6; ++step) store->write(make_record("rl", step));
  store->flush();
  EXPECT_EQ(dump(whole.path()), dump(resumed.path()));
}

// ---- threads --------------------------------------------------------------------------------------------------------

TEST(RunStore, ManyThreadsWriteAndNothingIsLost) {
  TemporaryDir dir;
  auto store = RunStore::open(dir.path());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int64_t step = 0; step < 15; ++step) store->write(make_record("stage" + std::to_string(t), step));
    });
  }
  for (auto& thread : threads) thread.join();
  store->flush();
  EXPECT_EQ(count(dir.path(), "rollouts"), 4 * 15 * kPrompts * kSamples);
  EXPECT_EQ(count(dir.path(), "steps"), 4 * 15 * 2);
}

TEST(RunStore, QueueIsBounded) {
  TemporaryDir dir;
  auto store = RunStore::open(dir.path());
  sqlite3* blocker = nullptr;
  ASSERT_EQ(sqlite3_open((dir.path() / "run.db").c_str(), &blocker), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(blocker, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
  std::atomic<int64_t> written = 0;
  std::thread producer([&] {
    for (int64_t step = 0; step < 60; ++step, ++written) store->write(make_record("rl", step));
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_LE(written, int64_t(RunStore::kMaxQueued) + 1);  // one more is in the writer's hands
  sqlite3_exec(blocker, "COMMIT", nullptr, nullptr, nullptr);
  sqlite3_close(blocker);
  producer.join();
  store->flush();
  EXPECT_EQ(store->last_step("rl"), 59);
}

TEST(RunStore, CanBeReadWhileItIsWritten) {
  TemporaryDir dir;
  auto store = RunStore::open(dir.path());
  store->write(make_record("rl", 0));
  store->flush();
  const RunReader reader(dir.path());
  for (int64_t step = 1; step < 20; ++step) {
    store->write(make_record("rl", step));
    const auto rows = reader.query("SELECT step, count(*) FROM rollouts GROUP BY step").rows;
    for (const auto& row : rows) EXPECT_EQ(row[1], kPrompts * kSamples);
  }
}

// ---- kill -9 --------------------------------------------------------------------------------------------------------

/// Writes steps for ever; reports each that was flushed as 8 bytes.
[[noreturn]] void write_until_killed(const std::filesystem::path& dir, int report) {
  auto store = RunStore::open(dir);
  for (int64_t step = store->last_step("rl").value_or(-1) + 1;; ++step) {
    store->write(make_record("rl", step));
    if (step % 3) continue;  // so that a kill also meets steps that are queued
    store->flush();
    if (write(report, &step, sizeof step) != sizeof step) _exit(1);
  }
}

/// Kills such a process after a while; the last step that it reported as flushed.
int64_t last_reported_before_kill(const std::filesystem::path& dir, int milliseconds) {
  int pipe_fds[2];
  EXPECT_EQ(pipe(pipe_fds), 0);
  const pid_t child = fork();
  if (child == 0) write_until_killed(dir, pipe_fds[1]);
  close(pipe_fds[1]);
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  int64_t step = -1, last = -1;
  while (read(pipe_fds[0], &step, sizeof step) == sizeof step) last = step;
  close(pipe_fds[0]);
  return last;
}

TEST(RunStore, KillLosesNothingThatWasFlushedAndLeavesNoStepInPart) {
  TemporaryDir dir;
  int64_t reported = -1;
  for (int milliseconds : {30, 55, 71, 90, 124, 160}) {
    reported = std::max(reported, last_reported_before_kill(dir.path(), milliseconds));
    if (!std::filesystem::exists(dir.path() / "run.db")) continue;
    const auto store = RunStore::open(dir.path());
    const RunReader reader(dir.path());
    EXPECT_EQ(reader.query("PRAGMA integrity_check").rows[0][0], "ok");
    EXPECT_GE(store->last_step("rl").value_or(-1), reported);
    const auto steps =
        reader.query("SELECT step, count(*), count(advantage) FROM rollouts GROUP BY step ORDER BY step").rows;
    for (size_t i = 0; i < steps.size(); ++i)
      EXPECT_EQ(Json(steps[i]), Json({i, kPrompts * kSamples, kPrompts * kSamples}));
    EXPECT_EQ(reader.query("SELECT count(*) FROM steps").rows[0][0], 2 * steps.size());
    EXPECT_EQ(reader.query("SELECT count(*) FROM rewards").rows[0][0], kPrompts * kSamples * steps.size());
  }
  EXPECT_GE(reported, 3) << "the child must have got somewhere";
}

// ---- refusals -------------------------------------------------------------------------------------------------------

TEST(RunStore, NewerVersionIsRefusedAndLeftAlone) {
  TemporaryDir dir;
  RunStore::open(dir.path())->write(make_record("rl", 0));
  execute(dir.path() / "run.db", "PRAGMA application_id = " + std::to_string(0x686f6e02));
  for (const auto& message :
       {message_of([&] { RunStore::open(dir.path()); }), message_of([&] { RunReader r(dir.path()); })}) {
    EXPECT_THAT(message, HasSubstr((dir.path() / "run.db").string()));
    EXPECT_THAT(message, HasSubstr("made by a newer hone (format 2, this one reads up to 1)"));
  }
  execute(dir.path() / "run.db", "PRAGMA application_id = " + std::to_string(0x686f6e01));
  EXPECT_EQ(RunStore::open(dir.path())->last_step("rl"), 0);
}

TEST(RunStore, WhatIsNoDatabaseIsRefusedAndLeftAlone) {
  TemporaryDir dir;
  const std::string text(5000, 'x');
  std::ofstream(dir.path() / "run.db") << text;
  EXPECT_THAT(message_of([&] { RunStore::open(dir.path()); }), HasSubstr("not a SQLite database"));
  EXPECT_THAT(message_of([&] { RunReader r(dir.path()); }), HasSubstr("not a SQLite database"));
  EXPECT_EQ(std::filesystem::file_size(dir.path() / "run.db"), text.size());
}

TEST(RunStore, MissingRunIsRefusedByTheReader) {
  TemporaryDir dir;
  EXPECT_THAT(message_of([&] { RunReader r(dir.path()); }), HasSubstr("run.db: not found"));
  EXPECT_FALSE(std::filesystem::exists(dir.path() / "run.db"));
}

/// In a child whose files may not grow over 300 kB: the first error that write() or flush() throws.
std::string error_when_full(const std::filesystem::path& dir) {
  int pipe_fds[2];
  EXPECT_EQ(pipe(pipe_fds), 0);
  const pid_t child = fork();
  if (child == 0) {
    const rlimit limit{300000, 300000};
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(1);
    const std::string message = message_of([&] {
      auto store = RunStore::open(dir);
      const auto write_all = [&] {
        for (int64_t step = 0; step < 2000; ++step) store->write(make_record("rl", step));
      };
      const std::string first = message_of(write_all), second = message_of([&] { store->flush(); });
      throw std::runtime_error(first == second ? first : "first '" + first + "', then '" + second + "'");
    });
    _exit(write(pipe_fds[1], message.data(), message.size()) == ssize_t(message.size()) ? 0 : 1);
  }
  close(pipe_fds[1]);
  std::string out(4096, '\0');
  out.resize(size_t(std::max<ssize_t>(0, read(pipe_fds[0], out.data(), out.size()))));
  close(pipe_fds[0]);
  waitpid(child, nullptr, 0);
  return out;
}

TEST(RunStore, FullDiskIsThrownByTheNextCallAndAllAfterIt) {
  TemporaryDir dir;
  const std::string message = error_when_full(dir.path());
  EXPECT_THAT(message, HasSubstr((dir.path() / "run.db").string()));
  EXPECT_THAT(message, HasSubstr("the disk is probably full"));
  EXPECT_THAT(message, ::testing::Not(HasSubstr("then")));
  EXPECT_EQ(RunReader(dir.path()).query("PRAGMA integrity_check").rows[0][0], "ok");
  const auto last = RunStore::open(dir.path())->last_step("rl");
  ASSERT_TRUE(last.has_value());
  EXPECT_EQ(count(dir.path(), "rollouts"), (*last + 1) * kPrompts * kSamples) << "no step in part";
}

// ---- queries --------------------------------------------------------------------------------------------------------

TEST(RunReader, OnlyOneReadingStatement) {
  TemporaryDir dir;
  RunStore::open(dir.path())->write(make_record("rl", 0));
  const RunReader reader(dir.path());
  EXPECT_THAT(message_of([&] { reader.query("DELETE FROM steps"); }), HasSubstr("can only be read"));
  EXPECT_THAT(message_of([&] { reader.query("SELECT 1; SELECT 2"); }), HasSubstr("more than one statement"));
  EXPECT_THAT(message_of([&] { reader.query("SELECT nosuch FROM steps"); }), HasSubstr("no such column: nosuch"));
  EXPECT_THAT(message_of([&] { reader.query(" -- hm"); }), HasSubstr("empty"));
  EXPECT_EQ(reader.query("SELECT 1; -- fine").rows[0][0], 1);
  EXPECT_EQ(reader.query("SELECT ?, ?, ?", {"a'b", 2, 0.5}).rows[0], (std::vector<Json>{"a'b", 2, 0.5}));
}

TEST(RunReader, ReadsAFinishedRunFromAReadOnlyFolder) {
  using std::filesystem::perms;
  TemporaryDir dir;
  RunStore::open(dir.path())->write(make_record("rl", 0));
  const auto readable = perms::owner_read | perms::owner_exec | perms::group_read | perms::group_exec |
                        perms::others_read | perms::others_exec;
  std::filesystem::permissions(dir.path(), readable);
  const pid_t child = fork();
  if (child == 0) {
    if (geteuid() == 0 && setuid(65534) != 0) _exit(2);  // root may write everywhere
    std::string message = message_of([&] {
      if (count(dir.path(), "steps") != 2) throw std::runtime_error("wrong count");
    });
    fprintf(stderr, "%s", message.c_str());
    _exit(message.empty() ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  std::filesystem::permissions(dir.path(), perms::owner_all);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_FALSE(std::filesystem::exists(dir.path() / "run.db-shm"));
}

TEST(RunReader, StagesComeInTheOrderTheyRan) {
  TemporaryDir dir;
  auto store = RunStore::open(dir.path());
  for (const char* stage : {"base", "before", "a"}) store->write(make_record(stage, 0));
  store->write(make_record("base", 1));
  store->flush();
  EXPECT_EQ(RunReader(dir.path()).stages(), (std::vector<std::string>{"base", "before", "a"}));
}

}  // namespace
}  // namespace hone
