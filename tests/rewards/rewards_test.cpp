#include "rewards/rewards.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hone {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsSupersetOf;
using testing::Not;

std::string error_of(const std::string& name) {
  try {
    make_reward(name);
  } catch (const std::invalid_argument& e) {
    return e.what();
  }
  return "no error";
}

TEST(Rewards, EveryNameMakesAReward) {
  EXPECT_THAT(reward_names(), IsSupersetOf({"choice", "countdown", "exact", "format"}));
  EXPECT_TRUE(std::ranges::is_sorted(reward_names()));
  for (const auto& name : reward_names()) EXPECT_TRUE(make_reward(name)) << name;
}

TEST(Rewards, UnknownNameListsThemAndGuesses) {
  EXPECT_THAT(error_of("cuntdown"),
              AllOf(HasSubstr("did you mean 'countdown'?"), HasSubstr("choice, countdown, exact")));
  EXPECT_THAT(error_of("fromat"), HasSubstr("did you mean 'format'?"));
  EXPECT_THAT(error_of("zzzzzzzz"), AllOf(Not(HasSubstr("did you mean")), HasSubstr("there are: choice")));
  EXPECT_THAT(error_of(""), HasSubstr("unknown reward ''"));
}

TEST(Rewards, WeightsDefaultToOneAndMustMatch) {
  const auto plain = make_rewards({"countdown", "format"});
  EXPECT_EQ(plain[0].weight, 1.0);
  EXPECT_EQ(plain[1].name, "format");
  EXPECT_EQ(make_rewards({"countdown", "format"}, {1.0, 0.1})[1].weight, 0.1);
  EXPECT_THROW(make_rewards({"countdown", "format"}, {1.0}), std::invalid_argument);
  EXPECT_THROW(make_rewards({"format", "format"}), std::invalid_argument);
  EXPECT_THROW(make_rewards({"format"}, {std::nan("")}), std::invalid_argument);
  EXPECT_THROW(make_rewards({"format"}, {std::numeric_limits<double>::infinity()}), std::invalid_argument);
}

}  // namespace
}  // namespace hone
