// Words around an answer, byte by byte: letters are ASCII letters, case does not count, and what only dresses an answer
// up (white space, bold marks, the delimiters of an environment) is looked through.
#pragma once

#include <span>
#include <string_view>

#include "rewards/math/scan.h"

namespace hone {

using Words = std::span<const std::string_view>;

/// Without what only dresses up, at the end or at the beginning.
std::string_view undressed_end(std::string_view text);
std::string_view undressed_begin(std::string_view text);

/// True when `lower`, in lower-case, is the last or the first word (or words, or sign) of a text.
bool ends_with_word(std::string_view text, std::string_view lower);
bool starts_with_word(std::string_view text, std::string_view lower);
bool ends_with_any_word(std::string_view text, Words words);
bool starts_with_any_word(std::string_view text, Words words);

/// True when one of the phrases begins at a word of the text. `sorted`: by their bytes.
bool holds_phrase(std::string_view text, Words sorted);

/// The end of a text, so that looking back costs the same wherever one stands.
std::string_view last_part(std::string_view text, size_t bytes);

}  // namespace hone
