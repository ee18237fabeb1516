// Whole numbers in English words: "twenty-one" 21, "negative four" -4, "one hundred and five" 105, "two million"
// 2000000.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace hone {

/// The number that the whole phrase names, below 10^12 in size; nothing when a word of it is another.
std::optional<int64_t> number_in_words(std::string_view phrase);

}  // namespace hone
