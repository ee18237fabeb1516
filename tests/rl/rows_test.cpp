#include "rl/rows.h"

#include <fstream>

#include <fmt/core.h>
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
  EXPECT_THAT(error_of("{}\n\n[1]\n"),
              HasSubstr("r.jsonl:3: this row is a JSON array, not an object; mend or remove it"));
  EXPECT_THAT(error_of("{}\n{\n"), HasSubstr("r.jsonl:2: "));
  EXPECT_THAT(error_of("\n"), HasSubstr("holds no row"));
}

TEST(Rows, SaysWhatAColumnLacks) {
  const std::vector<Column> columns{{"prompt", ColumnType::kAny, "a"},
                                    {"text", ColumnType::kText, "b", "ids"},
                                    {"ids", ColumnType::kTokenIds, "c", "", /*optional=*/true},
                                    {"reward", ColumnType::kNumber, "d"}};
  const auto fault = [&](const char* row) { return fault_of(Row::parse(row), columns); };
  EXPECT_EQ(fault(R"({"prompt": 3, "text": "x", "reward": null})"), "");
  EXPECT_EQ(fault(R"({"prompt": 3, "ids": [0, 2147483647], "reward": -1})"), "");
  EXPECT_EQ(fault(R"({"text": "x", "reward": 1})"), "has no \"prompt\", which a needs");
  EXPECT_EQ(fault(R"({"prompt": 3, "reward": 1})"), "has neither \"text\" nor \"ids\", which b needs");
  EXPECT_EQ(fault(R"({"prompt": 3, "text": null, "reward": 1})"), "has a \"text\" that is not text, which b needs");
  for (const char* ids : {"\"abc\"", "3", "[1, \"a\"]", "[2.5]", "[-1]", "[2147483648]", "[18446744073709551615]"}) {
    EXPECT_THAT(fault(fmt::format(R"({{"prompt": 3, "ids": {}, "reward": 1}})", ids).c_str()),
                HasSubstr("has a \"ids\" that is not a list of token ids, which c needs"));
  }
  EXPECT_THAT(fault(R"({"prompt": 3, "text": "x", "reward": "1"})"), HasSubstr("not a number"));
}

}  // namespace
}  // namespace hone
