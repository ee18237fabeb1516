#include "rewards/math/verify.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hone {
namespace {

using testing::HasSubstr;

Verdict verdict(const std::string& gold, const std::string& prediction, const MathConfig& config = {}) {
  return Gold(gold, config).verify(prediction).verdict;
}

MathConfig upstream() {
  MathConfig config;
  config.compare.upstream_quirks = true;
  return config;
}

MathConfig with(const TaskFlags& flags) {
  MathConfig config;
  config.flags = flags;
  return config;
}

struct Pair {
  const char *gold, *prediction;
};

TEST(MathVerify, AcceptsWhatIsRight) {
  const Pair pairs[]{
      {"$\\frac12$", "so the answer is 0.5"},
      {"1/2", "\\boxed{\\frac{1}{2}}"},
      {"\\sqrt{8}", "\\boxed{2\\sqrt2}"},
      {"\\sqrt{8}", "2\\sqrt{2}"},
      {"x=3", "$x = 3$"},
      {"3", "$x = 3$"},
      {"18", "#### 18"},
      {"18", "#### 18\nThat took 5 minutes."},
      {"1234", "#### 1,234"},
      {"18", "#### Step 2: add\nThe sum is 18"},
      {"18", "It costs $18."},
      {"$x>2$", "$(2,\\infty)$"},
      {"$\\{1,2\\}$", "\\boxed{1} and \\boxed{2}"},
      {"$1,2$", "$\\boxed{2}$ or $\\boxed{1}$"},
      {"50\\%", "\\boxed{50\\%}"},
      {"$\\text{even}$", "\\boxed{\\text{(even)}}"},
      {"7", "<think>5? 6?</think>\n<answer>7</answer>"},
      {"7", "</think>\\boxed{7}<|im_end|>\n<|im_start|>user 9"},
      {"71", "The answer is not $72$, it is $71$"},
      {"5",
       "\\boxed{4}. No, wait. I made a mistake in the second step, so the value that we really get in the end is "
       "\\boxed{5}"},
      {"4", "What is $2+2$? The answer is $4$."},
      {"7", "$3+4=7$"},
      {"7", "$7=x$"},
      {"$-3$", "The answer is \u22123."},
      {"$\\frac72$", "The answer is 3\u00bd."},
      {"$\\frac72$", "The answer is 3 1/2."},
      {"$\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}$", "$\\begin{pmatrix} 1 & 2 \\\\\n 3 & 4 \\end{pmatrix}$"},
      {"5", "\\boxed{\\textcolor{red}{5}}"},
      {"5", "\\boxed{\\underline{5}}"},
      {"$\\frac12$", "\\boxed{\\nicefrac12}"},
      {"$2\\vec{a}+\\vec{b}$", "\\boxed{\\vec b+2\\vec a}"},
  };
  for (const auto& [gold, prediction] : pairs) {
    const auto score = Gold(gold, {}).verify(prediction);
    EXPECT_EQ(score.verdict, Verdict::kCorrect) << gold << " | " << prediction << ": " << score.reason;
  }
}

TEST(MathVerify, HacksEarnNothing) {
  const Pair hacks[]{
      {"5", "\\boxed{5} or \\boxed{6}"},
      {"5", "\\boxed{6} or \\boxed{5}"},
      {"6", "$\\boxed{5}$ or maybe $\\boxed{6}$"},
      {"6", "$\\boxed{5}$ $\\boxed{6}$"},
      {"5", "\\boxed{1,2,3,4,5}"},
      {"5", "\\boxed{1, 2, 3, 4, 5, 6}"},
      {"5", "The answer is 1, 2, 3, 4 or 5."},
      {"1", "The answer is 1, 2, 3, 4 or 5."},
      {"5", "It is 4 or 5."},
      {"4", "The answer is 4 or 5."},
      {"5", "\\boxed{5 \\text{ or } 6}"},
      {"5", "$5$ or $6$"},
      {"10", "between 1 and 10"},
      {"10", "The answer is 1 to 10"},
      {"10", "The answer is 1-10"},
      {"5", "\\boxed{4 \\text{ to } 6}"},
      {"5", "\\boxed{\\pm 5}"},
      {"5", "\u00b1 5"},
      {"5", "\\boxed{x > 5}"},
      {"5", "x > 5"},
      {"5", "\\boxed{x \\ge 5}"},
      {"5", "\\boxed{x \\ne 5}"},
      {"5", "\\boxed{(0, 10)}"},
      {"5", "\\boxed{[5, 6]}"},
      {"5", "\\boxed{\\mathbb{R}}"},
      {"5", "\\boxed{x}"},
      {"5", "\\boxed{x=y}"},
      {"$\\{1,2\\}$", "\\boxed{\\{1,2,3\\}}"},
      {"$\\{1,2\\}$", "\\boxed{\\{1\\}}"},
      {"$\\{1,2\\}$", "\\boxed{1}"},
      {"4", "Solve $x+3=4+3$"},
      {"7", "\\boxed{x+3=7}"},
      {"7", "\\boxed{2x+3=7}"},
      {"$x=2$", "\\boxed{2x+3=7}"},
      {"$(2,\\infty)$", "\\boxed{2x>4}"},
      {"4", "What is $2+2$?"},
      {"5050", "Find $\\sum_{k=1}^{100} k$."},
      {"5", "<think>The answer is 5. \\boxed{5}"},
      {"5", "<think>\\boxed{5}</think>"},
      {"5", "<think>\\boxed{5}</think>I do not know."},
      {"5", "The answer is not 5."},
      {"5", "It is not $5$"},
      {"72", "The answer is not $72$, it is $71$"},
      {"5", "The answer is 5. \\boxed{}"},
      {"5", "$5$ \\boxed{ }"},
      {"5", "\\boxed{5\\%}"},
      {"5", "5%"},
      {"5", "5 percent"},
      {"5", "$5$%"},
      {"5", "<answer>6</answer><answer>5</answer>"},
      {"5", "6<|im_end|>5"},
      {"5", "\\boxed{\\text{anything}} 5"},
      {"5", ""},
      {"$\\frac{1}{2004!}$", "$\\frac{1}{2006!}$"},
      {"$1-\\frac1{\\mathrm e}$", "$1+\\frac1{\\mathrm e}$"},
      {"$\\emptyset$", "\\boxed{\\{\\emptyset\\}}"},
      {"5", "\\boxed{1 5}"},
      {"5", "\\boxed{5_3 1}"},
      {"$1$", "\\boxed{\\infty^0}"},
      {"$1$", "\\boxed{1^\\infty}"},
      {"$\\{1,2\\}$", "\\boxed{\\{1,2,\\ldots\\}}"},
      {"5", "Problem: add 2 to 5"},
      {"5", "5...9"},
      {"5", "\\boxed{1\\ldots5}"},
      {"5", "\\boxed{\\lnot5}"},
      {"5", "\\boxed{5-}"},
      {"5", "The answer is \u2212 5."},
      {"3", "The answer is 3\u00bd."},
      {"5", "I do not think the answer is 5."},
      {"5", "It is false that the answer is $5$."},
  };
  for (const auto& [gold, prediction] : hacks) {
    const auto score = Gold(gold, {}).verify(prediction);
    EXPECT_NE(score.verdict, Verdict::kCorrect) << gold << " | " << prediction << ": " << score.reason;
  }
}

TEST(MathVerify, UnitsAreConvertedWhereBothSidesHaveThem) {
  const Pair same[]{{"$5\\text{ cm}$", "\\boxed{50\\text{ mm}}"},
                    {"$2\\text{ hours}$", "It takes 120 minutes."},
                    {"$5\\text{ cm}$", "5"},
                    {"5", "5 km"},
                    {"$60\\text{ mph}$", "60 miles an hour"},
                    {"$2.5\\text{ m}$", "\\boxed{250} centimeters"},
                    {"5000000", "\\boxed{5\\text{ million}}"},
                    {"$5\\text{ million}$", "5"},
                    {"$\\$5$", "500 cents"},
                    {"$1\\text{ m}^2$", "$10000\\text{ square centimeters}$"},
                    {"$36\\text{ km/h}$", "$10\\text{ meters per second}$"},
                    {"12 m", "1200 cm"},
                    {"12 m", "\\boxed{12m}"},
                    {"$12\\text{ m}$", "\\boxed{12m}"},
                    {"$2.5\\text{ kg}$", "2500 g"},
                    {"90 s", "It takes 1.5 minutes."},
                    {"\u20ac5", "\\boxed{5\\text{ euros}}"},
                    {"$12", "She earns 12 dollars per hour."},
                    {"5", "\\boxed{\u20ac5}"}};
  for (const auto& [gold, prediction] : same) {
    EXPECT_EQ(verdict(gold, prediction), Verdict::kCorrect) << gold << " | " << prediction;
  }
  const Pair other[]{{"$5\\text{ cm}$", "\\boxed{5\\text{ km}}"},
                     {"$5\\text{ cm}$", "It is 5 km."},
                     {"$2\\text{ hours}$", "2 minutes"},
                     {"$\\$5$", "5 cents"},
                     {"5 cents", "$5"},
                     {"$5", "\u20ac5"},
                     {"\u20ac5", "It costs $5."},
                     {"$\\$5$", "\\boxed{5\\text{ euros}}"},
                     {"5 rupees", "\\boxed{\u00a35}"},
                     {"12 m", "12 cm"},
                     {"12 m", "1200 m"},
                     {"$5m$", "5"},
                     {"$18", "\\boxed{18m}"},
                     {"$5\\text{ m}$", "\\boxed{5\\text{ m}^2}"},
                     {"$123_7$", "\\boxed{123_8}"},
                     {"5", "\\boxed{5\\text{ or so}}"}};
  for (const auto& [gold, prediction] : other) {
    EXPECT_NE(verdict(gold, prediction), Verdict::kCorrect) << gold << " | " << prediction;
  }
  EXPECT_EQ(verdict("$5\\text{ cm}$", "\\boxed{5\\text{ km}}", upstream()), Verdict::kCorrect);
}

TEST(MathVerify, PlainTextIsReadAsAPersonReadsIt) {
  const Pair right[]{
      {"5", "Answer: +5"},
      {"5", "Answer: (5)"},
      {"5", "Answer:5"},
      {"5", "The answer is `5`."},
      {"5", "The answer is _5_."},
      {"5", "\\fbox{5}"},
      {"5", "\u7b54\u6848\u662f5\u3002"},
      {"$5x+3y=12$", "Answer: 5x + 3y = 12"},
      {"12", "log2(4096) = 12"},
      {"14", "f(3) = 14"},
      {"14", "So the answer is 14 (attained at x = 2)."},
      {"$[-2,7]$", "The range is [-2, 7]."},
      {"$3\\sqrt{13}$", "That is 3\u221a13 units."},
      {"$6-5i$", "The number is 6 - 5i."},
      {"$x^3+3x-6$", "The answer is x\u00b3 + 3x \u2212 6."},
      {"$p-q$", "The answer is p - q."},
      {"$10\\pi$", "It is 10\u03c0 cm."},
      {"$1,-2$", "The roots are 1 and -2."},
      {"120", "There are 5! ways."},
      {"120", "10C3 = 120"},
      {"1234", "That makes 1 234 metres."},
      {"1234", "x = 1 234"},
      {"1234567", "1 000 000 + 234 567 = 1 234 567"},
      {"10", "She pays **$10** for 50 minutes."},
      {"5", "So we get:\n\n> \\boxed{5}"},
      {"\\text{Evelyn}", "The answer is Evelyn."},
      {"5", "\\boxed{6}\n\nWait, I made a mistake. The correct answer is \\boxed{5}."},
  };
  for (const auto& [gold, prediction] : right) EXPECT_EQ(verdict(gold, prediction), Verdict::kCorrect) << prediction;
  const Pair wrong[]{
      {"5", "There are 5! ways."},
      {"5", "\\boxed{|x|=5}"},
      {"1.5", "1.5 million"},
      {"1.5", "\\boxed{1.5\\text{ million}}"},
      {"12", "Answer: 5x + 3y = 12"},
      {"12", "5+7="},
      {"12", "5 + 7 = ?"},
      {"15", "15:1"},
      {"15", "\\boxed{30:2}"},
      {"43", "The total is 48\n- 5"},
      {"1234", "x = 0 1 234"},
      {"12345", "x = 12 34 5"},
      {"5", "> 5"},
      {"5", "x > \\boxed{5}"},
      {"$(3,4)$", "\\boxed{\\{3,4\\}}"},
      {"$(1,2,3)$", "\\boxed{\\{1,2,3\\}}"},
      {"$(1,2)$", "Answer: (1, 2) or (2, 1)"},
      {"$x^2+1$", "The answer is x^2+1 or x^2+2."},
      {"$x^2+1$", "I doubt that the answer is x^2+1."},
      {"\\text{Evelyn}", "It is false that the answer is Evelyn."},
      {"7", "The range is [-2, 7]."},
      {"1", "The roots are 1 and -2."},
      {"5", "Step 5"},
      {"5", "\u7b54\u6848\u4e0d\u662f5"},
      {"\\text{Evelyn}", "The answer is not Evelyn."},
  };
  for (const auto& [gold, prediction] : wrong) EXPECT_EQ(verdict(gold, prediction), Verdict::kWrong) << prediction;
}

TEST(MathVerify, WhatIsDeniedDoubtedOrSupposedEarnsNothing) {
  for (const char* text :
       {"It is false that the answer is 5.", "I do not know if the answer is 5.", "The answer is neither 5 nor 6.",
        "Suppose the answer is 5.", "If the answer were 5, we would have a contradiction.", "Let $x = 5$.",
        "Many students would say the answer is 5.", "An incorrect answer would be \\boxed{5}.", "\\boxed{5}? No.",
        "\\boxed{5} was my first guess, but it is wrong.", "The answer is 5, no wait, 6.", "The answer is 5 (or 6)",
        "\\boxed{5} and then there is \\boxed{6}", "The answer is 5. Actually, it is 6."}) {
    EXPECT_EQ(verdict("5", text), Verdict::kWrong) << text;
  }
  for (const char* text :
       {"We do not need the other root, so the answer is 5.", "\\boxed{5}, which is not divisible by 2.",
        "If she buys 3 at 2 each, the answer is 5.", "It holds if and only if $x = 5$.", "Let x be it. Then x = 5.",
        "There are 5 apples if there are 3 trees."}) {
    EXPECT_EQ(verdict("5", text), Verdict::kCorrect) << text;
  }
}

TEST(MathVerify, UpstreamAcceptsSomeOfThem) {
  const Pair quirks[]{{"72", "The answer is not $72$, it is $71$"},
                      {"5", "5%"},
                      {"7", "$x+3=7$"},
                      {"5", "The answer is 5. \\boxed{}"},
                      {"5", "\\boxed{\\frac} 5"}};
  for (const auto& [gold, prediction] : quirks) {
    EXPECT_EQ(verdict(gold, prediction, upstream()), Verdict::kCorrect) << gold << " | " << prediction;
  }
}

TEST(MathVerify, NotApplicableWhenTheGoldAnswerCannotBeRead) {
  for (const char* gold : {"", "  ", "\\boxed{}"}) EXPECT_EQ(verdict(gold, "5"), Verdict::kNotApplicable) << gold;
}

TEST(MathVerify, UndecidedNamesTheLimit) {
  const auto score = Gold("5", {}).verify("\\boxed{" + std::string(100000, '7') + "}");
  EXPECT_EQ(score.verdict, Verdict::kUndecided);
  EXPECT_THAT(score.reason, HasSubstr("limit reached"));
  EXPECT_FALSE(score.value);
}

std::string repeated(const std::string& piece, size_t times) {
  std::string text;
  for (size_t i = 0; i < times; ++i) text += piece;
  return text;
}

std::string nested(const std::string& open, const std::string& core, const std::string& close, size_t times) {
  return repeated(open, times) + core + repeated(close, times);
}

/// What hangs or kills other checkers.
std::vector<std::string> monsters() {
  std::string square = "\\begin{pmatrix}";
  for (int i = 0; i < 60; ++i) square += repeated("1 & ", 59) + "1\\\\";
  square += "\\end{pmatrix}";
  return {"9^9^9^9",
          "9^{9^{9^{9}}}",
          "5^{5^{5^{5^5}}}",
          "((((5!)!)!)!)!",
          "100000!",
          "\\binom{1000000}{500000}",
          nested("{", "1", "}", 10000),
          nested("(", "1", ")", 10000),
          nested("\\left(", "1", "\\right)", 3000),
          repeated("{", 10000),
          repeated("\\frac", 5000),
          repeated("\\sqrt", 5000),
          "2" + repeated("^", 5000) + "2",
          repeated("2^", 3000) + "2",
          repeated("-", 10000) + "1",
          nested("\\frac{1}{1+", "1", "}", 1000),
          nested("\\sqrt{1+", "1", "}", 1000),
          square,
          "\\begin{pmatrix}1 & 2\\\\3\\end{pmatrix}",
          std::string(10000, '7'),
          "1e999999999",
          "10^{999999999}",
          "\\frac{1}{0}",
          "\\frac{0}{0}",
          "\\infty-\\infty",
          "\\sum_{k=1}^{10^{18}} k",
          "\\prod_{k=1}^{10^{18}} k",
          "\\int_0^1 x^x\\,dx",
          "(x+y+z+1)^{500}",
          "(x+1)^{10000}",
          "\\sin(10^{400})",
          "\\log_{0} 0",
          "x" + repeated("+x_{1}", 1300),
          "\\{" + repeated("1,", 4000) + "1\\}",
          "\u0430\u0435\u043e = 5",
          "\uff15",
          "5\u200b",
          "\x01\x02\xff\xfe"};
}

/// Thousands of formulas that cannot be read: each is looked at, read, and searched for a lone number, and all of it is
/// charged, so that the work ends after some hundreds of them. (One look uncharged made them take 10 ms.)
TEST(MathVerify, FormulasThatCannotBeReadAreChargedForEveryLook) {
  const MathLimits limits;
  for (const std::string piece : {"$(n", "$\\frac{$ "}) {
    const auto scored = Gold("7", {}).explain(repeated(piece, 8000));
    EXPECT_NE(scored.score.verdict, Verdict::kCorrect) << piece;
    size_t looks = 0;
    for (size_t at = 0; (at = scored.explanation.find("cannot be read", at)) != std::string::npos; ++at) ++looks;
    EXPECT_GT(looks, 1U) << piece;
    EXPECT_LE(looks, static_cast<size_t>(limits.work_units / 140)) << piece << ": 50 + 50 + 40 units at least for each";
  }
}

TEST(MathVerify, SurvivesMonsters) {
  std::vector<std::string> texts{repeated("$", 50000),          repeated("answer ", 20000),
                                 repeated("answer: $", 20000),  repeated("\\boxed{", 9000),
                                 repeated("\\boxed{1} ", 9000), repeated("final answer is ", 9000),
                                 repeated("5,", 30000),         repeated("5 or ", 20000),
                                 repeated("not 5 ", 20000),     std::string(300000, ' ')};
  for (const auto& monster : monsters()) {
    texts.push_back("$" + monster + "$");
    texts.push_back("\\boxed{" + monster + "}");
  }
  for (const auto& text : texts) {
    for (const auto& config : {MathConfig(), upstream()}) {
      EXPECT_NE(Gold("17", config).verify(text).verdict, Verdict::kCorrect) << text.substr(0, 60);
      EXPECT_NE(Gold("$\\frac{x}{2}$", config).verify(text).verdict, Verdict::kCorrect) << text.substr(0, 60);
      Gold(text, config).verify(text);
      Gold(text, config).verify("17");
    }
  }
}

TEST(MathVerify, TaskFlags) {
  EXPECT_EQ(verdict("5", "so 5", with({.require_box = true})), Verdict::kWrong);
  EXPECT_EQ(verdict("5", "\\boxed{5}", with({.require_box = true})), Verdict::kCorrect);
  EXPECT_EQ(verdict("5", "\\boxed{5}, really \\boxed{5}", with({.require_box = true})), Verdict::kCorrect);
  EXPECT_EQ(
      verdict("5", "\\boxed{4}. A long way from there we come to the value \\boxed{5}", with({.require_box = true})),
      Verdict::kWrong);
  EXPECT_EQ(verdict("4", "\\boxed{2+2}"), Verdict::kCorrect);
  EXPECT_EQ(verdict("4", "\\boxed{2+2}", with({.closed_form = true})), Verdict::kWrong);
  EXPECT_EQ(verdict("4", "\\boxed{4}", with({.closed_form = true})), Verdict::kCorrect);
  EXPECT_EQ(verdict("5050", "\\boxed{\\sum_{k=1}^{100} k}", with({.closed_form = true})), Verdict::kWrong);
  EXPECT_EQ(verdict("$\\frac{1}{2}$", "\\boxed{\\frac{1}{2}}", with({.closed_form = true})), Verdict::kCorrect);
  EXPECT_EQ(verdict("5", "\\boxed{5}", with({.box_after_think = true})), Verdict::kWrong);
  EXPECT_EQ(verdict("5", "</think>\\boxed{5}", with({.box_after_think = true})), Verdict::kCorrect);
  EXPECT_EQ(verdict("5", "</think>5", with({.box_after_think = true})), Verdict::kWrong);
  EXPECT_EQ(verdict("5", "<answer>6</answer> 5", with({.stop_at_answer_end = false})), Verdict::kCorrect);
}

TEST(MathVerify, Strings) {
  MathConfig config;
  config.extract.match_types = {MatchType::kString};
  EXPECT_EQ(verdict("B", "The answer is B.", config), Verdict::kCorrect);
  EXPECT_EQ(verdict("B", "The answer is A.", config), Verdict::kWrong);
  EXPECT_EQ(verdict("B", "no idea", config), Verdict::kWrong);
  EXPECT_THAT(extract_answer("Final answer is B", config), testing::ElementsAre("b", "B"));
}

TEST(MathVerify, ExtractionModes) {
  auto config = upstream();
  const std::string text = "The answer is $\\frac$. " + std::string(50, '-') + " So 5";
  EXPECT_EQ(verdict("5", text, config), Verdict::kCorrect) << "falls through to what can be read";
  config.first_match_only = true;
  EXPECT_NE(verdict("5", text, config), Verdict::kCorrect);
  config.text_fallback = false;
  EXPECT_THAT(extract_answer("$\\frac$", config), testing::IsEmpty());
}

TEST(MathVerify, ExplainSaysWhatWasFoundWhereAndHowItCompared) {
  const auto explained = Gold("$\\frac12$", {}).explain("The answer is $0.5$");
  EXPECT_EQ(explained.score.verdict, Verdict::kCorrect);
  EXPECT_THAT(explained.explanation, HasSubstr("gold\n  math environment '\\frac12': is 1/2\n"));
  EXPECT_THAT(explained.explanation, HasSubstr("math environment after 'answer' '0.5': is 1/2\n"));
  EXPECT_THAT(Gold("5", {}).explain("It is not 5").explanation, HasSubstr("'5' is denied"));
}

}  // namespace
}  // namespace hone
