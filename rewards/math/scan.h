// Byte-level helpers of the answer scanner: white space, words, and searches that stay linear however often they are
// asked. Positions are byte offsets; text is UTF-8, and bytes that are not are taken as they are.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace hone {

constexpr bool is_ascii_digit(char c) { return c >= '0' && c <= '9'; }
constexpr char ascii_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
constexpr bool is_letter(char c) { return ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z'; }

/// Bytes of the white-space character at `at` (ASCII and Unicode), 0 when there is none.
size_t space_at(std::string_view text, size_t at);

/// The first position from `at` on that is no white space.
size_t skip_space(std::string_view text, size_t at);

/// The position after the character at `at`.
size_t next_char(std::string_view text, size_t at);

/// Where the character before `at` begins; `at` > 0.
size_t previous_char(std::string_view text, size_t at);

/// Characters (code points) in `text`.
size_t count_chars(std::string_view text);

/// True when `lower`, written in lower-case ASCII, stands at `at` in any case.
constexpr bool word_at(std::string_view text, size_t at, std::string_view lower) {
  if (at > text.size() || text.size() - at < lower.size()) return false;
  for (size_t i = 0; i < lower.size(); ++i) {
    if (ascii_lower(text[at + i]) != lower[i]) return false;
  }
  return true;
}

/// Bytes, for scans that are made for every candidate: find_first_of and its kin of string_view look through their list
/// for every byte of the text.
class ByteSet {
 public:
  constexpr explicit ByteSet(std::string_view bytes) {
    for (const char c : bytes) add(static_cast<unsigned char>(c));
  }
  constexpr ByteSet& add(unsigned char c) {
    has_[c] = true;
    return *this;
  }
  constexpr bool operator[](char c) const { return has_[static_cast<unsigned char>(c)]; }
  /// The first or last byte of the set in a text, npos when there is none.
  constexpr size_t first_in(std::string_view text) const {
    for (size_t i = 0; i < text.size(); ++i) {
      if ((*this)[text[i]]) return i;
    }
    return std::string_view::npos;
  }
  constexpr size_t last_in(std::string_view text) const {
    for (size_t i = text.size(); i-- > 0;) {
      if ((*this)[text[i]]) return i;
    }
    return std::string_view::npos;
  }

 private:
  std::array<bool, 256> has_{};
};

/// Finds the next `needle` from a position on and remembers it, so that a scan with many starting points and one far
/// (or absent) end looks at each byte only once.
class NextFinder {
 public:
  NextFinder(std::string_view text, std::string_view needle) : text_(text), needle_(needle) {}

  /// The smallest position >= from where the needle stands, npos when there is none.
  size_t next(size_t from);

 private:
  std::string_view text_, needle_;
  size_t known_from_ = 1, known_ = 0;  // [known_from_, known_) holds no needle; it stands at known_
};

}  // namespace hone
