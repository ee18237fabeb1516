// Pairs that are equal, or differ, by the way they are made; and what must hold for any formula.
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "rewards/math/verify.h"
#include "tests/rewards/math/test_random.h"

namespace hone {
namespace {

using Random = TestRandom;
using Words = std::vector<std::string>;

struct KnownPair {
  std::string gold, prediction, how;
  bool equal;
};

std::string frac(const std::string& a, const std::string& b) { return "\\frac{" + a + "}{" + b + "}"; }
std::string str(int n) { return std::to_string(n); }
std::string plus(int n) { return n < 0 ? str(n) : "+" + str(n); }
std::string var(Random& r) { return r.pick(Words{"x", "y", "n", "a", "t"}); }

KnownPair rational(Random& r) {
  const int a = r.between(1, 999), b = r.between(2, 99), k = r.between(2, 12);
  const auto gold = frac(str(a), str(b));
  switch (r.between(0, 5)) {
    case 0:
      return {gold, frac(str(a * k), str(b * k)), "unreduced", true};
    case 1:
      return {gold, str(a) + "/" + str(b), "slash", true};
    case 2:
      return {gold, "\\frac{" + str(-a) + "}{" + str(-b) + "}", "two signs", true};
    case 3:
      return {gold, frac(str(a + 1), str(b)), "numerator + 1", false};
    case 4:
      return {gold, frac(str(a), str(b + 1)), "denominator + 1", false};
    default:
      return {gold, "-" + gold, "sign", false};
  }
}

KnownPair integer(Random& r) {
  const int a = r.between(2, 9999), b = r.between(2, 999);
  switch (r.between(0, 5)) {
    case 0:
      return {str(a + b), str(a) + "+" + str(b), "sum", true};
    case 1:
      return {str(a), "\\sqrt{" + std::to_string(static_cast<int64_t>(a) * a) + "}", "root of the square", true};
    case 2:
      return {str(a), str(a) + ".0", "decimal zero", true};
    case 3:
      return {str(a), str(a + r.between(1, 9)), "another integer", false};
    case 4:
      return {str(a), str(a) + "." + str(r.between(1, 9)), "a digit more", false};
    default:
      return {str(a) + "^{30}", str(a) + "^{30}+1", "large + 1", false};
  }
}

KnownPair surd(Random& r) {
  const int a = r.between(2, 12), b = r.pick(std::vector<int>{2, 3, 5, 6, 7, 10, 11, 13, 14, 15}), c = r.between(1, 30);
  const auto root = "\\sqrt{" + str(b) + "}";
  const auto gold = str(a) + root + "+" + str(c);
  switch (r.between(0, 5)) {
    case 0:
      return {gold, "\\sqrt{" + str(a * a * b) + "}+" + str(c), "square factor", true};
    case 1:
      return {gold, str(c) + "+" + str(a) + root, "commuted", true};
    case 2:
      return {frac("1", root), frac(root, str(b)), "rationalised", true};
    case 3:
      return {"(" + root + "+" + str(c) + ")^2", str(b + c * c) + "+" + str(2 * c) + root, "square of a sum", true};
    case 4:
      return {gold, str(a) + root + "-" + str(c), "sign inside", false};
    default:
      return {gold, gold + "+" + frac("1", "10^{" + str(r.between(1, 25)) + "}"), "a little more", false};
  }
}

KnownPair polynomial(Random& r) {
  const auto x = var(r);
  const int a = r.between(1, 9), b = r.between(-9, 9), c = r.between(1, 9), d = r.between(-9, 9);
  const auto gold = "(" + str(a) + x + plus(b) + ")(" + str(c) + x + plus(d) + ")";
  const auto expanded = [&](int shift) {
    return str(a * c) + x + "^2" + plus(a * d + b * c) + x + plus(b * d + shift);
  };
  switch (r.between(0, 5)) {
    case 0:
      return {gold, expanded(0), "expanded", true};
    case 1:
      return {expanded(0), gold, "factored", true};
    case 2:
      return {gold, "(" + str(c) + x + plus(d) + ")(" + str(a) + x + plus(b) + ")", "commuted", true};
    case 3:
      return {gold, expanded(r.between(1, 9)), "constant changed", false};
    case 4:
      return {gold, expanded(0) + "+" + x, "coefficient changed", false};
    default:
      return {gold, frac("2(" + gold + ")", "2"), "times 2 over 2", true};
  }
}

KnownPair quotient(Random& r) {
  const auto x = var(r);
  const int a = r.between(1, 9), b = a + r.between(1, 9), m = r.between(2, 9);
  const auto gold = frac("1", "(" + x + "+" + str(a) + ")(" + x + "+" + str(b) + ")");
  const auto parts = [&](int k) {
    return frac("1", str(k) + "(" + x + "+" + str(a) + ")") + "-" + frac("1", str(k) + "(" + x + "+" + str(b) + ")");
  };
  switch (r.between(0, 3)) {
    case 0:
      return {gold, parts(b - a), "partial fractions", true};
    case 1:
      return {frac(x + "^2-" + str(m * m), x + "-" + str(m)), x + "+" + str(m), "cancelled", true};
    case 2:
      return {gold, parts(b - a + 1), "wrong factor", false};
    default:
      return {frac(x + "^2-" + str(m * m), x + "-" + str(m)), x + "-" + str(m), "wrong factor left", false};
  }
}

KnownPair identity(Random& r) {
  const auto x = var(r);
  const int n = r.between(2, 9), m = r.between(2, 9);
  const std::vector<KnownPair> all{
      {"\\sin^2 " + x + "+\\cos^2 " + x, "1", "Pythagoras", true},
      {"\\sin(2" + x + ")", "2\\sin(" + x + ")\\cos(" + x + ")", "double angle", true},
      {"\\sin(2" + x + ")", "\\sin(" + x + ")\\cos(" + x + ")", "half of the double angle", false},
      {"\\ln(" + str(n * m) + ")", "\\ln(" + str(n) + ")+\\ln(" + str(m) + ")", "logarithm of a product", true},
      {"\\ln(" + str(n + m) + ")", "\\ln(" + str(n) + ")+\\ln(" + str(m + 20) + ")", "logarithm of a sum", false},
      {str(n) + "^{" + x + "+" + str(m) + "}", str(n) + "^{" + x + "}\\cdot " + str(n) + "^{" + str(m) + "}",
       "power of a sum", true},
      {"e^{" + str(n) + "\\ln " + str(m) + "}", str(m) + "^{" + str(n) + "}", "exponential of a logarithm", true},
      {"\\cos(2" + x + ")", "1-2\\sin^2(" + x + ")", "double angle of the cosine", true},
      {"\\tan(" + x + ")", frac("\\cos(" + x + ")", "\\sin(" + x + ")"), "cotangent", false},
      {"\\sqrt{" + str(n) + "}\\cdot\\sqrt{" + str(m) + "}", "\\sqrt{" + str(n * m) + "}", "product of roots", true},
      {"\\sqrt{" + str(n) + "}+\\sqrt{" + str(m) + "}", "\\sqrt{" + str(n + m) + "}", "sum of roots", false},
      {str(n) + "\\pi+" + str(m), str(m) + "+\\pi\\cdot " + str(n), "commuted pi", true},
      {str(n) + "\\pi", frac(str(22 * n), "7"), "22/7", false},
      {"2^{-" + str(90 + n) + "}", "2^{-" + str(90 + n + m) + "}", "both tiny", false}};
  return r.pick(all);
}

KnownPair equation(Random& r) {
  const int a = r.between(1, 9), b = r.between(1, 9), c = r.between(-20, 20), k = r.between(2, 7);
  const auto line = [&](int s, int constant) { return str(a * s) + "x" + plus(b * s) + "y=" + str(constant * s); };
  switch (r.between(0, 4)) {
    case 0:
      return {line(1, c), line(k, c), "scaled", true};
    case 1:
      return {line(1, c), line(-k, c), "scaled by a negative", true};
    case 2:
      return {line(1, c), str(a) + "x=" + str(c) + plus(-b) + "y", "term moved", true};
    case 3:
      return {line(1, c), line(1, c + r.between(1, 5)), "constant changed", false};
    default:
      return {line(1, c), str(a) + "x" + plus(b + 10) + "y=" + str(c), "coefficient changed", false};
  }
}

KnownPair container(Random& r) {
  const int a = r.between(-30, 0), b = r.between(1, 30), c = r.between(31, 60);
  const auto set = [](int x, int y, int z) { return "\\{" + str(x) + "," + str(y) + "," + str(z) + "\\}"; };
  const auto tuple = [](int x, int y, int z) { return "(" + str(x) + "," + str(y) + "," + str(z) + ")"; };
  switch (r.between(0, 8)) {
    case 0:
      return {set(a, b, c), set(c, a, b), "set in another order", true};
    case 1:
      return {set(a, b, c), set(a, b, c + 1), "another element", false};
    case 2:
      return {set(a, b, c), "\\{" + str(a) + "," + str(c) + "\\}", "an element missing", false};
    case 3:
      return {tuple(a, b, c), tuple(a, b, c), "same tuple", true};
    case 4:
      return {tuple(a, b, c), tuple(c, b, a), "tuple reversed", false};
    case 5:
      return {"[" + str(a) + "," + str(b) + ")", "[" + frac(str(2 * a), "2") + "," + str(b) + ")", "interval", true};
    case 6:
      return {"[" + str(a) + "," + str(b) + ")", "[" + str(a) + "," + str(b) + "]", "closed interval", false};
    case 7:
      return {"x>" + str(b), str(b) + "<x", "relation turned", true};
    default:
      return {"x>" + str(b), "x<" + str(b), "relation flipped", false};
  }
}

KnownPair same(Random& r) {
  static const std::vector<std::function<KnownPair(Random&)>> kMakers{rational, surd,     polynomial,
                                                                      quotient, equation, container};
  auto pair = r.pick(kMakers)(r);
  return {pair.gold, pair.gold, "the same", true};
}

KnownPair random_pair(Random& r) {
  static const std::vector<std::function<KnownPair(Random&)>> kMakers{
      rational, integer, surd, polynomial, quotient, identity, equation, container, same};
  return r.pick(kMakers)(r);
}

constexpr size_t kPairs =
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    5000;
#else
    60000;
#endif

Score judge(const std::string& gold, const std::string& prediction) {
  return Gold("$" + gold + "$", {}).verify("Therefore the answer is $\\boxed{" + prediction + "}$.");
}

TEST(MathMetamorphic, KnownPairsAreJudgedRight) {
  std::map<std::string, std::pair<int, int>> tally;  // how -> right, all
  std::map<std::string, std::string> example;
  for (size_t i = 0; i < kPairs; ++i) {
    Random r(i);
    const auto pair = random_pair(r);
    const auto score = judge(pair.gold, pair.prediction);
    const bool accepted = score.verdict == Verdict::kCorrect;
    if (!pair.equal) {
      ASSERT_FALSE(accepted) << pair.how << ": " << pair.gold << " | " << pair.prediction << ": " << score.reason;
    }
    auto& [right, all] = tally[pair.how];
    ++all;
    right += accepted == pair.equal;
    if (accepted != pair.equal) example[pair.how] = pair.gold + " | " + pair.prediction + ": " + score.reason;
  }
  for (const auto& [how, counts] : tally) {
    EXPECT_GE(counts.first, 0.99 * counts.second) << how << ": " << example[how];
  }
}

TEST(MathMetamorphic, SwappingCommutesForValues) {
  for (size_t i = 0; i < kPairs / 6; ++i) {
    Random r(i);
    const auto pair = r.chance(50) ? polynomial(r) : r.chance(50) ? surd(r) : rational(r);
    const auto forward = judge(pair.gold, pair.prediction), back = judge(pair.prediction, pair.gold);
    ASSERT_EQ(forward.verdict, back.verdict) << pair.gold << " | " << pair.prediction;
  }
}

TEST(MathMetamorphic, TheTextAroundDoesNotMatter) {
  for (size_t i = 0; i < kPairs / 6; ++i) {
    Random r(i);
    const auto pair = random_pair(r);
    const auto plain = judge(pair.gold, pair.prediction).verdict;
    const auto& e = pair.prediction;
    for (const auto& text : {"So $x=4$ and\n\\[\n\\boxed{" + e + "}\n\\]", "We get \\(" + e + "\\).",
                             "Final Answer: The final answer is $" + e + "$. I hope it is correct.",
                             "<think>$1$? $2$?</think>\nAnswer: $" + e + "$"}) {
      ASSERT_EQ(Gold("$" + pair.gold + "$", {}).verify(text).verdict, plain) << pair.gold << " | " << text;
    }
  }
}

}  // namespace
}  // namespace hone
