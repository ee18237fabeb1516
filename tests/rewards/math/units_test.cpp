#include "rewards/math/units.h"

#include <gtest/gtest.h>

namespace hone {
namespace {

TEST(Units, AreProductsOfKnownOnes) {
  EXPECT_EQ(read_unit("cm^2"), read_unit("square centimeters"));
  EXPECT_EQ(read_unit("cm^{2}"), read_unit("sq. cm"));
  EXPECT_EQ(read_unit("miles per hour"), read_unit("mph"));
  EXPECT_EQ(read_unit("km/h"), read_unit("kmh"));
  EXPECT_EQ(read_unit("cubic decimeters"), read_unit("Liters"));
  EXPECT_EQ(read_unit("m/s^2"), read_unit("meters per second squared"));
  EXPECT_EQ(read_unit("dozens")->scale, Rational(12));
  EXPECT_TRUE(read_unit("million")->is_count());
  EXPECT_TRUE(read_unit("feet")->measures_same(*read_unit("inches")));
  EXPECT_FALSE(read_unit("m")->measures_same(*read_unit("m^2")));
  EXPECT_EQ(read_unit("\u20ac"), read_unit("euros"));
  EXPECT_TRUE(read_unit("euros")->is_other_currency(*read_unit("dollars per hour")));
  EXPECT_FALSE(read_unit("dollars")->is_other_currency(*read_unit("dollars per hour")));
  EXPECT_FALSE(read_unit("euros")->is_other_currency(*read_unit("km")));
  for (const char* none :
       {"", "apples", "km of road", "per hour", "km per", "square", "m^", "m^9", "m m m m m", "m/s/s"}) {
    EXPECT_FALSE(read_unit(none)) << none;
  }
}

TEST(Units, BeginATextAsFarAsTheyAreKnown) {
  EXPECT_EQ(unit_at_begin("km per hour, so"), read_unit("km/h"));
  EXPECT_EQ(unit_at_begin("meters a week"), read_unit("m"));
  EXPECT_EQ(unit_at_begin("miles per day of rest"), read_unit("miles/day"));
  EXPECT_FALSE(unit_at_begin("apples per hour"));
  EXPECT_FALSE(unit_at_begin(""));
}

}  // namespace
}  // namespace hone
