#include "rl/metrics.h"

#include <cmath>

#include <gtest/gtest.h>

#include "tests/rl/groups.h"

namespace hone {
namespace {

using testing::make_group;
using testing::make_reward;

Rollout rollout_of(size_t length, FinishReason reason, const std::string& text = "") {
  Rollout r;
  r.token_ids.assign(length, 1);
  r.finish_reason = reason;
  r.text = text;
  return r;
}

/// The definition by counting subsets, for comparison.
double slow_pass_at_k(int n, int c, int k) {
  int with_correct = 0, all = 0;
  for (int subset = 0; subset < 1 << n; ++subset) {
    if (__builtin_popcount(subset) != k) continue;
    ++all;
    with_correct += (subset & ((1 << c) - 1)) != 0;
  }
  return double(with_correct) / all;
}

TEST(RewardMetrics, NamesAndValues) {
  const auto m = reward_metrics({make_group(0, {1.0, 0.0, {}, 0.0}), make_group(1, {1.0, 1.0, 1.0, 1.0})}, {});
  EXPECT_DOUBLE_EQ(m.at("reward"), 5.0 / 7);
  EXPECT_DOUBLE_EQ(m.at("reward_std"), std::sqrt(2.0 / 9) / 2);
  EXPECT_DOUBLE_EQ(m.at("frac_reward_zero_std"), 0.5);
  EXPECT_DOUBLE_EQ(m.at("frac_reward_missing"), 1.0 / 8);
  EXPECT_DOUBLE_EQ(m.at("rewards/countdown/mean"), 5.0 / 7);
  EXPECT_DOUBLE_EQ(m.at("rewards/countdown/std"), std::sqrt(10.0) / 7);
  EXPECT_FALSE(m.contains("completions/reflections"));
}

TEST(RewardMetrics, LengthsAndCutCompletions) {
  Group group;
  group.rollouts = {rollout_of(10, FinishReason::kLength), rollout_of(4, FinishReason::kEos),
                    rollout_of(6, FinishReason::kStop), rollout_of(8, FinishReason::kEos)};
  group.rewards.assign(4, make_reward(1.0));
  const auto m = reward_metrics({group}, {});
  EXPECT_EQ(m.at("completions/mean_length"), 7);
  EXPECT_EQ(m.at("completions/min_length"), 4);
  EXPECT_EQ(m.at("completions/max_length"), 10);
  EXPECT_EQ(m.at("completions/clipped_ratio"), 0.25);
  EXPECT_EQ(m.at("completions/mean_terminated_length"), 6);
  EXPECT_EQ(m.at("completions/max_terminated_length"), 8);
}

TEST(RewardMetrics, AllCutHasNoTerminatedLength) {
  Group group;
  group.rollouts = {rollout_of(10, FinishReason::kLength)};
  group.rewards = {make_reward(1.0)};
  const auto m = reward_metrics({group}, {});
  EXPECT_EQ(m.at("completions/clipped_ratio"), 1);
  EXPECT_FALSE(m.contains("completions/mean_terminated_length"));
}

TEST(RewardMetrics, ReflectionsAreCountedPerCompletion) {
  Group group;
  group.rollouts = {rollout_of(1, FinishReason::kEos, "a wait b wait hmm"), rollout_of(1, FinishReason::kEos, "a b")};
  group.rewards.assign(2, make_reward(1.0));
  EXPECT_EQ(reward_metrics({group}, {" wait"}).at("completions/reflections"), 1);
  EXPECT_EQ(reward_metrics({group}, {" wait", " hmm"}).at("completions/reflections"), 1.5);
}

TEST(CountWords, OverlappingWordsCountOnce) {
  EXPECT_EQ(count_words("wait waiting", {"wait", "waiting"}), 2);
  EXPECT_EQ(count_words("aaaa", {"aa"}), 2);
  EXPECT_EQ(count_words("aaaa", {""}), 0);
  EXPECT_EQ(count_words("", {"a"}), 0);
}

TEST(PassAtK, EqualsTheCountOverSubsets) {
  for (int n = 1; n <= 10; ++n) {
    for (int c = 0; c <= n; ++c) {
      for (int k = 1; k <= n; ++k) EXPECT_NEAR(pass_at_k(n, c, k), slow_pass_at_k(n, c, k), 1e-12) << n << c << k;
    }
  }
  EXPECT_EQ(pass_at_k(4, 0, 16), 0);
  EXPECT_EQ(pass_at_k(4, 1, 16), 1);
}

TEST(EvalMetrics, PassesAndInterval) {
  const auto m = eval_metrics(
      {make_group(0, {1.0, 1.0, 0.0, 0.0}), make_group(1, {0.0, 0.0, 0.0, 0.0}), make_group(2, {1.0, 0.0, 0.0, 0.0})},
      {" wait"});
  EXPECT_DOUBLE_EQ(m.at("eval_pass@1"), 0.25);
  const double half = 1.96 * std::sqrt((0.25 * 0.25 * 2 / 3) / 2);
  EXPECT_NEAR(m.at("eval_pass@1_low"), std::max(0.0, 0.25 - half), 1e-12);
  EXPECT_NEAR(m.at("eval_pass@1_high"), 0.25 + half, 1e-12);
  EXPECT_NEAR(m.at("eval_pass@2"), (5.0 / 6 + 0 + 0.5) / 3, 1e-12);
  EXPECT_NEAR(m.at("eval_pass@4"), 2.0 / 3, 1e-12);
  EXPECT_FALSE(m.contains("eval_pass@8"));
  EXPECT_EQ(m.at("eval_mean_length"), 3);
  EXPECT_EQ(m.at("eval_truncated"), 0);
  EXPECT_EQ(m.at("eval_reflections"), 1);
  EXPECT_EQ(m.at("eval_num_problems"), 3);
  EXPECT_EQ(m.at("eval_not_scored"), 0);
}

TEST(EvalMetrics, WhatIsNotScoredIsLeftOut) {
  const auto m = eval_metrics({make_group(0, {1.0, {}}), make_group(1, {{}, {}})}, {});
  EXPECT_EQ(m.at("eval_pass@1"), 1);
  EXPECT_EQ(m.at("eval_num_problems"), 1);
  EXPECT_EQ(m.at("eval_not_scored"), 0.75);
  EXPECT_THROW(eval_metrics({make_group(1, {{}, {}})}, {}), std::runtime_error);
}

TEST(EvalMetrics, MajorityIsByTheTextOfTheAnswer) {
  Group group = make_group(0, {1.0, 0.0, 0.0, 1.0, 0.0});
  const char* answers[] = {"7", "8", "9", "7", ""};  // 7 is right and said twice, the other three differ
  for (size_t g = 0; g < 5; ++g) group.rollouts[g].text = std::string("<answer>") + answers[g] + "</answer>";
  EXPECT_EQ(eval_metrics({group}, {}).at("eval_maj@5"), 1);
  group.rollouts[2].text = group.rollouts[4].text = group.rollouts[1].text;  // now 8, wrong, has three votes
  EXPECT_EQ(eval_metrics({group}, {}).at("eval_maj@5"), 0);
}

TEST(EvalMetrics, SamplesWithoutAnAnswerDoNotVote) {
  Group group = make_group(0, {0.0, 0.0, 1.0});
  group.rollouts[0].text = group.rollouts[1].text = "no answer";
  EXPECT_EQ(eval_metrics({group}, {}).at("eval_maj@3"), 1);
}

}  // namespace
}  // namespace hone
