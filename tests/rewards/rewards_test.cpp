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
  EXPECT_THAT(reward_names(), IsSupersetOf({"accuracy", "accuracy_reward", "boxed", "choice", "cosine", "countdown",
                                            "exact", "format", "language_consistency", "length", "math",
                                            "repetition_penalty", "soft_overlong_punishment", "think_format_reward"}));
  EXPECT_TRUE(std::ranges::is_sorted(reward_names()));
  for (const auto& name : reward_names()) EXPECT_TRUE(make_reward(name)) << name;
}

TEST(Rewards, UnknownNameListsThemAndGuesses) {
  EXPECT_THAT(error_of("cuntdown"),
              AllOf(HasSubstr("did you mean 'countdown'?"), HasSubstr("choice, code, cosine, countdown, exact")));
  EXPECT_THAT(error_of("fromat"), HasSubstr("did you mean 'format'?"));
  EXPECT_THAT(error_of("zzzzzzzz"), AllOf(Not(HasSubstr("did you mean")), HasSubstr("there are: accuracy")));
  EXPECT_THAT(error_of(""), HasSubstr("unknown reward ''"));
}

TEST(Rewards, OptionsStandBehindTheName) {
  const auto value = [](const std::string& name, const std::string& text) {
    Rollout rollout;
    rollout.text = text;
    return *make_reward(name)({}, {&rollout, 1}).at(0).value;
  };
  EXPECT_DOUBLE_EQ(value("repetition_penalty:ngram_size=2", "a b a b"), -1.0 / 3);
  EXPECT_DOUBLE_EQ(value("repetition_penalty:max_penalty=-3,ngram_size=2", "a b a b"), -1.0);
  EXPECT_EQ(value("language_consistency:language=zh", "\u90a3\u4e48"), 1.0);
  EXPECT_EQ(make_rewards({"cosine:max_len=7"})[0].name, "cosine");
  EXPECT_THROW(make_rewards({"cosine:max_len=7", "cosine:max_len=8"}), std::invalid_argument);
}

TEST(Rewards, BadOptionsAreRefused) {
  EXPECT_THAT(error_of("cosine:maxlen=7"), HasSubstr("no option 'maxlen'; did you mean 'max_len'?"));
  EXPECT_THAT(error_of("cosine:max_len=seven"), HasSubstr("option max_len is 'seven'; it must be an integer from 1"));
  EXPECT_THAT(error_of("cosine:max_len=0"), HasSubstr("it must be an integer from 1"));
  EXPECT_THAT(error_of("cosine:min_value_wrong=nan"), HasSubstr("must be a number"));
  EXPECT_THAT(error_of("cosine:max_len=7,max_len=8"), HasSubstr("twice"));
  EXPECT_THAT(error_of("cosine:"), HasSubstr("is no option"));
  EXPECT_THAT(error_of("cosine:max_len"), HasSubstr("is no option"));
  EXPECT_THAT(error_of("format:strict=true"), HasSubstr("'format' has no options"));
  EXPECT_THAT(error_of("math:require_box=maybe"), HasSubstr("it must be true or false"));
  EXPECT_THAT(error_of("language_consistency:language=de"), HasSubstr("one of en, ru, zh"));
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
