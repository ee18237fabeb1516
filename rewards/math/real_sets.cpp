#include "rewards/math/real_sets.h"

#include <algorithm>
#include <numeric>

namespace hone {
namespace {

constexpr size_t kMaxDegree = 24;

bool is_infinite(Expr value) { return contains(value, Op::kInfinity); }

/// Coefficients of a polynomial in `unknown`, the constant first; none when it is no polynomial.
std::optional<Exprs> coefficients(Expr polynomial, Expr unknown, Algebra& algebra) {
  std::vector<Exprs> collected;
  const auto terms = polynomial->is(Op::kSum) ? polynomial->args : std::span<const Expr>(&polynomial, 1);
  for (const auto* term : terms) {
    const auto factors = term->is(Op::kProduct) ? term->args : std::span<const Expr>(&term, 1);
    Exprs rest{algebra.number(1)};
    size_t degree = 0;
    for (const auto* factor : factors) {
      const bool powered = factor->is(Op::kPower) && (*factor)[0] == unknown && (*factor)[1]->is_integer();
      const auto exponent = powered ? (*factor)[1]->value->as_int() : std::nullopt;
      if (factor == unknown) {
        degree += 1;
      } else if (exponent && *exponent > 0 && *exponent <= static_cast<int64_t>(kMaxDegree)) {
        degree += static_cast<size_t>(*exponent);
      } else {
        const auto inner = unknowns_of(factor);
        if (!inner.empty()) return {};
        rest.push_back(factor);
      }
    }
    if (degree > kMaxDegree) return {};
    if (collected.size() <= degree) collected.resize(degree + 1);
    collected[degree].push_back(algebra.product(rest));
  }
  Exprs result;
  for (const auto& parts : collected) result.push_back(parts.empty() ? algebra.number(0) : algebra.sum(parts));
  return result;
}

/// Divides by (x - root).
void deflate(std::vector<Rational>& polynomial, const Rational& root) {
  Rational carry;
  for (size_t i = polynomial.size(); i-- > 0;) {
    const Rational value = polynomial[i] + carry * root;
    polynomial[i] = carry;
    carry = value;
  }
  polynomial.pop_back();
}

Rational value_at(const std::vector<Rational>& polynomial, const Rational& x) {
  Rational value;
  for (size_t i = polynomial.size(); i-- > 0;) value = value * x + polynomial[i];
  return value;
}

std::vector<int64_t> divisors(const Rational& integer, Budget& budget) {
  constexpr int64_t kMax = 10'000;
  std::vector<int64_t> found;
  const auto n = integer.abs().as_int();
  if (!n || !budget.spend(std::min(*n, kMax) / 4)) return found;
  for (int64_t d = 1; d <= std::min(*n, kMax); ++d) {
    if (*n % d == 0) found.push_back(d);
  }
  return found;
}

/// A rational root of a polynomial with integer coefficients and a constant that is not 0.
std::optional<Rational> rational_root(const std::vector<Rational>& polynomial, Budget& budget) {
  constexpr int64_t kUnitsPerCoefficient = 8;
  const auto tops = divisors(polynomial.front(), budget), bottoms = divisors(polynomial.back(), budget);
  for (const int64_t top : tops) {
    for (const int64_t bottom : bottoms) {
      if (std::gcd(top, bottom) != 1) continue;
      for (const int64_t sign : {1, -1}) {
        if (!budget.spend(kUnitsPerCoefficient * static_cast<int64_t>(polynomial.size()))) return {};
        const Rational candidate(sign * top, bottom);
        if (value_at(polynomial, candidate).is_zero()) return candidate;
      }
    }
  }
  return {};
}

/// Scales to integer coefficients; none when one of them is no rational.
std::optional<std::vector<Rational>> integer_coefficients(const Exprs& coefficients) {
  std::vector<Rational> result;
  Rational common(1);
  for (const auto* c : coefficients) {
    if (!c->is_number() || c->value->bits() > 40) return {};
    result.push_back(*c->value);
    common = common * c->value->denominator();
  }
  for (auto& c : result) c = c * common;
  return result;
}

std::optional<Exprs> quadratic_roots(Expr c, Expr b, Expr a, Algebra& algebra, Balls& balls) {
  const auto* discriminant =
      algebra.sum({algebra.power(b, algebra.number(2)), algebra.product({algebra.number(-4), a, c})});
  const auto sign = balls.sign(discriminant);
  if (!sign) return {};
  if (*sign < 0) return Exprs();
  const auto* root = algebra.power(discriminant, algebra.number(Rational(1, 2)));
  const auto* scale = algebra.power(algebra.product({algebra.number(2), a}), algebra.number(-1));
  const auto* low = algebra.product({scale, algebra.difference(algebra.negative(b), root)});
  const auto* high = algebra.product({scale, algebra.difference(root, b)});
  return Exprs{low, high};
}

}  // namespace

Exprs unknowns_of(Expr tree) {
  std::vector<bool> seen(tree->id + 1);
  Exprs found, open{tree};
  while (!open.empty()) {
    const auto* node = open.back();
    open.pop_back();
    if (seen[node->id]) continue;
    seen[node->id] = true;
    if (node->is(Op::kSymbol) || node->is(Op::kCall)) {
      found.push_back(node);
    } else {
      open.insert(open.end(), node->args.begin(), node->args.end());
    }
  }
  return found;
}

std::optional<Exprs> real_roots(Expr polynomial, Expr unknown, Algebra& algebra, Balls& balls) {
  auto found = coefficients(polynomial, unknown, algebra);
  if (!found) return {};
  Exprs roots;
  if (found->size() > 3) {
    auto exact = integer_coefficients(*found);
    if (!exact) return {};
    while (exact->size() > 3) {
      if (exact->front().is_zero()) {
        roots.push_back(algebra.number(0));
        exact->erase(exact->begin());
        continue;
      }
      const auto root = rational_root(*exact, algebra.budget());
      if (!root) return {};
      roots.push_back(algebra.number(*root));
      deflate(*exact, *root);
    }
    found->clear();
    for (const auto& c : *exact) found->push_back(algebra.number(c));
  }
  if (found->size() == 2) {
    const auto* inverse = algebra.power((*found)[1], algebra.number(-1));
    roots.push_back(algebra.product({algebra.number(-1), (*found)[0], inverse}));
  }
  if (found->size() == 3) {
    const auto last = quadratic_roots((*found)[0], (*found)[1], (*found)[2], algebra, balls);
    if (!last) return {};
    roots.insert(roots.end(), last->begin(), last->end());
  }
  return roots;
}

std::optional<bool> RealLine::same(Expr a, Expr b) {
  if (!add_cuts(a) || !add_cuts(b) || !sort_cuts()) return {};
  const auto left = cells(a), right = cells(b);
  if (!left || !right) return {};
  return *left == *right;
}

bool RealLine::add_cut(Expr value) {
  if (is_infinite(value)) return true;
  if (!balls_.sign(value)) return false;
  if (std::ranges::find(cuts_, value) == cuts_.end()) cuts_.push_back(value);
  return cuts_.size() <= algebra_.budget().limits().set_elements;
}

bool RealLine::add_cuts(Expr set) {
  switch (set->op) {
    case Op::kSet:
    case Op::kInterval:
      return std::ranges::all_of(set->args, [&](Expr e) { return is_scalar(e->op) && add_cut(e); });
    case Op::kUnion:
    case Op::kIntersection:
    case Op::kDifference:
    case Op::kChain:
      return std::ranges::all_of(set->args, [&](Expr e) { return add_cuts(e); });
    case Op::kNamedSet:
      return set->code == static_cast<uint32_t>(NamedSet::kEmpty) ||
             set->code == static_cast<uint32_t>(NamedSet::kReals);
    case Op::kRelation:
      return add_roots(set);
    default:
      return is_scalar(set->op) && add_cut(set);
  }
}

bool RealLine::add_roots(Expr relation) {
  const auto unknowns = unknowns_of(relation);
  if (unknowns.size() != 1 || !is_scalar((*relation)[0]->op) || !is_scalar((*relation)[1]->op)) return false;
  const auto* difference = algebra_.difference((*relation)[0], (*relation)[1]);
  if (is_infinite(difference)) return (*relation)[0] == unknowns[0] || (*relation)[1] == unknowns[0];
  return add_roots_of(difference, unknowns[0]);
}

/// The zeros and poles of a function; where it holds |u|, those with u and with -u in its place (one cut too many does
/// no harm).
bool RealLine::add_roots_of(Expr function, Expr unknown) {
  for (const auto* part : nodes_of(function)) {
    if (!part->is(Function::kAbs) || unknowns_of(part).empty()) continue;
    if (cuts_.size() > kMaxDegree || !algebra_.budget().spend(50)) return false;
    const auto *inner = (*part)[0], *opposite = algebra_.negative(inner);
    return add_roots_of(algebra_.canonical(algebra_.substituted(function, part, inner)), unknown) &&
           add_roots_of(algebra_.canonical(algebra_.substituted(function, part, opposite)), unknown);
  }
  const auto* numerator = algebra_.expanded_numerator(function);
  const auto* denominator = algebra_.expanded(algebra_.denominator(function));
  if (!numerator || !denominator) return false;
  for (const auto* polynomial : {numerator, denominator}) {
    const auto roots = real_roots(polynomial, unknown, algebra_, balls_);
    if (!roots || !std::ranges::all_of(*roots, [&](Expr root) { return add_cut(root); })) return false;
  }
  return true;
}

/// -1, 0, 1 for a < b, a = b, a > b.
std::optional<int> RealLine::order(Expr a, Expr b) {
  if (a == b) return 0;
  if (!a->is_number() || !b->is_number()) return balls_.sign(algebra_.difference(a, b));
  algebra_.budget().spend(4);
  return *a->value < *b->value ? -1 : 1;
}

std::optional<RealLine::Place> RealLine::search(const Exprs& increasing, Expr value) {
  size_t begin = 0, end = increasing.size();
  while (begin < end) {
    const size_t middle = begin + (end - begin) / 2;
    const auto found = order(increasing[middle], value);
    if (!found) return {};
    if (*found == 0) return Place{middle, true};
    (*found < 0 ? begin : end) = *found < 0 ? middle + 1 : middle;
  }
  return Place{begin, false};
}

/// In increasing order, equal ones once.
bool RealLine::sort_cuts() {
  Exprs sorted;
  for (const auto* cut : cuts_) {
    const auto at = search(sorted, cut);
    if (!at) return false;
    if (!at->is_cut) sorted.insert(sorted.begin() + static_cast<ptrdiff_t>(at->index), cut);
  }
  cuts_ = std::move(sorted);
  return true;
}

std::optional<size_t> RealLine::place(Expr value) {
  const auto at = search(cuts_, value);
  return at && at->is_cut ? std::optional(at->index) : std::nullopt;
}

std::optional<RealLine::Cells> RealLine::cells(Expr set) {
  Cells result(2 * cuts_.size() + 1, false);
  switch (set->op) {
    case Op::kNamedSet:
      result.assign(result.size(), set->code == static_cast<uint32_t>(NamedSet::kReals));
      return result;
    case Op::kInterval: {
      const auto *left = (*set)[0], *right = (*set)[1];
      if (is_infinite(left) && balls_.sign(left) != -1) return {};
      if (is_infinite(right) && balls_.sign(right) != 1) return {};
      const auto first = is_infinite(left) ? std::optional<size_t>(0) : place(left);
      const auto last = is_infinite(right) ? std::optional<size_t>(0) : place(right);
      if (!first || !last) return {};
      const size_t begin = is_infinite(left) ? 0 : 2 * *first + 1 + ((set->code & kLeftOpen) ? 1 : 0);
      const size_t end = is_infinite(right) ? result.size() : 2 * *last + 2 - ((set->code & kRightOpen) ? 1 : 0);
      for (size_t i = begin; i < end; ++i) result[i] = true;
      return result;
    }
    case Op::kSet:
      for (const auto* element : set->args) {
        const auto at = place(element);
        if (!at) return {};
        result[2 * *at + 1] = true;
      }
      return result;
    case Op::kUnion:
    case Op::kIntersection:
    case Op::kDifference: {
      const auto left = cells((*set)[0]), right = cells((*set)[1]);
      if (!left || !right) return {};
      for (size_t i = 0; i < result.size(); ++i) {
        result[i] = set->is(Op::kUnion)          ? (*left)[i] || (*right)[i]
                    : set->is(Op::kIntersection) ? (*left)[i] && (*right)[i]
                                                 : (*left)[i] && !(*right)[i];
      }
      return result;
    }
    case Op::kChain:
      result.assign(result.size(), true);
      for (const auto* link : set->args) {
        const auto part = cells(link);
        if (!part) return {};
        for (size_t i = 0; i < result.size(); ++i) result[i] = result[i] && (*part)[i];
      }
      return result;
    case Op::kRelation:
      return cells_of_relation(set);
    default: {
      const auto at = place(set);
      if (!at) return {};
      result[2 * *at + 1] = true;
      return result;
    }
  }
}

/// A number in a gap.
Expr RealLine::inside(size_t gap) {
  if (cuts_.empty()) return algebra_.number(0);
  if (gap == 0) return algebra_.sum({cuts_.front(), algebra_.number(-1)});
  if (gap == cuts_.size()) return algebra_.sum({cuts_.back(), algebra_.number(1)});
  return algebra_.product({algebra_.number(Rational(1, 2)), algebra_.sum({cuts_[gap - 1], cuts_[gap]})});
}

std::optional<RealLine::Cells> RealLine::cells_of_relation(Expr relation) {
  const auto* unknown = unknowns_of(relation)[0];
  Cells result(2 * cuts_.size() + 1, false);
  for (size_t i = 0; i < result.size(); ++i) {
    const auto* value = i % 2 == 0 ? inside(i / 2) : cuts_[i / 2];
    const auto held = holds(relation, unknown, value);
    if (!held) return {};
    result[i] = *held;
  }
  return result;
}

/// A relation with a value for its unknown; where a side is not defined it does not hold.
std::optional<bool> RealLine::holds(Expr relation, Expr unknown, Expr value) {
  const auto* difference = algebra_.difference((*relation)[0], (*relation)[1]);
  const auto* at_value = algebra_.canonical(algebra_.substituted(difference, unknown, value));
  if (at_value->is(Op::kUndefined)) return false;
  const auto sign = balls_.sign(at_value);
  if (!sign) return {};
  switch (static_cast<Relation>(relation->code)) {
    case Relation::kEqual:
      return *sign == 0;
    case Relation::kNotEqual:
      return *sign != 0;
    case Relation::kLess:
      return *sign < 0;
    case Relation::kLessEqual:
      return *sign <= 0;
    case Relation::kGreater:
      return *sign > 0;
    case Relation::kGreaterEqual:
      return *sign >= 0;
  }
  return {};
}

}  // namespace hone
