#include "rewards/lengths.h"

#include <stdexcept>
#include <string>

#include <gtest/gtest.h>

#include "rewards/rewards.h"

namespace hone {
namespace {

Rollout rollout_of(const std::string& text, size_t tokens = 0) {
  Rollout rollout;
  rollout.text = text;
  rollout.token_ids.resize(tokens);
  return rollout;
}

/// Correct when the text begins with "y", not applicable with "n/a".
std::vector<Score> begins_with_y(const Prompt&, std::span<const Rollout> rollouts) {
  std::vector<Score> scores;
  for (const auto& r : rollouts) {
    scores.push_back(r.text.starts_with("n/a") ? Score::not_applicable("none")
                     : r.text.starts_with("y") ? Score::correct("yes")
                                               : Score::wrong("no"));
  }
  return scores;
}

double overlong(size_t tokens) {
  const auto r = rollout_of("", tokens);
  return *soft_overlong_punishment({.max_completion_len = 100, .soft_punish_cache = 20})({}, {&r, 1}).at(0).value;
}

TEST(SoftOverlongPunishment, FallsLinearlyInTheCache) {
  EXPECT_EQ(overlong(1), 0.0);
  EXPECT_EQ(overlong(80), 0.0);
  EXPECT_DOUBLE_EQ(overlong(85), -0.25);
  EXPECT_DOUBLE_EQ(overlong(90), -0.5);
  EXPECT_EQ(overlong(100), -1.0);
  EXPECT_EQ(overlong(101), -1.0);
  EXPECT_EQ(overlong(100000), -1.0);
}

TEST(SoftOverlongPunishment, NeedsTokenIdsAndASoundLimit) {
  const auto none = rollout_of("text without ids");
  EXPECT_EQ(soft_overlong_punishment({})({}, {&none, 1}).at(0).verdict, Verdict::kNotApplicable);
  EXPECT_THROW(make_reward("soft_overlong_punishment:max_completion_len=10,soft_punish_cache=11"),
               std::invalid_argument);
}

double cosine(const std::string& text, const CosineOptions& options = {}) {
  const auto r = rollout_of(text);
  return *cosine_reward(options, begins_with_y)({}, {&r, 1}).at(0).value;
}

// The values are open-r1's formula by hand: 1000 characters, wrong -1 .. -0.5, correct 0.5 .. 1.
TEST(Cosine, ShortCorrectEarnsMostAndLongWrongLosesLeast) {
  EXPECT_NEAR(cosine("y"), 1.0, 1e-5);
  EXPECT_NEAR(cosine("y" + std::string(499, 'a')), 0.75, 1e-12);
  EXPECT_NEAR(cosine("y" + std::string(999, 'a')), 0.5, 1e-12);
  EXPECT_NEAR(cosine("y" + std::string(5000, 'a')), 0.5, 1e-12) << "no way back beyond max_len";
  EXPECT_NEAR(cosine(""), -1.0, 1e-12);
  EXPECT_NEAR(cosine(std::string(500, 'a')), -0.75, 1e-12);
  EXPECT_NEAR(cosine(std::string(1000, 'a')), -0.5, 1e-12);
  std::string wide;
  for (int i = 0; i < 500; ++i) wide += "\u00e9";
  EXPECT_NEAR(cosine(wide), -0.75, 1e-12) << "characters, not bytes";
}

TEST(Cosine, KeepsNotApplicable) {
  const auto r = rollout_of("n/a");
  EXPECT_FALSE(cosine_reward({}, begins_with_y)({}, {&r, 1}).at(0).value);
}

TEST(Length, ComparesWithinTheGroup) {
  const std::vector<Rollout> group{rollout_of("y"), rollout_of("yaa"),   rollout_of("yaaaa"),
                                   rollout_of("a"), rollout_of("aaaaa"), rollout_of("n/a, and the longest of all")};
  const auto scores = length_reward(begins_with_y)({}, group);
  const double expected[]{0.5, 0.0, -0.5, 0.0, -0.5};
  for (size_t i = 0; i < 5; ++i) EXPECT_DOUBLE_EQ(*scores[i].value, expected[i]) << i;
  EXPECT_EQ(scores[3].verdict, Verdict::kWrong);
  EXPECT_FALSE(scores[5].value) << "left out, and not the longest";
}

TEST(Length, IsZeroWhereAllAreEquallyLong) {
  const std::vector<Rollout> group{rollout_of("ya"), rollout_of("aa")};
  for (const auto& score : length_reward(begins_with_y)({}, group)) EXPECT_EQ(score.value, 0.0);
}

}  // namespace
}  // namespace hone
