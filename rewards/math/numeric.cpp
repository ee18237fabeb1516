#include "rewards/math/numeric.h"

#include <algorithm>
#include <array>
#include <cstdlib>

#include <acb.h>
#include <arb.h>
#include <flint/flint.h>

namespace hone {
namespace {

constexpr int kPoints = 8, kEnoughPoints = 4;
constexpr slong kQuickBits = 64, kBits = 256, kMoreBits = 1024, kMaxBits = 8192;
constexpr slong kZeroBits = 133;  // 2^-133 is 1e-40
constexpr slong kMaxExponentBits = 60;
constexpr slong kMaxTurnBits = 4096;   // of an angle: so many digits of pi are needed
constexpr size_t kMaxBytes = 1 << 20;  // of the values of one tree

/// Arb keeps constants per thread; they are freed when the thread ends.
struct ThreadCaches {
  ~ThreadCaches() { flint_cleanup(); }
};
void register_thread() { thread_local ThreadCaches caches; }

class Ball {
 public:
  Ball() { acb_init(value_); }
  ~Ball() { acb_clear(value_); }
  Ball(const Ball& other) : Ball() { acb_set(value_, other.value_); }
  Ball(Ball&& other) noexcept : Ball() { acb_swap(value_, other.value_); }
  Ball& operator=(Ball other) {
    acb_swap(value_, other.value_);
    return *this;
  }
  acb_ptr get() { return value_; }
  acb_srcptr get() const { return value_; }

 private:
  acb_t value_;
};

void set(acb_ptr ball, const Rational& value, slong bits) {
  const mpq_class exact = value.to_mpq();
  fmpq_t fraction;
  fmpq_init(fraction);
  fmpq_set_mpq(fraction, exact.get_mpq_t());
  acb_set_fmpq(ball, fraction, bits);
  fmpq_clear(fraction);
}

uint64_t scrambled(uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

/// The value of the k-th symbol at a point: between 0.25 and 2.25, times 2^reach at points 3 and 4; its sign a pattern
/// of k and the point. Points 0 and 1 are positive and negative throughout.
Rational sample(size_t k, int point, int reach) {
  const uint64_t bits = scrambled(k * 64 + static_cast<uint64_t>(point) + 1);
  const auto magnitude = static_cast<int64_t>(bits >> 34) + (int64_t{1} << 27);  // below 2^30 + 2^27
  const bool negative = point == 1 || (point > 1 && ((k + static_cast<size_t>(point)) % 2 == 0));
  const Rational value(negative ? -magnitude : magnitude, int64_t{1} << 29);
  return point == 3 || point == 4 ? value * power(Rational(2), reach) : value;
}

bool is_variable(Expr node) {
  return node->is(Op::kSymbol) || node->is(Op::kCall) || node->is(Op::kOpaque) || node->is(Op::kBigSum);
}

/// The nodes of one tree and what each of them is worth.
class Evaluation {
 public:
  Evaluation(std::initializer_list<Expr> roots, Budget& budget) : budget_(budget), root_(*roots.begin()) {
    register_thread();
    collect(roots);
    values_.resize(nodes_.size());
    for (const auto* node : nodes_) {
      if (is_variable(node)) variables_.push_back(node);
      if (node->is_number()) reach_ = std::max(reach_, static_cast<int>(std::min<size_t>(node->value->bits(), 40)) + 2);
    }
    std::ranges::sort(variables_, by_name);
  }

  bool is_constant() const { return variables_.empty(); }
  bool fits() const { return variables_.size() <= budget_.limits().variables; }

  /// Works out all nodes at a point. False where the (first) root is not finite or the work is used up.
  bool run(int point, slong bits) {
    const auto bytes = nodes_.size() * (sizeof(Ball) + static_cast<size_t>(bits) / 4);
    if (bits > kMoreBits && bytes > kMaxBytes) return false;
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (!budget_.spend(cost(nodes_[i]) * (bits / 128 + 1))) return false;
      evaluate(nodes_[i], values_[i].get(), point, bits);
    }
    return acb_is_finite(value());
  }
  acb_srcptr value() const { return of(root_); }
  acb_srcptr of(Expr node) const {
    const auto found = std::ranges::lower_bound(nodes_, node->id, {}, &Node::id);
    return values_[static_cast<size_t>(found - nodes_.begin())].get();
  }

  /// A bound from below for the largest term of the value.
  void magnitude(arb_ptr bound, slong bits) {
    arb_one(bound);
    if (!root_->is(Op::kSum)) return;
    Ball size;
    arb_zero(bound);
    for (const auto* term : root_->args) {
      acb_abs(acb_realref(size.get()), of(term), bits);
      if (arb_is_finite(acb_realref(size.get()))) arb_max(bound, bound, acb_realref(size.get()), bits);
    }
  }

  bool has(bool (*what)(Expr)) const { return std::ranges::any_of(nodes_, what); }

  /// Bits of all numbers in the tree.
  size_t number_bits() const {
    size_t bits = 0;
    for (const auto* node : nodes_) bits += node->is_number() ? node->value->bits() : 0;
    return bits;
  }

 private:
  static bool by_name(Expr a, Expr b) { return a->name != b->name ? a->name < b->name : a->id < b->id; }

  /// Parts before the whole; what is inside variables does not count.
  void collect(std::initializer_list<Expr> roots) {
    std::vector<bool> seen(std::ranges::max(roots, {}, &Node::id)->id + 1);
    Exprs open(roots);
    while (!open.empty()) {
      const auto* node = open.back();
      open.pop_back();
      if (seen[node->id]) continue;
      seen[node->id] = true;
      nodes_.push_back(node);
      if (!is_variable(node)) open.insert(open.end(), node->args.begin(), node->args.end());
    }
    std::ranges::sort(nodes_, {}, &Node::id);
  }

  static bool uses_gamma(Expr node) {
    return node->is(Function::kGamma) || node->is(Function::kFactorial) || node->is(Function::kBinomial);
  }
  static int64_t cost(Expr node) {
    if (node->is_number()) return 2 + static_cast<int64_t>(node->value->bits() / 256);
    if (node->is(Op::kFunction)) return uses_gamma(node) ? 300 : 40;
    if (node->is(Op::kPower)) return (*node)[1]->is_integer() ? 12 : 40;
    return 1 + static_cast<int64_t>(node->args.size());
  }

  void evaluate(Expr node, acb_ptr out, int point, slong bits) {
    switch (node->op) {
      case Op::kNumber:
        return set(out, *node->value, bits);
      case Op::kPi:
        return acb_const_pi(out, bits);
      case Op::kE:
        acb_zero(out);
        return arb_const_e(acb_realref(out), bits);
      case Op::kI:
        return acb_onei(out);
      case Op::kSum:
        acb_zero(out);
        for (const auto* arg : node->args) acb_add(out, out, of(arg), bits);
        return;
      case Op::kProduct:
        acb_one(out);
        for (const auto* arg : node->args) acb_mul(out, out, of(arg), bits);
        return;
      case Op::kPower:
        return power(out, (*node)[0], (*node)[1], bits);
      case Op::kFunction:
        return function(node, out, bits);
      case Op::kSymbol:
      case Op::kCall:
      case Op::kOpaque:
      case Op::kBigSum: {
        const auto k = std::ranges::find(variables_, node) - variables_.begin();
        return set(out, sample(static_cast<size_t>(k), point, reach_), bits);
      }
      default:
        return acb_indeterminate(out);
    }
  }

  static bool is_huge(acb_srcptr value, slong exponent_bits) {
    mag_t size;
    mag_init(size);
    acb_get_mag(size, value);
    const bool huge = mag_cmp_2exp_si(size, exponent_bits) > 0;
    mag_clear(size);
    return huge;
  }

  void power(acb_ptr out, Expr base, Expr exponent, slong bits) {
    const auto whole = exponent->is_number() ? exponent->value->as_int() : std::nullopt;
    if (whole) return acb_pow_si(out, of(base), *whole, bits);
    if (base->is(Op::kE)) {
      if (is_huge(of(exponent), kMaxExponentBits)) return acb_indeterminate(out);
      return acb_exp(out, of(exponent), bits);
    }
    if (is_huge(of(exponent), kMaxExponentBits)) return acb_indeterminate(out);
    if (exponent->is_number() && *exponent->value == Rational(1, 2)) return acb_sqrt(out, of(base), bits);
    acb_pow(out, of(base), of(exponent), bits);
  }

  void function(Expr node, acb_ptr out, slong bits);
  void of_two(Function f, Expr node, acb_ptr out, slong bits);
  static void gamma(acb_ptr out, acb_srcptr x, slong bits) {
    if (is_huge(x, 40) || bits > kMoreBits) return acb_indeterminate(out);  // milliseconds beyond
    acb_gamma(out, x, bits);
  }
  static void factorial(acb_ptr out, acb_srcptr n, slong bits) {
    acb_add_si(out, n, 1, bits);
    gamma(out, out, bits);
  }

  Budget& budget_;
  Expr root_;
  int reach_ = 2;
  Exprs nodes_, variables_;
  std::vector<Ball> values_;
};

/// 1 / f(1/x) and the like.
void inverse_of(acb_ptr out, acb_srcptr x, slong bits, void (*f)(acb_t, const acb_t, slong)) {
  acb_inv(out, x, bits);
  f(out, out, bits);
}

void real_only(acb_ptr out, acb_srcptr x, slong bits, void (*f)(arb_t, const arb_t, slong)) {
  if (!arb_contains_zero(acb_imagref(x))) return acb_indeterminate(out);
  f(acb_realref(out), acb_realref(x), bits);
  arb_zero(acb_imagref(out));
  if (!arb_is_exact(acb_realref(out))) acb_indeterminate(out);  // a step lies inside the ball
}

void Evaluation::of_two(Function f, Expr node, acb_ptr out, slong bits) {
  const auto *a = of((*node)[0]), *b = node->args.size() > 1 ? of((*node)[1]) : a;
  Ball x;
  switch (f) {
    case Function::kBinomial:
      factorial(out, a, bits);
      factorial(x.get(), b, bits);
      acb_div(out, out, x.get(), bits);
      acb_sub(x.get(), a, b, bits);
      factorial(x.get(), x.get(), bits);
      return acb_div(out, out, x.get(), bits);
    case Function::kMod:
      acb_div(x.get(), a, b, bits);
      real_only(x.get(), x.get(), bits, arb_floor);
      acb_mul(x.get(), x.get(), b, bits);
      return acb_sub(out, a, x.get(), bits);
    case Function::kMax:
    case Function::kMin:
      acb_set(out, a);
      for (const auto* arg : node->args) {
        if (!arb_contains_zero(acb_imagref(of(arg)))) return acb_indeterminate(out);
        const auto pick = f == Function::kMax ? arb_max : arb_min;
        pick(acb_realref(out), acb_realref(out), acb_realref(of(arg)), bits);
      }
      return arb_zero(acb_imagref(out));
    default:
      return acb_indeterminate(out);
  }
}

void Evaluation::function(Expr node, acb_ptr out, slong bits) {
  const auto f = static_cast<Function>(node->code);
  const auto* x = of((*node)[0]);
  switch (f) {
    case Function::kSin:
      return is_huge(x, kMaxTurnBits) ? acb_indeterminate(out) : acb_sin(out, x, bits);
    case Function::kCos:
      return is_huge(x, kMaxTurnBits) ? acb_indeterminate(out) : acb_cos(out, x, bits);
    case Function::kArcsin:
      return acb_asin(out, x, bits);
    case Function::kArccos:
      return acb_acos(out, x, bits);
    case Function::kArctan:
      return acb_atan(out, x, bits);
    case Function::kArccot:
      return inverse_of(out, x, bits, acb_atan);
    case Function::kArcsec:
      return inverse_of(out, x, bits, acb_acos);
    case Function::kArccsc:
      return inverse_of(out, x, bits, acb_asin);
    case Function::kSinh:
      return acb_sinh(out, x, bits);
    case Function::kCosh:
      return acb_cosh(out, x, bits);
    case Function::kTanh:
      return acb_tanh(out, x, bits);
    case Function::kArsinh:
      return acb_asinh(out, x, bits);
    case Function::kArcosh:
      return acb_acosh(out, x, bits);
    case Function::kArtanh:
      return acb_atanh(out, x, bits);
    case Function::kLog:
      return acb_log(out, x, bits);
    case Function::kAbs:
      acb_abs(acb_realref(out), x, bits);
      return arb_zero(acb_imagref(out));
    case Function::kFloor:
      return real_only(out, x, bits, arb_floor);
    case Function::kCeil:
      return real_only(out, x, bits, arb_ceil);
    case Function::kFactorial:
      return factorial(out, x, bits);
    case Function::kGamma:
      return gamma(out, x, bits);
    case Function::kRe:
      arb_set(acb_realref(out), acb_realref(x));
      return arb_zero(acb_imagref(out));
    case Function::kIm:
      arb_set(acb_realref(out), acb_imagref(x));
      return arb_zero(acb_imagref(out));
    case Function::kArg:
      acb_arg(acb_realref(out), x, bits);
      return arb_zero(acb_imagref(out));
    case Function::kConjugate:
      return acb_conj(out, x);
    default:
      return of_two(f, node, out, bits);
  }
}

/// Whether a ball that contains 0 is so small that it shows 0, beside terms of the given size.
bool is_tight(acb_srcptr value, arb_srcptr size) {
  mag_t radius, allowed;
  mag_init(radius);
  mag_init(allowed);
  acb_get_mag(radius, value);
  arb_get_mag_lower(allowed, size);
  mag_mul_2exp_si(allowed, allowed, -kZeroBits);
  const bool tight = mag_cmp(radius, allowed) <= 0;
  mag_clear(radius);
  mag_clear(allowed);
  return tight;
}

/// The two sides whose difference is looked at.
struct Sides {
  Expr left, right;
  bool real;  ///< no i in them: what is not real is not defined
};

bool is_not_real(acb_srcptr value) { return !arb_contains_zero(acb_imagref(value)); }

/// One point: kYes when tight around 0, kNo when 0 is excluded, kUnknown otherwise.
Zero look(Evaluation& evaluation, const Sides& sides, int point, slong bits) {
  if (!evaluation.run(point, bits)) return Zero::kUnknown;
  if (!acb_contains_zero(evaluation.value())) {
    const bool outside = sides.real && !evaluation.is_constant() && is_not_real(evaluation.of(sides.left)) &&
                         is_not_real(evaluation.of(sides.right));
    return outside ? Zero::kUnknown : Zero::kNo;
  }
  Ball size;
  evaluation.magnitude(acb_realref(size.get()), bits);
  return is_tight(evaluation.value(), acb_realref(size.get())) ? Zero::kYes : Zero::kUnknown;
}

Zero constant_zero(Evaluation& evaluation, const Sides& sides) {
  const auto needed = static_cast<slong>(kMoreBits + 4 * evaluation.number_bits());
  Zero found = Zero::kUnknown;
  for (const slong bits : {kBits, std::min(needed, kMaxBits)}) {
    found = look(evaluation, sides, 0, bits);
    if (found == Zero::kNo) return found;
  }
  return needed > kMaxBits ? Zero::kUnknown : found;
}

Sides sides_of(Expr left, Expr right, bool real_domain) {
  return {left, right, real_domain && !contains(left, Op::kI) && !contains(right, Op::kI)};
}

bool is_step(Expr node) {
  static constexpr std::array kSteps{Function::kFloor, Function::kCeil, Function::kMod, Function::kMax, Function::kMin};
  return std::ranges::any_of(kSteps, [&](Function f) { return node->is(f); });
}

}  // namespace

Zero Balls::quick_zero(Expr difference, Expr left, Expr right) {
  Evaluation evaluation({difference, left, right}, budget_);
  if (!evaluation.fits()) return Zero::kUnknown;
  const auto sides = sides_of(left, right, real_domain_);
  for (int point = 0; point < (evaluation.is_constant() ? 1 : 2); ++point) {
    if (look(evaluation, sides, point, kQuickBits) == Zero::kNo) return Zero::kNo;
  }
  return Zero::kUnknown;
}

Zero Balls::is_zero(Expr difference, Expr left, Expr right) {
  if (difference->is_number()) return difference->value->is_zero() ? Zero::kYes : Zero::kNo;
  Evaluation evaluation({difference, left, right}, budget_);
  const auto sides = sides_of(left, right, real_domain_);
  if (!evaluation.fits()) {
    budget_.reach("variables");
    return Zero::kUnknown;
  }
  if (evaluation.is_constant()) return constant_zero(evaluation, sides);
  int shown = 0;
  for (int point = 0; point < kPoints; ++point) {
    Zero found = Zero::kUnknown;
    for (const slong bits : {kBits, kMoreBits}) {
      found = look(evaluation, sides, point, bits);
      if (found != Zero::kUnknown) break;
    }
    if (found == Zero::kNo) return Zero::kNo;
    shown += found == Zero::kYes;
  }
  return shown >= kEnoughPoints && !evaluation.has(is_step) ? Zero::kYes : Zero::kUnknown;
}

std::optional<int> Balls::sign(Expr value) {
  if (value->is_number()) return value->value->sign();
  if (value->is(Op::kInfinity)) return 1;
  if (value->is(Op::kProduct) && value->args.size() == 2 && (*value)[1]->is(Op::kInfinity))
    return (*value)[0]->value->sign();
  Evaluation evaluation({value}, budget_);
  if (!evaluation.is_constant()) return {};
  for (const slong bits : {kQuickBits, kBits, kMoreBits}) {
    if (!evaluation.run(0, bits) || !arb_contains_zero(acb_imagref(evaluation.value()))) return {};
    const auto* real = acb_realref(evaluation.value());
    if (arb_is_positive(real)) return 1;
    if (arb_is_negative(real)) return -1;
  }
  return is_zero(value, value, value) == Zero::kYes ? std::optional(0) : std::nullopt;
}

std::optional<Rational> Balls::rounded(Expr value, int decimals) {
  if (value->is_number()) return value->value->rounded(decimals);
  Evaluation evaluation({value}, budget_);
  if (!evaluation.is_constant() || !evaluation.run(0, kBits)) return {};
  if (!arb_contains_zero(acb_imagref(evaluation.value())) || std::abs(decimals) > 100) return {};
  Ball scaled;
  set(scaled.get(), power(10, decimals), kBits);
  acb_mul(scaled.get(), scaled.get(), evaluation.value(), kBits);
  auto* real = acb_realref(scaled.get());
  arb_set_d(acb_imagref(scaled.get()), 0.5);
  arb_add(real, real, acb_imagref(scaled.get()), kBits);
  arb_floor(real, real, kBits);
  fmpz_t units;
  fmpz_init(units);
  std::optional<Rational> result;
  if (arb_get_unique_fmpz(units, real)) {
    mpz_class exact;
    fmpz_get_mpz(exact.get_mpz_t(), units);
    result = Rational(mpq_class(exact)) / power(10, decimals);
  }
  fmpz_clear(units);
  return result;
}

bool Balls::is_below(Expr value, int digits) {
  Evaluation evaluation({value}, budget_);
  if (!evaluation.is_constant() || !evaluation.run(0, kBits)) return false;
  Ball size;
  acb_abs(acb_realref(size.get()), evaluation.value(), kBits);
  Ball bound;
  set(bound.get(), power(10, -digits), kBits);
  return arb_lt(acb_realref(size.get()), acb_realref(bound.get()));
}

}  // namespace hone
