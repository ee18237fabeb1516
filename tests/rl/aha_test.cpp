// The moments counted by SQL and a loop against those that were put there.
#include "rl/aha.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/rl/groups.h"

namespace hone {
namespace {

using testing::make_group;
using testing::TemporaryDir;

// Answers of the groups of groups.h are their sample numbers; rewards of 1 are correct.
StepRecord record(const std::string& stage, int64_t step, const std::vector<std::optional<double>>& rewards) {
  return {.stage = stage,
          .step = step,
          .groups = {make_group(step, rewards)},
          .advantages = {std::vector<double>(rewards.size(), 0.0)},
          .metrics = {}};
}

TEST(AhaMoments, AreCorrectRolloutsOfTheStageThatTheTaskNames) {
  TemporaryDir dir;
  {
    const auto store = RunStore::open(dir.path());
    store->write(record("rl", 1, {0.0, 1.0, std::nullopt}));
    store->write(record("rl", 2, {1.0, 1.0, 1.0}));
    store->write(record("other", 1, {1.0, 1.0, 1.0}));
  }
  const RunReader run(dir.path());
  const auto odd_or_two = [](const Prompt& prompt, const std::string& text) {
    EXPECT_EQ(prompt.columns, R"({"target":7})");
    EXPECT_EQ(prompt.text, "1 2 3:" + std::to_string(prompt.id) + "\n");
    return text.ends_with(">1</answer>") || text.ends_with(">2</answer>");
  };
  const AhaMoments moments = aha_moments(run, "rl", "countdown", odd_or_two, 2);
  ASSERT_EQ(moments.steps.size(), 2);
  EXPECT_EQ(moments.steps[0].rollouts, 3);
  EXPECT_EQ(moments.steps[0].ahas, 1) << "the third could not be scored";
  EXPECT_EQ(moments.steps[1].ahas, 2);
  ASSERT_EQ(moments.first.size(), 2) << "the limit";
  EXPECT_EQ(moments.first[0].step, 1);
  EXPECT_THAT(moments.first[0].completion, ::testing::EndsWith(">1</answer>"));
  EXPECT_EQ(moments.first[1].step, 2);
  const auto none = aha_moments(run, "rl", "format", odd_or_two, 2);
  EXPECT_EQ(none.steps.size(), 2);
  EXPECT_TRUE(none.first.empty()) << "another reward decided";
}

}  // namespace
}  // namespace hone
