#include "rewards/math/number_words.h"

#include <algorithm>
#include <span>

#include "rewards/math/words.h"

namespace hone {
namespace {

constexpr std::string_view kUnits[]{"zero",     "one",     "two",     "three",     "four",     "five",    "six",
                                    "seven",    "eight",   "nine",    "ten",       "eleven",   "twelve",  "thirteen",
                                    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"};
constexpr std::string_view kTens[]{"twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"};

std::optional<int64_t> place_in(std::span<const std::string_view> names, std::string_view word) {
  const auto same = [&](std::string_view name) { return name.size() == word.size() && starts_with_word(word, name); };
  const auto found = std::ranges::find_if(names, same);
  return found == names.end() ? std::nullopt : std::optional<int64_t>(found - names.begin());
}

/// What has been read so far: 2,300 of "two thousand three hundred" is 2,000 and 300.
struct Reading {
  int64_t thousands = 0, rest = 0;

  bool take(std::string_view word) {
    constexpr std::string_view kScales[]{"thousand", "million", "billion"};
    constexpr int64_t kFactors[]{1'000, 1'000'000, 1'000'000'000};
    if (const auto unit = place_in(kUnits, word)) return add(*unit, *unit < 10 ? 10 : 100);
    if (const auto tens = place_in(kTens, word)) return add(20 + 10 * *tens, 100);
    if (starts_with_word(word, "hundred")) return rest > 0 && rest < 10 && (rest *= 100) > 0;
    const auto scale = place_in(kScales, word);
    if (!scale || rest == 0 || rest > 999) return false;
    thousands += rest * kFactors[*scale];
    rest = 0;
    return true;
  }

  /// "twenty one", but neither "one one" nor "one twenty": the place must be free.
  bool add(int64_t value, int64_t place) {
    if (rest % place != 0 || (place == 10 && rest % 100 == 10)) return false;
    rest += value;
    return true;
  }
};

}  // namespace

std::optional<int64_t> number_in_words(std::string_view phrase) {
  constexpr std::string_view kMinus[]{"negative", "minus"};
  constexpr size_t kMostWords = 16;
  Reading number;
  bool negative = false;
  size_t words = 0;
  while (!phrase.empty() && words < kMostWords) {
    const size_t end = std::min(phrase.find_first_of(" -"), phrase.size());
    const auto word = phrase.substr(0, end);
    phrase.remove_prefix(std::min(end + 1, phrase.size()));
    if (words == 0 && !negative && place_in(kMinus, word)) {
      negative = true;
      continue;
    }
    if (words > 0 && !phrase.empty() && starts_with_word(word, "and")) continue;
    if (!number.take(word)) return {};
    ++words;
  }
  if (words == 0 || !phrase.empty()) return {};
  const int64_t size = number.thousands + number.rest;
  return negative ? -size : size;
}

}  // namespace hone
