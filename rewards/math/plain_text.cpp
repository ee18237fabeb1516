#include "rewards/math/plain_text.h"

#include <algorithm>
#include <array>

#include "rewards/math/words.h"

namespace hone {
namespace {

constexpr size_t kNone = std::string_view::npos;

struct Sign {
  std::string_view written, means;
};
/// By their first bytes. The last ones: answer, is not, is, equals, or, and.
constexpr Sign kSigns[]{{"\\fbox{", "\\boxed{"},
                        {"\\framebox{", "\\boxed{"},
                        {"\\boxed {", "\\boxed{"},
                        {"\u00bd", " 1/2"},
                        {"\u00bc", " 1/4"},
                        {"\u00be", " 3/4"},
                        {"\u00ad", ""},
                        {"\u2212", "-"},
                        {"\u2044", "/"},
                        {"\u2215", "/"},
                        {"\u2153", " 1/3"},
                        {"\u2154", " 2/3"},
                        {"\u200b", ""},
                        {"\u200c", ""},
                        {"\u200d", ""},
                        {"\u2060", ""},
                        {"\u202a", ""},
                        {"\u202c", ""},
                        {"\u202d", ""},
                        {"\u202e", ""},
                        {"\u3002", ". "},
                        {"\u3001", ", "},
                        {"\u4e0d\u662f", " is not "},
                        {"\u4e3a", " is "},
                        {"\u548c", " and "},
                        {"\u662f", " is "},
                        {"\u6216\u8005", " or "},
                        {"\u6216", " or "},
                        {"\u7b54\u6848", " answer "},
                        {"\u7b54\uff1a", " answer: "},
                        {"\u7b49\u4e8e", " is "},
                        {"\ufeff", ""},
                        {"\ufe0f", ""}};
constexpr std::string_view kPowers[]{"\u2070", "\u00b9", "\u00b2", "\u00b3", "\u2074",
                                     "\u2075", "\u2076", "\u2077", "\u2078", "\u2079"};
constexpr std::string_view kIndices[]{"\u2080", "\u2081", "\u2082", "\u2083", "\u2084",
                                      "\u2085", "\u2086", "\u2087", "\u2088", "\u2089"};

/// First bytes of all that is changed.
constexpr ByteSet kFirstBytes("\xC2\xE2\xE3\xE4\xE5\xE6\xE7\xE8\xE9\xEF\\`*_:");

bool is_word_byte(char c) { return is_letter(c) || is_ascii_digit(c); }

class Rewriter {
 public:
  explicit Rewriter(std::string_view text) : text_(text) {}

  std::string run() {
    for (; at_ < text_.size(); ++at_) {
      if (kFirstBytes[text_[at_]]) rewrite();
    }
    return done_ == 0 ? plain_ : plain_.append(text_.substr(done_));
  }

 private:
  char before() const { return at_ > 0 ? text_[at_ - 1] : ' '; }
  char peek(size_t at) const { return at < text_.size() ? text_[at] : ' '; }

  /// `means` for the next bytes; at_ is left at the last of them.
  void replace(size_t bytes, std::string_view means) {
    plain_.append(text_.substr(done_, at_ - done_)).append(means);
    done_ = at_ + bytes;
    at_ = done_ - 1;
  }

  void rewrite() {
    const char c = text_[at_];
    if (c == '`') return replace(1, " ");
    if (c == '*' || c == '_') return emphasis(c);
    if (c == ':') return colon();
    const auto rest = text_.substr(at_);
    const auto first = [](const Sign& sign) { return static_cast<unsigned char>(sign.written[0]); };
    for (const auto& [written, means] : std::ranges::equal_range(kSigns, static_cast<unsigned char>(c), {}, first)) {
      if (!rest.starts_with(written)) continue;
      size_t bytes = written.size();
      if (means == "-") bytes = std::min(rest.find_first_not_of(' ', bytes), rest.size());  // this dash is no bullet
      return replace(bytes, means);
    }
    if (rest.starts_with("\u2013") && is_ascii_digit(peek(at_ + 3)) && !is_word_byte(before()) && !follows_number())
      return replace(3, "-");
    if (is_full_width(rest)) return replace(3, full_width(rest));
    if (digits(kPowers, '^') || digits(kIndices, '_')) return;
    if (rest.starts_with("\u221a") && is_ascii_digit(peek(at_ + 3))) return root();
    cjk(rest);
  }

  /// \u221a13 as \sqrt{13}.
  void root() {
    size_t end = at_ + 3;
    while (is_ascii_digit(peek(end))) ++end;
    std::string means = "\\sqrt{";
    means.append(text_.substr(at_ + 3, end - at_ - 3)).append("}");
    replace(end - at_, means);
  }

  /// "4 \u20135" is a range.
  bool follows_number() const {
    const size_t last = at_ == 0 ? kNone : text_.find_last_not_of(" $", at_ - 1);
    return last != kNone && is_ascii_digit(text_[last]);
  }

  /// U+FF01..FF5E, but for the bar of <|end|> markers.
  static bool is_full_width(std::string_view rest) {
    if (rest.size() < 3 || rest[0] != '\xEF') return false;
    const auto second = static_cast<unsigned char>(rest[1]), third = static_cast<unsigned char>(rest[2]);
    return (second == 0xBC && third >= 0x81) || (second == 0xBD && third < 0x9C) || rest.starts_with("\uff5d");
  }
  std::string_view full_width(std::string_view rest) {
    const unsigned low = static_cast<unsigned char>(rest[2]) & 0x3F;
    letter_[0] = static_cast<char>((rest[1] == '\xBC' ? 0x20 : 0x60) + low);
    letter_[1] = ' ';
    const bool ends = std::string_view(",:;").find(letter_[0]) != kNone;
    return {letter_.data(), ends ? 2U : 1U};
  }

  /// x\u00b2 as x^{2}; no sign on its own.
  bool digits(std::span<const std::string_view> signs, char command) {
    const char second = peek(at_ + 1);
    const bool may_be = second == '\x81' || second == '\x82' || (text_[at_] == '\xC2' && second >= '\xB2');
    std::string number;
    size_t end = may_be ? at_ : text_.size();
    for (bool found = true; found;) {
      found = false;
      for (size_t digit = 0; digit < signs.size() && !found; ++digit) {
        if (!text_.substr(end).starts_with(signs[digit])) continue;
        number += static_cast<char>('0' + digit);
        end += signs[digit].size();
        found = true;
      }
    }
    if (number.empty() || !(is_word_byte(before()) || before() == ')' || before() == '}' || (before() & 0x80)))
      return false;
    replace(end - at_, command + ("{" + number + "}"));
    return true;
  }

  /// A Chinese character, with a space before a number beside it.
  void cjk(std::string_view rest) {
    const auto lead = static_cast<unsigned char>(rest[0]);
    if (lead < 0xE4 || lead > 0xE9 || rest.size() < 3) return;
    if (is_ascii_digit(peek(at_ + 3)) || peek(at_ + 3) == '-' || peek(at_ + 3) == '$') {
      at_ += 3;
      replace(0, " ");
    } else {
      at_ += 2;
    }
  }

  void colon() {
    constexpr std::string_view kAnswer = "answer";
    const bool glued = peek(at_ + 1) != ' ' && peek(at_ + 1) != '\n' && at_ >= kAnswer.size();
    if (glued && word_at(text_, at_ - kAnswer.size(), kAnswer)) replace(1, ": ");
  }

  /// *5*, _5_, __5__: a few words between marks, without them.
  void emphasis(char mark) {
    constexpr size_t kLongest = 60;
    const size_t width = peek(at_ + 1) == mark ? 2 : 1, begin = at_ + width;
    const bool opens = before() == ' ' || before() == '\n' || before() == '(';
    const char first = peek(begin);
    const bool bold = mark == '*' && width == 2;
    if (bold || !opens || !(is_word_byte(first) || first == '-' || first == '$')) {
      at_ += width - 1;
      return;
    }
    const size_t end = std::min(text_.substr(begin, kLongest + 1).find_first_of("*_\n"), kLongest + 1) + begin;
    const bool closes = end - begin <= kLongest && peek(end) == mark && peek(end + width - 1) == mark &&
                        text_[end - 1] != ' ' && std::string_view(" .,;:!?)\n").find(peek(end + width)) != kNone;
    if (!closes) return;
    replace(width, " ");
    at_ = end;
    replace(width, " ");
  }

  std::string_view text_;
  size_t at_ = 0, done_ = 0;
  std::array<char, 2> letter_{};
  std::string plain_;
};

}  // namespace

std::string plain_text(std::string_view text) { return Rewriter(text).run(); }

std::string with_plain_dollars(std::string_view text) {
  std::string plain;
  for (size_t at = text.find('$'); at != kNone; at = text.find('$', at + 1)) {
    if (at == 0 || text[at - 1] != '\\') return {};
    if (plain.empty()) plain = text;
    const bool is_price = at + 1 < text.size() && is_ascii_digit(text[at + 1]) && (at < 2 || text[at - 2] == ' ');
    if (is_price) plain[at - 1] = ' ';
  }
  return plain;
}

std::string with_joined_thousands(std::string_view text) {
  std::string joined;
  const auto digits_from = [&](size_t at) {
    size_t end = at;
    while (end < text.size() && is_ascii_digit(text[end])) ++end;
    return end - at;
  };
  for (size_t at = 0; at < text.size();) {
    const size_t digits = digits_from(at), size = std::max<size_t>(digits, 1);
    const bool decimals = at > 0 && (text[at - 1] == '.' || text[at - 1] == ',');
    const bool groups_may_follow = digits > 0 && digits <= 3 && text[at] != '0' && !decimals;
    joined += text.substr(at, size);
    at += size;
    for (; groups_may_follow && at < text.size() && text[at] == ' ' && digits_from(at + 1) == 3; at += 4)
      joined += text.substr(at + 1, 3);
  }
  return joined;
}

}  // namespace hone
