#include "models/text/unicode.h"

#include <algorithm>
#include <span>

#include <utf8proc.h>
#include <nlohmann/json.hpp>

namespace hone::text {
namespace {

struct Range {
  char32_t first, last;
};

bool is_in(std::span<const Range> sorted, char32_t c) {
  const auto after = std::ranges::upper_bound(sorted, c, {}, &Range::first);
  return after != sorted.begin() && c <= std::prev(after)->last;
}

// Numbers that are younger than utf8proc 2.8's Unicode 15.
constexpr Range kYoungNumbers[] = {{0x10d40, 0x10d49}, {0x116d0, 0x116e3}, {0x11bf0, 0x11bf9},
                                   {0x11de0, 0x11de9}, {0x16130, 0x16139}, {0x16d70, 0x16d79},
                                   {0x16ff4, 0x16ff6}, {0x1ccf0, 0x1ccf9}, {0x1e5f1, 0x1e5fa}};

// Word characters that are younger than Unicode 15, and the alphabetic symbols (circled, squared letters).
constexpr Range kFurtherWords[] = {{0x897, 0x897},     {0x1c89, 0x1c8a},   {0x24b6, 0x24e9},   {0xa7cb, 0xa7cd},
                                   {0xa7da, 0xa7dc},   {0x105c0, 0x105f3}, {0x10d40, 0x10d65}, {0x10d69, 0x10d6d},
                                   {0x10d6f, 0x10d85}, {0x10ec2, 0x10ec4}, {0x10efc, 0x10efc}, {0x11380, 0x11389},
                                   {0x1138b, 0x1138b}, {0x1138e, 0x1138e}, {0x11390, 0x113b5}, {0x113b7, 0x113c0},
                                   {0x113c2, 0x113c2}, {0x113c5, 0x113c5}, {0x113c7, 0x113ca}, {0x113cc, 0x113d3},
                                   {0x113e1, 0x113e2}, {0x116d0, 0x116e3}, {0x11bc0, 0x11be0}, {0x11bf0, 0x11bf9},
                                   {0x11f5a, 0x11f5a}, {0x13460, 0x143fa}, {0x16100, 0x16139}, {0x16d40, 0x16d6c},
                                   {0x16d70, 0x16d79}, {0x18cff, 0x18cff}, {0x1ccf0, 0x1ccf9}, {0x1e5d0, 0x1e5fa},
                                   {0x1f130, 0x1f149}, {0x1f150, 0x1f169}, {0x1f170, 0x1f189}, {0x2ebf0, 0x2ee5d}};

// Upper case letters that are younger than Unicode 15: every `step`-th of a range lies `distance` below its lower case.
struct YoungCase {
  char32_t first, last, step;
  int32_t distance;
};
constexpr YoungCase kYoungCases[] = {{0x1c89, 0x1c89, 1, 1},      {0xa7cb, 0xa7cb, 1, 0x264 - 0xa7cb},
                                     {0xa7cc, 0xa7ce, 2, 1},      {0xa7d2, 0xa7d4, 2, 1},
                                     {0xa7da, 0xa7da, 1, 1},      {0xa7dc, 0xa7dc, 1, 0x19b - 0xa7dc},
                                     {0x10d50, 0x10d65, 1, 0x20}, {0x16ea0, 0x16eb8, 1, 0x1b}};

// Characters younger than Unicode 9 that later versions reorder, compose or decompose; and U+11A7, which stands before
// the first final consonant of Hangul and is none: utf8proc 2.8 would compose it away.
constexpr Range kUnknownToNormalizer[] = {
    {0x7fd, 0x7fd},     {0x898, 0x89f},     {0x8ca, 0x8d3},     {0x9fe, 0x9fe},     {0xc3c, 0xc3c},
    {0xd3b, 0xd3c},     {0xeba, 0xeba},     {0x11a7, 0x11a7},   {0x1715, 0x1715},   {0x1abf, 0x1ace},
    {0x1df6, 0x1dfa},   {0x32ff, 0x32ff},   {0xa7f2, 0xa7f4},   {0xa82c, 0xa82c},   {0xab69, 0xab69},
    {0x10781, 0x10785}, {0x10787, 0x107b0}, {0x107b2, 0x107ba}, {0x10d24, 0x10d27}, {0x10eab, 0x10eac},
    {0x10efd, 0x10eff}, {0x10f46, 0x10f50}, {0x10f82, 0x10f85}, {0x11070, 0x11070}, {0x1133b, 0x1133b},
    {0x1145e, 0x1145e}, {0x11839, 0x1183a}, {0x11930, 0x11930}, {0x11935, 0x11935}, {0x11938, 0x11938},
    {0x1193d, 0x1193e}, {0x11943, 0x11943}, {0x119e0, 0x119e0}, {0x11a34, 0x11a34}, {0x11a47, 0x11a47},
    {0x11a99, 0x11a99}, {0x11d42, 0x11d42}, {0x11d44, 0x11d45}, {0x11d97, 0x11d97}, {0x11f41, 0x11f42},
    {0x16ff0, 0x16ff1}, {0x1e030, 0x1e06d}, {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae},
    {0x1e2ec, 0x1e2ef}, {0x1e4ec, 0x1e4ef}, {0x1f16c, 0x1f16c}, {0x1fbf0, 0x1fbf9}};

bool is_composed(NormalForm form) { return form == NormalForm::kNfc || form == NormalForm::kNfkc; }

/// A starter that stays as it is and never joins the character before it.
bool is_stable(char32_t c, NormalForm form) {
  if (c < 0x80 || (form == NormalForm::kNfc && c < 0x300)) return true;
  const utf8proc_property_t* property = utf8proc_get_property(static_cast<utf8proc_int32_t>(c));
  if (property->combining_class != 0 || property->decomp_seqindex != UINT16_MAX) return false;
  if (!is_composed(form)) return c < 0xac00 || c > 0xd7a3;  // Hangul syllables
  const bool joins = property->comb_index != UINT16_MAX && property->comb_index >= 0x8000;
  const bool jamo = c >= 0x1160 && c <= 0x11ff;
  return !joins && !jamo;
}

int combining_class(utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; }

void append_decomposed(char32_t c, int options, std::vector<utf8proc_int32_t>& out) {
  utf8proc_int32_t parts[32];  // the longest decomposition has 18
  int boundary = 0;
  const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts, 32,
                                             static_cast<utf8proc_option_t>(options), &boundary);
  out.insert(out.end(), parts, parts + std::clamp<utf8proc_ssize_t>(count, 0, 32));
}

/// Sorts every stretch of marks; utf8proc's own sort takes quadratic time.
void sort_marks(std::vector<utf8proc_int32_t>& characters) {
  for (auto begin = characters.begin(); begin != characters.end();) {
    begin = std::find_if(begin, characters.end(), [](auto c) { return combining_class(c) != 0; });
    const auto end = std::find_if(begin, characters.end(), [](auto c) { return combining_class(c) == 0; });
    std::stable_sort(begin, end, [](auto a, auto b) { return combining_class(a) < combining_class(b); });
    begin = end;
  }
}

/// Appends the normal form of a run that interacts with nothing around it.
void append_normalized(std::string_view run, NormalForm form, std::string& out) {
  const bool compatible = form == NormalForm::kNfkc || form == NormalForm::kNfkd;
  const int options = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0);
  std::vector<utf8proc_int32_t> characters;
  for (; !run.empty(); run.remove_prefix(character_size(run.front()))) {
    append_decomposed(code_point(run), options, characters);
  }
  sort_marks(characters);
  auto size = static_cast<utf8proc_ssize_t>(characters.size());
  if (is_composed(form)) {
    size = utf8proc_normalize_utf32(characters.data(), size,
                                    static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  }
  for (utf8proc_ssize_t i = 0; i < size; ++i) append_utf8(out, static_cast<char32_t>(characters[i]));
}

/// The characters that stand for the bytes: printable Latin-1 stands for itself, the others follow from U+0100 on.
std::array<char32_t, 256> make_byte_characters() {
  std::array<char32_t, 256> characters{};
  char32_t next = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte != 0xad);
    characters[byte] = printable ? byte : next++;
  }
  return characters;
}

const std::array<char32_t, 256>& byte_characters() {
  static const auto table = make_byte_characters();
  return table;
}

/// By character from U+0000 to U+0143: its byte, or -1.
const std::array<int16_t, 0x144>& character_bytes() {
  static const auto table = [] {
    std::array<int16_t, 0x144> bytes;
    bytes.fill(-1);
    for (int byte = 0; byte < 256; ++byte) bytes[byte_characters()[byte]] = static_cast<int16_t>(byte);
    return bytes;
  }();
  return table;
}

}  // namespace

Utf8Step utf8_step(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  if (first < 0x80) return {1, Utf8::kCharacter};
  if (first < 0xc2 || first > 0xf4) return {1, Utf8::kBroken};
  const size_t size = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  // the second byte excludes overlong forms, surrogates and what lies above U+10FFFF
  const unsigned low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  const unsigned high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  for (size_t i = 1; i < size; ++i) {
    if (i == text.size()) return {i, Utf8::kCutOff};
    if (byte(i) < (i == 1 ? low : 0x80) || byte(i) > (i == 1 ? high : 0xbf)) return {i, Utf8::kBroken};
  }
  return {size, Utf8::kCharacter};
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const Utf8Step step = utf8_step(text);
    if (step.kind != Utf8::kCharacter) return false;
    text.remove_prefix(step.size);
  }
  return true;
}

std::string to_valid_utf8(std::string_view bytes) {
  std::string text;
  while (!bytes.empty()) {
    const Utf8Step step = utf8_step(bytes);
    text += step.kind == Utf8::kCharacter ? bytes.substr(0, step.size) : "\xef\xbf\xbd";
    bytes.remove_prefix(step.size);
  }
  return text;
}

char32_t code_point(std::string_view text) {
  const auto bits = [&](size_t i) { return static_cast<char32_t>(text[i] & 0x3f); };
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) return first;
  if (first < 0xe0) return (first & 0x1fu) << 6 | bits(1);
  if (first < 0xf0) return (first & 0x0fu) << 12 | bits(1) << 6 | bits(2);
  return (first & 0x07u) << 18 | bits(1) << 12 | bits(2) << 6 | bits(3);
}

size_t character_size(char first_byte) {
  const auto first = static_cast<unsigned char>(first_byte);
  return first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

size_t previous_character(std::string_view text, size_t end) {
  do --end;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80);
  return end;
}

void append_utf8(std::string& text, char32_t c) {
  utf8proc_uint8_t bytes[4];
  const auto size = utf8proc_encode_char(static_cast<utf8proc_int32_t>(c), bytes);
  text.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
}

std::string excerpt(std::string_view text) {
  size_t end = 0;
  while (end < text.size() && end < 40) end += utf8_step(text.substr(end)).size;
  return nlohmann::json(to_valid_utf8(text.substr(0, end))).dump() + (end < text.size() ? "..." : "");
}

bool is_white_space(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return c == 0x85 || (category >= UTF8PROC_CATEGORY_ZS && category <= UTF8PROC_CATEGORY_ZP);
}

bool is_numeric(char32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO) || is_in(kYoungNumbers, c);
}

bool is_word(char32_t c) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  const bool letter_or_mark = category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_ME;
  return letter_or_mark || category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
         category == UTF8PROC_CATEGORY_PC || c == 0x200c || c == 0x200d || is_in(kFurtherWords, c);
}

char32_t lower_case(char32_t c) {
  for (const YoungCase& range : kYoungCases) {
    if (c >= range.first && c <= range.last && (c - range.first) % range.step == 0) {
      return static_cast<char32_t>(static_cast<int32_t>(c) + range.distance);
    }
  }
  return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
}

std::string normalize(std::string_view text, NormalForm form) {
  std::string out;
  out.reserve(text.size());
  size_t done = 0;       // out holds what is before it
  size_t run = 0;        // the last stable character, where a run that changes would begin
  bool changes = false;  // the run holds a character that is not stable
  const auto end_run = [&](size_t end) {
    if (changes) {
      append_normalized(text.substr(done, end - done), form, out);
      done = end;
    }
    changes = false;
    run = end;
  };
  for (size_t at = 0; at < text.size();) {
    const char32_t c = code_point(text.substr(at));
    const size_t next = at + character_size(text[at]);
    const bool unknown = c >= 0x300 && is_in(kUnknownToNormalizer, c);
    if (unknown || is_stable(c, form)) {
      end_run(at);
      if (unknown) run = next;  // what follows cannot join it
    } else if (!changes) {
      out += text.substr(done, run - done);
      done = run;
      changes = true;
    }
    at = next;
  }
  end_run(text.size());
  out += text.substr(done);
  return out;
}

std::string byte_to_character(unsigned char byte) {
  std::string text;
  append_utf8(text, byte_characters()[byte]);
  return text;
}

std::string to_byte_characters(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const char byte : bytes) append_utf8(text, byte_characters()[static_cast<unsigned char>(byte)]);
  return text;
}

bool from_byte_characters(std::string_view text, std::string& bytes) {
  std::string result;
  for (; !text.empty(); text.remove_prefix(character_size(text.front()))) {
    const char32_t c = code_point(text);
    if (c >= character_bytes().size() || character_bytes()[c] < 0) return false;
    result += static_cast<char>(character_bytes()[c]);
  }
  bytes = std::move(result);
  return true;
}

}  // namespace hone::text
