#include "models/text/jinja_unicode.h"

#include <algorithm>

#include <fmt/format.h>
#include <utf8proc.h>

namespace hone::jinja {
namespace {

bool is_in(char32_t c, utf8proc_category_t first, utf8proc_category_t last) {
  const utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category >= first && category <= last;
}

// Upper-case forms of several code points; the first letter of a title takes the second column's form.
struct Growing {
  char32_t from;
  const char32_t* upper;
  const char32_t* title;
};
constexpr Growing kGrowing[] = {
    {0xDF, U"SS", U"Ss"},
    {0x149, U"\u02BCN", U"\u02BCN"},
    {0x1F0, U"J\u030C", U"J\u030C"},
    {0x587, U"\u0535\u0552", U"\u0535\u0582"},
    {0xFB00, U"FF", U"Ff"},
    {0xFB01, U"FI", U"Fi"},
    {0xFB02, U"FL", U"Fl"},
    {0xFB03, U"FFI", U"Ffi"},
    {0xFB04, U"FFL", U"Ffl"},
    {0xFB05, U"ST", U"St"},
    {0xFB06, U"ST", U"St"},
};

const Growing* growing(char32_t c) {
  const auto* end = std::end(kGrowing);
  const auto* found = std::find_if(std::begin(kGrowing), end, [c](const Growing& g) { return g.from == c; });
  return found == end ? nullptr : found;
}

void append_upper(std::u32string& out, char32_t c) {
  if (const Growing* g = growing(c)) {
    out += g->upper;
  } else {
    out += static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c)));
  }
}

void append_title(std::u32string& out, char32_t c) {
  if (const Growing* g = growing(c)) {
    out += g->title;
  } else {
    out += static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c)));
  }
}

bool is_case_ignorable(char32_t c) {
  return is_in(c, UTF8PROC_CATEGORY_MN, UTF8PROC_CATEGORY_MN) || is_in(c, UTF8PROC_CATEGORY_ME, UTF8PROC_CATEGORY_ME) ||
         is_in(c, UTF8PROC_CATEGORY_CF, UTF8PROC_CATEGORY_CF) || is_in(c, UTF8PROC_CATEGORY_LM, UTF8PROC_CATEGORY_LM) ||
         is_in(c, UTF8PROC_CATEGORY_SK, UTF8PROC_CATEGORY_SK) || c == '\'' || c == '.' || c == ':' || c == 0xB7 ||
         c == 0x2019 || c == 0x2018 || c == 0x2024 || c == 0x2027;
}

// A sigma ends a word when a letter stands before it and none behind it, code points without case left out.
bool is_final_sigma(std::u32string_view text, size_t at) {
  size_t before = at, after = at + 1;
  while (before > 0 && is_case_ignorable(text[before - 1])) --before;
  while (after < text.size() && is_case_ignorable(text[after])) ++after;
  return before > 0 && is_cased(text[before - 1]) && !(after < text.size() && is_cased(text[after]));
}

void append_lower(std::u32string& out, std::u32string_view text, size_t at) {
  const char32_t c = text[at];
  if (c == 0x130) {
    out += U"i\u0307";
  } else if (c == 0x3A3) {
    out += is_final_sigma(text, at) ? char32_t(0x3C2) : char32_t(0x3C3);
  } else {
    out += static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
  }
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

char ascii_upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; }
char ascii_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

}  // namespace

char32_t next_code_point(std::string_view text, size_t& at) {
  const auto first = static_cast<unsigned char>(text[at]);
  if (first < 0x80) {
    ++at;
    return first;
  }
  utf8proc_int32_t c = -1;
  const auto n = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data() + at),
                                  static_cast<utf8proc_ssize_t>(text.size() - at), &c);
  at += n > 0 ? static_cast<size_t>(n) : 1;
  return n > 0 ? static_cast<char32_t>(c) : char32_t(0xFFFD);
}

void append_code_point(std::string& text, char32_t c) {
  utf8proc_uint8_t bytes[4];
  const auto n = utf8proc_encode_char(static_cast<utf8proc_int32_t>(c), bytes);
  text.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(n));
}

std::u32string to_code_points(std::string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) out += next_code_point(text, at);
  return out;
}

std::string to_utf8(std::u32string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char32_t c : text) append_code_point(out, c);
  return out;
}

bool is_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    if (next_code_point(text, at) == 0xFFFD && at - begin != 3) return false;
  }
  return true;
}

size_t count_code_points(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

size_t byte_position(std::string_view text, size_t index) {
  size_t at = 0;
  for (; at < text.size(); ++at) {
    if ((static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) continue;
    if (index-- == 0) break;
  }
  return at;
}

std::string escape_code(char32_t c) {
  const auto n = static_cast<uint32_t>(c);
  return n <= 0xFF     ? fmt::format("\\x{:02x}", n)
         : n <= 0xFFFF ? fmt::format("\\u{:04x}", n)
                       : fmt::format("\\U{:08x}", n);
}

bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_line_break(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

bool is_printable(char32_t c) {
  if (c < 0x80) return c >= 0x20 && c < 0x7F;
  return !is_in(c, UTF8PROC_CATEGORY_ZS, UTF8PROC_CATEGORY_CO) && !is_in(c, UTF8PROC_CATEGORY_CN, UTF8PROC_CATEGORY_CN);
}

bool is_alpha(char32_t c) { return is_in(c, UTF8PROC_CATEGORY_LU, UTF8PROC_CATEGORY_LO); }
bool is_decimal(char32_t c) { return is_in(c, UTF8PROC_CATEGORY_ND, UTF8PROC_CATEGORY_ND); }
bool is_digit(char32_t c) {
  return is_decimal(c) || c == 0xB2 || c == 0xB3 || c == 0xB9 || c == 0x2070 || (c >= 0x2074 && c <= 0x2079) ||
         (c >= 0x2080 && c <= 0x2089) || (c >= 0x2460 && c <= 0x2468);
}
bool is_upper(char32_t c) { return is_in(c, UTF8PROC_CATEGORY_LU, UTF8PROC_CATEGORY_LU); }
bool is_lower(char32_t c) { return is_in(c, UTF8PROC_CATEGORY_LL, UTF8PROC_CATEGORY_LL) || c == 0xAA || c == 0xBA; }
bool is_title(char32_t c) { return is_in(c, UTF8PROC_CATEGORY_LT, UTF8PROC_CATEGORY_LT); }
bool is_cased(char32_t c) { return is_upper(c) || is_lower(c) || is_title(c); }
bool is_word(char32_t c) { return c == '_' || is_alpha(c) || is_in(c, UTF8PROC_CATEGORY_ND, UTF8PROC_CATEGORY_NO); }
bool is_identifier_start(char32_t c) {
  return c == '_' || is_alpha(c) || is_in(c, UTF8PROC_CATEGORY_NL, UTF8PROC_CATEGORY_NL);
}
bool is_identifier_part(char32_t c) {
  return is_identifier_start(c) || is_decimal(c) || c == 0xB7 || is_in(c, UTF8PROC_CATEGORY_MN, UTF8PROC_CATEGORY_MC) ||
         is_in(c, UTF8PROC_CATEGORY_PC, UTF8PROC_CATEGORY_PC);
}

std::string to_upper(std::string_view text) {
  std::string ascii(text);
  if (is_ascii(text)) {
    std::transform(ascii.begin(), ascii.end(), ascii.begin(), ascii_upper);
    return ascii;
  }
  std::u32string out;
  for (const char32_t c : to_code_points(text)) append_upper(out, c);
  return to_utf8(out);
}

std::string to_lower(std::string_view text) {
  std::string ascii(text);
  if (is_ascii(text)) {
    std::transform(ascii.begin(), ascii.end(), ascii.begin(), ascii_lower);
    return ascii;
  }
  const std::u32string in = to_code_points(text);
  std::u32string out;
  for (size_t i = 0; i < in.size(); ++i) append_lower(out, in, i);
  return to_utf8(out);
}

std::string title_first(std::string_view text) {
  const std::u32string in = to_code_points(text);
  std::u32string out;
  bool in_word = false;
  for (size_t i = 0; i < in.size(); ++i) {
    if (in_word) {
      append_lower(out, in, i);
    } else {
      append_title(out, in[i]);
    }
    in_word = is_cased(in[i]);
  }
  return to_utf8(out);
}

std::string capitalize(std::string_view text) {
  const std::u32string in = to_code_points(text);
  std::u32string out;
  for (size_t i = 0; i < in.size(); ++i) {
    if (i == 0) {
      append_title(out, in[i]);
    } else {
      append_lower(out, in, i);
    }
  }
  return to_utf8(out);
}

std::string swap_case(std::string_view text) {
  const std::u32string in = to_code_points(text);
  std::u32string out;
  for (size_t i = 0; i < in.size(); ++i) {
    if (is_upper(in[i])) {
      append_lower(out, in, i);
    } else {
      append_upper(out, in[i]);
    }
  }
  return to_utf8(out);
}

std::string fold_case(std::string_view text) {
  std::u32string out;
  for (const char32_t c : to_code_points(text)) {
    if (growing(c)) {
      out += to_code_points(to_lower(to_utf8(growing(c)->upper)));
    } else {
      const char32_t upper = c == 0x3C2 ? char32_t(0x3A3) : c;  // the final sigma folds as the other one
      out += static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(upper)));
    }
  }
  return to_utf8(out);
}

std::string_view strip_left(std::string_view text) {
  size_t begin = 0;
  for (size_t at = 0; at < text.size(); begin = at) {
    if (!is_space(next_code_point(text, at))) break;
  }
  return text.substr(begin);
}

std::string_view strip_right(std::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    size_t begin = end - 1;
    while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
    size_t at = begin;
    if (!is_space(next_code_point(text, at))) break;
    end = begin;
  }
  return text.substr(0, end);
}

std::vector<std::string> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = at;
    const char32_t c = next_code_point(text, at);
    if (!is_line_break(c)) continue;
    if (c == '\r' && at < text.size() && text[at] == '\n') ++at;
    lines.emplace_back(text.substr(begin, (keep_ends ? at : end) - begin));
    begin = at;
  }
  if (begin < text.size()) lines.emplace_back(text.substr(begin));
  return lines;
}

}  // namespace hone::jinja
