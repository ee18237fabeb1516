// Canonical expressions: equal values that rational arithmetic, collecting, radicals and logarithms of integers and
// parity can prove equal are the same node.
//
//   x+x, 2x      sqrt(8), 2 sqrt 2      1/sqrt 2, sqrt(2)/2      log_2 8, 3      2 ln 3, ln 9      tan x, sin x / cos x
//
// Sums and products are flat, their parts in order of node ids, like terms and like bases collected, a number first.
// The base of a power of integers is -1 or prime where small factors allow, its exponent in (0, 1). Symbols are real.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "rewards/math/budget.h"
#include "rewards/math/expr.h"

namespace hone {

class Algebra {
 public:
  /// `imaginary_i`: the symbol i is the imaginary unit. Nodes are made in `arena`.
  Algebra(Arena& arena, Budget& budget, bool imaginary_i) : arena_(arena), budget_(budget), imaginary_i_(imaginary_i) {}

  /// The canonical form of a tree of the arena. Containers and relations keep their shape; their parts are canonical.
  Expr canonical(Expr tree);

  // Of canonical parts.
  Expr number(const Rational& value) { return arena_.number(value); }
  Expr sum(std::span<const Expr> terms);
  Expr sum(std::initializer_list<Expr> terms) { return sum(std::span(terms.begin(), terms.size())); }
  Expr product(std::span<const Expr> factors);
  Expr product(std::initializer_list<Expr> factors) { return product(std::span(factors.begin(), factors.size())); }
  Expr power(Expr base, Expr exponent);
  Expr negative(Expr value) { return product({number(-1), value}); }
  Expr difference(Expr a, Expr b) { return sum({a, negative(b)}); }
  Expr substituted(Expr tree, Expr symbol, Expr value);

  /// value times its denominators, multiplied out: 0 when a polynomial identity makes it 0. Null beyond the limits.
  Expr expanded_numerator(Expr value);
  /// Products of sums multiplied out; null beyond the limits.
  Expr expanded(Expr value);
  /// The product of the denominators of the terms of `value`.
  Expr denominator(Expr value);

  Arena& arena() { return arena_; }
  Budget& budget() { return budget_; }

 private:
  struct Term {
    Expr rest;  // null: the term is a number
    Rational coefficient;
  };
  Term split(Expr term);
  Expr scaled(const Rational& coefficient, Expr rest);
  Expr infinite_sum(std::span<const Expr> terms);
  Expr infinite_product(std::span<const Expr> factors);
  Expr matrix_sum(std::span<const Expr> terms);
  Expr matrix_product(std::span<const Expr> factors);
  Expr matrix_power(Expr base, Expr exponent);
  Expr determinant(Expr matrix);
  Expr transposed(Expr matrix);
  Expr number_power(const Rational& base, const Rational& exponent);
  Expr root_of_integer(const Rational& value, const Rational& exponent);
  Expr product_power(Expr base, Expr exponent);
  Expr sum_power(Expr base, Expr exponent);
  Expr node(Expr tree);
  Expr function(Function f, std::span<const Expr> args);
  Expr trigonometric(Function f, Expr arg);
  Expr logarithm(Expr value);
  Expr absolute(Expr value);
  Expr factorial(Expr value);
  Expr of_integers(Function f, std::span<const Expr> args);
  Expr root(Expr base, Expr degree);
  Expr big_operator(Expr tree);
  bool is_negative(Expr value) const;
  bool spend(int64_t units);
  bool fits(const Rational& a, const Rational& b);
  Expr undefined() { return arena_.atom(Op::kUndefined); }

  Arena& arena_;
  Budget& budget_;
  bool imaginary_i_;
  std::vector<Expr> known_;  // canonical forms by id
  int nested_operators_ = 0;
};

/// The prime factors below a bound of |value|, and what remains (1 when nothing does).
struct Factors {
  std::vector<std::pair<Rational, int64_t>> powers;
};
Factors factored(const Rational& integer);
/// What that costs.
int64_t units_to_factor(const Rational& integer);

}  // namespace hone
