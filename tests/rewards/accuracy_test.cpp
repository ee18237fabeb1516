#include "rewards/accuracy.h"

#include <stdexcept>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rewards/math_reward.h"
#include "rewards/rewards.h"

namespace hone {
namespace {

using testing::HasSubstr;

Score score_with(const std::string& reward, const std::string& columns, const std::string& text) {
  Prompt prompt;
  prompt.columns = columns;
  Rollout rollout;
  rollout.text = text;
  rollout.finish_reason = FinishReason::kEos;
  return make_reward(reward)(prompt, {&rollout, 1}).at(0);
}

TEST(Accuracy, TheColumnsSayWhichRule) {
  EXPECT_EQ(score_with("accuracy", R"({"answer":"B"})", "<answer>(b)</answer>").reason, "answers B") << "choice";
  EXPECT_EQ(score_with("accuracy_reward", R"({"solution":"$\\frac12$"})", "\\boxed{0.5}").value, 1.0);
  EXPECT_EQ(score_with("accuracy", R"({"answer":18})", "#### 18").value, 1.0);
  EXPECT_EQ(score_with("accuracy", R"({"answer":18})", "#### 19").value, 0.0);
  EXPECT_EQ(score_with("accuracy", R"({"answer":"1","test_cases":[]})", "1").verdict, Verdict::kNotApplicable);
  EXPECT_EQ(score_with("accuracy", R"({"answer":"1","language":"en"})", "1").value, 1.0);
  EXPECT_EQ(score_with("accuracy", R"({"answer":null})", "1").verdict, Verdict::kNotApplicable);
}

TEST(Accuracy, RowsWithTestsRunInTheSandbox) {
  const std::string row = R"({"answer":"9","test_cases":[{"input":"2 3","output":"5"},{"input":"1 1","output":"2"}]})";
  for (const char* reward : {"accuracy", "code", "code:language=python"}) {
    EXPECT_EQ(score_with(reward, row, "```python\nprint(sum(map(int, input().split())))\n```").value, 1.0) << reward;
    const Score wrong = score_with(reward, row, "```python\nprint(5)\n```");
    EXPECT_EQ(wrong.value, 0.0);
    EXPECT_THAT(wrong.reason, HasSubstr("test 2 of 2: WA"));
    EXPECT_EQ(score_with(reward, row, "```python\nimport sys; sys.exit(0)\n```").value, 0.0) << "a forgery";
  }
  EXPECT_EQ(score_with("code:partial=true", row, "```python\nprint(5)\n```").value, 0.5);
  EXPECT_THROW(make_reward("code:language=cobol"), std::invalid_argument);
}

TEST(MathReward, ReadsItsColumns) {
  for (const char* columns : {R"({"gold":"1/2"})", R"({"answer":"1/2"})", R"({"solution":"1/2"})", R"({"answer":0.5})",
                              R"({"gold":null,"answer":"1/2"})"}) {
    EXPECT_EQ(score_with("math", columns, "\\boxed{0.5}").value, 1.0) << columns;
  }
  EXPECT_EQ(score_with("math", "{}", "1").verdict, Verdict::kNotApplicable);
  EXPECT_THROW(score_with("math", R"({"answer":[1]})", "1"), std::runtime_error);
}

TEST(MathReward, BoxedWantsABox) {
  EXPECT_EQ(score_with("math", R"({"answer":"5"})", "so 5").value, 1.0);
  EXPECT_EQ(score_with("boxed", R"({"answer":"5"})", "so 5").value, 0.0);
  EXPECT_EQ(score_with("boxed", R"({"answer":"5"})", "so \\boxed{5}").value, 1.0);
}

TEST(MathReward, ConfigOfTheRow) {
  const auto value = [](const std::string& config) {
    return score_with("math", R"({"answer":"1/3","config":)" + config + "}", "\\boxed{0.333}").value;
  };
  EXPECT_EQ(value("{}"), 0.0);
  EXPECT_EQ(value("null"), 0.0);
  EXPECT_EQ(value(R"({"float_rounding":3})"), 1.0);
  EXPECT_EQ(score_with("math", R"({"answer":"5","config":{"upstream_quirks":true}})", "5%").value, 1.0);
  EXPECT_EQ(score_with("math", R"({"answer":"5"})", "5%").value, 0.0);
  EXPECT_EQ(score_with("math:upstream_quirks=true", R"({"answer":"5"})", "5%").value, 1.0);
}

TEST(MathReward, BadConfigIsRefused) {
  const auto error = [](const std::string& config) -> std::string {
    try {
      score_with("math", R"({"answer":"1","config":)" + config + "}", "1");
    } catch (const std::runtime_error& e) {
      return e.what();
    }
    return "no error";
  };
  EXPECT_THAT(error(R"({"float_roundin":3})"),
              HasSubstr("unknown key 'float_roundin'; did you mean 'float_rounding'?"));
  EXPECT_THAT(error(R"({"float_rounding":"3"})"), HasSubstr("must be an integer from 0 to 30"));
  EXPECT_THAT(error(R"({"strict":1})"), HasSubstr("must be true or false"));
  EXPECT_THAT(error(R"({"match_types":["tex"]})"), HasSubstr("must be \"latex\", \"expr\" or \"string\""));
  EXPECT_THAT(error(R"({"match_types":"latex"})"), HasSubstr("must be a list of strings"));
  EXPECT_THAT(error(R"({"strings":[""]})"), HasSubstr("not empty"));
  EXPECT_THAT(error(R"({"extraction_mode":"last"})"), HasSubstr("\"first_match\" or \"any_match\""));
  EXPECT_THAT(error("[]"), HasSubstr("not a JSON object"));
  EXPECT_EQ(error(R"({"strict":null})"), "no error");
}

TEST(MathReward, ExplainAddsLines) {
  const auto score = score_with("math:explain=true", R"({"answer":"$\\frac12$"})", "The answer is $0.5$");
  EXPECT_THAT(score.reason, HasSubstr("\nprediction\n  math environment after 'answer' '0.5': is 1/2"));
}

}  // namespace
}  // namespace hone
