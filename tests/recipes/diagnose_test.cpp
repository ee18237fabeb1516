#include "recipes/countdown/diagnose.h"

#include <string>

#include <gtest/gtest.h>

#include "recipes/countdown/countdown.h"
#include "rollout/random.h"

namespace hone {
namespace {

Prompt make_prompt(int64_t id = 0) {
  Prompt prompt;
  prompt.id = id;
  prompt.columns = R"({"numbers":[7,3,12],"target":33})";
  return prompt;
}

Rollout make_rollout(const std::string& text, int64_t id = 0) {
  Rollout rollout;
  rollout.prompt_id = id;
  rollout.text = text;
  rollout.finish_reason = FinishReason::kEos;
  return rollout;
}

std::map<std::string, double> diagnose(const std::vector<std::string>& texts) {
  const std::vector prompts{make_prompt()};
  std::vector<Rollout> rollouts;
  for (const auto& text : texts) rollouts.push_back(make_rollout(text));
  return diagnose_countdown(prompts, rollouts);
}

const std::string kGood = "<think>7+3=10,10+12=22 vs 33 wait7*3=21,21+12=33 vs 33 yes</think><answer>(7*3)+12</answer>";

TEST(Diagnose, APerfectSearch) {
  const auto m = diagnose({kGood});
  const std::map<std::string, double> wanted{{"step_arithmetic", 1},
                                             {"first_step_arithmetic", 1},
                                             {"second_step_arithmetic", 1},
                                             {"verdict", 1},
                                             {"yes_correct", 1},
                                             {"ends_yes", 1},
                                             {"ends_no", 0},
                                             {"empty_think", 0},
                                             {"waits", 1},
                                             {"tries", 2},
                                             {"hit_rate", 0.5},
                                             {"repeats", 0},
                                             {"format", 1},
                                             {"correct", 1}};
  EXPECT_EQ(m, wanted);
}

TEST(CorrectsItself, WantsAMissAWaitAndAHit) {
  const auto corrects = [](const std::string& thoughts) {
    return countdown_corrects_itself(make_prompt(), "<think>" + thoughts + "</think><answer>(7*3)+12</answer>");
  };
  const std::string miss = "7+3=10,10+12=22 vs 33", hit = "7*3=21,21+12=33 vs 33";
  EXPECT_TRUE(corrects(miss + " wait" + hit + " yes"));
  EXPECT_FALSE(corrects(hit + " yes")) << "nothing was wrong";
  EXPECT_FALSE(corrects(miss + " no" + hit + " yes")) << "no re-check";
  EXPECT_FALSE(corrects(miss + " wait" + hit + " no")) << "right by chance";
  EXPECT_FALSE(corrects(hit + " wait" + hit + " yes")) << "what it doubted was right";
  EXPECT_FALSE(corrects("7+3=12,12+12=24 vs 33 wait" + hit + " yes")) << "a slip of arithmetic, not a try";
  EXPECT_FALSE(corrects(miss + " wait" + miss + " yes"));
  EXPECT_FALSE(corrects(""));
  EXPECT_FALSE(countdown_corrects_itself({.columns = "{}"}, "<think>" + miss + " wait" + hit + " yes</think>"));
}

TEST(Diagnose, FindsEachKindOfMistake) {
  const auto in_thoughts = [](const std::string& thoughts) {
    return diagnose({"<think>" + thoughts + "</think><answer>(7*3)+12</answer>"});
  };
  EXPECT_EQ(in_thoughts("7+3=11,11+12=23 vs 33 no").at("step_arithmetic"), 0.5);
  EXPECT_EQ(in_thoughts("7+3=11,11+12=23 vs 33 no").at("first_step_arithmetic"), 0.0);
  EXPECT_EQ(in_thoughts("7+3=10,10+12=23 vs 33 no").at("second_step_arithmetic"), 0.0);
  EXPECT_EQ(in_thoughts("7+3=10,10+12=22 vs 33 yes").at("verdict"), 0.0) << "a miss called a hit";
  EXPECT_EQ(in_thoughts("7*3=21,21+12=33 vs 33 no").at("verdict"), 0.0) << "a hit called a miss";
  EXPECT_EQ(in_thoughts("7*3=21,21+12=33 vs 33 wait").at("verdict"), 0.0);
  EXPECT_EQ(in_thoughts("7+3=10,10+12=22 vs 22 yes").at("verdict"), 0.0) << "compares with another target";
  EXPECT_EQ(in_thoughts("7+3=10,10+12=22 vs 33,").at("verdict"), 0.0) << "no verdict";
  EXPECT_EQ(in_thoughts("7+3=10,10+12=22 vs 33 no").at("verdict"), 1.0) << "control";
  EXPECT_EQ(in_thoughts("7*3=21,21+12=33 vs 33 yes").at("hit_rate"), 1.0) << "control";
  EXPECT_EQ(in_thoughts("11*3=33,33*1=33 vs 33 yes").at("hit_rate"), 0.0) << "wrong numbers";
  EXPECT_EQ(in_thoughts("7*3=20,20+12=33 vs 33 yes").at("hit_rate"), 0.0) << "wrong arithmetic";
  EXPECT_EQ(in_thoughts("7*3=21,21+12=33,33-0=33 vs 33 yes").at("hit_rate"), 0.0) << "three steps";
  EXPECT_EQ(in_thoughts("7+3=10,12+21=33 vs 33 yes").at("hit_rate"), 0.0) << "second step does not go on";
  EXPECT_EQ(in_thoughts("7+3=10,10+12=22 vs 33 wait7+3=10,10+12=22 vs 33 no").at("repeats"), 0.5);
}

TEST(Diagnose, FalseYesIsCounted) {
  const auto m = diagnose({kGood, "<think>7+3=10,10+12=22 vs 33 yes</think><answer>(7+3)+12</answer>",
                           "<think>7+3=10,10+12=22 vs 33 no</think><answer>(7+3)+12</answer>",
                           "<think></think><answer>33</answer>"});
  EXPECT_DOUBLE_EQ(m.at("yes_correct"), 0.5);
  EXPECT_DOUBLE_EQ(m.at("ends_yes"), 0.5);
  EXPECT_DOUBLE_EQ(m.at("ends_no"), 0.25);
  EXPECT_DOUBLE_EQ(m.at("empty_think"), 0.25);
  EXPECT_DOUBLE_EQ(m.at("waits"), 0.25);
  EXPECT_DOUBLE_EQ(m.at("correct"), 0.25);
}

TEST(Diagnose, ATryCutBeforeItsVerdictIsNotHeldAgainstIt) {
  const auto m = diagnose({"<think>7+3=10,10+12=22 vs 33 wait7+12=19,19+3=22 vs 33"});
  EXPECT_EQ(m.at("verdict"), 1.0);
  EXPECT_EQ(m.at("tries"), 2.0);
}

TEST(Diagnose, MeansOverNothingAreLeftOutButThoseOfGatesAreZero) {
  const auto m = diagnose({"garbage"});
  EXPECT_EQ(m.at("step_arithmetic"), 0.0);
  EXPECT_EQ(m.at("verdict"), 0.0);
  EXPECT_FALSE(m.contains("hit_rate"));
  EXPECT_FALSE(m.contains("yes_correct"));
  EXPECT_EQ(m.at("tries"), 0.0);
  EXPECT_TRUE(diagnose_countdown({}, {}).empty());
}

TEST(Diagnose, RowsOfOtherTasksArePassedOver) {
  std::vector prompts{make_prompt(0), make_prompt(1), make_prompt(2)};
  prompts[1].columns = "{}";
  prompts[2].columns = R"({"numbers":"x","target":1})";
  const std::vector rollouts{make_rollout(kGood, 0), make_rollout("x", 1), make_rollout("x", 2), make_rollout("x", 77)};
  EXPECT_EQ(diagnose_countdown(prompts, rollouts).at("correct"), 1.0);
}

TEST(ReadThoughts, ReadsStepsInsideGarbage) {
  const auto t = read_thoughts("<think>wait7=44 vs 2 no3+4=7,,(5-2=3) 8/2=4,9/0=1 vs 5 vs 6 yes");
  ASSERT_EQ(t.steps.size(), 4u);
  EXPECT_TRUE(t.steps[0].right && t.steps[1].right && t.steps[2].right);
  EXPECT_FALSE(t.steps[3].right) << "division by zero";
  ASSERT_EQ(t.tries.size(), 1u);
  EXPECT_EQ(t.tries[0].compared_with, 5);
  EXPECT_EQ(t.tries[0].verdict, "");
  EXPECT_TRUE(t.ends_in_yes);
}

TEST(ReadThoughts, DigitsWithoutEndAreWrongNotAnOverflow) {
  const std::string nines(50, '9');
  const auto t = read_thoughts(nines + "*" + nines + "=" + nines + ",1+1=2 vs " + nines + " yes");
  ASSERT_EQ(t.steps.size(), 2u);
  EXPECT_FALSE(t.steps[0].right);
  EXPECT_TRUE(t.steps[1].right);
  EXPECT_TRUE(read_thoughts("999999999*999999999=999999999").steps.size() == 1);
}

TEST(Diagnose, SurvivesRandomTokens) {
  const std::string alphabet[]{"<think>", "</think>", "<answer>", "</answer>", " yes", " no", " wait",
                               " vs ",    "7",        "3",        "12",        "33",   "+",   "-",
                               "*",       "/",        "(",        ")",         "=",    ","};
  for (uint64_t i = 0; i < 3000; ++i) {
    const CounterRandom random(1, Purpose::kShuffle, i);
    std::string text;
    for (uint32_t t = 0; t < 60; ++t) text += alphabet[random.below(t, std::size(alphabet))];
    for (const auto& [name, value] : diagnose({text})) {
      EXPECT_GE(value, 0.0) << name;
      EXPECT_LE(value, name == "waits" || name == "tries" ? 60.0 : 1.0) << name;
    }
  }
}

TEST(Diagnose, TheCorpusItselfIsFlawlessInArithmeticAndVerdicts) {
  const Task task = countdown_task();
  std::vector<Prompt> prompts;
  std::vector<Rollout> rollouts;
  for (int64_t i = 0; i < 2000; ++i) {
    const auto d = task.document(1, static_cast<uint64_t>(i), {});
    prompts.push_back(make_prompt(i));
    prompts.back().columns =
        R"({"numbers":[)" + d.prompt[0] + "," + d.prompt[2] + "," + d.prompt[4] + R"(],"target":)" + d.prompt[6] + "}";
    rollouts.push_back(make_rollout("", i));
    for (const auto& token : d.response) rollouts.back().text += token;
  }
  const auto m = task.diagnose(prompts, rollouts);
  EXPECT_EQ(m.at("step_arithmetic"), 1.0);
  EXPECT_EQ(m.at("verdict"), 1.0);
  EXPECT_GT(m.at("tries"), 1.0);
  EXPECT_LT(m.at("repeats"), 0.01);
}

}  // namespace
}  // namespace hone
