#include "rewards/format.h"

#include <chrono>
#include <string>

#include <gtest/gtest.h>

namespace hone {
namespace {

struct Case {
  const char* what;
  std::string text;
  bool ok;
  FinishReason reason = FinishReason::kEos;
};

const Case kCases[]{
    {"plain", "<think>a</think><answer>4</answer>", true},
    {"empty thoughts", "<think></think><answer>4</answer>", true},
    {"less-than in thoughts", "<think>3<7 and 7>3</think><answer>4</answer>", true},
    {"less-than before a tag", "<think>3<</think><answer>4</answer>", true},
    {"other tags in thoughts", "<think><b><thin></ think></think><answer>4</answer>", true},
    {"a tag cut short in thoughts", "<think><think</think><answer>4</answer>", true},
    {"line break in thoughts", "<think>a\nb</think><answer>4</answer>", true},
    {"less-than in the answer", "<think>a</think><answer>x<4</answer>", true},
    {"UTF-8", "<think>größe</think><answer>€</answer>", true},
    {"empty", "", false},
    {"no tags", "4", false},
    {"only thoughts", "<think>a</think>", false},
    {"only an answer", "<answer>4</answer>", false},
    {"empty answer", "<think>a</think><answer></answer>", false},
    {"answer not closed", "<think>a</think><answer>4", false},
    {"thoughts not closed", "<think>a<answer>4</answer>", false},
    {"thoughts not opened", "a</think><answer>4</answer>", false},
    {"answer not opened", "<think>a</think>4</answer>", false},
    {"text before", " <think>a</think><answer>4</answer>", false},
    {"text between", "<think>a</think>\n<answer>4</answer>", false},
    {"text after", "<think>a</think><answer>4</answer> ", false},
    {"line break after", "<think>a</think><answer>4</answer>\n", false},
    {"order turned round", "<answer>4</answer><think>a</think>", false},
    {"two thoughts", "<think>a</think><think>b</think><answer>4</answer>", false},
    {"nested thoughts", "<think>a<think>b</think><answer>4</answer>", false},
    {"two answers", "<think>a</think><answer>4</answer><answer>5</answer>", false},
    {"answer in thoughts", "<think><answer>4</answer></think><answer>4</answer>", false},
    {"nested answer", "<think>a</think><answer><answer>4</answer></answer>", false},
    {"tag in the answer", "<think>a</think><answer>4</think></answer>", false},
    {"capital tags", "<THINK>a</THINK><ANSWER>4</ANSWER>", false},
    {"whole twice", "<think>a</think><answer>4</answer><think>a</think><answer>4</answer>", false},
    {"cut at the limit", "<think>a</think><answer>4</answer>", false, FinishReason::kLength},
    {"stop string", "<think>a</think><answer>4</answer>", false, FinishReason::kStop},
};

TEST(Format, MatchesExactlyTheRule) {
  for (const auto& c : kCases) {
    const auto match = match_format(c.text, c.reason);
    EXPECT_EQ(match.ok, c.ok) << c.what << ": " << match.problem;
    EXPECT_EQ(match.problem.empty(), c.ok) << c.what;
  }
}

TEST(Format, ReturnsTheTwoParts) {
  const auto match = match_format("<think>a<b</think><answer> 7 </answer>", FinishReason::kEos);
  EXPECT_EQ(match.think, "a<b");
  EXPECT_EQ(match.answer, " 7 ");
}

TEST(Format, ReasonSaysWhatStandsWhere) {
  EXPECT_EQ(match_format("<think>a</think> <answer>4</answer>", FinishReason::kEos).problem,
            "' <answer>4</answer>' stands where <answer> is expected directly after </think>");
  EXPECT_EQ(match_format("<think>a", FinishReason::kEos).problem, "ends where </think> is expected after the thoughts");
}

TEST(Format, RewardScoresEveryCompletionInOrder) {
  std::vector<Rollout> rollouts(2);
  rollouts[0].text = rollouts[1].text = "<think>a</think><answer>4</answer>";
  rollouts[0].finish_reason = FinishReason::kEos;
  const auto scores = format_reward()({}, rollouts);
  ASSERT_EQ(scores.size(), 2u);
  EXPECT_EQ(scores[0].value, 1.0);
  EXPECT_EQ(scores[1].value, 0.0);
  EXPECT_EQ(scores[1].reason, "cut at the length limit, without an end token");
}

TEST(Format, LongGarbageTakesLinearTime) {
  const auto start = std::chrono::steady_clock::now();
  std::string text = "<think>";
  for (int i = 0; i < 400000; ++i) text += "<answe<";
  EXPECT_FALSE(match_format(text, FinishReason::kEos).ok);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
}

TEST(Excerpt, IsShortPrintableAscii) {
  EXPECT_EQ(excerpt("a\nb\x01ß"), "a b???");
  EXPECT_EQ(excerpt(std::string(200, 'x')), std::string(80, 'x') + "..");
}

TEST(ThinkFormat, OnlyTheThoughtsNeedTags) {
  const auto value = [](const std::string& text) {
    Rollout rollout;  // cut at the length limit: that does not count here
    rollout.text = text;
    return *think_format_reward()({}, {&rollout, 1}).at(0).value;
  };
  for (const char* good : {"<think>3<7</think> so 7", "<think></think>", "<think>\na\n</think>\n<answer>4</answer>",
                           "<think>a</think> b </think>"}) {
    EXPECT_EQ(value(good), 1.0) << good;
  }
  for (const char* bad : {"", " <think>a</think>", "a</think>b", "<think>a", "<think>a<think>b</think>",
                          "<think>a</think><think>b</think>"}) {
    EXPECT_EQ(value(bad), 0.0) << bad;
  }
}

}  // namespace
}  // namespace hone
