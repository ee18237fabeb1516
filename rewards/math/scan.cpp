#include "rewards/math/scan.h"

#include <algorithm>

namespace hone {
namespace {

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

/// White space beyond ASCII: U+0085, U+00A0, U+1680, U+2000..200A, U+2028, U+2029, U+202F, U+205F, U+3000.
size_t wide_space_at(std::string_view rest) {
  if (rest.starts_with("\xC2\x85") || rest.starts_with("\xC2\xA0")) return 2;
  if (rest.starts_with("\xE1\x9A\x80") || rest.starts_with("\xE3\x80\x80") || rest.starts_with("\xE2\x81\x9F"))
    return 3;
  if (rest.size() < 3 || !rest.starts_with("\xE2\x80")) return 0;
  const auto last = static_cast<unsigned char>(rest[2]);
  const bool space = (last >= 0x80 && last <= 0x8A) || last == 0xA8 || last == 0xA9 || last == 0xAF;
  return space ? 3 : 0;
}

}  // namespace

size_t space_at(std::string_view text, size_t at) {
  if (at >= text.size()) return 0;
  const auto byte = static_cast<unsigned char>(text[at]);
  if (byte < 0x80) return byte == ' ' || (byte >= 9 && byte <= 13) || (byte >= 28 && byte <= 31) ? 1 : 0;
  return wide_space_at(text.substr(at));
}

size_t skip_space(std::string_view text, size_t at) {
  while (const size_t bytes = space_at(text, at)) at += bytes;
  return at;
}

size_t next_char(std::string_view text, size_t at) {
  ++at;
  while (at < text.size() && is_continuation(text[at])) ++at;
  return at;
}

size_t previous_char(std::string_view text, size_t at) {
  --at;
  while (at > 0 && is_continuation(text[at])) --at;
  return at;
}

size_t count_chars(std::string_view text) {
  return static_cast<size_t>(std::ranges::count_if(text, [](char c) { return !is_continuation(c); }));
}

size_t NextFinder::next(size_t from) {
  if (from >= known_from_ && from <= known_) return known_;
  if (from < known_from_ && known_from_ <= known_) {
    // only the part before the known stretch is new; a needle may begin there and end inside it
    const size_t end = known_from_ - 1 + needle_.size();
    const size_t found = text_.substr(0, std::min(end, text_.size())).find(needle_, from);
    known_from_ = from;
    if (found != std::string_view::npos) known_ = found;
    return known_;
  }
  known_from_ = from;
  known_ = text_.find(needle_, from);
  return known_;
}

}  // namespace hone
