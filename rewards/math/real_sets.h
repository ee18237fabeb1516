// Sets of real numbers that are made of finitely many intervals and points, and the solutions of relations in one
// unknown as such sets.
#pragma once

#include <optional>
#include <vector>

#include "rewards/math/algebra.h"
#include "rewards/math/numeric.h"

namespace hone {

/// The symbols and calls f(x) that a tree depends on; what is inside calls does not count.
Exprs unknowns_of(Expr tree);

/// The real line, cut at the ends of the sets that are compared: cell 2i is the i-th gap, cell 2i+1 the i-th cut.
/// Trees are canonical.
class RealLine {
 public:
  RealLine(Algebra& algebra, Balls& balls) : algebra_(algebra), balls_(balls) {}

  /// True when both are sets (or relations in one unknown) of the kind above and hold the same numbers; none when that
  /// cannot be told.
  std::optional<bool> same(Expr a, Expr b);

 private:
  using Cells = std::vector<bool>;
  bool add_cuts(Expr set);
  bool add_cut(Expr value);
  bool add_roots(Expr relation);
  bool add_roots_of(Expr function, Expr unknown);
  bool sort_cuts();
  std::optional<Cells> cells(Expr set);
  std::optional<Cells> cells_of_relation(Expr relation);
  std::optional<bool> holds(Expr relation, Expr unknown, Expr value);
  Expr inside(size_t gap);
  struct Place {
    size_t index;  ///< of the first cut that is not smaller
    bool is_cut;
  };
  std::optional<int> order(Expr a, Expr b);
  std::optional<Place> search(const Exprs& increasing, Expr value);
  std::optional<size_t> place(Expr value);

  Algebra& algebra_;
  Balls& balls_;
  Exprs cuts_;
};

/// The real roots of a polynomial in `unknown` whose factors over the rationals are of degree 1 and 2; none for others.
std::optional<Exprs> real_roots(Expr polynomial, Expr unknown, Algebra& algebra, Balls& balls);

}  // namespace hone
