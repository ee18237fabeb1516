#include "rewards/math/number.h"

#include <random>

#include <gtest/gtest.h>

namespace hone {
namespace {

Rational random_rational(std::mt19937_64& random) {
  const auto part = [&] {
    const auto bits = static_cast<int>(random() % 63);
    return static_cast<int64_t>(random() >> (63 - bits) >> 1) * (random() % 2 ? 1 : -1);
  };
  const int64_t den = part();
  return {part(), den == 0 ? 1 : den};
}

TEST(Rational, SmallAndBigArithmeticAgreeWithGmp) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 20'000; ++i) {
    const auto a = random_rational(random), b = random_rational(random);
    EXPECT_TRUE((a + b).to_mpq() == a.to_mpq() + b.to_mpq());
    EXPECT_TRUE((a * b).to_mpq() == a.to_mpq() * b.to_mpq());
    EXPECT_EQ(a < b, a.to_mpq() < b.to_mpq());
    EXPECT_EQ(a == b, a.to_mpq() == b.to_mpq());
    if (b.is_zero()) continue;
    EXPECT_TRUE((a / b).to_mpq() == a.to_mpq() / b.to_mpq());
  }
}

TEST(Rational, ResultsThatFitAgainAreSmall) {
  const Rational big = power(Rational(10), 40);
  EXPECT_FALSE(big.as_int());
  EXPECT_EQ((big / power(Rational(10), 38)).as_int(), 100);
  EXPECT_EQ((big - big).as_int(), 0);
}

TEST(Rational, DecimalsAreExact) {
  EXPECT_EQ(Rational::from_decimal("0.125"), Rational(1, 8));
  EXPECT_EQ(Rational::from_decimal(".5"), Rational(1, 2));
  EXPECT_EQ(Rational::from_decimal("12345678901234567890.5") * 2,
            power(Rational(10), 19) * 2 + Rational(4691357802469135781));
}

TEST(Rational, RoundsHalvesToEven) {
  EXPECT_EQ(Rational(1, 2).rounded(0), Rational(0));
  EXPECT_EQ(Rational(3, 2).rounded(0), Rational(2));
  EXPECT_EQ(Rational(-3, 2).rounded(0), Rational(-2));
  EXPECT_EQ(Rational(2, 3).rounded(2), Rational(67, 100));
  EXPECT_EQ(Rational(-7, 2).floor(), Rational(-4));
}

TEST(Rational, RootsSayWhetherTheyAreExact) {
  EXPECT_TRUE(integer_root(power(Rational(12345), 7), 7).exact);
  EXPECT_EQ(integer_root(power(Rational(12345), 7), 7).root, Rational(12345));
  EXPECT_FALSE(integer_root(Rational(26), 3).exact);
  EXPECT_EQ(integer_root(Rational(26), 3).root, Rational(2));
}

}  // namespace
}  // namespace hone
