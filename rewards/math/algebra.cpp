#include "rewards/math/algebra.h"

#include <algorithm>
#include <array>

namespace hone {
namespace {

const Rational kHalf(1, 2);
constexpr int64_t kPartUnits = 3;  // of a sum or product

bool has_op(std::span<const Expr> parts, Op op) {
  return std::ranges::any_of(parts, [op](Expr e) { return e->is(op); });
}

/// The exponent and base of a factor: x is x^1.
struct Factor {
  Expr base, exponent;
};

}  // namespace

/// Work counts, and so does the memory of what it makes.
bool Algebra::spend(int64_t units) {
  if (arena_.bytes() > budget_.limits().bytes) budget_.exhaust("memory");
  return budget_.spend(units);
}

/// Whether a sum or product of these may be worked out.
bool Algebra::fits(const Rational& a, const Rational& b) {
  const size_t bits = a.bits() + b.bits();
  if (bits <= 128) return true;
  if (bits <= budget_.limits().result_bits) return budget_.spend_on_bits(bits) && spend(0);
  budget_.reach("bits of a number");
  return false;
}

Algebra::Term Algebra::split(Expr term) {
  if (term->is_number()) return {nullptr, *term->value};
  if (!term->is(Op::kProduct) || !(*term)[0]->is_number()) return {term, 1};
  const auto rest = term->args.subspan(1);
  return {rest.size() == 1 ? rest[0] : arena_.make(Op::kProduct, rest), *(*term)[0]->value};
}

Expr Algebra::scaled(const Rational& coefficient, Expr rest) {
  if (coefficient.is_one()) return rest;
  Exprs factors{number(coefficient)};
  if (rest->is(Op::kProduct)) {
    factors.insert(factors.end(), rest->args.begin(), rest->args.end());
  } else {
    factors.push_back(rest);
  }
  return arena_.make(Op::kProduct, factors);
}

Expr Algebra::sum(std::span<const Expr> terms) {
  if (terms.size() == 1) return terms[0];
  if (budget_.exhausted() || has_op(terms, Op::kUndefined)) return undefined();
  if (has_op(terms, Op::kMatrix)) return matrix_sum(terms);
  Rational constant;
  std::vector<Term> collected;
  const auto add = [&](Expr term) {
    auto part = split(term);
    if (part.rest) {
      collected.push_back(std::move(part));
    } else if (fits(constant, part.coefficient)) {
      constant = constant + part.coefficient;
    } else {
      collected.push_back({term, 1});
    }
  };
  for (const auto* term : terms) {
    if (term->is(Op::kSum)) {
      for (const auto* part : term->args) add(part);
    } else {
      add(term);
    }
  }
  spend(kPartUnits * static_cast<int64_t>(terms.size() + collected.size()));
  if (std::ranges::any_of(collected, [](const Term& t) { return t.rest->is(Op::kInfinity); })) {
    return infinite_sum(terms);
  }
  std::ranges::sort(collected, {}, [](const Term& t) { return t.rest->id; });
  Exprs parts;
  if (!constant.is_zero()) parts.push_back(number(constant));
  for (size_t i = 0; i < collected.size();) {
    Rational coefficient = collected[i].coefficient;
    size_t j = i + 1;
    for (; j < collected.size() && collected[j].rest == collected[i].rest; ++j) {
      if (!fits(coefficient, collected[j].coefficient)) return undefined();
      coefficient = coefficient + collected[j].coefficient;
    }
    if (!coefficient.is_zero()) parts.push_back(scaled(coefficient, collected[i].rest));
    i = j;
  }
  if (parts.empty()) return number(0);
  return parts.size() == 1 ? parts[0] : arena_.make(Op::kSum, parts);
}

/// Finite terms vanish beside oo; oo - oo is undefined.
Expr Algebra::infinite_sum(std::span<const Expr> terms) {
  int sign = 0;
  for (const auto* term : terms) {
    const auto part = split(term);
    if (!part.rest || !part.rest->is(Op::kInfinity)) {
      if (term->is(Op::kSum) && std::ranges::any_of(term->args, [](Expr e) { return contains(e, Op::kInfinity); })) {
        return undefined();
      }
      continue;
    }
    if (sign != 0 && sign != part.coefficient.sign()) return undefined();
    sign = part.coefficient.sign();
  }
  const auto* infinity = arena_.atom(Op::kInfinity);
  return sign < 0 ? scaled(-1, infinity) : infinity;
}

Expr Algebra::infinite_product(std::span<const Expr> factors) {
  int sign = 1;
  for (const auto* factor : factors) {
    const auto part = split(factor);
    if (part.rest && !part.rest->is(Op::kInfinity)) return undefined();
    sign *= part.coefficient.sign();
  }
  if (sign == 0) return undefined();
  const auto* infinity = arena_.atom(Op::kInfinity);
  return sign < 0 ? scaled(-1, infinity) : infinity;
}

Expr Algebra::product(std::span<const Expr> factors) {
  if (factors.size() == 1) return factors[0];
  if (budget_.exhausted() || has_op(factors, Op::kUndefined)) return undefined();
  if (has_op(factors, Op::kMatrix)) return matrix_product(factors);
  Rational coefficient(1);
  std::vector<Factor> collected;
  bool infinite = false;
  const auto add = [&](Expr factor) {
    infinite |= factor->is(Op::kInfinity);
    if (factor->is_number() && fits(coefficient, *factor->value)) {
      coefficient = coefficient * *factor->value;
    } else if (factor->is(Op::kPower)) {
      collected.push_back({(*factor)[0], (*factor)[1]});
    } else {
      collected.push_back({factor, number(1)});
    }
  };
  for (const auto* factor : factors) {
    if (factor->is(Op::kProduct)) {
      for (const auto* part : factor->args) add(part);
    } else {
      add(factor);
    }
  }
  spend(kPartUnits * static_cast<int64_t>(factors.size() + collected.size()));
  if (infinite) return infinite_product(factors);
  if (coefficient.is_zero()) return number(0);
  if (collected.empty()) return number(coefficient);
  std::ranges::sort(collected, {}, [](const Factor& f) { return f.base->id; });
  Exprs parts;
  for (size_t i = 0; i < collected.size();) {
    size_t j = i + 1;
    Exprs exponents{collected[i].exponent};
    for (; j < collected.size() && collected[j].base == collected[i].base; ++j)
      exponents.push_back(collected[j].exponent);
    const bool plain = collected[i].exponent->is_number() && collected[i].exponent->value->is_one();
    const auto* part = j > i + 1 ? power(collected[i].base, sum(exponents))
                       : plain   ? collected[i].base
                                 : arena_.make(Op::kPower, {collected[i].base, collected[i].exponent});
    i = j;
    if (part->is_number() && fits(coefficient, *part->value)) {
      coefficient = coefficient * *part->value;
    } else if (part->is(Op::kProduct)) {  // 2^(3/2) is 2 2^(1/2); its parts are in order and new to this product
      for (const auto* inner : part->args) {
        if (inner->is_number() && fits(coefficient, *inner->value)) {
          coefficient = coefficient * *inner->value;
        } else {
          parts.push_back(inner);
        }
      }
    } else {
      parts.push_back(part);
    }
  }
  if (parts.empty()) return number(coefficient);
  std::ranges::sort(parts, {}, &Node::id);
  if (parts.size() == 1 && parts[0]->is(Op::kSum)) {  // numbers go into a sum
    Exprs terms;
    for (const auto* term : parts[0]->args) {
      const auto part = split(term);
      if (!fits(part.coefficient, coefficient)) return arena_.make(Op::kProduct, {number(coefficient), parts[0]});
      terms.push_back(part.rest ? scaled(part.coefficient * coefficient, part.rest)
                                : number(part.coefficient * coefficient));
    }
    return coefficient.is_one() ? parts[0] : sum(terms);
  }
  if (!coefficient.is_one()) parts.insert(parts.begin(), number(coefficient));
  return parts.size() == 1 ? parts[0] : arena_.make(Op::kProduct, parts);
}

Factors factored(const Rational& integer) {
  static constexpr std::array<int, 46> kPrimes{
      2,  3,  5,   7,   11,  13,  17,  19,  23,  29,  31,  37,  41,  43,  47,  53,  59,  61,  67,  71,  73,  79,  83,
      89, 97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167, 173, 179, 181, 191, 193, 197, 199};
  Factors found;
  mpz_class rest = abs(integer.to_mpq().get_num());
  for (const int prime : kPrimes) {
    if (rest < prime * prime) break;
    if (!mpz_divisible_ui_p(rest.get_mpz_t(), static_cast<unsigned long>(prime))) continue;
    const mpz_class factor(prime);
    const auto count = mpz_remove(rest.get_mpz_t(), rest.get_mpz_t(), factor.get_mpz_t());
    found.powers.emplace_back(prime, static_cast<int64_t>(count));
  }
  if (rest <= 1) return found;
  const Rational left{mpq_class(rest)};
  for (const unsigned degree : {2u, 3u, 5u}) {  // 1009^2 is not prime
    const auto root = integer_root(left, degree);
    if (!root.exact) continue;
    found.powers.emplace_back(root.root, degree);
    return found;
  }
  found.powers.emplace_back(left, 1);
  return found;
}

int64_t units_to_factor(const Rational& integer) { return 20 + static_cast<int64_t>(integer.bits() / 8); }

/// value^exponent, value a positive integer, as a number times powers of primes with exponents in (0, 1).
Expr Algebra::root_of_integer(const Rational& value, const Rational& exponent) {
  spend(units_to_factor(value));
  Rational outside(1);
  Exprs roots;
  size_t bits = 0;
  for (const auto& [prime, count] : factored(value).powers) {
    const Rational total = exponent * Rational(count), whole = total.floor(), part = total - whole;
    const auto steps = whole.as_int();
    if (steps) bits += prime.bits() * static_cast<uint64_t>(std::abs(*steps));
    if (!steps || bits > budget_.limits().result_bits) {
      return arena_.make(Op::kPower, {number(value), number(exponent)});
    }
    outside = outside * hone::power(prime, *steps);
    if (!part.is_zero()) roots.push_back(arena_.make(Op::kPower, {number(prime), number(part)}));
  }
  std::ranges::sort(roots, {}, &Node::id);
  if (roots.empty()) return number(outside);
  if (!outside.is_one()) roots.insert(roots.begin(), number(outside));
  return roots.size() == 1 ? roots[0] : arena_.make(Op::kProduct, roots);
}

Expr Algebra::number_power(const Rational& base, const Rational& exponent) {
  if (base.is_zero()) return exponent.sign() > 0 ? number(0) : undefined();
  if (base.is_one()) return number(1);
  const auto whole = exponent.as_int();
  if (whole) {
    const auto magnitude = static_cast<uint64_t>(std::abs(*whole));
    const bool small = magnitude <= static_cast<uint64_t>(budget_.limits().exponent) || (-base).is_one();
    if (small && base.bits() * magnitude <= budget_.limits().result_bits) {
      if (!spend(static_cast<int64_t>(base.bits() * magnitude / 64))) return undefined();
      return number((-base).is_one() ? Rational(*whole % 2 == 0 ? 1 : -1) : hone::power(base, *whole));
    }
  }
  const bool plain = exponent.is_integer() || !exponent.denominator().as_int() || exponent.bits() > 32;
  if (plain) return arena_.make(Op::kPower, {number(base), number(exponent)});
  if (base.sign() > 0) {
    const auto* top = root_of_integer(base.numerator(), exponent);
    return base.is_integer() ? top : product({top, root_of_integer(base.denominator(), -exponent)});
  }
  const Rational whole_turns = exponent.floor(), part = exponent - whole_turns;
  const auto* sign = number((whole_turns * kHalf).is_integer() ? 1 : -1);
  const auto* turn = part == kHalf ? arena_.atom(Op::kI) : arena_.make(Op::kPower, {number(-1), number(part)});
  return product({sign, turn, number_power(-base, exponent)});
}

Expr Algebra::power(Expr base, Expr exponent) {
  if (base->is(Op::kUndefined) || exponent->is(Op::kUndefined)) return undefined();
  if (base->is(Op::kMatrix)) return matrix_power(base, exponent);
  if (!spend(2)) return undefined();
  if (!exponent->is_number()) {
    if (base->is_number() && base->value->is_one()) return contains(exponent, Op::kInfinity) ? undefined() : base;
    // e^(c ln y) is y^c
    const auto part = split(exponent);
    if (base->is(Op::kE) && part.rest && part.rest->is(Function::kLog))
      return power((*part.rest)[0], number(part.coefficient));
    if (base->is(Op::kPower) && (*base)[0]->is(Op::kE) && (*base)[1]->is_number()) {
      return power((*base)[0], product({(*base)[1], exponent}));
    }
    return arena_.make(Op::kPower, {base, exponent});
  }
  const Rational& n = *exponent->value;
  if (n.is_zero()) return contains(base, Op::kInfinity) ? undefined() : number(1);
  if (n.is_one()) return base;
  switch (base->op) {
    case Op::kNumber:
      return number_power(*base->value, n);
    case Op::kI:
      if (n.is_integer()) {
        const Rational turns = n - (n / 4).floor() * 4;
        const int64_t quarter = *turns.as_int();
        const auto* sign = number(quarter >= 2 ? -1 : 1);
        return quarter % 2 == 0 ? sign : product({sign, base});
      }
      break;
    case Op::kInfinity:
      return n.sign() > 0 ? base : number(0);
    case Op::kPower: {
      const auto *inner = (*base)[0], *inner_exponent = (*base)[1];
      const bool positive = inner->is(Op::kE) || inner->is(Op::kPi) || (inner->is_number() && inner->value->sign() > 0);
      const bool real = !contains(inner_exponent, Op::kSymbol);
      if (n.is_integer() || (positive && inner_exponent->is_number()))
        return power(inner, product({inner_exponent, exponent}));
      if (positive && real && !contains(inner_exponent, Op::kI))
        return power(inner, product({inner_exponent, exponent}));
      break;
    }
    case Op::kProduct:
      return product_power(base, exponent);
    case Op::kSum:
      return sum_power(base, exponent);
    default:
      break;
  }
  return arena_.make(Op::kPower, {base, exponent});
}

/// (a b)^n is a^n b^n for whole n; otherwise only positive factors leave.
Expr Algebra::product_power(Expr base, Expr exponent) {
  const bool whole = exponent->is_integer();
  Exprs out, inside;
  for (const auto* factor : base->args) {
    const bool power_of_positive = factor->is(Op::kPower) && (*factor)[0]->is_number() &&
                                   (*factor)[0]->value->sign() > 0 && (*factor)[1]->is_number();
    if (whole || factor->is(Op::kPi) || factor->is(Op::kE) || power_of_positive) {
      out.push_back(power(factor, exponent));
    } else if (factor->is_number()) {
      out.push_back(number_power(factor->value->abs(), *exponent->value));
      if (factor->value->sign() < 0) inside.push_back(number(-1));
    } else {
      inside.push_back(factor);
    }
  }
  if (!inside.empty()) {
    const auto* rest = product(inside);
    out.push_back(rest->is(Op::kProduct) || rest->is_number() ? arena_.make(Op::kPower, {rest, exponent})
                                                              : power(rest, exponent));
    if (rest->is_number()) out.back() = power(rest, exponent);
  }
  return product(out);
}

/// Takes the numeric content out of the base, so that (2x+2)^n and 2^n (x+1)^n are one.
Expr Algebra::sum_power(Expr base, Expr exponent) {
  Rational content = split((*base)[base->args.size() - 1]).coefficient;
  if (!exponent->is_integer()) content = content.abs();
  if (content.is_one() || content.bits() > 512) return arena_.make(Op::kPower, {base, exponent});
  Exprs terms;
  for (const auto* term : base->args) {
    const auto part = split(term);
    if (!fits(part.coefficient, content)) return arena_.make(Op::kPower, {base, exponent});
    terms.push_back(part.rest ? scaled(part.coefficient / content, part.rest) : number(part.coefficient / content));
  }
  const auto* primitive = sum(terms);
  const auto* rest =
      primitive->is(Op::kSum) ? arena_.make(Op::kPower, {primitive, exponent}) : power(primitive, exponent);
  return product({number_power(content, *exponent->value), rest});
}

bool Algebra::is_negative(Expr value) const {
  if (value->is(Op::kSum)) return is_negative((*value)[value->args.size() - 1]);
  const auto* first = value->is(Op::kProduct) ? (*value)[0] : value;
  return first->is_number() && first->value->sign() < 0;
}

Expr Algebra::canonical(Expr tree) {
  if (tree->id < known_.size() && known_[tree->id]) return known_[tree->id];
  for (const auto* part : nodes_of(tree)) {
    if (part->id >= known_.size()) known_.resize(std::max<size_t>(part->id + 1, arena_.size()));
    if (known_[part->id]) continue;
    const auto* form = spend(2) ? node(part) : undefined();
    known_[part->id] = form;
    if (form->id >= known_.size()) known_.resize(arena_.size());
    known_[form->id] = form;
  }
  return known_[tree->id];
}

/// The canonical form of one node whose parts have theirs.
Expr Algebra::node(Expr tree) {
  if (tree->is(Op::kBigSum)) return big_operator(tree);
  Exprs args;
  args.reserve(tree->args.size());
  for (const auto* arg : tree->args) args.push_back(known_[arg->id]);
  switch (tree->op) {
    case Op::kNumber:
      return number(*tree->value);
    case Op::kSymbol:
      if (imaginary_i_ && (tree->name == "i" || tree->name == "imath")) return arena_.atom(Op::kI);
      return tree;
    case Op::kSum:
      return sum(args);
    case Op::kProduct:
      return product(args);
    case Op::kPower:
      return power(args[0], args[1]);
    case Op::kPercent:
      return product({number(Rational(1, 100)), args[0]});
    case Op::kFunction:
      return function(static_cast<Function>(tree->code), args);
    default:
      return args.empty() ? tree : arena_.make(tree->op, args, tree->code, tree->name, tree->flags);
  }
}

Expr Algebra::function(Function f, std::span<const Expr> args) {
  if (has_op(args, Op::kUndefined)) return undefined();
  const auto* first = args[0];
  switch (f) {
    case Function::kSin:
    case Function::kCos:
    case Function::kTan:
    case Function::kCot:
    case Function::kSec:
    case Function::kCsc:
      return trigonometric(f, first);
    case Function::kLog:
      if (args.size() == 1) return logarithm(first);
      return product({logarithm(first), power(logarithm(args[1]), number(-1))});
    case Function::kAbs:
      return absolute(first);
    case Function::kFloor:
      if (first->is_number()) return number(first->value->floor());
      break;
    case Function::kCeil:
      if (first->is_number()) return number(-(-*first->value).floor());
      break;
    case Function::kFactorial:
      return factorial(first);
    case Function::kGamma:
      return factorial(difference(first, number(1)));
    case Function::kRoot:
      return root(first, args[1]);
    case Function::kDet:
      return determinant(first);
    case Function::kTranspose:
      return transposed(first);
    case Function::kBinomial:
    case Function::kGcd:
    case Function::kLcm:
    case Function::kMax:
    case Function::kMin:
    case Function::kMod:
      return of_integers(f, args);
    default:
      break;
  }
  return arena_.function(f, args);
}

Expr Algebra::trigonometric(Function f, Expr arg) {
  const auto* minus_one = number(-1);
  if (f == Function::kTan || f == Function::kCot) {
    const auto *sine = trigonometric(Function::kSin, arg), *cosine = trigonometric(Function::kCos, arg);
    return f == Function::kTan ? product({sine, power(cosine, minus_one)}) : product({cosine, power(sine, minus_one)});
  }
  if (f == Function::kSec) return power(trigonometric(Function::kCos, arg), minus_one);
  if (f == Function::kCsc) return power(trigonometric(Function::kSin, arg), minus_one);
  if (arg->is_number() && arg->value->is_zero()) return number(f == Function::kCos ? 1 : 0);
  if (!is_negative(arg)) return arena_.function(f, {arg});
  const auto* positive = arena_.function(f, {negative(arg)});
  return f == Function::kCos ? positive : negative(positive);
}

/// ln; of integers by their primes.
Expr Algebra::logarithm(Expr value) {
  if (value->is(Op::kE)) return number(1);
  if (value->is(Op::kPower) && (*value)[0]->is(Op::kE) && (*value)[1]->is_number()) return (*value)[1];
  if (value->is(Op::kPower) && (*value)[0]->is_number() && (*value)[0]->value->sign() > 0 && (*value)[1]->is_number()) {
    return product({(*value)[1], logarithm((*value)[0])});
  }
  if (!value->is_number() || value->value->sign() <= 0) {
    if (value->is_number() && value->value->is_zero()) return undefined();
    return arena_.function(Function::kLog, {value});
  }
  spend(units_to_factor(*value->value));
  Exprs terms;
  const auto add = [&](const Rational& integer, int64_t sign) {
    for (const auto& [prime, count] : factored(integer).powers) {
      terms.push_back(product({number(sign * count), arena_.function(Function::kLog, {number(prime)})}));
    }
  };
  add(value->value->numerator(), 1);
  add(value->value->denominator(), -1);
  return terms.empty() ? number(0) : sum(terms);
}

Expr Algebra::absolute(Expr value) {
  if (value->is_number()) return number(value->value->abs());
  if (value->is(Op::kPi) || value->is(Op::kE) || value->is(Op::kInfinity)) return value;
  if (value->is(Op::kProduct) && (*value)[0]->is_number()) {
    const auto part = split(value);
    return product({number(part.coefficient.abs()), absolute(part.rest)});
  }
  if (value->is(Op::kMatrix)) return determinant(value);
  return arena_.function(Function::kAbs, {is_negative(value) ? negative(value) : value});
}

Expr Algebra::factorial(Expr value) {
  const auto n = value->is_number() ? value->value->as_int() : std::nullopt;
  if (!n || *n > budget_.limits().factorial) return arena_.function(Function::kFactorial, {value});
  if (*n < 0) return undefined();
  mpz_class result;
  mpz_fac_ui(result.get_mpz_t(), static_cast<unsigned long>(*n));
  budget_.spend(*n / 8);
  return number(Rational(mpq_class(result)));
}

Expr Algebra::of_integers(Function f, std::span<const Expr> args) {
  const bool numbers = std::ranges::all_of(args, [](Expr e) { return e->is_number() && e->value->bits() < 4096; });
  const bool whole = numbers && std::ranges::all_of(args, [](Expr e) { return e->is_integer(); });
  if (f == Function::kMax || f == Function::kMin) {
    if (!numbers) {
      Exprs sorted(args.begin(), args.end());
      std::ranges::sort(sorted, {}, &Node::id);
      return arena_.function(f, sorted);
    }
    const auto by_value = [](Expr a, Expr b) { return *a->value < *b->value; };
    return f == Function::kMax ? *std::ranges::max_element(args, by_value) : *std::ranges::min_element(args, by_value);
  }
  if (!whole) return arena_.function(f, args);
  spend(static_cast<int64_t>(args.size()) * 4);
  if (f == Function::kMod) {
    const Rational &a = *args[0]->value, &b = *args[1]->value;
    return b.is_zero() ? undefined() : number(a - (a / b).floor() * b);
  }
  if (f == Function::kBinomial) {
    const auto n = args[0]->value->as_int(), k = args[1]->value->as_int();
    if (!n || !k || *n < 0 || *n > 10 * budget_.limits().factorial) return arena_.function(f, args);
    if (*k < 0 || *k > *n) return number(0);
    mpz_class result;
    mpz_bin_uiui(result.get_mpz_t(), static_cast<unsigned long>(*n), static_cast<unsigned long>(*k));
    budget_.spend(*n / 8);
    return number(Rational(mpq_class(result)));
  }
  mpz_class result = args[0]->value->to_mpq().get_num();
  for (const auto* arg : args) {
    const mpz_class next = arg->value->to_mpq().get_num();
    if (f == Function::kGcd) {
      mpz_gcd(result.get_mpz_t(), result.get_mpz_t(), next.get_mpz_t());
    } else {
      mpz_lcm(result.get_mpz_t(), result.get_mpz_t(), next.get_mpz_t());
    }
    const size_t bits = mpz_sizeinbase(result.get_mpz_t(), 2);
    if (bits > budget_.limits().result_bits || !budget_.spend_on_bits(bits)) return arena_.function(f, args);
  }
  return number(Rational(mpq_class(abs(result))));
}

/// Odd roots of negative numbers are real.
Expr Algebra::root(Expr base, Expr degree) {
  const auto n = degree->is_number() ? degree->value->as_int() : std::nullopt;
  if (n && *n > 0 && *n % 2 == 1 && is_negative(base) && !contains(base, Op::kSymbol)) {
    return negative(power(negative(base), power(degree, number(-1))));
  }
  return power(base, power(degree, number(-1)));
}

Expr Algebra::substituted(Expr tree, Expr symbol, Expr value) {
  if (!contains(tree, symbol->op)) return tree;
  const auto parts = nodes_of(tree);
  Exprs here(parts.size()), args;
  const auto place = [&](Expr part) {
    return std::ranges::lower_bound(parts, part->id, {}, &Node::id) - parts.begin();
  };
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto* part = parts[i];
    args.clear();
    for (const auto* arg : part->args) args.push_back(here[static_cast<size_t>(place(arg))]);
    const bool same = std::ranges::equal(args, part->args);
    here[i] = part == symbol ? value : same ? part : arena_.make(part->op, args, part->code, part->name, part->flags);
  }
  spend(static_cast<int64_t>(parts.size()) * 3);
  return here.back();
}

/// Sums and products over a range of integers are worked out; others keep a bound variable without a name.
Expr Algebra::big_operator(Expr tree) {
  const auto *body = (*tree)[0], *variable = (*tree)[1], *first = known_[(*tree)[2]->id],
             *last = known_[(*tree)[3]->id];
  const bool is_product = tree->code == 1;
  const auto from = first->is_number() ? first->value->as_int() : std::nullopt;
  const auto to = last->is_number() ? last->value->as_int() : std::nullopt;
  if (from && to && *to < *from) return number(is_product ? 1 : 0);
  const bool short_range = from && to && *from > -(int64_t{1} << 40) && *to < (int64_t{1} << 40) &&
                           *to - *from < budget_.limits().sum_terms && nested_operators_ < 3;
  ++nested_operators_;
  Expr result = nullptr;
  if (short_range) {
    Rational numbers(is_product ? 1 : 0);  // apart, so that their partial sums are no nodes
    Exprs others;
    for (int64_t k = *from; k <= *to && !budget_.exhausted(); ++k) {
      const auto* term = canonical(substituted(body, variable, number(k)));
      if (term->is_number() && fits(numbers, *term->value)) {
        numbers = is_product ? numbers * *term->value : numbers + *term->value;
      } else {
        others.push_back(term);
      }
    }
    others.push_back(number(numbers));
    result = is_product ? product(others) : sum(others);
    if (budget_.exhausted()) result = undefined();
  } else {
    const auto* bound = arena_.symbol("#" + std::to_string(nested_operators_));
    const auto* general = canonical(substituted(body, variable, bound));
    result = arena_.make(Op::kBigSum, {general, bound, first, last}, tree->code);
  }
  --nested_operators_;
  return result;
}

}  // namespace hone
