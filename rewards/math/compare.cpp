#include <algorithm>
#include <functional>
#include <string>
#include <utility>

#include <fmt/core.h>

#include "rewards/math/algebra.h"
#include "rewards/math/answer_data.h"
#include "rewards/math/math.h"
#include "rewards/math/numeric.h"
#include "rewards/math/real_sets.h"

namespace hone {
namespace {

/// Whether two values are equal, as far as it can be shown.
enum class Equal { kYes, kNo, kUnknown };

Equal both(Equal a, Equal b) {
  if (a == Equal::kNo || b == Equal::kNo) return Equal::kNo;
  return a == Equal::kYes && b == Equal::kYes ? Equal::kYes : Equal::kUnknown;
}
Equal either(Equal a, Equal b) {
  if (a == Equal::kYes || b == Equal::kYes) return Equal::kYes;
  return a == Equal::kNo && b == Equal::kNo ? Equal::kNo : Equal::kUnknown;
}
Equal yes_or_no(bool equal) { return equal ? Equal::kYes : Equal::kNo; }

/// A number as written, or a percentage of one.
bool is_atomic(Expr value) {
  if (value->is(Op::kPercent)) value = (*value)[0];
  return value->is_number() || value->is(Op::kInfinity);
}
bool is_decimal(Expr value) {
  if (value->is(Op::kPercent)) value = (*value)[0];
  return value->is_number() && (value->flags & kDecimal);
}

/// 15:1 has the value 15, but compares two quantities.
bool is_ratio_for_integer(Expr gold, Expr prediction) {
  return prediction->is_number() && (prediction->flags & kRatio) && gold->is_integer() && !(gold->flags & kRatio);
}

bool is_too_large(Expr value) { return value->is(Op::kOpaque) && value->code == kTooLarge; }

Relation relation_of(Expr relation) { return static_cast<Relation>(relation->code); }

bool is_equation(Expr value) {
  if (value->is(Op::kRelation)) return relation_of(value) == Relation::kEqual;
  return value->is(Op::kChain) &&
         std::ranges::all_of(value->args, [](Expr link) { return relation_of(link) == Relation::kEqual; });
}
Expr first_side(Expr relation) { return relation->is(Op::kChain) ? (*(*relation)[0])[0] : (*relation)[0]; }
Expr last_side(Expr relation) {
  return relation->is(Op::kChain) ? (*(*relation)[relation->args.size() - 1])[1] : (*relation)[1];
}

/// Whether a left side only names what the right side says: x, AB, |AB|, f(x), A:B, (x,y). Math-Verify takes every
/// formula without numbers for a name, sums too.
bool is_name(Expr value, bool sums_too) {
  switch (value->op) {
    case Op::kSymbol:
    case Op::kCall:
      return true;
    case Op::kPower:
      return (*value)[1]->is_number() && (*value)[1]->value->as_int() == -1 && is_name((*value)[0], sums_too);
    case Op::kSum:
      if (!sums_too) return false;
      [[fallthrough]];
    case Op::kProduct:
    case Op::kFunction:
    case Op::kTuple:
    case Op::kInterval:
      return std::ranges::all_of(value->args, [&](Expr e) { return is_name(e, sums_too); });
    default:
      return false;
  }
}

class Comparer {
 public:
  Comparer(const CompareConfig& config, Budget& budget)
      : config_(config),
        budget_(budget),
        algebra_(arena_, budget, !config.upstream_quirks),
        balls_(budget, !config.upstream_quirks) {}

  Comparison run(Expr gold, Expr prediction) {
    gold = arena_.import(gold);
    prediction = arena_.import(prediction);
    if (!config_.strict) prediction = renamed(prediction, gold);
    if (gold == prediction && !contains(gold, Op::kUndefined)) return {Outcome::kEqual, "the same formula"};
    const auto found = equal(gold, prediction, /*top=*/true);
    // what could not be worked out is undefined, so a verdict reached by then is none
    if (budget_.exhausted()) return {Outcome::kUndecided, limit_reason()};
    if (found == Equal::kYes) return {Outcome::kEqual, reason_};
    if (found == Equal::kNo) return {Outcome::kDifferent, reason_.empty() ? "the values differ" : reason_};
    if (budget_.reached()) return {Outcome::kUndecided, limit_reason()};
    return {Outcome::kDifferent, "could not be shown to be equal"};
  }

 private:
  std::string limit_reason() const { return fmt::format("limit reached: {}", budget_.reached()); }

  Equal because(Equal found, const char* reason) {
    if (found == Equal::kYes || reason_.empty()) reason_ = reason;
    return found;
  }

  /// The prediction with the gold answer's symbols in place of its own, by position.
  Expr renamed(Expr prediction, Expr gold) {
    const auto from = symbols_of(prediction), to = symbols_of(gold);
    if (from.size() != to.size()) return prediction;
    for (size_t i = 0; i < from.size(); ++i) {
      prediction = algebra_.substituted(prediction, from[i], arena_.symbol(fmt::format("#renamed{}", i)));
    }
    for (size_t i = 0; i < to.size(); ++i) {
      prediction = algebra_.substituted(prediction, arena_.symbol(fmt::format("#renamed{}", i)), to[i]);
    }
    return prediction;
  }

  Equal equal(Expr gold, Expr prediction, bool top = false) {
    if (!budget_.spend(4)) return Equal::kUnknown;
    unwrap(gold, prediction);
    gold = settled(gold);
    prediction = settled(prediction);
    if (gold == prediction) return because(Equal::kYes, "the same formula");
    if (is_too_large(gold) || is_too_large(prediction)) {
      budget_.reach("size of a formula");
      return Equal::kUnknown;
    }
    if (!config_.upstream_quirks && offers_inequalities(gold) && unknowns_of(gold).size() == 1) {
      gold = as_union(gold);
      if (offers_inequalities(prediction) && unknowns_of(prediction) == unknowns_of(gold)) {
        if (!std::ranges::all_of(prediction->args, all_isolated))
          return because(Equal::kNo, "an inequality is not solved");
        return by_solutions(gold, as_union(prediction));
      }
    }
    if ((is_relation(gold->op) || has_relations(gold)) && is_set(prediction->op) && !has_relations(prediction)) {
      return by_solutions(gold, prediction);
    }
    if (is_set(gold->op) && is_relation(prediction->op) && top && config_.allow_set_relation_comp) {
      return by_solutions(prediction, gold);
    }
    if (is_relation(gold->op) && is_relation(prediction->op)) return relations(gold, prediction);
    if (is_relation(gold->op) || is_relation(prediction->op)) {
      return because(Equal::kNo, "one is a relation, the other a value");
    }
    if (is_set_or_tuple(gold->op) || is_set_or_tuple(prediction->op)) return containers(gold, prediction);
    if (gold->is(Op::kSymbol) || prediction->is(Op::kSymbol)) {
      const auto found = names(gold, prediction);
      if (found == Equal::kYes || config_.upstream_quirks) return found;
    }
    return scalars(gold, prediction);
  }

  // Equations that only name a value stand for it, as far as the gold answer's form allows.

  void unwrap(Expr& gold, Expr& prediction) {
    const bool quirks = config_.upstream_quirks;
    const auto is_assignment = [&](Expr e) { return is_equation(e) && is_name(first_side(e), quirks); };
    const auto shortened = [&](Expr e) { return arena_.relation(Relation::kEqual, first_side(e), last_side(e)); };
    const bool gold_assigns = is_assignment(gold), prediction_assigns = is_assignment(prediction);
    const bool gold_equation = is_equation(gold), prediction_equation = is_equation(prediction);
    if (gold_assigns) gold = shortened(gold);
    if (prediction_assigns) prediction = shortened(prediction);
    if (prediction_equation && !gold_equation) {
      if (quirks || says_value(prediction)) prediction = last_side(prediction);
      else if (names_value(prediction)) prediction = first_side(prediction);
    } else if (gold_assigns && !prediction_equation) {
      gold = last_side(gold);
    }
  }

  /// |x| = 5 asks for x; |z| and |AB| are what is asked for.
  static bool is_size_of_unknown(Expr value) {
    if (!value->is(Function::kAbs) || !(*value)[0]->is(Op::kSymbol)) return false;
    return (*value)[0]->name == "x" || (*value)[0]->name == "y";
  }

  /// x+y = 3, 2+1 = 3 and x(x+1) = x^2+x say their right sides; 2x+1 = 3, |x| = 3 and 2 = 3 do not.
  bool says_value(Expr equation) {
    const auto *left = first_side(equation), *right = last_side(equation);
    if (is_size_of_unknown(left)) return false;
    if (is_name(left, true)) return true;
    if (!is_scalar(left->op) || !is_scalar(right->op) || unknowns_of(left) != unknowns_of(right)) return false;
    if (is_decimal(right)) return rounds_to(left, right);
    return scalars(left, right) == Equal::kYes;
  }

  /// 3 = x says 3, too.
  static bool names_value(Expr equation) {
    return equation->is(Op::kRelation) && last_side(equation)->is(Op::kSymbol) &&
           unknowns_of(first_side(equation)).empty();
  }

  /// Whether a decimal is a value to as many places as it has.
  bool rounds_to(Expr value, Expr decimal) {
    const Rational wanted = *algebra_.canonical(decimal)->value;
    int places = 0;
    for (Rational scaled = wanted; !scaled.is_integer() && places < 32; ++places) scaled = scaled * 10;
    const auto rounded = balls_.rounded(algebra_.canonical(value), places);
    return rounded && (*rounded - wanted).abs() <= power(Rational(10), -places);
  }

  /// Intervals are open at infinity; those that hold nothing are pairs (2,1), or empty (2,1].
  Expr settled(Expr value) {
    if (!value->is(Op::kInterval)) return value;
    const auto *left = algebra_.canonical((*value)[0]), *right = algebra_.canonical((*value)[1]);
    const auto low = infinity_sign(left), high = infinity_sign(right);
    std::optional<int> order = high - low;
    if (left == right) {
      order = 0;
    } else if (low == 0 && high == 0) {
      order = balls_.sign(algebra_.difference(right, left));
    }
    const uint32_t open = value->code | (low != 0 ? kLeftOpen : 0) | (high != 0 ? kRightOpen : 0);
    if (!order || *order > 0) return arena_.make(Op::kInterval, value->args, open);
    if (*order == 0 && value->code == 0) return arena_.make(Op::kSet, {(*value)[0]});
    const bool matched = value->code == 0 || value->code == (kLeftOpen | kRightOpen);
    return matched ? arena_.make(Op::kTuple, value->args)
                   : arena_.make(Op::kNamedSet, {}, static_cast<uint32_t>(NamedSet::kEmpty));
  }

  /// 1 for oo, -1 for -oo, 0 for what is finite.
  int infinity_sign(Expr value) { return contains(value, Op::kInfinity) ? balls_.sign(value).value_or(0) : 0; }

  // Relations.

  /// x < -1 or x > 1: a set of inequalities, which stands for the union of their solutions.
  static bool offers_inequalities(Expr value) {
    return value->is(Op::kSet) &&
           std::ranges::all_of(value->args, [](Expr e) { return is_relation(e->op) && !is_equation(e); });
  }
  static bool has_relations(Expr value) { return value->is(Op::kUnion) && contains(value, Op::kRelation); }
  Expr as_union(Expr set) {
    Expr whole = (*set)[0];
    for (const auto* part : set->args.subspan(1)) whole = arena_.make(Op::kUnion, {whole, part});
    return whole;
  }

  Equal by_solutions(Expr relation, Expr set) {
    RealLine line(algebra_, balls_);
    const auto same = line.same(algebra_.canonical(relation), canonical_set(set));
    if (!same) return because(Equal::kNo, "the relation's solutions are not known as intervals");
    return because(yes_or_no(*same),
                   *same ? "the relation has that set of solutions" : "the relation has other solutions");
  }

  Equal chains(Expr gold, Expr prediction) {
    auto found = yes_or_no(gold->args.size() == prediction->args.size());
    for (size_t i = 0; found != Equal::kNo && i < gold->args.size(); ++i) {
      found = both(found, relations((*gold)[i], (*prediction)[i]));
    }
    return found;
  }

  /// a > b = c as c = b < a.
  Expr turned(Expr chain) {
    Exprs links;
    for (const auto* link : chain->args) {
      links.insert(links.begin(), arena_.relation(flipped(relation_of(link)), (*link)[1], (*link)[0]));
    }
    return arena_.make(Op::kChain, links);
  }

  Equal relations(Expr gold, Expr prediction) {
    if (gold->is(Op::kChain) && prediction->is(Op::kChain)) {
      auto found = chains(gold, prediction);
      if (found == Equal::kNo && !config_.upstream_quirks) found = chains(gold, turned(prediction));
      if (found == Equal::kYes || config_.upstream_quirks) return found;
    }
    if (gold->is(Op::kRelation) && prediction->is(Op::kRelation)) return single_relations(gold, prediction);
    if (config_.upstream_quirks || is_equation(gold) || is_equation(prediction)) {
      return because(Equal::kNo, "the relations differ");
    }
    // 1 < x < 2 and 2 > x > 1
    if (!all_isolated(prediction)) return because(Equal::kNo, "the inequality is not solved");
    RealLine line(algebra_, balls_);
    const auto same = line.same(algebra_.canonical(gold), algebra_.canonical(prediction));
    if (unknowns_of(gold) != unknowns_of(prediction) || !same) return because(Equal::kNo, "the relations differ");
    return because(yes_or_no(*same), *same ? "the same solutions" : "other solutions");
  }

  /// Where the gold answer is a solved relation in one unknown, the prediction must be.
  Equal single_relations(Expr gold, Expr prediction) {
    const bool scalar = is_scalar((*gold)[0]->op) && is_scalar((*gold)[1]->op) && is_scalar((*prediction)[0]->op) &&
                        is_scalar((*prediction)[1]->op);
    if (!scalar) {
      if (relation_of(gold) != relation_of(prediction)) return because(Equal::kNo, "the relations differ");
      return both(equal((*gold)[0], (*prediction)[0]), equal((*gold)[1], (*prediction)[1]));
    }
    const bool solved =
        config_.upstream_quirks || unknowns_of(gold).size() > 1 || !is_isolated(gold) || is_isolated(prediction);
    if (!solved) return because(Equal::kNo, "the relation is not solved");
    const auto *left = difference_of_sides(gold), *right = difference_of_sides(prediction);
    auto found = Equal::kNo;
    if (relation_of(gold) == relation_of(prediction)) found = zero(left, right);
    if (found != Equal::kYes && relation_of(gold) == flipped(relation_of(prediction))) {
      found = either(found, zero(left, algebra_.negative(right)));
    }
    if (found != Equal::kYes) found = either(found, proportional(gold, prediction, left, right));
    return because(found, found == Equal::kYes ? "the same relation" : "the relations differ");
  }

  Expr difference_of_sides(Expr relation) {
    return algebra_.difference(algebra_.canonical((*relation)[0]), algebra_.canonical((*relation)[1]));
  }

  /// 2x + 4y = 6 and x + 2y = 3.
  Equal proportional(Expr gold, Expr prediction, Expr left, Expr right) {
    const bool one_unknown = unknowns_of(gold).size() < 2;
    const bool equation = relation_of(gold) == Relation::kEqual || relation_of(gold) == Relation::kNotEqual;
    if (config_.upstream_quirks && (one_unknown || relation_of(gold) != Relation::kEqual)) return Equal::kNo;
    if (!equation && !(algebra_.denominator(left)->is_number() && algebra_.denominator(right)->is_number())) {
      return Equal::kNo;
    }
    const auto *a = algebra_.expanded_numerator(left), *b = algebra_.expanded_numerator(right);
    if (!a || !b) return budget_.reached() ? Equal::kUnknown : Equal::kNo;
    const auto ratio = ratio_of(a, b);
    if (!ratio || ratio->is_zero()) return Equal::kNo;
    const auto expected = ratio->sign() > 0 ? relation_of(gold) : flipped(relation_of(gold));
    if (relation_of(prediction) != expected) return Equal::kNo;
    return zero(a, algebra_.product({algebra_.number(*ratio), b}));
  }

  /// The rational r for which a = r b is possible, from a term that both have.
  static std::optional<Rational> ratio_of(Expr a, Expr b) {
    const auto terms = [](const Expr& e) { return e->is(Op::kSum) ? e->args : std::span<const Expr>(&e, 1); };
    const auto coefficient = [](Expr e) {
      const auto* first = e->is(Op::kProduct) ? (*e)[0] : e;
      return first->is_number() ? *first->value : Rational(1);
    };
    const auto rest = [](Expr e) {
      if (e->is_number()) return std::span<const Expr>();
      if (!e->is(Op::kProduct)) return std::span<const Expr>();
      return (*e)[0]->is_number() ? e->args.subspan(1) : e->args;
    };
    const auto same_rest = [&](Expr x, Expr y) {
      if (x->is_number() || y->is_number()) return x->is_number() && y->is_number();
      const auto bare = [&](Expr e) { return e->is(Op::kProduct) && rest(e).size() == 1 ? rest(e)[0] : e; };
      return bare(x) == bare(y) || (rest(x).size() > 1 && std::ranges::equal(rest(x), rest(y)));
    };
    const auto* last = terms(a).back();
    for (const auto* term : terms(b)) {
      if (same_rest(last, term) && !coefficient(term).is_zero()) return coefficient(last) / coefficient(term);
    }
    return {};
  }

  /// x < 3, 3 > x and -x > -3, but neither 2x < 6 nor x - 3 < 0.
  static bool is_isolated(Expr relation) {
    const auto alone = [](Expr a, Expr b) {
      const bool turned =
          a->is(Op::kProduct) && a->args.size() == 2 && (*a)[0]->is_number() && (-*(*a)[0]->value).is_one();
      if (turned) a = (*a)[1];
      return (a->is(Op::kSymbol) || a->is(Op::kCall)) && unknowns_of(b).empty();
    };
    return alone((*relation)[0], (*relation)[1]) || alone((*relation)[1], (*relation)[0]);
  }
  static bool all_isolated(Expr relation) {
    return relation->is(Op::kChain) ? std::ranges::all_of(relation->args, is_isolated) : is_isolated(relation);
  }

  // Sets and tuples.

  Expr canonical_set(Expr set) { return algebra_.canonical(set); }

  /// A value by itself is the set of it.
  Expr as_container(Expr value) { return is_set_or_tuple(value->op) ? value : arena_.make(Op::kSet, {value}); }

  Equal containers(Expr gold, Expr prediction) {
    gold = as_container(gold);
    prediction = as_container(prediction);
    if (gold->is(Op::kTuple) != prediction->is(Op::kTuple) || is_finite(gold) != is_finite(prediction) ||
        gold->is(Op::kInterval) != prediction->is(Op::kInterval)) {
      return mixed_containers(gold, prediction);
    }
    if (gold->is(Op::kTuple) && gold->code != prediction->code) return because(Equal::kNo, "other brackets");
    if (gold->is(Op::kInterval)) return intervals(gold, prediction);
    if (is_finite(gold)) return finite(gold, prediction);
    return real_sets(gold, prediction);
  }

  static bool is_finite(Expr value) { return value->is(Op::kSet) || value->is(Op::kTuple); }

  Equal mixed_containers(Expr gold, Expr prediction) {
    const auto is_pair = [](Expr e) { return e->is(Op::kInterval) && e->code == (kLeftOpen | kRightOpen); };
    const auto tuple = [&](Expr e) { return arena_.make(Op::kTuple, e->args); };
    if (gold->is(Op::kTuple) && gold->code == 1) return because(Equal::kNo, "other brackets");
    if (prediction->is(Op::kTuple) && prediction->code == 1) return because(Equal::kNo, "other brackets");
    const bool ordered = gold->is(Op::kTuple) || is_pair(gold);
    if (ordered && config_.strict && (prediction->flags & kBraces)) return because(Equal::kNo, "a set has no order");
    if (is_finite(gold) && is_finite(prediction)) return finite(gold, prediction);
    if (is_pair(gold) && is_finite(prediction) && prediction->args.size() == 2) return finite(tuple(gold), prediction);
    if (is_pair(prediction) && is_finite(gold) && gold->args.size() == 2) return finite(gold, tuple(prediction));
    if (gold->is(Op::kTuple) || prediction->is(Op::kTuple)) return because(Equal::kNo, "a tuple is no set");
    return real_sets(gold, prediction);
  }

  Equal intervals(Expr gold, Expr prediction) {
    if (gold->code != prediction->code) return because(Equal::kNo, "an end is open in one and closed in the other");
    return both(equal((*gold)[0], (*prediction)[0]), equal((*gold)[1], (*prediction)[1]));
  }

  Equal real_sets(Expr gold, Expr prediction) {
    const auto *a = canonical_set(gold), *b = canonical_set(prediction);
    if (a == b) return because(Equal::kYes, "the same set");
    RealLine line(algebra_, balls_);
    if (const auto same = line.same(a, b)) return because(yes_or_no(*same), *same ? "the same set" : "the sets differ");
    return because(Equal::kNo, "the sets differ");
  }

  /// The elements of a set once each; the parts of a tuple as they are. A decimal is never the same as a fraction.
  Exprs elements(Expr container) {
    if (container->is(Op::kTuple)) return {container->args.begin(), container->args.end()};
    Exprs found;
    std::vector<std::pair<Expr, bool>> forms;
    for (const auto* element : container->args) {
      const std::pair form(algebra_.canonical(element), is_decimal(element));
      const bool defined = !contains(form.first, Op::kUndefined);
      if (defined && std::ranges::find(forms, form) != forms.end()) continue;
      forms.push_back(form);
      found.push_back(element);
    }
    return found;
  }

  /// Element by element: in written order when the gold answer is a tuple, in any order otherwise.
  Equal finite(Expr gold, Expr prediction) {
    const auto wanted = elements(gold), given = elements(prediction);  // of a set, in written order
    if (wanted.size() != given.size()) return because(Equal::kNo, "another number of elements");
    if (!gold->is(Op::kTuple)) return in_any_order(wanted, given);
    if (given.size() != prediction->args.size()) return because(Equal::kNo, "a set has no repetitions");
    return in_order(wanted, given);
  }

  Equal in_order(const Exprs& wanted, const Exprs& given) {
    auto found = Equal::kYes;
    for (size_t i = 0; found != Equal::kNo && i < wanted.size(); ++i) found = both(found, equal(wanted[i], given[i]));
    return because(found, found == Equal::kYes ? "equal part by part" : "a part differs");
  }

  Equal in_any_order(const Exprs& wanted, Exprs given) {
    auto all = Equal::kYes;
    Exprs left;
    for (const auto* element : wanted) {  // most are written alike
      const auto* form = algebra_.canonical(element);
      const auto same = std::ranges::find_if(given, [&](Expr e) { return algebra_.canonical(e) == form; });
      if (same == given.end() || contains(form, Op::kUndefined)) {
        left.push_back(element);
      } else {
        given.erase(same);
      }
    }
    for (const auto* element : left) {
      auto found = Equal::kNo;
      for (auto at = given.begin(); at != given.end(); ++at) {
        found = either(found, equal(element, *at));
        if (found != Equal::kYes) continue;
        given.erase(at);
        break;
      }
      all = both(all, found);
      if (all == Equal::kNo) break;
    }
    return because(all, all == Equal::kYes ? "equal element by element" : "an element differs");
  }

  // Names.

  /// \text{even} and even: a name, and the product of its letters.
  Equal names(Expr gold, Expr prediction) {
    const auto spelled = [](Expr value) -> std::optional<std::string> {
      if (value->is(Op::kSymbol)) return std::string(value->name);
      if (value->is(Op::kE)) return "e";
      if (!value->is(Op::kProduct)) return {};
      std::string name;
      for (const auto* factor : value->args) {
        if (!factor->is(Op::kSymbol) && !factor->is(Op::kE)) return {};
        name += factor->is(Op::kE) ? "e" : std::string(factor->name);
      }
      return name;
    };
    const auto a = spelled(gold), b = spelled(prediction);
    return because(yes_or_no(a && b && *a == *b), a && b && *a == *b ? "the same name" : "different names");
  }

  // Numbers and formulas.

  Equal scalars(Expr gold, Expr prediction) {
    if (is_ratio_for_integer(gold, prediction)) return because(Equal::kNo, "a ratio is no number");
    if (is_atomic(gold) || is_atomic(prediction)) {
      if (is_decimal(gold) || is_decimal(prediction)) return rounded(gold, prediction);
    }
    const auto *a = algebra_.canonical(gold), *b = algebra_.canonical(prediction);
    if (a->is(Op::kUndefined) || b->is(Op::kUndefined)) return because(Equal::kNo, "a value is not defined");
    if (a == b) return because(Equal::kYes, "the same canonical form");
    if (a->is(Op::kMatrix) || b->is(Op::kMatrix)) return matrices(gold, prediction, a, b);
    if (contains(a, Op::kInfinity) || contains(b, Op::kInfinity)) return because(Equal::kNo, "one is infinite");
    const auto found = zero(a, b);
    const bool tolerant = config_.upstream_quirks && !is_atomic(gold) && !is_atomic(prediction);
    if (found == Equal::kNo && tolerant && balls_.is_below(algebra_.difference(a, b), config_.numeric_precision)) {
      return because(Equal::kYes, "equal to so many digits");
    }
    return found;
  }

  Equal rounded(Expr gold, Expr prediction) {
    const auto *a = algebra_.canonical(gold), *b = algebra_.canonical(prediction);
    if (budget_.exhausted()) return Equal::kUnknown;
    const auto x = balls_.rounded(a, config_.float_rounding), y = balls_.rounded(b, config_.float_rounding);
    if (x && y) {
      return because(yes_or_no(*x == *y), *x == *y ? "equal to the decimals that count" : "different decimals");
    }
    return because(yes_or_no(a == b), "a decimal is compared with what is no number");
  }

  Equal matrices(Expr gold, Expr prediction, Expr a, Expr b) {
    if (!a->is(Op::kMatrix) || !b->is(Op::kMatrix) || a->code != b->code || a->args.size() != b->args.size()) {
      return because(Equal::kNo, "matrices of other shapes");
    }
    // entries as written know whether they are decimals
    const auto entries = [](Expr written, Expr worked_out) { return written->is(Op::kMatrix) ? written : worked_out; };
    const auto *x = entries(gold, a), *y = entries(prediction, b);
    auto found = Equal::kYes;
    for (size_t i = 0; found != Equal::kNo && i < a->args.size(); ++i) found = both(found, scalars((*x)[i], (*y)[i]));
    return found;
  }

  /// Whether two canonical values are equal.
  Equal zero(Expr left, Expr right) {
    const auto* difference = algebra_.difference(left, right);
    if (difference->is_number()) {
      return because(yes_or_no(difference->value->is_zero()),
                     difference->value->is_zero() ? "the same canonical form" : "the values differ");
    }
    if (!is_scalar(difference->op) || difference->is(Op::kMatrix) || difference->is(Op::kUndefined)) return Equal::kNo;
    if (balls_.quick_zero(difference, left, right) == Zero::kNo) return because(Equal::kNo, "the values differ");
    const auto* expanded = algebra_.expanded_numerator(difference);
    if (expanded && expanded->is_number() && expanded->value->is_zero()) {
      return because(Equal::kYes, "the same when multiplied out");
    }
    if (budget_.exhausted()) return Equal::kUnknown;
    switch (balls_.is_zero(difference, left, right)) {
      case Zero::kYes:
        return because(Equal::kYes, "the same at every point, to 40 digits");
      case Zero::kNo:
        return because(Equal::kNo, "the values differ");
      case Zero::kUnknown:
        return Equal::kUnknown;
    }
    return Equal::kUnknown;
  }

  const CompareConfig& config_;
  Budget& budget_;
  Arena arena_;
  Algebra algebra_;
  Balls balls_;
  std::string reason_;
};

}  // namespace

Comparison compare(const Answer& gold, const Answer& prediction, const CompareConfig& config, Budget& budget) {
  const auto *a = gold.data().root, *b = prediction.data().root;
  const bool exact = a->is_number() && b->is_number() && !((a->flags | b->flags) & (kDecimal | kRatio));
  if (exact) {  // by far the most frequent case
    const bool same = *a->value == *b->value;
    return {same ? Outcome::kEqual : Outcome::kDifferent, same ? "the same number" : "the numbers differ"};
  }
  return Comparer(config, budget).run(a, b);
}

}  // namespace hone
