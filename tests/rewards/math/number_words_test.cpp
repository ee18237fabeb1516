#include "rewards/math/number_words.h"

#include <gtest/gtest.h>

namespace hone {
namespace {

TEST(NumberWords, AreReadAsWholePhrases) {
  const std::pair<const char*, int64_t> cases[]{{"zero", 0},
                                                {"Seven", 7},
                                                {"twenty-one", 21},
                                                {"negative four", -4},
                                                {"one hundred", 100},
                                                {"one hundred and five", 105},
                                                {"two thousand three hundred", 2300},
                                                {"one million", 1'000'000},
                                                {"three hundred twelve thousand and forty", 312'040}};
  for (const auto& [phrase, number] : cases) EXPECT_EQ(number_in_words(phrase), number) << phrase;
}

TEST(NumberWords, LeaveOtherPhrasesAlone) {
  for (const char* phrase : {"", "seven apples", "one one", "one twenty", "hundred", "twenty eleven", "and", "negative",
                             "ten five", "onerous", "seven 7", "million", "two hundred hundred"}) {
    EXPECT_EQ(number_in_words(phrase), std::nullopt) << phrase;
  }
}

}  // namespace
}  // namespace hone
