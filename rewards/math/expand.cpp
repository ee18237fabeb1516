// Multiplying out, common denominators, and matrices.
#include <algorithm>

#include "rewards/math/algebra.h"

namespace hone {
namespace {

std::span<const Expr> terms_of(const Expr& value) {
  return value->is(Op::kSum) ? value->args : std::span<const Expr>(&value, 1);
}

std::span<const Expr> factors_of(const Expr& value) {
  return value->is(Op::kProduct) ? value->args : std::span<const Expr>(&value, 1);
}

}  // namespace

Expr Algebra::expanded(Expr value) {
  const size_t limit = budget_.limits().polynomial_terms;
  const auto multiply = [&](Expr a, Expr b) -> Expr {
    const auto left = terms_of(a), right = terms_of(b);
    if (left.size() * right.size() > limit || !budget_.spend(static_cast<int64_t>(left.size() * right.size()) * 4)) {
      return nullptr;
    }
    Exprs terms;
    for (const auto* x : left) {
      for (const auto* y : right) terms.push_back(product({x, y}));
    }
    return sum(terms);
  };
  const auto expand_term = [&](Expr term) -> Expr {
    Expr result = number(1);
    for (const auto* factor : factors_of(term)) {
      const auto times = factor->is(Op::kPower) && (*factor)[0]->is(Op::kSum) && (*factor)[1]->is_number()
                             ? (*factor)[1]->value->as_int()
                             : std::nullopt;
      const bool multiplies = times && *times > 1;
      if (multiplies && *times > static_cast<int64_t>(limit)) return nullptr;
      for (int64_t i = 0; i < (multiplies ? *times : 1); ++i) {
        result = multiply(result, multiplies ? (*factor)[0] : factor);
        if (!result) return nullptr;
      }
    }
    return result;
  };
  Exprs terms;
  for (const auto* term : terms_of(value)) {
    const auto* part = expand_term(term);
    if (!part) return nullptr;
    terms.push_back(part);
  }
  const auto* result = sum(terms);
  if (terms_of(result).size() > limit || budget_.exhausted()) return nullptr;
  // products such as (x+1)^(1/2) (x+1)^(1/2) may have become sums
  const bool done = std::ranges::none_of(terms_of(result), [](Expr term) {
    return std::ranges::any_of(factors_of(term), [](Expr f) { return f->is(Op::kSum); });
  });
  return done || result == value ? result : expanded(result);
}

Expr Algebra::denominator(Expr value) {
  std::vector<std::pair<Expr, Rational>> found;
  if (budget_.exhausted()) return undefined();
  for (const auto* term : terms_of(value)) {
    for (const auto* factor : factors_of(term)) {
      budget_.spend(1 + static_cast<int64_t>(found.size()) / 16);
      if (!factor->is(Op::kPower) || !(*factor)[1]->is_number() || (*factor)[1]->value->sign() > 0) continue;
      const Rational exponent = -*(*factor)[1]->value;
      const auto known = std::ranges::find(found, (*factor)[0], [](const auto& f) { return f.first; });
      if (known == found.end()) {
        found.emplace_back((*factor)[0], exponent);
      } else {
        known->second = std::max(known->second, exponent);
      }
    }
  }
  Exprs factors;
  for (const auto& [base, exponent] : found) factors.push_back(power(base, number(exponent)));
  return factors.empty() ? number(1) : product(factors);
}

Expr Algebra::expanded_numerator(Expr value) {
  for (int round = 0; round < 4; ++round) {
    const auto* bottom = denominator(value);
    if (bottom->is_number()) return expanded(value);
    if (terms_of(value).size() > budget_.limits().polynomial_terms) return nullptr;
    Exprs terms;
    for (const auto* term : terms_of(value)) terms.push_back(product({term, bottom}));
    value = expanded(sum(terms));
    if (!value) return nullptr;
  }
  return value;
}

// Matrices.

Expr Algebra::matrix_sum(std::span<const Expr> terms) {
  Exprs entries(terms[0]->args.begin(), terms[0]->args.end());
  for (const auto* term : terms) {
    if (!term->is(Op::kMatrix) || term->code != terms[0]->code || term->args.size() != entries.size())
      return undefined();
  }
  for (size_t t = 1; t < terms.size(); ++t) {
    for (size_t i = 0; i < entries.size(); ++i) entries[i] = sum({entries[i], (*terms[t])[i]});
  }
  return arena_.make(Op::kMatrix, entries, terms[0]->code);
}

Expr Algebra::matrix_product(std::span<const Expr> factors) {
  Exprs scalars{number(1)};
  Expr result = nullptr;
  for (const auto* factor : factors) {
    if (!factor->is(Op::kMatrix)) {
      scalars.push_back(factor);
      continue;
    }
    if (!result) {
      result = factor;
      continue;
    }
    const size_t inner = result->code, columns = factor->code;
    const size_t rows = result->args.size() / inner;
    if (factor->args.size() / columns != inner || !budget_.spend(static_cast<int64_t>(rows * inner * columns) * 4)) {
      return undefined();
    }
    Exprs entries, terms;
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = 0; c < columns; ++c) {
        terms.clear();
        for (size_t k = 0; k < inner; ++k)
          terms.push_back(product({(*result)[r * inner + k], (*factor)[k * columns + c]}));
        entries.push_back(sum(terms));
      }
    }
    result = arena_.make(Op::kMatrix, entries, static_cast<uint32_t>(columns));
  }
  const auto* scale = product(scalars);
  Exprs entries;
  for (const auto* entry : result->args) entries.push_back(product({scale, entry}));
  return arena_.make(Op::kMatrix, entries, result->code);
}

Expr Algebra::matrix_power(Expr base, Expr exponent) {
  const size_t side = base->code;
  const auto n = exponent->is_number() ? exponent->value->as_int() : std::nullopt;
  if (!n || side * side != base->args.size() || std::abs(*n) > 64) return undefined();
  if (*n < 0) {
    if (side != 2) return undefined();
    const auto* scale = power(determinant(base), number(-1));
    const auto* adjugate =
        arena_.make(Op::kMatrix, {(*base)[3], negative((*base)[1]), negative((*base)[2]), (*base)[0]}, 2);
    return matrix_power(matrix_product(Exprs{scale, adjugate}), number(-*n));
  }
  Exprs identity;
  for (size_t i = 0; i < side * side; ++i) identity.push_back(number(i % (side + 1) == 0 ? 1 : 0));
  Expr result = arena_.make(Op::kMatrix, identity, base->code);
  for (int64_t i = 0; i < *n && result->is(Op::kMatrix); ++i) result = matrix_product(Exprs{result, base});
  return result;
}

Expr Algebra::transposed(Expr matrix) {
  if (!matrix->is(Op::kMatrix)) return matrix;
  const size_t columns = matrix->code, rows = matrix->args.size() / columns;
  Exprs entries;
  for (size_t c = 0; c < columns; ++c) {
    for (size_t r = 0; r < rows; ++r) entries.push_back((*matrix)[r * columns + c]);
  }
  return arena_.make(Op::kMatrix, entries, static_cast<uint32_t>(rows));
}

/// By the first row; matrices up to 4 by 4.
Expr Algebra::determinant(Expr matrix) {
  const size_t side = matrix->code;
  if (!matrix->is(Op::kMatrix) || side * side != matrix->args.size() || side > 4) return undefined();
  if (side == 1) return (*matrix)[0];
  Exprs terms;
  for (size_t skipped = 0; skipped < side; ++skipped) {
    Exprs minor;
    for (size_t i = side; i < side * side; ++i) {
      if (i % side != skipped) minor.push_back((*matrix)[i]);
    }
    const auto* part =
        product({(*matrix)[skipped], determinant(arena_.make(Op::kMatrix, minor, static_cast<uint32_t>(side - 1)))});
    terms.push_back(skipped % 2 == 0 ? part : negative(part));
  }
  return sum(terms);
}

}  // namespace hone
