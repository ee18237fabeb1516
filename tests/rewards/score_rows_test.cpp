#include "rewards/score_rows.h"

#include <sstream>
#include <stdexcept>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "rewards/rewards.h"

namespace hone {
namespace {

using nlohmann::json;
using testing::HasSubstr;

std::string stream(const std::string& rows, int threads, std::string* written = nullptr) {
  std::istringstream in(rows);
  std::ostringstream out;
  std::string error;
  try {
    score_stream(in, out, make_reward("countdown"), threads, "cases.jsonl");
  } catch (const std::runtime_error& e) {
    error = e.what();
  }
  if (written) *written = out.str();
  return error;
}

std::string row(int id, int target) {
  return json{{"id", id},
              {"completion", "<think></think><answer>7*3+12</answer>"},
              {"numbers", {7, 3, 12}},
              {"target", target}}
             .dump() +
         "\n";
}

TEST(ScoreRow, WritesIdScoreVerdictReason) {
  const auto reward = make_reward("countdown");
  EXPECT_EQ(score_row(reward, json::parse(row(5, 33))),
            R"({"id":5,"score":1.0,"verdict":"correct","reason":"7*3+12 is 33"})");
  auto cut = json::parse(row(5, 33));
  cut["finish_reason"] = "length";
  cut["id"] = "a-1";
  EXPECT_EQ(score_row(reward, cut),
            R"({"id":"a-1","score":0.0,"verdict":"wrong","reason":"cut at the length limit, without an end token"})");
  auto missing = json::parse(row(5, 33));
  missing.erase("target");
  EXPECT_THAT(score_row(reward, missing), HasSubstr(R"("score":null,"verdict":"not_applicable")"));
}

TEST(ScoreRow, TakesGoldAndPredForMath) {
  const auto reward = make_reward("math");
  EXPECT_THAT(score_row(reward, json::parse(R"({"id":"m","gold":"$\\frac12$","pred":"\\boxed{0.5}"})")),
              HasSubstr(R"({"id":"m","score":1.0,"verdict":"correct","reason":")"));
  EXPECT_THAT(score_row(reward, json::parse(R"({"gold":"","pred":"5"})")),
              HasSubstr(R"("score":null,"verdict":"not_applicable")"));
}

TEST(ScoreRow, TakesTokenIds) {
  const auto reward = make_reward("soft_overlong_punishment:max_completion_len=4,soft_punish_cache=2");
  EXPECT_THAT(score_row(reward, json::parse(R"({"completion":"a","token_ids":[1,2,3]})")), HasSubstr("\"score\":-0.5"));
  EXPECT_THROW(score_row(reward, json::parse(R"({"completion":"a","token_ids":[-1]})")), std::runtime_error);
  EXPECT_THROW(score_row(reward, json::parse(R"({"completion":"a","token_ids":3})")), std::runtime_error);
}

TEST(ScoreRow, RefusesBadRows) {
  const auto reward = make_reward("format");
  for (const char* bad : {"[]", "{}", R"({"completion":3})", R"({"completion":"a","finish_reason":"end"})",
                          R"({"completion":null})", R"({"completion":[{"role":"assistant","content":"x"}]})"}) {
    EXPECT_THROW(score_row(reward, json::parse(bad)), std::runtime_error) << bad;
  }
  EXPECT_NO_THROW(score_row(reward, json::parse(R"({"completion":"a"})")));  // control
}

TEST(ScoreStream, KeepsTheOrderOverBatchesAndThreads) {
  std::string rows;
  for (int i = 0; i < 3000; ++i) rows += row(i, 33 + i % 2) + (i % 7 == 0 ? "\n" : "");
  std::string alone;
  EXPECT_EQ(stream(rows, 1, &alone), "");
  std::istringstream lines(alone);
  std::string line;
  for (int i = 0; i < 3000; ++i) {
    ASSERT_TRUE(std::getline(lines, line));
    const auto result = json::parse(line);
    ASSERT_EQ(result["id"], i);
    ASSERT_EQ(result["score"], i % 2 == 0 ? 1.0 : 0.0);
  }
  EXPECT_FALSE(std::getline(lines, line));
  std::string together;
  EXPECT_EQ(stream(rows, 4, &together), "");
  EXPECT_EQ(alone, together);
}

TEST(ScoreStream, ABadRowStopsWithItsLine) {
  const struct {
    const char *bad, *wanted;
  } cases[]{
      {"{\"completion\":\n", "cases.jsonl:3: not valid JSON"},
      {"{}\n", "cases.jsonl:3: the row has no \"completion\""},
      {"{\"completion\":\"<think></think><answer>1</answer>\",\"numbers\":3,\"target\":1}\n",
       "cases.jsonl:3: column 'numbers' is 3"},
  };
  for (const auto& c : cases) {
    for (const int threads : {1, 4}) {
      std::string written;
      EXPECT_THAT(stream(row(0, 33) + row(1, 33) + c.bad + row(2, 33), threads, &written), HasSubstr(c.wanted));
      EXPECT_THAT(written, HasSubstr("\"id\":1"));
      EXPECT_EQ(written.find("\"id\":2"), std::string::npos) << "nothing after the bad row";
    }
  }
}

TEST(ScoreStream, DeepNestingIsAnErrorNotACrash) {
  const std::string deep = "{\"completion\":\"a\",\"x\":" + std::string(100000, '[') + std::string(100000, ']') + "}\n";
  EXPECT_THAT(stream(deep, 1), HasSubstr("cases.jsonl:1: nested deeper than 64 levels"));
}

TEST(ScoreStream, EmptyInputIsNoRows) {
  std::string written;
  EXPECT_EQ(stream("", 2, &written), "");
  EXPECT_EQ(written, "");
}

}  // namespace
}  // namespace hone
