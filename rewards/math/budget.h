// Limits of one comparison, counted in work units instead of seconds, so that verdicts do not depend on the machine.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hone {

/// What may be spent on reading and comparing one pair. A unit is 20 to 50 ns of work.
struct MathLimits {
  size_t formula_bytes = 8 << 10;
  int depth = 128;             ///< nesting of a formula
  size_t nodes = 4096;         ///< of one formula
  size_t digits = 1000;        ///< of one number as written
  size_t result_bits = 65536;  ///< of one exact number
  int64_t exponent = 10'000;   ///< of an exact power; beyond, powers stay symbolic
  int64_t factorial = 1000;    ///< n of an exact n!; beyond, it stays symbolic
  int64_t sum_terms = 10'000;  ///< of a sum or product that is worked out
  size_t matrix_side = 64;
  size_t set_elements = 256;
  size_t variables = 16;
  size_t polynomial_terms = 2000;  ///< beyond, an expression is not expanded
  size_t bytes = 3 << 19;          ///< of the nodes made for one comparison
  int64_t work_units = 70'000;
};

/// What is left of the work units of a pair, and which limit was reached first. One per pair and thread.
class Budget {
 public:
  explicit Budget(const MathLimits& limits = {}) : limits_(limits), left_(limits.work_units) {}

  const MathLimits& limits() const { return limits_; }
  /// False when nothing is left.
  bool spend(int64_t units) {
    left_ -= units;
    if (left_ < 0) reach("work units");
    return left_ >= 0;
  }
  /// Spends what a product or greatest common divisor of numbers of so many bits costs.
  bool spend_on_bits(size_t bits) {
    const auto limbs = static_cast<int64_t>(bits / 64);
    return spend(limbs + limbs * limbs / 16);
  }
  /// Spends all that is left, because another limit was reached.
  void exhaust(const char* limit) {
    reach(limit);
    left_ = -1;
  }
  bool exhausted() const { return left_ < 0; }
  int64_t spent() const { return limits_.work_units - left_; }
  /// Notes that a limit (a literal: "depth", "digits") kept something from being read or worked out.
  void reach(const char* limit) {
    if (!reached_) reached_ = limit;
  }
  /// The first limit reached, null when none was.
  const char* reached() const { return reached_; }

 private:
  MathLimits limits_;
  int64_t left_;
  const char* reached_ = nullptr;
};

}  // namespace hone
