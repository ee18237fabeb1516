#include "rl/advantage.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/rl/groups.h"

namespace hone {
namespace {

using ::testing::Each;
using testing::make_group;
using Rewards = std::vector<std::optional<double>>;

Rewards four_of_sixteen() {
  Rewards rewards(16, 0.0);
  for (int i : {1, 5, 6, 15}) rewards[i] = 1.0;
  return rewards;
}

TEST(Advantage, FourOfSixteenCorrect) {
  const auto a = group_advantages({make_group(0, four_of_sixteen())}, {})[0];
  for (size_t g = 0; g < 16; ++g) {
    EXPECT_NEAR(a[g], *four_of_sixteen()[g] == 1 ? 1.7320508 : -0.5773503, 1e-5) << g;
  }
}

TEST(Advantage, SampleDeviationDividesByOneLess) {
  const auto a = group_advantages({make_group(0, four_of_sixteen())}, {.sample_std = true, .epsilon = 0})[0];
  EXPECT_NEAR(a[1], 0.75 / std::sqrt(3.0 / 15), 1e-12);
}

TEST(Advantage, EqualRewardsGiveExactlyZeroAtEveryScale) {
  // 0.1 + 0.1 + 0.1 divided by 3 is not 0.1; without care epsilon 0 would make a 1 of the rounding.
  const std::vector<Group> groups{make_group(0, {0.1, 0.1, 0.1}), make_group(1, {0.0, 1.0, 0.0})};
  for (auto scale : {RewardScale::kNone, RewardScale::kGroup, RewardScale::kBatch}) {
    EXPECT_THAT(group_advantages(groups, {.scale = scale, .epsilon = 0})[0], Each(0.0));
  }
}

TEST(Advantage, ScaleNoneIsTheDistanceFromTheMean) {
  EXPECT_EQ(group_advantages({make_group(0, {1.0, 0.0, 0.0, 0.0})}, {.scale = RewardScale::kNone})[0],
            (std::vector<double>{0.75, -0.25, -0.25, -0.25}));
}

TEST(Advantage, ScaleBatchUsesOneDeviationForAllGroups) {
  const std::vector<Group> groups{make_group(0, {1.0, 0.0}), make_group(1, {0.5, 0.0})};
  const auto a = group_advantages(groups, {.scale = RewardScale::kBatch, .epsilon = 0});
  const double std = std::sqrt((1.25 - 4 * 0.375 * 0.375) / 4);
  EXPECT_NEAR(a[0][0], 0.5 / std, 1e-12);
  EXPECT_NEAR(a[1][1], -0.25 / std, 1e-12);
}

TEST(Advantage, NotApplicableIsLeftOutOfTheBaseline) {
  const auto a = group_advantages({make_group(0, {1.0, {}, 0.0, {}})}, {.epsilon = 0})[0];
  EXPECT_EQ(a, (std::vector<double>{1, 0, -1, 0}));
  const auto with_zeros = group_advantages({make_group(0, {1.0, 0.0, 0.0, 0.0})}, {.epsilon = 0})[0];
  EXPECT_NE(a, with_zeros);
}

TEST(Advantage, OneScoredRolloutHasNothingToBeComparedWith) {
  const std::vector<Group> groups{make_group(0, {{}, 1.0}), make_group(1, {1.0, 0.0})};
  EXPECT_EQ(group_advantages(groups, {})[0], (std::vector<double>{0, 0}));
}

TEST(Advantage, NothingScoredStopsTheRun) {
  EXPECT_THROW(group_advantages({make_group(0, {{}, {}}), make_group(1, {{}, {}})}, {}), std::runtime_error);
  EXPECT_NO_THROW(group_advantages({make_group(0, {{}, {}}), make_group(1, {{}, 0.0})}, {}));
}

TEST(Advantage, MissingRewardsAreRefused) {
  Group group = make_group(0, {1.0, 0.0});
  group.rewards.pop_back();
  EXPECT_THROW(group_advantages({group}, {}), std::invalid_argument);
}

TEST(Advantage, OptionsComeFromTheRecipe) {
  RlConfig config;
  config.scale_rewards = "batch";
  config.sample_std = true;
  config.advantage_epsilon = 1e-4;
  const auto options = advantage_options(config);
  EXPECT_EQ(options.scale, RewardScale::kBatch);
  EXPECT_TRUE(options.sample_std);
  EXPECT_EQ(options.epsilon, 1e-4);
  config.scale_rewards = "some";
  EXPECT_THROW(advantage_options(config), std::invalid_argument);
}

TEST(Advantage, FlatGroupsAreCounted) {
  EXPECT_EQ(frac_reward_zero_std({make_group(0, {1.0, 1.0}), make_group(1, {1.0, 0.0}), make_group(2, {0.0, 0.0}),
                                  make_group(3, {{}, {}})}),
            0.75);
}

TEST(DynamicSampling, WhichGroupsTeach) {
  const auto mixed = make_group(0, {1.0, 0.0, 0.0}), all = make_group(1, {1.0, 1.0}), none = make_group(2, {0.0, 0.0});
  const auto unscored = make_group(3, {{}, {}}), one_scored = make_group(4, {1.0, {}});
  const auto lengths_differ = make_group(5, {0.0, -0.5});  // all wrong, one of them too long as well
  const auto is_kept = [](const Group& g, DynamicSampling rule) { return teaches(g, rule); };
  for (const Group* g : {&mixed, &all, &none, &unscored}) EXPECT_TRUE(is_kept(*g, DynamicSampling::kNone));
  for (const DynamicSampling rule : {DynamicSampling::kReward, DynamicSampling::kAccuracy}) {
    EXPECT_TRUE(is_kept(mixed, rule));
    for (const Group* g : {&all, &none, &unscored, &one_scored}) EXPECT_FALSE(is_kept(*g, rule));
  }
  EXPECT_TRUE(is_kept(lengths_differ, DynamicSampling::kReward));
  EXPECT_FALSE(is_kept(lengths_differ, DynamicSampling::kAccuracy)) << "DAPO eq. 11 counts correct answers";
}

TEST(DynamicSampling, TakesTheRecipesWords) {
  RlConfig c;
  EXPECT_EQ(dynamic_sampling(c), DynamicSampling::kNone);
  c.dynamic_sampling = "reward";
  EXPECT_EQ(dynamic_sampling(c), DynamicSampling::kReward);
  c.dynamic_sampling = "accuracy";
  EXPECT_EQ(dynamic_sampling(c), DynamicSampling::kAccuracy);
  c.dynamic_sampling = "maybe";
  EXPECT_THROW(dynamic_sampling(c), std::invalid_argument);
}

}  // namespace
}  // namespace hone
