#include "rewards/math/number.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>
#include <numeric>

namespace hone {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

bool fits(const mpz_class& value) { return value.fits_slong_p() && value >= -kMax; }

bool fits(__int128 value) { return value <= kMax && value >= -kMax; }

mpz_class to_mpz(__int128 value) {
  const bool negative = value < 0;
  const auto magnitude = negative ? -static_cast<unsigned __int128>(value) : static_cast<unsigned __int128>(value);
  mpz_class result = static_cast<unsigned long>(magnitude >> 64);
  result <<= 64;
  result += static_cast<unsigned long>(magnitude);
  if (negative) result = -result;
  return result;
}

__int128 gcd128(__int128 a, __int128 b) {
  if (a < 0) a = -a;
  while (b > kMax) {
    const __int128 r = a % b;
    a = b;
    b = r;
  }
  if (b == 0) return a;
  return std::gcd(static_cast<int64_t>(a % b), static_cast<int64_t>(b));
}

/// num / den in lowest terms, den > 0.
Rational reduced(__int128 num, __int128 den) {
  const __int128 divisor = gcd128(num, den);
  num /= divisor;
  den /= divisor;
  if (fits(num) && fits(den)) {
    return den == 1 ? Rational(static_cast<int64_t>(num))
                    : Rational(static_cast<int64_t>(num), static_cast<int64_t>(den));
  }
  return Rational(mpq_class(to_mpz(num), to_mpz(den)));  // in lowest terms now
}

}  // namespace

Rational::Rational(int64_t num, int64_t den) {
  const int64_t divisor = std::gcd(num, den) * (den < 0 ? -1 : 1);
  num_ = num / divisor;
  den_ = den / divisor;
}

Rational::Rational(mpq_class value) {
  if (fits(value.get_num()) && fits(value.get_den())) {
    num_ = value.get_num().get_si();
    den_ = value.get_den().get_si();
  } else {
    big_ = std::make_shared<const mpq_class>(std::move(value));
  }
}

Rational Rational::from_decimal(std::string_view digits) {
  const size_t point = digits.find('.');
  const size_t decimals = point == std::string_view::npos ? 0 : digits.size() - point - 1;
  if (digits.size() <= 18) {
    int64_t num = 0, den = 1;
    for (const char c : digits) {
      if (c != '.') num = num * 10 + (c - '0');
    }
    for (size_t i = 0; i < decimals; ++i) den *= 10;
    return {num, den};
  }
  std::string plain(digits);
  if (point != std::string_view::npos) plain.erase(point, 1);
  mpz_class den;
  mpz_ui_pow_ui(den.get_mpz_t(), 10, decimals);
  mpq_class value(mpz_class(plain, 10), den);
  value.canonicalize();
  return Rational(std::move(value));
}

size_t Rational::bits() const {
  if (big_) {
    return std::max(mpz_sizeinbase(big_->get_num_mpz_t(), 2), mpz_sizeinbase(big_->get_den_mpz_t(), 2));
  }
  return std::bit_width(static_cast<uint64_t>(std::max(num_ < 0 ? -num_ : num_, den_)));
}

Rational Rational::numerator() const { return big_ ? Rational(mpq_class(big_->get_num())) : Rational(num_); }
Rational Rational::denominator() const { return big_ ? Rational(mpq_class(big_->get_den())) : Rational(den_); }

mpq_class Rational::to_mpq() const {
  return big_ ? *big_ : mpq_class(mpz_class(static_cast<long>(num_)), mpz_class(static_cast<long>(den_)));
}

size_t Rational::hash() const {
  if (!big_) return static_cast<size_t>(num_) * 0x9E3779B97F4A7C15u ^ static_cast<size_t>(den_) * 0xC2B2AE3D27D4EB4Fu;
  // the last limb, too: of powers of 2 the first ones are 0
  const auto limbs = [](mpz_srcptr z) {
    const size_t size = mpz_size(z);
    return (mpz_getlimbn(z, 0) * 31 + mpz_getlimbn(z, static_cast<mp_size_t>(size) - 1)) * 31 + size;
  };
  return limbs(big_->get_num_mpz_t()) * 0x9E3779B97F4A7C15u ^ limbs(big_->get_den_mpz_t());
}

std::string Rational::to_string() const { return to_mpq().get_str(); }

Rational Rational::operator-() const {
  if (big_) return Rational(mpq_class(-*big_));
  Rational result = *this;
  result.num_ = -num_;
  return result;
}

Rational Rational::inverse() const {
  if (big_) return Rational(mpq_class(1 / *big_));
  return {den_, num_};
}

Rational Rational::floor() const {
  if (!big_) return num_ / den_ - (num_ % den_ < 0 ? 1 : 0);
  mpz_class quotient;
  mpz_fdiv_q(quotient.get_mpz_t(), big_->get_num_mpz_t(), big_->get_den_mpz_t());
  return Rational(mpq_class(quotient));
}

Rational Rational::rounded(int decimals) const {
  const Rational unit = power(10, decimals), scaled = *this * unit;
  const Rational below = scaled.floor(), rest = scaled - below, half(1, 2);
  const bool odd = !(below * half).is_integer();
  const bool up = rest > half || (rest == half && odd);
  return (up ? below + 1 : below) / unit;
}

Rational operator+(const Rational& a, const Rational& b) {
  if (!a.big_ && !b.big_) {
    if (a.den_ == 1 && b.den_ == 1) {
      int64_t sum;
      if (!__builtin_add_overflow(a.num_, b.num_, &sum) && sum != std::numeric_limits<int64_t>::min()) return sum;
    }
    __int128 left = static_cast<__int128>(a.num_) * b.den_, right = static_cast<__int128>(b.num_) * a.den_, sum;
    if (!__builtin_add_overflow(left, right, &sum)) return reduced(sum, static_cast<__int128>(a.den_) * b.den_);
  }
  return Rational(mpq_class(a.to_mpq() + b.to_mpq()));
}

Rational operator*(const Rational& a, const Rational& b) {
  if (a.big_ || b.big_) return Rational(mpq_class(a.to_mpq() * b.to_mpq()));
  return reduced(static_cast<__int128>(a.num_) * b.num_, static_cast<__int128>(a.den_) * b.den_);
}

bool operator==(const Rational& a, const Rational& b) {
  if (a.big_ && b.big_) return *a.big_ == *b.big_;
  return !a.big_ && !b.big_ && a.num_ == b.num_ && a.den_ == b.den_;
}

std::strong_ordering operator<=>(const Rational& a, const Rational& b) {
  if (!a.big_ && !b.big_) {
    return static_cast<__int128>(a.num_) * b.den_ <=> static_cast<__int128>(b.num_) * a.den_;
  }
  return cmp(a.to_mpq(), b.to_mpq()) <=> 0;
}

Rational power(const Rational& base, int64_t exponent) {
  const auto magnitude = static_cast<uint64_t>(exponent < 0 ? -exponent : exponent);
  Rational result(1);
  if (const auto small = base.as_int(); small && magnitude * base.bits() < 62) {
    int64_t value = 1;
    for (uint64_t i = 0; i < magnitude; ++i) value *= *small;
    result = value;
  } else {
    const mpq_class value = base.to_mpq();
    mpz_class num, den;
    mpz_pow_ui(num.get_mpz_t(), value.get_num_mpz_t(), magnitude);
    mpz_pow_ui(den.get_mpz_t(), value.get_den_mpz_t(), magnitude);
    result = Rational(mpq_class(num, den));
  }
  return exponent < 0 ? result.inverse() : result;
}

IntegerRoot integer_root(const Rational& value, unsigned degree) {
  mpz_class root;
  const mpq_class number = value.to_mpq();
  const int exact = mpz_root(root.get_mpz_t(), number.get_num_mpz_t(), degree);
  return {Rational(mpq_class(root)), exact != 0};
}

}  // namespace hone
