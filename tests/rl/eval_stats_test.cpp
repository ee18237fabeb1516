#include "rl/eval_stats.h"

#include <random>

#include <gtest/gtest.h>

namespace hone {
namespace {

TEST(FinalAnswer, IsTheLastTagAndTrimmed) {
  EXPECT_EQ(final_answer("<answer>1</answer> <answer>\n 2 + 3 \t</answer>"), "2 + 3");
  EXPECT_EQ(final_answer("<answer>  </answer>"), "");
  EXPECT_EQ(final_answer("<answer></answer>x"), "");
  EXPECT_EQ(final_answer("<answer>7"), "");
}

TEST(FinalAnswer, TagsComeBeforeBoxes) {
  EXPECT_EQ(final_answer("<answer> 7 </answer> \\boxed{8}"), "7");
  EXPECT_EQ(final_answer("so \\boxed{8} or \\boxed{ \\frac{1}{2} }."), "\\frac{1}{2}");
  EXPECT_EQ(final_answer("\\boxed{{}"), "") << "never closed";
  EXPECT_EQ(final_answer("<answer></answer> \\boxed{3}"), "3");
  EXPECT_EQ(final_answer("7"), "");
}

// By its definition: count each answer in a loop of its own.
double slow_majority(const std::vector<Vote>& votes) {
  size_t best = 0;
  double share = 0;
  for (const Vote& candidate : votes) {
    if (candidate.answer.empty()) continue;
    size_t total = 0, correct = 0;
    for (const Vote& v : votes) {
      total += v.answer == candidate.answer;
      correct += v.answer == candidate.answer && v.is_correct;
    }
    if (total <= best) continue;
    best = total;
    share = double(correct) / double(total);
  }
  return share;
}

TEST(Majority, EqualsTheSlowCountOnRandomVotes) {
  std::mt19937 random(5);
  for (int round = 0; round < 2000; ++round) {
    std::vector<Vote> votes(random() % 12);
    for (Vote& v : votes) v = {std::string(random() % 4, 'a'), random() % 2 == 0};
    ASSERT_DOUBLE_EQ(majority(votes), slow_majority(votes)) << "round " << round;
  }
}

TEST(Majority, TheFirstOfEqualsWinsAndTheSilentDoNotVote) {
  EXPECT_EQ(majority(std::vector<Vote>{{"1", true}, {"2", false}}), 1);
  EXPECT_EQ(majority(std::vector<Vote>{{"2", false}, {"1", true}}), 0);
  EXPECT_EQ(majority(std::vector<Vote>{{"", false}, {"", false}, {"1", true}}), 1);
  EXPECT_EQ(majority(std::vector<Vote>{{"", true}}), 0);
}

TEST(MajorityAtK, IsTheMeanOverBlocks) {
  const std::vector<Vote> votes{{"1", true}, {"2", false}, {"2", false}, {"2", false},
                                {"1", true}, {"1", true},  {"9", false}};
  EXPECT_DOUBLE_EQ(majority_at_k(votes, 3), 0.5) << "2 2 1 loses, 2 1 1 wins, the seventh is left over";
  EXPECT_DOUBLE_EQ(majority_at_k(votes, 1), 3.0 / 7) << "pass@1";
  EXPECT_DOUBLE_EQ(majority_at_k(votes, 7), majority(votes));
  EXPECT_THROW(majority_at_k(votes, 8), std::invalid_argument);
  EXPECT_THROW(majority_at_k(votes, 0), std::invalid_argument);
}

TEST(MajorityAtK, IsUnbiased) {
  // Answers right with chance .6, else one of two wrong ones: the mean over many problems of 6 samples at k = 3 is that
  // of problems with 3 samples.
  std::mt19937 random(1);
  const auto draw = [&](size_t n) {
    std::vector<Vote> votes(n);
    for (Vote& v : votes) {
      const auto u = random() % 10;
      v = u < 6 ? Vote{"r", true} : Vote{u < 8 ? "a" : "b", false};
    }
    return votes;
  };
  double of_six = 0, of_three = 0;
  const int rounds = 40000;
  for (int i = 0; i < rounds; ++i) {
    of_six += majority_at_k(draw(6), 3) / rounds;
    of_three += majority(draw(3)) / rounds;
  }
  EXPECT_NEAR(of_six, of_three, 0.01);
}

}  // namespace
}  // namespace hone
