#include "rl/rows.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/rl/groups.h"

namespace hone {
namespace {

using ::testing::HasSubstr;
using testing::make_group;
using testing::TemporaryDir;

TEST(Rows, OfAStageAreItsStoredRollouts) {
  TemporaryDir dir;
  const auto store = RunStore::open(dir.path());
  store->write({.stage = "rl", .step = 1, .groups = {make_group(0, {1.0})}, .advantages = {}, .metrics = {}});
  Group group = make_group(4, {1.0, 0.0});
  group.prompt.columns = R"({"numbers": [1, 2], "reward": "mine"})";
  store->write({.stage = "sample", .step = 1, .groups = {group}, .advantages = {}, .metrics = {}});
  store->flush();
  const auto rows = stored_rows(RunReader(dir.path()), "sample");
  ASSERT_EQ(rows.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(rows[i]["rollout_id"], 2 + i);
    EXPECT_EQ(rows[i]["stage"], "sample");
    EXPECT_EQ(rows[i]["prompt_id"], 4);
    EXPECT_EQ(rows[i]["sample"], i);
    EXPECT_EQ(rows[i]["prompt"], group.prompt.text);
    EXPECT_EQ(rows[i]["prompt_ids"], Row(group.prompt.token_ids));
    EXPECT_EQ(rows[i]["completion"], group.rollouts[i].text);
    EXPECT_EQ(rows[i]["completion_ids"], Row(group.rollouts[i].token_ids));
    EXPECT_EQ(rows[i]["finish_reason"], to_string(group.rollouts[i].finish_reason));
    EXPECT_EQ(rows[i]["verdict"], to_string(group.rewards[i].parts[0].score.verdict));
    EXPECT_EQ(rows[i]["rewards"][group.rewards[i].parts[0].name], *group.rewards[i].parts[0].score.value);
    EXPECT_EQ(rows[i]["numbers"], Row({1, 2}));
    EXPECT_EQ(rows[i]["reward"], *group.rewards[i].total) << "a column does not hide what the run found";
  }
}

TEST(Rows, WrittenAreReadAgain) {
  TemporaryDir dir;
  const std::vector<Row> rows{{{"prompt", "a\n"}, {"id", 1}}, {{"completion", "等"}}};
  write_rows(dir.path() / "data" / "rows.jsonl", rows);
  EXPECT_EQ(read_rows(dir.path() / "data" / "rows.jsonl"), rows);
}

TEST(Rows, SaysWhereALineIsBroken) {
  TemporaryDir dir;
  const auto error_of = [&](const char* text) -> std::string {
    std::ofstream(dir.path() / "r.jsonl") << text;
    try {
      read_rows(dir.path() / "r.jsonl");
    } catch (const std::runtime_error& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_THAT(error_of("{}\n\n[1]\n"), HasSubstr("r.jsonl:3: found a JSON array"));
  EXPECT_THAT(error_of("{}\n{\n"), HasSubstr("r.jsonl:2: "));
  EXPECT_THAT(error_of("\n"), HasSubstr("holds no row"));
}

}  // namespace
}  // namespace hone
