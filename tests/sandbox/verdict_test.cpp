#include "sandbox/verdict.h"

#include <csignal>

#include <gtest/gtest.h>

namespace hone::sandbox {
namespace {

Outcome ended_with(int wait_status) {
  Outcome outcome;
  outcome.ended.finished = outcome.ended.confined = 1;
  outcome.ended.wait_status = wait_status;
  return outcome;
}
Outcome exited(int code) { return ended_with(code << 8); }

Verdict script(Outcome outcome, const Job& job = {}) { return judge_script(job, std::move(outcome)).result.verdict; }
Verdict function(Outcome answer, Outcome checker) {
  return judge_function({}, std::move(answer), std::move(checker)).result.verdict;
}

TEST(SameOutput, IgnoresWhiteSpaceAtLineEndsAndEmptyLinesAtTheEndOnly) {
  EXPECT_TRUE(same_output("1 2 \n3\n\n", "1 2\n3"));
  EXPECT_TRUE(same_output("1\r\n2\r\n", "1\n2\n"));
  EXPECT_TRUE(same_output("", "\n"));
  EXPECT_FALSE(same_output("1", "1\n2"));  // a right first line is not a right answer
  EXPECT_FALSE(same_output("1\n2", "1"));
  EXPECT_FALSE(same_output("1  2", "1 2"));
  EXPECT_FALSE(same_output(" 1", "1"));
  EXPECT_FALSE(same_output("1\n\n2", "1\n2"));
}

TEST(JudgeScript, TellsStatusesSignalsAndLimitsApart) {
  EXPECT_EQ(script(exited(0)), Verdict::kOK);
  EXPECT_EQ(script(exited(137)), Verdict::kRE);  // looks like a kill, is none
  EXPECT_EQ(script(exited(124)), Verdict::kRE);
  EXPECT_EQ(script(ended_with(SIGSEGV)), Verdict::kRE);
  EXPECT_EQ(script(ended_with(SIGSYS)), Verdict::kSV);
  EXPECT_EQ(script(ended_with(SIGXCPU)), Verdict::kTLE);
  Outcome cut = ended_with(SIGKILL);
  cut.ended.cut = Cut::kCpu;
  EXPECT_EQ(script(cut), Verdict::kTLE);
  cut.ended.cut = Cut::kMemory;
  EXPECT_EQ(script(cut), Verdict::kMLE);
  cut = exited(0);
  cut.stopped = true;
  cut.cause = Outcome::Cause::kOutput;
  EXPECT_EQ(script(cut), Verdict::kOLE);
}

TEST(JudgeScript, OutputDecidesOnlyWhenTheStatusIsZero) {
  Job job;
  job.expected_stdout = "42";
  Outcome right = exited(0);
  right.stdout_text = "42\n";
  EXPECT_EQ(script(right, job), Verdict::kOK);
  right.stdout_text = "43\n";
  EXPECT_EQ(script(right, job), Verdict::kWA);
  Outcome failed = exited(1);
  failed.stdout_text = "42\n";
  EXPECT_EQ(script(failed, job), Verdict::kRE);
}

TEST(JudgeScript, FaultsOfTheSandboxAreNeverAVerdictOfTheProgram) {
  Outcome lost = exited(0);
  lost.lost = true;
  EXPECT_TRUE(judge_script({}, lost).retry);
  EXPECT_EQ(script(lost), Verdict::kIE);
  Outcome unconfined = exited(0);
  unconfined.ended.confined = 0;
  EXPECT_EQ(script(unconfined), Verdict::kIE);
  Outcome init_killed;
  EXPECT_EQ(script(init_killed), Verdict::kIE);
  Outcome cancelled;
  cancelled.stopped = true;
  cancelled.cause = Outcome::Cause::kCancelled;
  EXPECT_EQ(script(cancelled), Verdict::kIE);
  EXPECT_FALSE(judge_script({}, cancelled).retry);
}

TEST(JudgeFunction, PassesOnlyByTheCheckersOwnStatus) {
  EXPECT_EQ(function(exited(0), exited(0)), Verdict::kOK);
  Outcome waiting;
  waiting.stopped = true;
  EXPECT_EQ(function(waiting, exited(0)), Verdict::kOK);    // the answer was still there when we ended it
  EXPECT_EQ(function(Outcome{}, exited(3)), Verdict::kIE);  // somebody else ended it
  EXPECT_EQ(function(exited(0), exited(1)), Verdict::kWA);
  EXPECT_EQ(function(exited(0), exited(2)), Verdict::kRE);
  EXPECT_EQ(function(exited(0), exited(3)), Verdict::kRE);  // gone before its tests ended
  EXPECT_EQ(function(exited(0), ended_with(SIGSEGV)), Verdict::kRE);
  EXPECT_EQ(function(exited(0), exited(77)), Verdict::kRE);
  EXPECT_EQ(function(exited(0), exited(4)), Verdict::kIE);  // the tests themselves do not compile
}

TEST(JudgeFunction, WhatBecameOfTheAnswerSaysMoreThanThatItIsGone) {
  EXPECT_EQ(function(ended_with(SIGSYS), exited(3)), Verdict::kSV);
  Outcome hung;
  hung.stopped = true;
  hung.cause = Outcome::Cause::kWall;
  Outcome checker;
  checker.stopped = true;
  checker.cause = Outcome::Cause::kWall;
  EXPECT_EQ(function(hung, checker), Verdict::kTLE);
  Outcome flood = exited(0);
  flood.cause = Outcome::Cause::kOutput;
  EXPECT_EQ(function(flood, exited(0)), Verdict::kOLE);
}

}  // namespace
}  // namespace hone::sandbox
