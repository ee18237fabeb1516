#include "rl/schedule.h"

#include <gtest/gtest.h>

namespace hone {
namespace {

OptimConfig config_of(const std::string& type) {
  OptimConfig config;
  config.lr_scheduler_type = type;
  config.warmup_steps = 4;
  config.max_steps = 25;
  config.lr_min_ratio = 0.1;
  config.lr_decay_start = 0.5;
  return config;
}

TEST(Schedule, WarmUpBeginsAboveZeroAndEndsAtOne) {
  for (const char* type : {"constant", "linear", "cosine", "warmup_stable_decay"}) {
    const auto config = config_of(type);
    EXPECT_DOUBLE_EQ(learning_rate_factor(config, 0), 0.25) << type;
    EXPECT_DOUBLE_EQ(learning_rate_factor(config, 3), 1.0) << type;
    EXPECT_DOUBLE_EQ(learning_rate_factor(config, 4), 1.0) << type;
  }
}

TEST(Schedule, NoWarmUpStartsAtThePeak) {
  OptimConfig config;
  EXPECT_EQ(learning_rate_factor(config, 0), 1.0);
}

TEST(Schedule, EndsAtTheMinimumAndStaysThere) {
  for (const char* type : {"linear", "cosine", "warmup_stable_decay"}) {
    EXPECT_NEAR(learning_rate_factor(config_of(type), 24), 0.1, 1e-12) << type;
    EXPECT_NEAR(learning_rate_factor(config_of(type), 1000), 0.1, 1e-12) << type;
  }
  EXPECT_EQ(learning_rate_factor(config_of("constant"), 1000), 1.0);
}

TEST(Schedule, HalfWay) {
  EXPECT_NEAR(learning_rate_factor(config_of("linear"), 14), 0.55, 1e-12);
  EXPECT_NEAR(learning_rate_factor(config_of("cosine"), 14), 0.55, 1e-12);
  EXPECT_NEAR(learning_rate_factor(config_of("linear"), 9), 0.775, 1e-12);
  EXPECT_GT(learning_rate_factor(config_of("cosine"), 9), 0.85);  // a cosine falls late
}

TEST(Schedule, StableThenDecay) {
  EXPECT_EQ(learning_rate_factor(config_of("warmup_stable_decay"), 12), 1.0);
  EXPECT_LT(learning_rate_factor(config_of("warmup_stable_decay"), 13), 1.0);
}

TEST(Schedule, ShorterThanItsWarmUpNeverLeavesIt) {
  auto config = config_of("linear");
  config.max_steps = 2;
  EXPECT_DOUBLE_EQ(learning_rate_factor(config, 1), 0.5);
}

}  // namespace
}  // namespace hone
