// What formulas are read as: the tree, printed.
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "rewards/math/math.h"

namespace hone {
namespace {

std::string read(std::string_view text, SpanKind kind = SpanKind::kLatex, bool quirks = false, bool percent = false) {
  Budget budget;
  const Span span{kind, text, percent};
  CompareConfig config;
  config.upstream_quirks = quirks;
  const auto reading = read_answer({&span, 1}, config, budget);
  return reading.answer ? to_string(*reading.answer) : "unread";
}

TEST(Read, NumbersKeepWhetherTheyAreDecimals) {
  EXPECT_EQ(read("1,234,567"), "1234567");
  EXPECT_EQ(read("14{,}916"), "14916");
  EXPECT_EQ(read("32,\\!349"), "32349");
  EXPECT_EQ(read("1\\,000\\,030"), "1000030");
  EXPECT_EQ(read("\\$25,001.00"), "25001.0");
  EXPECT_EQ(read("0.250"), "0.25");
  EXPECT_EQ(read("= 32,349.00"), "32349.0");
  EXPECT_EQ(read("x = 32,349"), "x = 32349");
  EXPECT_EQ(read("x,349"), "{x, 349}");
  EXPECT_EQ(read("32, 349"), "{32, 349}");
  EXPECT_EQ(read("-7"), "-7");
  EXPECT_EQ(read("−7"), "-7");
  EXPECT_EQ(read("204_5"), "204");
  EXPECT_EQ(read("6.02e3"), "6020.0");
  EXPECT_EQ(read("2e3x"), "2*E*3*x");
}

TEST(Read, PlainNumbersMayHaveADecimalComma) {
  EXPECT_EQ(read("1,22", SpanKind::kNumber), "1.22");
  EXPECT_EQ(read("0,111", SpanKind::kNumber), "0.111");
  EXPECT_EQ(read("1,234", SpanKind::kNumber), "1234");
  EXPECT_EQ(read("1 234.5", SpanKind::kNumber), "1234.5");
  EXPECT_EQ(read(".4", SpanKind::kNumber), "0.4");
  EXPECT_EQ(read("5", SpanKind::kNumber, false, /*percent=*/true), "5%");
}

TEST(Read, PlainArithmeticHasNoProductsWithoutASign) {
  EXPECT_EQ(read("10/9", SpanKind::kExpression), "10/9");
  EXPECT_EQ(read("2/3.", SpanKind::kExpression), "2/3");
  EXPECT_EQ(read("3 (4+5)", SpanKind::kExpression), "unread");
  EXPECT_EQ(read("3 4", SpanKind::kExpression), "unread");
  EXPECT_EQ(read("4 1/2", SpanKind::kExpression), "9/2");
}

TEST(Read, FractionsOfIntegersAreNumbers) {
  EXPECT_EQ(read("\\frac{2}{4}"), "1/2");
  EXPECT_EQ(read("\\frac12"), "1/2");
  EXPECT_EQ(read("\\frac1{2}"), "1/2");
  EXPECT_EQ(read("\\frac{1}23"), "1/2*3");
  EXPECT_EQ(read("3:4"), "3/4");
  EXPECT_EQ(read("2\\frac12"), "5/2");
  EXPECT_EQ(read("-2\\frac12"), "-5/2");
  EXPECT_EQ(read("2(3)"), "2*3");
  EXPECT_EQ(read("2(3)", SpanKind::kLatex, /*quirks=*/true), "5");
  EXPECT_EQ(read("-1 3/4"), "-7/4");
  EXPECT_EQ(read("12 1/2\\%"), "(25/2)%");
  EXPECT_EQ(read("2 3"), "2 3") << "a name, no product";
  EXPECT_EQ(read("2^3 3^2"), "2**3*3**2");
}

TEST(Read, MalformedOperatorsAreMended) {
  EXPECT_EQ(read("\\sqrt2"), read("\\sqrt{2}"));
  EXPECT_EQ(read("\\sqrt 2+\\sqrt 5"), read("\\sqrt{2}+\\sqrt{5}"));
  EXPECT_EQ(read("sqrt(2)"), read("\\sqrt{2}"));
  EXPECT_EQ(read("x^(a+1)"), read("x^{a+1}"));
  EXPECT_EQ(read("x^10"), read("x^{10}"));
  EXPECT_EQ(read("\\log_28"), read("\\log_{2}8"));
  EXPECT_EQ(read("log2(8)"), read("\\log_{2}8"));
  EXPECT_EQ(read("2+10C3"), read("2+\\binom{10}{3}"));
}

TEST(Read, UnitsAndDegreesAreDropped) {
  for (const auto* text :
       {"5\\text{ cm}", "5 miles", "5\\text{ cm}^2", "5\\mbox{ inches}", "5^\\circ", "5 square inches"}) {
    EXPECT_EQ(read(text), "5") << text;
  }
  EXPECT_EQ(read("5m"), "5*m");
  EXPECT_EQ(read("\\text{B},\\text{C}"), "{b, c}");  // no unit: part of the answer
}

TEST(Read, BracketsMakeIntervalsTuplesAndSets) {
  EXPECT_EQ(read("(1,2]"), "(1, 2]");
  EXPECT_EQ(read("(1,2,3)"), "(1, 2, 3)");
  EXPECT_EQ(read("1,2;3,4"), "{(1, 2), (3, 4)}");
  EXPECT_EQ(read("\\{1,2\\}"), "{1, 2}");
  EXPECT_EQ(read("1 \\text{ and } 2"), "{1, 2}");
  EXPECT_EQ(read("1, or 2"), "{1, 2}");
  EXPECT_EQ(read("(-\\infty,0)\\cup\\{1\\}"), "(-oo, 0) U 1");
  EXPECT_EQ(read("-[0,1)"), "unread");
}

TEST(Read, PlusMinusIsTwoElements) {
  EXPECT_EQ(read("\\pm 2"), "{2, -2}");
  EXPECT_EQ(read("\\frac{1\\pm 3}{2}"), "{(1 + 3)*2**(-1), (1 + -3)*2**(-1)}");
  EXPECT_EQ(read("x=\\pm 2"), "x = {2, -2}");
}

TEST(Read, RelationsAndChains) {
  EXPECT_EQ(read("x=1,2"), "x = {1, 2}");
  EXPECT_EQ(read("a=1,b=2"), "{a = 1, b = 2}");
  EXPECT_EQ(read("1<x\\le 2"), "1 < x and x <= 2");
  EXPECT_EQ(read("x\\in[1,2]"), "x = [1, 2]");
  EXPECT_EQ(read("x \\approx 3.14"), "3.14");
  EXPECT_EQ(read("1/3\\approx 0.33"), "1/3");
}

TEST(Read, BoxesAreOpened) {
  EXPECT_EQ(read("\\boxed{2}, \\boxed{3}"), "{2, 3}");
  EXPECT_EQ(read("\\boxed{1} no no no no no \\boxed{2}", SpanKind::kLastBoxes), "2");
}

TEST(Read, FunctionsAndCalls) {
  EXPECT_EQ(read("\\sin^2 x\\cos y"), "sin(x)**2*cos(y)");
  EXPECT_EQ(read("\\sin x/2"), "sin(x)*2**(-1)");
  EXPECT_EQ(read("\\sin x/2", SpanKind::kLatex, /*quirks=*/true), "sin(x*2**(-1))");
  EXPECT_EQ(read("f(x)"), "f(x)");
  EXPECT_EQ(read("a(b+c)"), "a*(b + c)");
  EXPECT_EQ(read("\\log_2 8"), "log(8, 2)");
}

TEST(Read, WhatIsNoFormulaIsUnread) {
  for (const auto* text : {"", "}", "1+", "\\frac{1}", "\\foo{2}", "(1,2", "x=", "\\sqrt{", "^2", "\xff"}) {
    EXPECT_EQ(read(text), "unread") << text;
  }
}

TEST(Read, ReadingsWithArithmeticLeftAreTold) {
  const auto unevaluated = [](std::string_view text) {
    Budget budget;
    const Span span{SpanKind::kLatex, text, false};
    return is_unevaluated(*read_answer({&span, 1}, {}, budget).answer);
  };
  for (const auto* text : {"2+3", "2^{10}", "3\\cdot 4", "5!", "\\sum_{k=1}^{9}k", "\\binom{5}{2}"}) {
    EXPECT_TRUE(unevaluated(text)) << text;
  }
  for (const auto* text : {"\\frac12", "2\\sqrt3", "x+1", "5", "-3.5", "2\\pi", "x=3", "2\\frac12"}) {
    EXPECT_FALSE(unevaluated(text)) << text;
  }
}

}  // namespace
}  // namespace hone
