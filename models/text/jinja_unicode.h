// UTF-8 text by code points, with Python's rules for white space, letter case and printing. Case mapping is that of
// single code points and of the common ones that grow (ß, ligatures); Greek final sigma is handled, the rest of
// Unicode's SpecialCasing is not.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hone::jinja {

/// The code point at `at`, which moves behind it. Bytes that are not UTF-8 come out one by one as U+FFFD.
char32_t next_code_point(std::string_view text, size_t& at);
void append_code_point(std::string& text, char32_t c);
std::u32string to_code_points(std::string_view text);
std::string to_utf8(std::u32string_view text);
bool is_utf8(std::string_view text);
size_t count_code_points(std::string_view text);
/// Byte position of code point `index`, at most text.size().
size_t byte_position(std::string_view text, size_t index);

/// Python's escape of a code point that is not printed: \xe9, \u20ac, \U0001f600.
std::string escape_code(char32_t c);

bool is_space(char32_t c);       ///< str.isspace and \s
bool is_line_break(char32_t c);  ///< those of str.splitlines
bool is_printable(char32_t c);
bool is_alpha(char32_t c);
bool is_decimal(char32_t c);
bool is_digit(char32_t c);
bool is_upper(char32_t c);
bool is_lower(char32_t c);
bool is_title(char32_t c);
bool is_cased(char32_t c);
bool is_word(char32_t c);  ///< \w
bool is_identifier_start(char32_t c);
bool is_identifier_part(char32_t c);

std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
std::string title_first(std::string_view text);  ///< str.title()
std::string capitalize(std::string_view text);
std::string swap_case(std::string_view text);
std::string fold_case(std::string_view text);  ///< str.casefold()

std::string_view strip_left(std::string_view text);
std::string_view strip_right(std::string_view text);
/// str.splitlines.
std::vector<std::string> split_lines(std::string_view text, bool keep_ends = false);

}  // namespace hone::jinja
