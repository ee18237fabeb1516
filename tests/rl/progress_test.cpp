#include "rl/progress.h"

#include <algorithm>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hone {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

const std::map<std::string, double> kMetrics{
    {"reward", 0.5312}, {"rewards/countdown/mean", 0.48}, {"completions/mean_length", 104.4}, {"loss", 3}};

int64_t newlines(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

TEST(Progress, APlainLineAStepElsewhere) {
  std::ostringstream out;
  {
    Progress progress(out, {});
    progress.set_accuracy("countdown");
    progress.begin("rl", 0, 40);
    progress.step(12, kMetrics);
    progress.step(13, kMetrics);
    progress.message("saved");
  }
  EXPECT_THAT(out.str(), StartsWith("rl  12/40  reward 0.531  acc 0.480  len 104  eta "));
  EXPECT_EQ(newlines(out.str()), 3);
  EXPECT_THAT(out.str(), Not(HasSubstr("\x1b")));
  EXPECT_THAT(out.str(), Not(HasSubstr("\r")));
  EXPECT_THAT(out.str(), Not(HasSubstr("loss"))) << "the loss is shown where there is no reward";
}

TEST(Progress, ATerminalsLineIsRedrawnAndEndedOnce) {
  std::ostringstream out;
  {
    Progress progress(out, {.terminal = true});
    progress.begin("sft", 0, 4);
    progress.step(1, {{"loss", 2.5}});
    progress.step(4, {{"loss", 1.25}});
    progress.end();
  }
  EXPECT_EQ(newlines(out.str()), 1);
  EXPECT_THAT(out.str(), HasSubstr("\r\x1b[2Ksft  ━━━━━───────────────  1/4  loss 2.5000"));
  EXPECT_THAT(out.str(), HasSubstr("━━━━━━━━━━━━━━━━━━━━  4/4"));
  EXPECT_THAT(out.str(), Not(HasSubstr("\x1b[32m"))) << "no colour unless asked for";
}

TEST(Progress, AMessageStandsAboveTheLine) {
  std::ostringstream out;
  Progress progress(out, {.terminal = true});
  progress.begin("rl", 0, 4);
  out.str("");
  progress.message("gate met");
  EXPECT_THAT(out.str(), StartsWith("\r\x1b[2Kgate met\n\r\x1b[2Krl"));
}

TEST(Progress, NeverWrapsANarrowTerminal) {
  std::ostringstream out;
  Progress progress(out, {.terminal = true, .columns = 20});
  progress.begin("rl", 0, 4);
  out.str("");
  progress.step(1, kMetrics);
  EXPECT_EQ(out.str(), "\r\x1b[2Krl  ━━━━━──────────");
}

TEST(Progress, EtaCountsFromTheStepThatItResumedAt) {
  std::ostringstream out;
  Progress progress(out, {});
  progress.begin("rl", 30, 40);
  progress.step(30, {});
  EXPECT_THAT(out.str(), Not(HasSubstr("eta")));
  progress.step(40, {});
  EXPECT_THAT(out.str(), HasSubstr("eta 0s"));
}

TEST(Progress, Durations) {
  EXPECT_EQ(format_duration(0.4), "0s");
  EXPECT_EQ(format_duration(59.6), "1m00s");
  EXPECT_EQ(format_duration(80), "1m20s");
  EXPECT_EQ(format_duration(7500), "2h05m");
}

}  // namespace
}  // namespace hone
