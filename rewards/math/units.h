// Units of measure behind a quantity: with upstream_quirks off, 5 cm is 50 mm and not 5 km.
//
//   read_unit("cm^2"), read_unit("square centimeters")    the same unit
//   read_unit("miles per hour"), read_unit("mph")         the same unit
//   read_unit("apples")                                   none: not measured in anything that is known here
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "rewards/math/number.h"

namespace hone {

struct Unit {
  /// Of length, time, calendar months, mass and money; of a numeral (123_7) its base stands last.
  std::array<int8_t, 6> powers{};
  Rational scale = 1;  ///< in metres, seconds, months, grams, cents and products of these

  /// A dozen, a million: no measure, only a factor.
  bool is_count() const { return powers == decltype(powers){}; }
  /// Counted in, too: "3 dozen" may answer how many dozen.
  bool is_dozen() const { return is_count() && scale == 12; }
  bool operator==(const Unit&) const = default;
  bool measures_same(const Unit& other) const { return powers == other.powers; }
};

/// The unit that a text names, all of it; none when a word in it is unknown.
std::optional<Unit> read_unit(std::string_view text);

/// The longest unit that the text begins with, as in "km per hour, so".
std::optional<Unit> unit_at_begin(std::string_view text);

/// That of a numeral in a base.
Unit numeral_of_base(int8_t base);

}  // namespace hone
