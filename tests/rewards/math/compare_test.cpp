// Which values are equal, and on what grounds.
#include <fstream>
#include <map>
#include <string>
#include <string_view>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "rewards/math/verify.h"

namespace hone {
namespace {

Comparison judge(std::string_view gold, std::string_view prediction, const CompareConfig& config = {}) {
  Budget budget;
  const Span spans[]{{SpanKind::kLatex, gold, false}, {SpanKind::kLatex, prediction, false}};
  const auto a = read_answer({&spans[0], 1}, config, budget), b = read_answer({&spans[1], 1}, config, budget);
  if (!a.answer || !b.answer) return {Outcome::kDifferent, "unread"};
  return compare(*a.answer, *b.answer, config, budget);
}
bool equal(std::string_view gold, std::string_view prediction, const CompareConfig& config = {}) {
  return judge(gold, prediction, config).outcome == Outcome::kEqual;
}
bool with_quirks(std::string_view gold, std::string_view prediction) {
  CompareConfig config;
  config.upstream_quirks = true;
  return equal(gold, prediction, config);
}

using Pair = std::pair<const char*, const char*>;

TEST(Compare, IdentitiesHoldBothWays) {
  const Pair pairs[]{{"\\sqrt{8}", "2\\sqrt2"},
                     {"\\frac1{\\sqrt2}", "\\frac{\\sqrt2}{2}"},
                     {"(x+1)^2", "x^2+2x+1"},
                     {"\\frac{x^2-1}{x-1}", "x+1"},
                     {"\\sqrt{3+2\\sqrt2}", "1+\\sqrt2"},
                     {"\\tan^2 y+1", "\\sec^2 y"},
                     {"\\sin 2x", "2\\sin x\\cos x"},
                     {"\\frac{\\ln 8}{\\ln 2}", "3"},
                     {"e^{x+y}", "e^x e^y"},
                     {"\\sqrt[3]{2+\\sqrt5}-\\sqrt[3]{\\sqrt5-2}", "1"},
                     {"\\sin\\frac{\\pi}{12}", "\\frac{\\sqrt6-\\sqrt2}{4}"},
                     {"\\frac{5\\sqrt{42}}{27}", "\\frac{10\\sqrt{10.5}}{27}"},
                     {"\\sqrt{\\frac1n}\\sqrt{\\frac1n}", "\\frac1n"},
                     {"\\binom{5}{2}", "10"},
                     {"\\sum_{k=1}^{100}k", "5050"},
                     {"(2+3i)(2-3i)", "13"},
                     {"2i+1", "1+2i"},
                     {"\\frac{1}{(y+7)(y-1)}", "\\frac{1}{8(y-1)}-\\frac{1}{8(y+7)}"},
                     {"4^n", "2^{2n}"},
                     {"|x-1|", "|1-x|"},
                     {"\\sqrt{\\frac1n}", "\\frac{1}{\\sqrt n}"},
                     {"\\frac13", "0.\\overline{3}"},
                     {"\\frac{1}{2}\\begin{pmatrix}2&4\\end{pmatrix}", "\\begin{pmatrix}1&2\\end{pmatrix}"}};
  for (const auto& [a, b] : pairs) {
    EXPECT_TRUE(equal(a, b)) << a << " | " << b << ": " << judge(a, b).reason;
    EXPECT_TRUE(equal(b, a)) << b << " | " << a << ": " << judge(b, a).reason;
  }
}

TEST(Compare, NearMissesAreTold) {
  const Pair pairs[]{{"\\sqrt{2}+10^{-14}", "\\sqrt2"},
                     {"\\sqrt{2}+10^{-300}", "\\sqrt2"},
                     {"e^{\\pi\\sqrt{163}}", "262537412640768744"},
                     {"\\frac{1}{2004!}", "\\frac{1}{2006!}"},
                     {"2^{-99}\\pi", "2^{-98}\\pi"},
                     {"1+10^{-17}", "1"},
                     {"1-\\frac1e", "1+\\frac1e"},
                     {"\\ln x^2", "2\\ln x"},
                     {"\\sqrt{x^2}", "x"},
                     {"\\sqrt{x}\\sqrt{y}", "\\sqrt{xy}"},
                     {"\\sqrt{2}+\\sqrt{3}", "\\sqrt5"},
                     {"x^2+1", "x^2+1.0000001"},
                     {"(x+1)^{50}", "(x+1)^{51}"},
                     {"\\frac{dy}{dx}", "\\frac{y}{x}"},
                     {"f(x)", "f(y)"},
                     {"f'(x)", "f(x)"},
                     {"5", "\\max(5,x)"},
                     {"|x-100|", "100-x"},
                     {"5", "6=5"},
                     {"\\lfloor x\\rfloor", "x"},
                     {"9^{9^{9}}", "9^{9^{9}}+1"}};
  for (const auto& [a, b] : pairs) EXPECT_FALSE(equal(a, b)) << a << " | " << b << ": " << judge(a, b).reason;
}

TEST(Compare, DecimalsRoundAgainstNumbersOnly) {
  EXPECT_TRUE(equal("\\frac13", "0.333333"));
  EXPECT_FALSE(equal("\\frac13", "0.33333"));
  EXPECT_TRUE(equal("\\sqrt2", "1.4142136"));
  EXPECT_FALSE(equal("0.3333334999", "0.3333335001"));
  EXPECT_FALSE(equal("\\frac x3", "0.333333x"));
  EXPECT_TRUE(equal("(1,\\frac92)", "(1,4.5)"));
  CompareConfig two;
  two.float_rounding = 2;
  EXPECT_TRUE(equal("(\\frac35,\\frac83]", "(0.6,2.6667]", two));
}

TEST(Compare, PercentsAreHundredths) {
  EXPECT_TRUE(equal("50\\%", "0.5"));
  EXPECT_TRUE(equal("50\\%", "\\frac12"));
  EXPECT_FALSE(equal("50", "50\\%"));
  EXPECT_FALSE(equal("50\\%", "50"));
}

TEST(Compare, GoldDecidesWhatAnEquationSays) {
  EXPECT_TRUE(equal("5", "x=5"));
  EXPECT_TRUE(equal("x=5", "5"));
  EXPECT_TRUE(equal("|AB|=1", "1"));
  EXPECT_TRUE(equal("189", "S=\\frac12\\cdot 378=189"));
  EXPECT_FALSE(equal("x=5", "y=5"));
  EXPECT_FALSE(equal("x=4", "4x=16"));
  EXPECT_FALSE(equal("5", "2x+1=5"));
  EXPECT_FALSE(equal("x+y=-4", "-4"));
  EXPECT_FALSE(equal("2x+z=1", "1"));
  EXPECT_TRUE(with_quirks("5", "2x+1=5"));
  EXPECT_TRUE(with_quirks("x+y=-4", "-4"));
}

TEST(Compare, RelationsUpToAFactor) {
  EXPECT_TRUE(equal("9x+5y=11", "27x+15y=33"));
  EXPECT_TRUE(equal("2x+4y-3=0", "y=-\\frac12x+\\frac34"));
  EXPECT_TRUE(equal("x<1", "-x>-1"));
  EXPECT_TRUE(equal("x\\ge 5", "5\\le x"));
  EXPECT_TRUE(equal("1<x<2", "2>x>1"));
  EXPECT_FALSE(equal("x>5", "2x>10"));  // not solved
  EXPECT_FALSE(equal("x<1", "x\\le 1"));
  EXPECT_FALSE(equal("9x+5y=11", "9x+5y=12"));
  EXPECT_FALSE(equal("2x+y<3", "-2x-y<-3"));
}

TEST(Compare, SolutionsAreSetsOfRealNumbers) {
  EXPECT_TRUE(equal("x>8", "(8,\\infty)"));
  EXPECT_TRUE(equal("-4<x\\le 3", "(-4,3]"));
  EXPECT_TRUE(equal("x\\ne 3", "(-\\infty,3)\\cup(3,\\infty)"));
  EXPECT_TRUE(equal("x^2<4", "(-2,2)"));
  EXPECT_TRUE(equal("|x|\\le 3", "[-3,3]"));
  EXPECT_TRUE(equal("x>1 \\text{ or } x<-1", "(-\\infty,-1)\\cup(1,\\infty)"));
  EXPECT_TRUE(equal("\\frac{x-1}{x+2}\\ge 0", "(-\\infty,-2)\\cup[1,\\infty)"));
  EXPECT_FALSE(equal("(8,\\infty)", "x>8"));
  CompareConfig either;
  either.allow_set_relation_comp = true;
  EXPECT_TRUE(equal("(8,\\infty)", "x>8", either));
}

TEST(Compare, SetsIntervalsAndTuples) {
  EXPECT_TRUE(equal("\\{1,2,3\\}", "3,1,2"));
  EXPECT_TRUE(equal("(-\\infty,0)\\cup(7,\\infty)", "\\mathbb{R}\\setminus[0,7]"));
  EXPECT_TRUE(equal("[1,2]\\cup[2,3]", "[1,3]"));
  EXPECT_TRUE(equal("(1,3)", "1,3"));
  EXPECT_FALSE(equal("(1,3)", "\\{1,3\\}")) << "a set has no order";
  CompareConfig loose;
  loose.strict = false;
  EXPECT_TRUE(equal("(1,3)", "\\{1,3\\}", loose));
  EXPECT_TRUE(equal("1\\pm\\sqrt5", "1-\\sqrt5,1+\\sqrt5"));
  EXPECT_TRUE(equal("(4,5,7)", "x=4,y=5,z=7"));
  EXPECT_FALSE(equal("(3,1)", "\\{1,3\\}"));
  EXPECT_FALSE(equal("(0,9)", "[0,9)"));
  EXPECT_FALSE(equal("(1,2,3)", "(1,3,2)"));
  EXPECT_FALSE(equal("(1,2,3)", "\\langle 1,2,3\\rangle"));
  EXPECT_FALSE(equal("(15,-29)", "[15,-29)"));
  EXPECT_FALSE(equal("(x,x)", "\\{x,x\\}"));
}

TEST(Compare, OneAnswerIsDemanded) {
  const Pair pairs[]{
      {"2021", "\\pm 2021"}, {"5", "5,6"},     {"5", "x\\ge 5"},     {"5", "\\mathbb{R}"}, {"5", "x"},
      {"1,2", "1"},          {"1,2", "1,2,3"}, {"5", "[5,\\infty)"}, {"x=5", "x=5,x=6"},   {"(1,2)", "(1,2),(2,1)"}};
  for (const auto& [gold, prediction] : pairs) EXPECT_FALSE(equal(gold, prediction)) << gold << " | " << prediction;
}

TEST(Compare, NamesAndTheirLetters) {
  EXPECT_TRUE(equal("\\text{Evelyn}", "Evelyn"));
  EXPECT_TRUE(equal("\\text{(C)}", "C"));
  EXPECT_TRUE(equal("\\text{e}", "e"));
  EXPECT_TRUE(equal("\\text{infinitely many}", "infinitely many"));
  EXPECT_FALSE(equal("\\text{act}", "\\text{cat}"));
  EXPECT_FALSE(equal("\\text{act}", "cat"));
  EXPECT_FALSE(equal("\\text{B}", "\\text{B},\\text{C}"));
}

TEST(Compare, VariablesByPositionWhenNotStrict) {
  CompareConfig loose;
  loose.strict = false;
  EXPECT_TRUE(equal("x^2+y", "a^2+b", loose));
  EXPECT_FALSE(equal("x^2+y", "a^2+b"));
  EXPECT_FALSE(equal("x^2+y", "a^2-b", loose));
}

TEST(Compare, UndefinedEqualsOnlyItself) {
  EXPECT_TRUE(equal("12:00", "12:00"));
  EXPECT_FALSE(equal("\\frac10", "\\frac20"));
  EXPECT_FALSE(equal("\\infty-\\infty", "0"));
}

TEST(Compare, LimitsAreVerdictsOfTheirOwn) {
  const auto sum = judge("5", "\\sum_{k=1}^{10000}\\frac1{k}");
  EXPECT_EQ(sum.outcome, Outcome::kUndecided);
  EXPECT_NE(sum.reason.find("limit reached"), std::string::npos);
  EXPECT_EQ(judge("7", std::string(9000, '7')).outcome, Outcome::kUndecided);
  EXPECT_TRUE(equal(std::string(9000, '7'), std::string(9000, '7')));
}

/// The peer's verdicts on pairs made by tests/reference/math_oracle.py. What remains are its errors: mixed real and
/// complex symbols, percents in \text, intersections.
TEST(Compare, AgreesWithThePeerOnGeneratedPairs) {
  std::ifstream file(HONE_SOURCE_DIR "/tests/golden/math_generated.jsonl");
  int rows = 0, agree = 0;
  std::map<std::string, int> misses;
  MathConfig config;
  config.compare.upstream_quirks = true;
  for (std::string line; std::getline(file, line); ++rows) {
    const auto row = nlohmann::json::parse(line);
    const Gold gold(row.at("gold").get<std::string>(), config);
    const bool accepted = gold.verify(row.at("pred").get<std::string>()).verdict == Verdict::kCorrect;
    const bool same = accepted == row.at("expected").get<bool>();
    agree += same;
    if (!same) ++misses[row.at("kind").get<std::string>()];
  }
  ASSERT_GT(rows, 2000);
  EXPECT_GE(agree, 0.97 * rows);
  for (const auto& [kind, count] : misses) {
    const bool known = kind == "percents" || kind == "complexes";
    EXPECT_LE(count, known ? 60 : 6) << kind;
  }
}

}  // namespace
}  // namespace hone
