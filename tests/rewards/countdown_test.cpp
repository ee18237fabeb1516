#include "rewards/countdown.h"

#include <chrono>
#include <stdexcept>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hone {
namespace {

using testing::HasSubstr;

const CountdownProblem kProblem{{7, 3, 12}, 33};

std::string with_answer(const std::string& answer) { return "<think>7+3=10</think><answer>" + answer + "</answer>"; }

Score score_answer(const std::string& answer, const CountdownProblem& problem = kProblem) {
  return score_countdown(problem, with_answer(answer), FinishReason::kEos);
}

struct Case {
  std::string answer;
  const char* reason;  ///< what the sentence must hold
};

TEST(Countdown, CorrectAnswers) {
  for (const char* answer : {"7*3+12", "12+7*3", "(7*3)+12", "12+(3*7)", "((7*3)+12)", "((((7))*3)+(12))"}) {
    const auto score = score_answer(answer);
    EXPECT_EQ(score.verdict, Verdict::kCorrect) << answer << ": " << score.reason;
    EXPECT_EQ(score.value, 1.0);
  }
  EXPECT_EQ(score_answer("7*3+12").reason, "7*3+12 is 33");
}

TEST(Countdown, WrongAnswersAndHacks) {
  const Case cases[]{
      {"33", "uses 33, which is not among 7 3 12"},
      {"5+3", "5+3 uses 5, which is not among 7 3 12"},
      {"7+3+12", "7+3+12 is 22, not 33"},
      {"7*3", "does not use 12"},
      {"7", "does not use 3 12"},
      {"7*3+12+0", "uses 0"},
      {"7*3+12*1", "uses 1"},
      {"7*3+12+7-7", "uses 7 more often than it is given in 7 3 12"},
      {"7*3+12+12-12", "uses 12 more often"},
      {"(7*3)+(12/12)*12", "more often"},
      {"21+12", "uses 21"},
      {"73+12", "uses 73"},
      {"7*3+12=33", "has '=' at character 7"},
      {"7*3+12 ", "has ' ' at character 7"},
      {"7 * 3+12", "has ' ' at character 2"},
      {"7**3+12", "has '*' at character 3"},
      {"12//3*7", "has '/' at character 4"},
      {"-7*3+12", "has '-' at character 1"},
      {"7*3--12", "has '-' at character 5"},
      {"(-7)*3+12", "has '-' at character 2"},
      {"+7*3+12", "has '+' at character 1"},
      {"07*3+12", "leading zero"},
      {"7*3+012", "leading zero"},
      {"7*3+12.0", "has '.'"},
      {"7*3+1.2e1", "has '.'"},
      {"7(3)+12", "has '(' at character 2"},
      {"(7)(3)+12", "has '('"},
      {"7*3+12)", "never opened"},
      {"(7*3+12", "not closed"},
      {")7*3+12(", "has ')' at character 1"},
      {"()7*3+12", "has ')' at character 2"},
      {"7*3+", "ends where a number is expected"},
      {"(", "ends where a number is expected"},
      {"x", "has 'x'"},
      {"7*3+12;33", "has ';'"},
      {"7*3+12,7*3+12", "has ','"},
      {"7*3+12\n", "has ' ' at character 7"},
      {"7×3+12", "has '?' at character 2"},
      {"７*3+12", "has '?' at character 1"},
      {"7%3+12", "has '%'"},
      {"7^3+12", "has '^'"},
      {"int('33')", "has 'i'"},
      {"7*3+99999999999999999999999999999999", "which is not among"},
      {"3/(7-7)", "more often"},
  };
  for (const auto& c : cases) {
    const auto score = score_answer(c.answer);
    EXPECT_EQ(score.verdict, Verdict::kWrong) << c.answer;
    EXPECT_EQ(score.value, 0.0) << c.answer;
    EXPECT_THAT(score.reason, HasSubstr(c.reason)) << c.answer;
  }
}

TEST(Countdown, WantsFormatEndTokenAndOneLineOfThoughts) {
  const std::string good = with_answer("7*3+12");
  const std::string bad[]{"7*3+12",
                          "<answer>7*3+12</answer>",
                          good + " ",
                          " " + good,
                          good + good,
                          "<think>a\nb</think><answer>7*3+12</answer>",
                          "<think>a</think><answer>33</answer><answer>7*3+12</answer>",
                          "<think>a</think><answer></answer>",
                          "<think><answer>7*3+12</answer></think>"};
  for (const auto& text : bad) EXPECT_EQ(score_countdown(kProblem, text, FinishReason::kEos).value, 0.0) << text;
  EXPECT_EQ(score_countdown(kProblem, good, FinishReason::kLength).value, 0.0);
  EXPECT_EQ(score_countdown(kProblem, good, FinishReason::kStop).value, 0.0);
  EXPECT_EQ(score_countdown(kProblem, good, FinishReason::kEos).value, 1.0);  // control
  EXPECT_EQ(score_countdown(kProblem, "<think>3<7</think><answer>7*3+12</answer>", FinishReason::kEos).value, 1.0);
}

TEST(Countdown, ThoughtsAreNotChecked) {
  EXPECT_EQ(score_countdown(kProblem, "<think>1+1=3 yes</think><answer>7*3+12</answer>", FinishReason::kEos).value,
            1.0);
}

TEST(Countdown, PrecedenceAndAssociativity) {
  const struct {
    std::vector<int64_t> numbers;
    const char* answer;
    int64_t target;
  } cases[]{
      {{10, 4, 3}, "10-4-3", 3},
      {{10, 4, 3}, "10-(4-3)", 9},
      {{12, 6, 2}, "12/6/2", 1},
      {{12, 6, 2}, "12/(6/2)", 4},
      {{2, 3, 4}, "2+3*4", 14},
      {{2, 3, 4}, "(2+3)*4", 20},
      {{8, 2, 3}, "8/2*3", 12},
      {{3, 5, 9}, "3-5-9", -11},
      {{8, 3, 8, 3}, "8/(3-8/3)", 24},
      {{1, 3, 3}, "1/3*3", 1},
      {{1, 5, 5, 5}, "(5-1/5)*5", 24},
      {{0, 4}, "4*0", 0},
      {{5}, "5", 5},
      {{1, 2, 3, 6}, "1/2+1/3", 0},
  };
  for (const auto& c : cases) {
    const bool whole = std::string(c.answer) != "1/2+1/3";  // the last one is the control
    EXPECT_EQ(score_answer(c.answer, {c.numbers, c.target}).value, whole ? 1.0 : 0.0) << c.answer;
  }
}

TEST(Countdown, FractionsAreExact) {
  EXPECT_EQ(score_answer("7/2", {{7, 2}, 3}).reason, "7/2 is 7/2, not 3");
  EXPECT_EQ(score_answer("3/2-7", {{7, 2, 3}, 1}).reason, "3/2-7 is -11/2, not 1");
  // in double precision this is 1000000000000000000 exactly
  const CountdownProblem large{{999999999999999999, 1, 3}, 1000000000000000000};
  EXPECT_EQ(score_answer("999999999999999999+1/3", large).verdict, Verdict::kWrong);
}

TEST(Countdown, DivisionByZeroIsWrong) {
  EXPECT_EQ(score_answer("5/(3-3)", {{5, 3, 3}, 5}).reason, "5/(3-3) divides by zero");
  EXPECT_EQ(score_answer("5/0", {{5, 0}, 0}).verdict, Verdict::kWrong);
  EXPECT_EQ(score_answer("0/5", {{5, 0}, 0}).verdict, Verdict::kCorrect);
}

TEST(Countdown, BeyondItsArithmeticIsUndecidedNotWrong) {
  const int64_t big = 999999999999999989;
  const auto text = std::to_string(big);
  const auto score = score_answer(text + "*" + text + "*" + text, {{big, big, big}, 1});
  EXPECT_EQ(score.verdict, Verdict::kUndecided);
  EXPECT_FALSE(score.value.has_value());
  EXPECT_EQ(score_answer(text + "*" + text + "/" + text, {{big, big, big}, big}).value, 1.0) << "this fits";
  EXPECT_EQ(
      score_answer(text + "*(" + text + "*" + text + "/" + text + ")/" + text, {{big, big, big, big, big}, big}).value,
      1.0)
      << "so does this";
}

TEST(Countdown, MillionParenthesesNeitherCrashNorCrawl) {
  const auto start = std::chrono::steady_clock::now();
  const std::string open(1000000, '('), close(1000000, ')');
  EXPECT_EQ(score_answer(open + "7*3+12" + close).value, 1.0);
  EXPECT_EQ(score_answer(open).value, 0.0);
  EXPECT_EQ(score_answer(open + "7" + close + close).value, 0.0);
  std::string sum = "7*3+12";
  for (int i = 0; i < 300000; ++i) sum += "+7";
  EXPECT_EQ(score_answer(sum).value, 0.0);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

TEST(Countdown, ReadsColumns) {
  Prompt prompt;
  Rollout rollout;
  rollout.text = with_answer("7*3+12");
  rollout.finish_reason = FinishReason::kEos;
  const auto verdict = [&](const char* columns) {
    prompt.columns = columns;
    return countdown_reward()(prompt, {&rollout, 1}).at(0).verdict;
  };
  EXPECT_EQ(verdict(R"({"numbers":[7,3,12],"target":33})"), Verdict::kCorrect);
  EXPECT_EQ(verdict(R"({"numbers":[7,3,12],"target":34})"), Verdict::kWrong);
  EXPECT_EQ(verdict(R"({"numbers":[7,3,12]})"), Verdict::kNotApplicable);
  EXPECT_EQ(verdict(R"({"target":33})"), Verdict::kNotApplicable);
  EXPECT_EQ(verdict(R"({"numbers":null,"target":33})"), Verdict::kNotApplicable);
  EXPECT_EQ(verdict("{}"), Verdict::kNotApplicable);
}

TEST(Countdown, MistypedColumnsNameTheColumn) {
  const struct {
    const char *columns, *column;
  } cases[]{
      {R"({"numbers":"7 3 12","target":33})", "'numbers'"},
      {R"({"numbers":[7,"3"],"target":33})", "'numbers'"},
      {R"({"numbers":[7,3.5],"target":33})", "'numbers'"},
      {R"({"numbers":[7,-3],"target":33})", "'numbers'"},
      {R"({"numbers":[],"target":33})", "'numbers'"},
      {R"({"numbers":[7,3],"target":"33"})", "'target'"},
      {R"({"numbers":[7,3],"target":33.0})", "'target'"},
      {R"({"numbers":[7,18446744073709551615],"target":3})", "'numbers'"},
      {R"({"numbers":{"a":1},"target":3})", "'numbers'"},
      {R"({"numbers":[7,[3]],"target":3})", "'numbers'"},
  };
  for (const auto& c : cases) {
    try {
      read_countdown(c.columns);
      ADD_FAILURE() << c.columns;
    } catch (const std::runtime_error& e) {
      EXPECT_THAT(e.what(), HasSubstr(c.column));
    }
  }
}

}  // namespace
}  // namespace hone
