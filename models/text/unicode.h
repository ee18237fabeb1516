// UTF-8 and the classes of characters that tokenizers know, with the Unicode versions of PyPI `tokenizers` 0.23 (each
// part of it has tables of its own age). tests/reference/tokenizer_unicode.py prints where they part from utf8proc's.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hone::text {

enum class Utf8 { kCharacter, kBroken, kCutOff };
/// What stands at the front of a text that is not empty: a character, bytes that begin none (the longest stretch that
/// decoders replace by one U+FFFD), or the beginning of a character that more bytes could complete.
struct Utf8Step {
  size_t size;
  Utf8 kind;
};
Utf8Step utf8_step(std::string_view text);
bool is_utf8(std::string_view text);
/// Every broken stretch as U+FFFD.
std::string to_valid_utf8(std::string_view bytes);

/// The first character. REQUIRES: valid UTF-8, not empty.
char32_t code_point(std::string_view text);
/// Its length in bytes. REQUIRES: a first byte of valid UTF-8.
size_t character_size(char first_byte);
/// Where the character before `end` begins. REQUIRES: 0 < end, valid UTF-8.
size_t previous_character(std::string_view text, size_t end);
void append_utf8(std::string& text, char32_t c);
/// The beginning as a quoted JSON string, for messages.
std::string excerpt(std::string_view text);

bool is_white_space(char32_t c);
bool is_numeric(char32_t c);      ///< categories Nd, Nl, No (Unicode 17)
bool is_word(char32_t c);         ///< \w (Unicode 16)
char32_t lower_case(char32_t c);  ///< of single code points (Unicode 17)

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };
/// Normalised with the tables of Unicode 9, as `tokenizers` does: younger characters stay as they are. Time is near
/// linear, whatever the marks.
std::string normalize(std::string_view text, NormalForm form);

/// GPT-2's alphabet: one printable character for every byte.
std::string byte_to_character(unsigned char byte);
/// All bytes as their characters.
std::string to_byte_characters(std::string_view bytes);
/// The bytes that the characters stand for; false, and nothing written, when one stands for none.
bool from_byte_characters(std::string_view text, std::string& bytes);

}  // namespace hone::text
