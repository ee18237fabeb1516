#include "rewards/exact.h"

#include <string>

#include <gtest/gtest.h>

namespace hone {
namespace {

Score score_text(const std::string& text, const char* columns = R"({"answer":" Paris "})") {
  Prompt prompt;
  prompt.columns = columns;
  Rollout rollout;
  rollout.text = text;
  return exact_reward()(prompt, {&rollout, 1}).at(0);
}

TEST(Exact, ComparesTheLastAnswerOrTheWhole) {
  for (const char* text :
       {"Paris", " Paris\n", "<answer>Paris</answer>", "<think>Rome?</think><answer>\tParis </answer>",
        "<think><answer>Rome</answer></think><answer>Paris</answer>", "<answer>Paris</answer><answer>Paris</answer>"}) {
    EXPECT_EQ(score_text(text).value, 1.0) << text;
  }
  for (const char* text : {"paris", "Paris.", "Paris Rome", "", "<answer></answer>", "<answer>Paris, Rome</answer>",
                           "<answer>Rome</answer><answer>Paris</answer>", "<answer>Paris</answer><answer>Rome</answer>",
                           "Paris <answer>Rome</answer>", "<answer>Paris", "<answer>Paris<answer>Paris</answer>"}) {
    EXPECT_EQ(score_text(text).value, 0.0) << text;
  }
}

TEST(Exact, GoldColumn) {
  EXPECT_EQ(score_text("<answer>42</answer>", R"({"answer":42})").value, 1.0);
  EXPECT_EQ(score_text("42", R"({"solution":"42"})").value, 1.0);
  EXPECT_EQ(score_text("", R"({"answer":""})").verdict, Verdict::kNotApplicable)
      << "an empty gold would reward silence";
  EXPECT_EQ(score_text("x", "{}").verdict, Verdict::kNotApplicable);
  EXPECT_THROW(score_text("x", R"({"answer":[1]})"), std::runtime_error);
}

}  // namespace
}  // namespace hone
