#include "rewards/math/units.h"

#include <algorithm>
#include <string>

#include "rewards/math/scan.h"

namespace hone {
namespace {

/// Those before kBase are the dimensions of a unit.
enum Measure : uint8_t {
  kLength,
  kTime,
  kMonths,
  kMass,
  kMoney,
  kEuros,
  kSterling,
  kYen,
  kRupees,
  kBase,  ///< of a numeral
  kArea,
  kVolume,
  kSpeed,
  kCount
};
static_assert(kBase + 1 == Unit::Powers().size());

struct NamedUnit {
  std::string_view name;  ///< in the singular
  Measure measure;
  int64_t num, den = 1;
};
constexpr std::array<NamedUnit, 92> kUnits{{
    {"m", kLength, 1},
    {"meter", kLength, 1},
    {"metre", kLength, 1},
    {"mm", kLength, 1, 1000},
    {"millimeter", kLength, 1, 1000},
    {"millimetre", kLength, 1, 1000},
    {"cm", kLength, 1, 100},
    {"centimeter", kLength, 1, 100},
    {"centimetre", kLength, 1, 100},
    {"dm", kLength, 1, 10},
    {"decimeter", kLength, 1, 10},
    {"decimetre", kLength, 1, 10},
    {"km", kLength, 1000},
    {"kilometer", kLength, 1000},
    {"kilometre", kLength, 1000},
    {"in", kLength, 127, 5000},
    {"inch", kLength, 127, 5000},
    {"ft", kLength, 381, 1250},
    {"foot", kLength, 381, 1250},
    {"feet", kLength, 381, 1250},
    {"yd", kLength, 1143, 1250},
    {"yard", kLength, 1143, 1250},
    {"mi", kLength, 201168, 125},
    {"mile", kLength, 201168, 125},
    {"acre", kArea, 40468564224, 10000000},
    {"hectare", kArea, 10000},
    {"ha", kArea, 10000},
    {"ml", kVolume, 1, 1000000},
    {"milliliter", kVolume, 1, 1000000},
    {"millilitre", kVolume, 1, 1000000},
    {"cc", kVolume, 1, 1000000},
    {"l", kVolume, 1, 1000},
    {"liter", kVolume, 1, 1000},
    {"litre", kVolume, 1, 1000},
    {"gallon", kVolume, 3785411784, 1000000000000},
    {"gal", kVolume, 3785411784, 1000000000000},
    {"quart", kVolume, 946352946, 1000000000000},
    {"qt", kVolume, 946352946, 1000000000000},
    {"pint", kVolume, 473176473, 1000000000000},
    {"pt", kVolume, 473176473, 1000000000000},
    {"cup", kVolume, 473176473, 2000000000000},
    {"ms", kTime, 1, 1000},
    {"millisecond", kTime, 1, 1000},
    {"s", kTime, 1},
    {"sec", kTime, 1},
    {"second", kTime, 1},
    {"min", kTime, 60},
    {"minute", kTime, 60},
    {"h", kTime, 3600},
    {"hr", kTime, 3600},
    {"hour", kTime, 3600},
    {"day", kTime, 86400},
    {"week", kTime, 604800},
    {"month", kMonths, 1},
    {"year", kMonths, 12},
    {"yr", kMonths, 12},
    {"decade", kMonths, 120},
    {"century", kMonths, 1200},
    {"centurie", kMonths, 1200},
    {"mg", kMass, 1, 1000},
    {"milligram", kMass, 1, 1000},
    {"g", kMass, 1},
    {"gm", kMass, 1},
    {"gram", kMass, 1},
    {"kg", kMass, 1000},
    {"kilogram", kMass, 1000},
    {"tonne", kMass, 1000000},
    {"lb", kMass, 45359237, 100000},
    {"pound", kMass, 45359237, 100000},
    {"oz", kMass, 45359237, 1600000},
    {"ounce", kMass, 45359237, 1600000},
    {"cent", kMoney, 1},
    {"dollar", kMoney, 100},
    {"$", kMoney, 100},
    {"\u20ac", kEuros, 1},
    {"euro", kEuros, 1},
    {"eur", kEuros, 1},
    {"\u00a3", kSterling, 1},
    {"\u00a5", kYen, 1},
    {"yen", kYen, 1},
    {"\u20b9", kRupees, 1},
    {"rupee", kRupees, 1},
    {"mph", kSpeed, 201168, 450000},
    {"kph", kSpeed, 5, 18},
    {"kmh", kSpeed, 5, 18},
    {"kmph", kSpeed, 5, 18},
    {"dozen", kCount, 12},
    {"hundred", kCount, 100},
    {"thousand", kCount, 1000},
    {"million", kCount, 1000000},
    {"billion", kCount, 1000000000},
    {"trillion", kCount, 1000000000000},
}};

constexpr std::string_view kCurrencySigns[]{"\u20ac", "\u00a3", "\u00a5", "\u20b9"};

constexpr Unit::Powers powers_of(Measure measure) {
  Unit::Powers powers{};
  switch (measure) {
    case kArea:
      powers[kLength] = 2;
      break;
    case kVolume:
      powers[kLength] = 3;
      break;
    case kSpeed:
      powers[kLength] = 1;
      powers[kTime] = -1;
      break;
    case kCount:
      break;
    default:
      powers[measure] = 1;
  }
  return powers;
}

std::optional<Unit> named_unit(std::string_view word) {
  const auto* found = std::ranges::find(kUnits, word, &NamedUnit::name);
  if (found == kUnits.end() && word.size() > 2 && word.ends_with('s')) {
    found = std::ranges::find(kUnits, word.substr(0, word.size() - 1), &NamedUnit::name);
    if (found == kUnits.end() && word == "inches") found = std::ranges::find(kUnits, "inch", &NamedUnit::name);
  }
  if (found == kUnits.end()) return {};
  return Unit{powers_of(found->measure), Rational(found->num, found->den)};
}

/// A product of units, read word by word.
class Product {
 public:
  /// False for a word that is unknown or does not fit.
  bool add(std::string_view word) {
    if (word == "per" || word == "/") return divide();
    if (word == "square" || word == "sq") return prefix(2);
    if (word == "cubic" || word == "cu") return prefix(3);
    if (word == "squared") return raise(2);
    if (word == "cubed") return raise(3);
    const auto unit = named_unit(word);
    if (!unit || ++count_ > kMaxUnits) return false;
    last_ = *unit;
    multiply(prefix_);
    prefix_ = 1;
    return true;
  }
  /// An exponent of the unit before.
  bool raise(int exponent) {
    if (!last_ || exponent < 1 || exponent > 3) return false;
    multiply(exponent - 1);
    last_.reset();
    return true;
  }
  bool is_complete() const { return count_ > 0 && prefix_ == 1 && !divided_just_now_; }
  const Unit& unit() const { return unit_; }

 private:
  static constexpr int kMaxUnits = 4;

  bool divide() {
    if (count_ == 0 || sign_ < 0) return false;
    sign_ = -1;
    divided_just_now_ = true;
    last_.reset();
    return true;
  }
  bool prefix(int exponent) {
    if (prefix_ != 1) return false;
    prefix_ = exponent;
    return true;
  }
  void multiply(int times) {
    for (int i = 0; i < times; ++i) {
      for (size_t k = 0; k < unit_.powers.size(); ++k) {
        unit_.powers[k] = static_cast<int8_t>(unit_.powers[k] + sign_ * last_->powers[k]);
      }
      unit_.scale = sign_ > 0 ? unit_.scale * last_->scale : unit_.scale / last_->scale;
    }
    divided_just_now_ = false;
  }

  Unit unit_;
  std::optional<Unit> last_;
  int sign_ = 1, prefix_ = 1, count_ = 0;
  bool divided_just_now_ = false;
};

bool is_word_char(char c) { return c == '$' || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z'); }

/// Reads as much as is a unit; `end` is where the last complete one ends.
std::optional<Unit> read(std::string_view text, size_t& end) {
  constexpr size_t kLongestWord = 16;
  Product product;
  std::optional<Unit> found;
  std::string word;
  for (size_t i = end = 0; i < text.size();) {
    const char c = text[i];
    if (c == ' ' || c == '~' || c == '.' || c == '{' || c == '}') {
      ++i;
      continue;
    }
    if (c == '^') {
      i += i + 1 < text.size() && text[i + 1] == '{' ? 2 : 1;
      if (i >= text.size() || !product.raise(text[i] - '0')) return found;
      ++i;
    } else if (c == '/') {
      if (!product.add("/")) return found;
      ++i;
    } else if (const size_t sign = currency_sign_at(text, i)) {
      if (!product.add(text.substr(i, sign))) return found;
      i += sign;
    } else if (is_word_char(c)) {
      word.clear();
      for (; i < text.size() && is_word_char(text[i]) && word.size() <= kLongestWord; ++i) word += ascii_lower(text[i]);
      if (!product.add(word)) return found;
    } else {
      return found;
    }
    if (!product.is_complete()) continue;
    found = product.unit();
    end = i;
  }
  return found;
}

}  // namespace

bool Unit::is_other_currency(const Unit& other) const {
  const auto currency = [](const Unit& unit) {
    size_t k = kMoney;
    while (k < kBase && unit.powers[k] == 0) ++k;
    return k;
  };
  const size_t mine = currency(*this), theirs = currency(other);
  return mine != theirs && mine < kBase && theirs < kBase;
}

std::optional<Unit> read_unit(std::string_view text) {
  size_t end = 0;
  auto found = read(text, end);
  return text.find_first_not_of(" ~.{}", end) == std::string_view::npos ? std::move(found) : std::nullopt;
}

std::optional<Unit> unit_at_begin(std::string_view text) {
  size_t end = 0;
  return read(text, end);
}

size_t currency_sign_at(std::string_view text, size_t at) {
  const auto stands = [&](std::string_view sign) { return text.substr(at).starts_with(sign); };
  const auto* sign = std::ranges::find_if(kCurrencySigns, stands);
  return sign == std::end(kCurrencySigns) ? 0 : sign->size();
}

std::optional<Unit> currency_at_end(std::string_view text) {
  if (text.ends_with('$')) return named_unit("$");
  const auto ends = [&](std::string_view sign) { return text.ends_with(sign); };
  const auto* sign = std::ranges::find_if(kCurrencySigns, ends);
  return sign == std::end(kCurrencySigns) ? std::nullopt : named_unit(*sign);
}

std::optional<Unit> currency_in(std::string_view formula) {
  for (size_t i = 0; i < formula.size(); ++i) {
    if (formula.substr(i).starts_with("\\$")) return named_unit("$");
    if (!(formula[i] & 0x80)) continue;
    if (const size_t sign = currency_sign_at(formula, i)) return named_unit(formula.substr(i, sign));
  }
  return {};
}

Unit numeral_of_base(int8_t base) {
  Unit unit;
  unit.powers[kBase] = base;
  return unit;
}

}  // namespace hone
