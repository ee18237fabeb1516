// Units of measure behind a quantity: with upstream_quirks off, 5 cm is 50 mm and not 5 km.
//
//   read_unit("cm^2"), read_unit("square centimeters")    the same unit
//   read_unit("miles per hour"), read_unit("mph")         the same unit
//   read_unit("apples")                                   none: not measured in anything that is known here
//   read_unit("\u20ac"), read_unit("euros")                   the same unit, and no multiple of the dollar
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "rewards/math/number.h"

namespace hone {

struct Unit {
  using Powers = std::array<int8_t, 10>;
  /// Of length, time, calendar months, mass, dollars, euros, pounds, yen and rupees; of a numeral (123_7) its base
  /// stands last.
  Powers powers{};
  Rational scale = 1;  ///< in metres, seconds, months, grams, cents, euros .. and products of these

  /// A dozen, a million: no measure, only a factor.
  bool is_count() const { return powers == decltype(powers){}; }
  /// Counted in, too: "3 dozen" may answer how many dozen.
  bool is_dozen() const { return is_count() && scale == 12; }
  /// Euros are no dollars; money per hour is money, too.
  bool is_other_currency(const Unit& other) const;
  bool operator==(const Unit&) const = default;
  bool measures_same(const Unit& other) const { return powers == other.powers; }
};

/// The unit that a text names, all of it; none when a word in it is unknown.
std::optional<Unit> read_unit(std::string_view text);

/// The longest unit that the text begins with, as in "km per hour, so".
std::optional<Unit> unit_at_begin(std::string_view text);

/// Bytes of a currency sign beyond ASCII that is known here, 0 when there is none.
size_t currency_sign_at(std::string_view text, size_t at);
/// The currency whose sign a text ends with, $ or one of those.
std::optional<Unit> currency_at_end(std::string_view text);
/// The currency of the first sign beyond ASCII, or of \$, in a formula.
std::optional<Unit> currency_in(std::string_view formula);

/// That of a numeral in a base.
Unit numeral_of_base(int8_t base);

}  // namespace hone
