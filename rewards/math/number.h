// Exact rational numbers: two 64-bit integers while they fit, GMP beyond.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <gmpxx.h>

namespace hone {

/// An immutable rational in lowest terms, denominator > 0. Sizes are not limited here: callers look at bits() before
/// they multiply.
class Rational {
 public:
  Rational() = default;
  Rational(int64_t integer) : num_(integer) {}  // NOLINT: numbers are written as numbers
  /// den != 0.
  Rational(int64_t num, int64_t den);
  /// A value in lowest terms.
  explicit Rational(mpq_class value);

  /// "12", "12.5", ".5": digits with at most one point.
  static Rational from_decimal(std::string_view digits);

  bool is_zero() const { return !big_ && num_ == 0; }
  bool is_one() const { return !big_ && num_ == 1 && den_ == 1; }
  bool is_integer() const { return big_ ? big_->get_den() == 1 : den_ == 1; }
  int sign() const { return big_ ? sgn(*big_) : (num_ > 0) - (num_ < 0); }
  /// The value when it is an integer of 64 bits.
  std::optional<int64_t> as_int() const { return !big_ && den_ == 1 ? std::optional<int64_t>(num_) : std::nullopt; }
  /// Bits of the larger of numerator and denominator.
  size_t bits() const;
  Rational numerator() const;
  Rational denominator() const;
  mpq_class to_mpq() const;
  size_t hash() const;
  std::string to_string() const;

  Rational operator-() const;
  Rational abs() const { return sign() < 0 ? -*this : *this; }
  /// 1 / this; this != 0.
  Rational inverse() const;
  Rational floor() const;
  /// The nearest multiple of 10^-decimals, ties to even.
  Rational rounded(int decimals) const;

  friend Rational operator+(const Rational& a, const Rational& b);
  friend Rational operator-(const Rational& a, const Rational& b) { return a + -b; }
  friend Rational operator*(const Rational& a, const Rational& b);
  friend Rational operator/(const Rational& a, const Rational& b) { return a * b.inverse(); }
  friend bool operator==(const Rational& a, const Rational& b);
  friend std::strong_ordering operator<=>(const Rational& a, const Rational& b);

 private:
  int64_t num_ = 0, den_ = 1;  // neither is INT64_MIN, so that signs can be turned
  std::shared_ptr<const mpq_class> big_;
};

/// base^exponent; base != 0 where exponent < 0.
Rational power(const Rational& base, int64_t exponent);

/// The largest r with r^degree <= value, value >= 0 an integer; exact says whether r^degree == value.
struct IntegerRoot {
  Rational root;
  bool exact;
};
IntegerRoot integer_root(const Rational& value, unsigned degree);

}  // namespace hone
