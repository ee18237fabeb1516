#include "rewards/repetition.h"

#include <string>

#include <gtest/gtest.h>

namespace hone {
namespace {

double penalty(const std::string& text, int64_t n = 3, double max_penalty = -1) {
  Rollout rollout;
  rollout.text = text;
  return *repetition_penalty({.ngram_size = n, .max_penalty = max_penalty})({}, {&rollout, 1}).at(0).value;
}

TEST(RepetitionPenalty, CountsDistinctRunsOfWords) {
  EXPECT_DOUBLE_EQ(penalty("a b a b", 2), -1.0 / 3);
  EXPECT_DOUBLE_EQ(penalty("a a a a a", 2), -0.75);
  EXPECT_DOUBLE_EQ(penalty("A a\nA  a a", 2), -0.75) << "case and white space do not count";
  EXPECT_DOUBLE_EQ(penalty("a b c d", 2, -5), 0.0);
  EXPECT_DOUBLE_EQ(penalty("a a a a a", 2, -2), -1.5);
  EXPECT_DOUBLE_EQ(penalty("one two one three", 1), -0.25);
}

TEST(RepetitionPenalty, ShortTextsAreNotPunished) {
  EXPECT_EQ(penalty(""), 0.0);
  EXPECT_EQ(penalty("a a"), 0.0);
  EXPECT_EQ(penalty("a a a"), 0.0) << "one run of three";
}

TEST(RepetitionPenalty, LongTextsOfOneWordAreQuick) {
  std::string text;
  for (int i = 0; i < 50000; ++i) text += "a ";
  EXPECT_NEAR(penalty(text, 40), -1.0, 1e-3);
}

}  // namespace
}  // namespace hone
