#include "rewards/group.h"

#include <atomic>
#include <stdexcept>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rewards/parallel.h"

namespace hone {
namespace {

using testing::HasSubstr;

std::vector<Prompt> make_prompts(int64_t count) {
  std::vector<Prompt> prompts(static_cast<size_t>(count));
  for (int64_t p = 0; p < count; ++p) prompts[static_cast<size_t>(p)].id = 100 + p;
  return prompts;
}

std::vector<Rollout> make_rollouts(const std::vector<Prompt>& prompts, int32_t per_prompt) {
  std::vector<Rollout> rollouts;
  for (const auto& prompt : prompts) {
    for (int32_t sample = 0; sample < per_prompt; ++sample) {
      rollouts.push_back({});
      rollouts.back().prompt_id = prompt.id;
      rollouts.back().sample = sample;
    }
  }
  return rollouts;
}

/// Scores (id + sample) / 1000; not applicable for sample 2.
std::vector<Score> by_place(const Prompt& prompt, std::span<const Rollout> rollouts) {
  std::vector<Score> scores;
  for (const auto& r : rollouts) {
    const double value = static_cast<double>(prompt.id + r.sample) / 1000;
    scores.push_back(r.sample == 2 ? Score::not_applicable("no") : Score{value, Verdict::kCorrect, "by place"});
  }
  return scores;
}

std::vector<Score> always_one(const Prompt&, std::span<const Rollout> rollouts) {
  return std::vector<Score>(rollouts.size(), Score::correct("one"));
}

TEST(Score, TotalIsTheWeightedSumOfApplicableParts) {
  const auto prompts = make_prompts(2);
  const auto groups = score(prompts, make_rollouts(prompts, 3), {{"place", 2.0, by_place}, {"one", 0.5, always_one}});
  ASSERT_EQ(groups.size(), 2u);
  ASSERT_EQ(groups[1].rewards.size(), 3u);
  EXPECT_DOUBLE_EQ(*groups[1].rewards[1].total, 2.0 * 0.102 + 0.5);
  EXPECT_DOUBLE_EQ(*groups[1].rewards[2].total, 0.5) << "the part that does not apply is left out";
  ASSERT_EQ(groups[0].rewards[0].parts.size(), 2u);
  EXPECT_EQ(groups[0].rewards[0].parts[0].name, "place");
  EXPECT_EQ(groups[0].rewards[0].parts[1].weight, 0.5);
}

TEST(Score, NoApplicablePartGivesNoTotalNeverZero) {
  const auto prompts = make_prompts(1);
  const auto groups = score(prompts, make_rollouts(prompts, 3), {{"place", 1.0, by_place}});
  EXPECT_TRUE(groups[0].rewards[1].total.has_value());
  EXPECT_FALSE(groups[0].rewards[2].total.has_value());
  EXPECT_FALSE(score(prompts, make_rollouts(prompts, 1), {})[0].rewards[0].total.has_value());
}

TEST(Score, ThreadsDoNotChangeTheResult) {
  const auto prompts = make_prompts(50);
  const auto alone = score(prompts, make_rollouts(prompts, 2), {{"place", 1.0, by_place}}, 1);
  for (const int threads : {0, 2, 4, 100}) {
    const auto groups = score(prompts, make_rollouts(prompts, 2), {{"place", 1.0, by_place}}, threads);
    for (size_t p = 0; p < prompts.size(); ++p) {
      EXPECT_EQ(groups[p].prompt.id, 100 + static_cast<int64_t>(p));
      EXPECT_EQ(groups[p].rewards[1].total, alone[p].rewards[1].total);
      EXPECT_EQ(groups[p].rollouts[1].sample, 1);
    }
  }
}

TEST(Score, RefusesRolloutsThatDoNotBelong) {
  const auto prompts = make_prompts(2);
  auto rollouts = make_rollouts(prompts, 2);
  std::swap(rollouts[1], rollouts[2]);
  EXPECT_THROW(score(prompts, rollouts, {}), std::invalid_argument);
  rollouts.pop_back();
  EXPECT_THROW(score(prompts, rollouts, {}), std::invalid_argument);
  EXPECT_THROW(score({}, rollouts, {}), std::invalid_argument);
  EXPECT_TRUE(score({}, {}, {}).empty());
}

TEST(GroupScorer, GivesWhatScoreGivesWhateverTheOrder) {
  const auto prompts = make_prompts(30);
  const auto rollouts = make_rollouts(prompts, 2);
  const std::vector<NamedReward> rewards{{"place", 1.0, by_place}};
  const auto expected = score(prompts, rollouts, rewards);
  for (const int threads : {1, 3}) {
    GroupScorer scorer(prompts, rewards, threads);
    for (size_t i = 0; i < prompts.size(); ++i) {
      const size_t p = (i * 7) % prompts.size();
      scorer.add(p, std::span(rollouts).subspan(2 * p, 2));
    }
    const auto groups = scorer.finish();
    ASSERT_EQ(groups.size(), prompts.size());
    for (size_t p = 0; p < prompts.size(); ++p) {
      EXPECT_EQ(groups[p].prompt.id, expected[p].prompt.id);
      EXPECT_EQ(groups[p].rollouts[1].sample, 1);
      EXPECT_EQ(groups[p].rewards[1].total, expected[p].rewards[1].total);
    }
  }
}

TEST(GroupScorer, ThrowsTheFirstFailureAndCanBeDroppedUnfinished) {
  const auto prompts = make_prompts(6);
  const auto rollouts = make_rollouts(prompts, 1);
  const RewardFn fails = [](const Prompt& prompt, std::span<const Rollout> of) {
    if (prompt.id >= 102) throw std::runtime_error("column 'x' is bad");
    return always_one(prompt, of);
  };
  const std::vector<NamedReward> rewards{{"bad", 1.0, fails}};
  GroupScorer scorer(prompts, rewards, 2);
  for (size_t p = 6; p-- > 0;) scorer.add(p, std::span(rollouts).subspan(p, 1));
  try {
    scorer.finish();
    ADD_FAILURE() << "no exception";
  } catch (const std::runtime_error& e) {
    EXPECT_THAT(e.what(), HasSubstr("prompt 102, reward 'bad'"));
  }
  GroupScorer dropped(prompts, rewards, 2);
  dropped.add(0, std::span(rollouts).subspan(0, 1));
  EXPECT_THROW(dropped.add(1, std::span(rollouts).subspan(0, 1)), std::invalid_argument);
}

TEST(Score, WorkersExceptionReachesTheCallerWithPromptAndReward) {
  const auto prompts = make_prompts(20);
  const RewardFn fails = [](const Prompt& prompt, std::span<const Rollout> rollouts) {
    if (prompt.id >= 107) throw std::runtime_error("column 'x' is bad");
    return always_one(prompt, rollouts);
  };
  for (const int threads : {1, 4}) {
    try {
      score(prompts, make_rollouts(prompts, 2), {{"bad", 1.0, fails}}, threads);
      ADD_FAILURE();
    } catch (const std::runtime_error& e) {
      EXPECT_STREQ(e.what(), "prompt 107, reward 'bad': column 'x' is bad") << "the first one, whatever the threads";
    }
  }
}

TEST(Score, ARowAsksForRewardsByTheirNames) {
  auto prompts = make_prompts(2);
  prompts[1].columns = R"({"reward_funcs": ["one"]})";
  const std::vector<NamedReward> rewards{{"place", 1.0, by_place}, {"one", 1.0, always_one}};
  const auto groups = score(prompts, make_rollouts(prompts, 1), rewards);
  EXPECT_DOUBLE_EQ(*groups[0].rewards[0].total, 1.1);
  EXPECT_DOUBLE_EQ(*groups[1].rewards[0].total, 1.0);
  EXPECT_FALSE(groups[1].rewards[0].parts[0].score.value.has_value());
  prompts[1].columns = R"({"reward_funcs": ["another"]})";
  try {
    score(prompts, make_rollouts(prompts, 1), rewards);
    ADD_FAILURE() << "a row that asks for nothing";
  } catch (const std::runtime_error& e) {
    EXPECT_STREQ(e.what(), "prompt 101: its column reward_funcs names none of the rewards that are asked: place, one");
  }
}

TEST(Score, ARewardOfManyGroupsIsAskedAboutThoseThatWantIt) {
  auto prompts = make_prompts(4);
  prompts[0].columns = R"({"reward_funcs": ["one"]})";
  prompts[2].columns = R"({"reward_funcs": ["one"]})";
  std::vector<int64_t> seen;
  const auto together = [&](std::span<const Group> groups) {
    std::vector<std::vector<Score>> scores;
    for (const Group& group : groups) {
      seen.push_back(group.prompt.id);
      scores.push_back(by_place(group.prompt, group.rollouts));
    }
    return scores;
  };
  const std::vector<NamedReward> rewards{{"one", 1.0, always_one}, {"together", 1.0, {}, together}};
  const auto groups = score(prompts, make_rollouts(prompts, 2), rewards);
  EXPECT_EQ(seen, (std::vector<int64_t>{101, 103}));
  EXPECT_EQ(groups[2].rewards[1].parts[1].score.verdict, Verdict::kNotApplicable);
  EXPECT_DOUBLE_EQ(*groups[2].rewards[1].total, 1.0);
  EXPECT_DOUBLE_EQ(*groups[3].rewards[1].total, 1.104);
  EXPECT_EQ(groups[3].rollouts.size(), 2u) << "what was lent is back";
}

TEST(Score, ARewardThatForgetsACompletionIsAnError) {
  const auto prompts = make_prompts(1);
  const RewardFn forgets = [](const Prompt&, std::span<const Rollout>) { return std::vector<Score>(1); };
  EXPECT_THROW(score(prompts, make_rollouts(prompts, 2), {{"f", 1.0, forgets}}), std::logic_error);
}

TEST(ForEachIndex, WorksOnEveryIndexOnce) {
  for (const int threads : {1, 3, 8}) {
    std::vector<std::atomic<int>> counts(1000);
    for_each_index(counts.size(), threads, [&](size_t i) { ++counts[i]; });
    for (const auto& count : counts) EXPECT_EQ(count, 1);
  }
  for_each_index(0, 4, [](size_t) { FAIL(); });
}

TEST(Verdicts, HaveTheirNames) {
  EXPECT_STREQ(to_string(Verdict::kCorrect), "correct");
  EXPECT_STREQ(to_string(Verdict::kWrong), "wrong");
  EXPECT_STREQ(to_string(Verdict::kNotApplicable), "not_applicable");
  EXPECT_STREQ(to_string(Verdict::kUndecided), "undecided");
}

}  // namespace
}  // namespace hone
