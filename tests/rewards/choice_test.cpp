#include "rewards/choice.h"

#include <stdexcept>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hone {
namespace {

using testing::HasSubstr;

Score score_text(const std::string& text, const char* columns = R"({"answer":"B"})",
                 FinishReason reason = FinishReason::kEos) {
  Prompt prompt;
  prompt.columns = columns;
  Rollout rollout;
  rollout.text = text;
  rollout.finish_reason = reason;
  return choice_reward()(prompt, {&rollout, 1}).at(0);
}

TEST(Choice, CorrectAnswers) {
  for (const char* text : {"<answer>B</answer>", "<answer>b</answer>", "<answer> (B) </answer>", "<answer>B.</answer>",
                           "<answer>(b).</answer>", "<answer>B)</answer>", "<think>A? B?</think><answer>B</answer>",
                           "<think><answer>A</answer></think><answer>B</answer>",
                           "<answer>B</answer><answer>(b)</answer>", "I pick \\boxed{B}.", "\\boxed{A} no, \\boxed{B}",
                           "\\boxed{\\text{B}}", "so the answer is B", "So the ANSWER IS (b).", "Thus\nAnswer: B\n",
                           "the answer is A? No: the answer is B", "\\boxed{A} <answer>B</answer>"}) {
    const auto score = score_text(text);
    EXPECT_EQ(score.value, 1.0) << text << ": " << score.reason;
  }
}

TEST(Choice, WrongAnswersAndHacks) {
  for (const char* text : {"<answer>A</answer>",
                           "<answer>A, B, C, D</answer>",
                           "<answer>A or B</answer>",
                           "<answer>AB</answer>",
                           "<answer>A B C D</answer>",
                           "<answer></answer>",
                           "<answer>B because</answer>",
                           "<answer>A</answer><answer>B</answer>",
                           "<answer>B</answer><answer>A</answer>",
                           "<answer>B</answer><answer>ABCD</answer>",
                           "<answer>ABCD</answer><answer>B</answer>",
                           "<answer>B",
                           "<answer>A<answer>B</answer>",
                           "<answer>B</answer></think><answer>A</answer>",
                           "B",
                           "",
                           "A B C D",
                           "\\boxed{A}",
                           "\\boxed{A,B}",
                           "\\boxed{B} \\boxed{C}",
                           "\\boxed{B",
                           "answer is A, B, C or D",
                           "the answer is B or A",
                           "Answer: B\nAnswer: C",
                           "the answer is B\nso there",
                           "answer is not B",
                           "<answer>\xd0\x92</answer>",
                           "<answer>1</answer>",
                           "<answer>A</answer> \\boxed{B}",
                           "<answer>A</answer> answer is B"}) {
    const auto score = score_text(text);
    EXPECT_EQ(score.value, 0.0) << text << ": " << score.reason;
    EXPECT_EQ(score.verdict, Verdict::kWrong);
  }
}

TEST(Choice, AStatementCutAtTheLimitIsNoCommitment) {
  EXPECT_EQ(score_text("the answer is B", R"({"answer":"B"})", FinishReason::kLength).value, 0.0);
  EXPECT_EQ(score_text("<answer>B</answer>", R"({"answer":"B"})", FinishReason::kLength).value, 1.0);
}

TEST(Choice, GoldColumn) {
  EXPECT_EQ(score_text("<answer>c</answer>", R"j({"solution":"(C)"})j").value, 1.0);
  EXPECT_EQ(score_text("<answer>c</answer>", R"({"answer":"A","solution":"C"})").value, 0.0) << "answer comes first";
  EXPECT_EQ(score_text("<answer>c</answer>", R"({"answer":null,"solution":"C"})").value, 1.0);
  for (const char* columns :
       {"{}", R"({"answer":""})", R"({"answer":"42"})", R"({"answer":7})", R"({"answer":"AB"})"}) {
    EXPECT_EQ(score_text("<answer>C</answer>", columns).verdict, Verdict::kNotApplicable) << columns;
  }
  for (const char* columns :
       {R"({"answer":["C"]})", R"({"solution":{"a":1}})", R"({"answer":true})", R"({"answer":1.5})"}) {
    EXPECT_THROW(score_text("<answer>C</answer>", columns), std::runtime_error) << columns;
  }
}

TEST(Choice, ReasonNamesBothLetters) {
  EXPECT_EQ(score_text("<answer>a</answer>").reason, "answers A, not B");
  EXPECT_THAT(score_text("<answer>A</answer><answer>B</answer>").reason, HasSubstr("differ: 'A' and 'B'"));
}

}  // namespace
}  // namespace hone
