// Values of canonical expressions as balls (Arb): a midpoint and a rigorous bound of its error.
#pragma once

#include <optional>

#include "rewards/math/budget.h"
#include "rewards/math/expr.h"

namespace hone {

enum class Zero { kYes, kNo, kUnknown };

/// Evaluates trees with complex balls. Symbols (and calls, and what is not worked out) take fixed values of both signs
/// at eight points, two of them beyond all numbers in the tree.
class Balls {
 public:
  /// `real_domain`: see is_zero.
  Balls(Budget& budget, bool real_domain) : budget_(budget), real_domain_(real_domain) {}

  /// Whether two sides with this difference are equal.
  /// kNo: at some point the difference is provably not 0. kYes: at four points or more (of constants: at two
  /// precisions, the larger of which grows with the numbers in them) it differs from 0 by less than 1e-40 of its terms,
  /// and at none is it provably not 0. With real_domain, points where both sides are not real, without an i in them,
  /// do not count. kUnknown: neither could be shown; also for steps (floor, max ..) of unknowns, which no points can
  /// settle.
  Zero is_zero(Expr difference, Expr left, Expr right);
  /// kNo as above, from one look at little precision; else kUnknown.
  Zero quick_zero(Expr difference, Expr left, Expr right);
  /// -1, 0, 1 for a real constant (oo included); none where that cannot be shown.
  std::optional<int> sign(Expr value);
  /// A real constant to so many decimals; none where that cannot be shown.
  std::optional<Rational> rounded(Expr value, int decimals);
  /// Whether |value| of a constant is below 10^-digits for sure.
  bool is_below(Expr value, int digits);

 private:
  Budget& budget_;
  bool real_domain_;
};

}  // namespace hone
