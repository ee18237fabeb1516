#include "rewards/math/verify.h"

#include <utility>

#include <fmt/core.h>

#include "rewards/answer.h"
#include "rewards/format.h"

namespace hone {
namespace {

constexpr size_t kNone = std::string_view::npos;

bool same_text(std::string_view a, std::string_view b) { return !trim(a).empty() && trim(a) == trim(b); }

bool texts_match(const Found& gold, const Found& prediction) {
  for (const auto* a : {&gold.choice, &gold.text}) {
    for (const auto* b : {&prediction.choice, &prediction.text}) {
      if (same_text(*a, *b)) return true;
    }
  }
  return false;
}

/// Upstream compares texts even where values differ. Its texts are closer to what was written than ours: those of
/// numbers and percentages are (5 and 5% are both read from the text 5), and those of names (\text{5} is a name like
/// 5).
bool same_upstream_text(const Found& gold, const Found& prediction) {
  const bool is_name = prediction.text.find_first_not_of("0123456789.-") == kNone;
  if (prediction.is_number || is_name || gold.percent != prediction.percent) return texts_match(gold, prediction);
  return same_text(gold.written, prediction.written);
}

/// Whether texts make up for values that are absent or not equal.
bool same_as_written(const Found& gold, const Found& prediction, const MathConfig& config) {
  if (!config.text_fallback) return same_text(gold.choice, prediction.choice);
  if (!config.compare.upstream_quirks) {
    // not in the texts
    const bool multiplied = !gold.unit && prediction.unit && prediction.unit->is_count();
    const bool other_unit = gold.unit && prediction.unit && *gold.unit != *prediction.unit;
    return !multiplied && gold.percent == prediction.percent && !other_unit && texts_match(gold, prediction);
  }
  return gold.value && prediction.value ? same_upstream_text(gold, prediction) : texts_match(gold, prediction);
}

std::string limit_reached(const Budget& budget) { return fmt::format("limit reached: {}", budget.reached()); }

/// With the predicted value times a factor.
Comparison compare_scaled(const Answer& gold, const Answer& prediction, const Rational& factor,
                          const CompareConfig& config, Budget& budget) {
  const auto value = scaled(prediction, factor);
  return compare(gold, value ? *value : prediction, config, budget);
}

/// Both have a unit: 5 cm is 50 mm and not 5 km; of what only follows in the text, "60 miles an hour", the size alone
/// counts, but for currencies.
Comparison compare_units(const Found& gold, const Found& prediction, const CompareConfig& config, Budget& budget) {
  const auto &wanted = *gold.unit, &given = *prediction.unit;
  const bool measures_same = wanted.measures_same(given);
  if (measures_same && wanted != given)
    return compare_scaled(*gold.value, *prediction.value, given.scale / wanted.scale, config, budget);
  const bool certain = gold.unit_in_formula && prediction.unit_in_formula;
  const bool counts = wanted.is_count() || given.is_count();
  const bool differ = !measures_same && certain && !counts;
  if (differ || wanted.is_other_currency(given)) return {Outcome::kDifferent, "measured in something else"};
  return compare(*gold.value, *prediction.value, config, budget);
}

/// One has a unit, which counts where the other may be read with one: 12 m, beside centimetres, is no product.
Comparison compare_with_unit(const Found& gold, const Found& prediction, const CompareConfig& config, Budget& budget) {
  const auto& unit = gold.unit ? *gold.unit : *prediction.unit;
  const auto with_factor = [&](const Answer& wanted, const Answer& given, const Rational& factor) {
    return compare_scaled(wanted, given, factor, config, budget);
  };
  const auto other = as_quantity(gold.unit ? *prediction.value : *gold.value);
  if (other && other->unit.measures_same(unit)) {
    if (gold.unit) return with_factor(*gold.value, other->size, other->unit.scale / unit.scale);
    return with_factor(other->size, *prediction.value, unit.scale / other->unit.scale);
  }
  const bool multiplied = !gold.unit && unit.is_count() && !unit.is_dozen();
  if (multiplied) return with_factor(*gold.value, *prediction.value, unit.scale);  // 5 million is not 5
  auto compared = compare(*gold.value, *prediction.value, config, budget);
  if (!unit.is_count() || compared.outcome != Outcome::kDifferent) return compared;
  const auto factor = gold.unit ? unit.scale.inverse() : unit.scale;  // 5 million, 5000000
  return with_factor(*gold.value, *prediction.value, factor);
}

Comparison compare_quantities(const Found& gold, const Found& prediction, const CompareConfig& config, Budget& budget) {
  if (gold.unit && prediction.unit) return compare_units(gold, prediction, config, budget);
  if (gold.unit || prediction.unit) return compare_with_unit(gold, prediction, config, budget);
  return compare(*gold.value, *prediction.value, config, budget);
}

Score compare_values(const Found& gold_found, const Found& prediction_found, const MathConfig& config, Budget& budget) {
  const auto &gold = *gold_found.value, &prediction = *prediction_found.value;
  const std::string_view shown = prediction_found.text;
  const auto compared = compare_quantities(gold_found, prediction_found, config.compare, budget);
  const auto reason = fmt::format("answers '{}': {}", excerpt(shown), compared.reason);
  if (compared.outcome == Outcome::kUndecided) return Score::undecided(reason);
  if (compared.outcome == Outcome::kDifferent) return Score::wrong(reason);
  const bool demanded = config.flags.closed_form && !config.compare.upstream_quirks;
  if (demanded && is_unevaluated(prediction) && !is_unevaluated(gold)) {
    return Score::wrong(fmt::format("answers '{}', which leaves arithmetic to do", excerpt(shown)));
  }
  return Score::correct(reason);
}

}  // namespace

struct Gold::State {
  MathConfig config;
  Found found;
  std::string limit;  ///< reached while the gold answer was read

  Score score(const Found& prediction, Budget& budget) const {
    auto by_value = score_values(prediction, budget);
    if (by_value.verdict == Verdict::kCorrect || !same_as_written(found, prediction, config)) return by_value;
    return Score::correct(fmt::format("answers '{}', as the gold answer is written", excerpt(prediction.text)));
  }

  Score score_values(const Found& prediction, Budget& budget) const {
    if (!found.has_answer()) {
      return Score::not_applicable(limit.empty() ? "the gold answer cannot be read"
                                                 : "the gold answer cannot be read: " + limit);
    }
    if (found.value && prediction.value) {
      return compare_values(found, prediction, config, budget);
    }
    if (prediction.has_answer()) {
      return Score::wrong(fmt::format("answers '{}', which is of another kind", excerpt(prediction.text)));
    }
    return budget.reached() ? Score::undecided(limit_reached(budget)) : Score::wrong(prediction.problem);
  }
};

Gold::Gold(std::string_view text, MathConfig config) {
  auto state = std::make_unique<State>();
  state->config = std::move(config);
  Budget budget;
  state->found = find_gold(text, state->config, budget, /*explain=*/true);
  if (budget.reached()) state->limit = limit_reached(budget);
  state_ = std::move(state);
}
Gold::~Gold() = default;
Gold::Gold(Gold&&) noexcept = default;
Gold& Gold::operator=(Gold&&) noexcept = default;

Score Gold::verify(std::string_view prediction) const {
  Budget budget;
  const auto found = find_prediction(prediction, state_->config, budget, /*explain=*/false);
  return state_->score(found, budget);
}

MathScore Gold::explain(std::string_view prediction) const {
  Budget budget;
  const auto found = find_prediction(prediction, state_->config, budget, /*explain=*/true);
  auto score = state_->score(found, budget);
  auto lines = fmt::format("gold\n{}prediction\n{}work {} units", state_->found.trace, found.trace, budget.spent());
  return {std::move(score), std::move(lines)};
}

std::vector<std::string> extract_answer(std::string_view text, const MathConfig& config) {
  Budget budget;
  const auto found = find_prediction(text, config, budget, /*explain=*/false);
  std::vector<std::string> items;
  if (found.has_answer()) items.push_back(found.value ? to_string(*found.value) : found.choice);
  if (!found.text.empty() && config.text_fallback) items.push_back(found.text);
  return items;
}

}  // namespace hone
