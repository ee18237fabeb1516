#include "models/text/jinja_lexer.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

#include "models/text/jinja_unicode.h"

namespace hone::jinja {
namespace {

constexpr std::array kOperators{"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
                                "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};

bool is_ascii_digit(char c) { return c >= '0' && c <= '9'; }

int digit_value(char c) {
  if (is_ascii_digit(c)) return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'z' ? lower - 'a' + 10 : 99;
}

// Line breaks of all three kinds become \n, and one at the end is dropped.
std::string normalized(std::string_view source) {
  std::string out;
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r' && i + 1 < source.size() && source[i + 1] == '\n') continue;
    out += source[i] == '\r' ? '\n' : source[i];
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

// Digits of `base` with single underscores between them, from `at` on; where they end, or npos for none.
size_t digits_end(std::string_view s, size_t at, int base) {
  if (at >= s.size() || digit_value(s[at]) >= base) return s.npos;
  while (at < s.size()) {
    if (digit_value(s[at]) < base) {
      ++at;
    } else if (s[at] == '_' && at + 1 < s.size() && digit_value(s[at + 1]) < base) {
      at += 2;
    } else {
      break;
    }
  }
  return at;
}

std::string without_underscores(std::string_view s) {
  std::string out(s);
  out.erase(std::remove(out.begin(), out.end(), '_'), out.end());
  return out;
}

// Where a float literal that begins at `at` ends; npos when there is none.
size_t float_end(std::string_view s, size_t at) {
  if (at > 0 && s[at - 1] == '.') return s.npos;
  size_t end = digits_end(s, at, 10);
  if (end == s.npos) return s.npos;
  const size_t fraction = end < s.size() && s[end] == '.' ? digits_end(s, end + 1, 10) : s.npos;
  if (fraction != s.npos) end = fraction;
  if (end < s.size() && (s[end] == 'e' || s[end] == 'E')) {
    const size_t sign = end + 1 < s.size() && (s[end + 1] == '+' || s[end + 1] == '-') ? 1 : 0;
    const size_t exponent = digits_end(s, end + 1 + sign, 10);
    if (exponent != s.npos) return exponent;
  }
  return fraction == s.npos ? s.npos : end;
}

struct IntegerLiteral {
  size_t end;
  int base;
  size_t digits;  ///< where they begin
};

IntegerLiteral integer_literal(std::string_view s, size_t at) {
  const char kind = s[at] == '0' && at + 1 < s.size() ? static_cast<char>(s[at + 1] | 0x20) : ' ';
  const int base = kind == 'b' ? 2 : kind == 'o' ? 8 : kind == 'x' ? 16 : 10;
  if (base != 10) {
    const size_t skipped = at + 2 < s.size() && s[at + 2] == '_' ? 3 : 2;
    const size_t end = digits_end(s, at + skipped, base);
    if (end != s.npos) return {end, base, at + skipped};
  }
  // a decimal literal that begins with 0 is made of zeros alone
  return {digits_end(s, at, s[at] == '0' ? 1 : 10), 10, at};
}

std::optional<Int> parse_integer(std::string_view digits, int base) {
  Int out = 0;
  for (const char c : digits) {
    if (__builtin_mul_overflow(out, Int(base), &out) || __builtin_add_overflow(out, Int(digit_value(c)), &out))
      return {};
  }
  return out;
}

// jinja2 writes what is not ASCII as escapes and then decodes all escapes, so that "\é" is a backslash and "xe9".
std::string ascii_escaped(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const char32_t c = next_code_point(text, at);
    out += c < 0x80 ? std::string(1, static_cast<char>(c)) : escape_code(c);
  }
  return out;
}

struct Unescaper {
  std::string_view in;
  std::string out;
  size_t at = 0;

  // Throws std::string, the message.
  void hex(size_t digits, const char* shape) {
    uint32_t value = 0;
    const size_t end = std::min(in.size(), at + digits);
    const auto result = std::from_chars(in.data() + at, in.data() + end, value, 16);
    if (result.ptr != in.data() + at + digits) throw fmt::format("truncated {} escape", shape);
    if (value > 0x10FFFF) throw std::string("illegal Unicode character");
    if (value >= 0xD800 && value <= 0xDFFF) throw std::string("a lone surrogate is no text");
    append_code_point(out, value);
    at += digits;
  }

  void octal() {
    uint32_t value = 0;
    for (int i = 0; i < 3 && at < in.size() && in[at] >= '0' && in[at] <= '7'; ++i, ++at) {
      value = value * 8 + static_cast<uint32_t>(in[at] - '0');
    }
    append_code_point(out, value);
  }

  void escape() {
    constexpr std::string_view kLetters = "abfnrtv\\'\"", kMeanings = "\a\b\f\n\r\t\v\\'\"";
    const char c = in[at];
    if (c >= '0' && c <= '7') return octal();
    ++at;
    if (c == '\n') return;
    if (c == 'x') return hex(2, "\\xXX");
    if (c == 'u') return hex(4, "\\uXXXX");
    if (c == 'U') return hex(8, "\\UXXXXXXXX");
    if (c == 'N') throw std::string("\\N{..} escapes are not supported; write the character itself");
    const size_t known = kLetters.find(c);
    out += known == kLetters.npos ? std::string{'\\', c} : std::string{kMeanings[known]};
  }

  std::string run() {
    while (at < in.size()) {
      const char c = in[at++];
      if (c == '\\' && at < in.size()) {
        escape();
      } else if (c == '\\') {
        throw std::string("\\ at end of string");
      } else {
        out += c;
      }
    }
    return out;
  }
};

}  // namespace

std::string Token::describe() const {
  switch (kind) {
    case TokenKind::kData:
      return "template data / text";
    case TokenKind::kBlockBegin:
      return "begin of statement block";
    case TokenKind::kBlockEnd:
      return "end of statement block";
    case TokenKind::kVariableBegin:
      return "begin of print statement";
    case TokenKind::kVariableEnd:
      return "end of print statement";
    case TokenKind::kText:
      return "string";
    case TokenKind::kInteger:
      return "integer";
    case TokenKind::kFloat:
      return "float";
    case TokenKind::kEnd:
      return "end of template";
    default:
      return text;
  }
}

Lexer::Lexer(std::string_view source) : source_(normalized(source)) {}

Token Lexer::next() {
  while (ready_.empty() && at_ < source_.size()) scan();
  if (ready_.empty()) return Token{.kind = TokenKind::kEnd, .line = last_line_};
  Token token = std::move(ready_.front());
  ready_.pop_front();
  last_line_ = token.line;
  return token;
}

void Lexer::fail(const std::string& message) const { throw Error(Error::Kind::kSyntax, message, line_); }

void Lexer::emit(TokenKind kind, std::string text) {
  ready_.push_back(Token{.kind = kind, .text = std::move(text), .line = line_});
}

void Lexer::move_to(size_t end) {
  line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                       source_.begin() + static_cast<std::ptrdiff_t>(end), '\n'));
  line_starting_ = end > at_ && source_[end - 1] == '\n';
  at_ = end;
}

size_t Lexer::skip_space(size_t at) const {
  return source_.size() - strip_left(std::string_view(source_).substr(at)).size();
}

// `close` at `at` with an optional sign before it: behind - all white space goes, behind none one line break, behind +
// nothing. Returns where the tag with what it swallows ends.
std::optional<size_t> Lexer::match_tag_end(size_t at, std::string_view close, bool may_keep, bool trims) const {
  if (may_keep && at < source_.size() && source_[at] == '+' && starts(at + 1, close)) return at + 1 + close.size();
  if (at < source_.size() && source_[at] == '-' && starts(at + 1, close)) return skip_space(at + 1 + close.size());
  if (!starts(at, close)) return {};
  const size_t end = at + close.size();
  return trims && end < source_.size() && source_[end] == '\n' ? end + 1 : end;
}

void Lexer::scan() {
  switch (state_) {
    case State::kRoot:
      return scan_root();
    case State::kComment:
      return scan_comment();
    case State::kRaw:
      return scan_raw();
    default:
      return scan_tag();
  }
}

// Data before a tag: - strips all white space, none the spaces of the tag's own line (lstrip_blocks; not for {{).
void Lexer::emit_data(std::string_view text, char sign, bool is_variable) {
  if (sign == '-') {
    text = strip_right(text);
  } else if (sign != '+' && !is_variable) {
    const size_t line = text.rfind('\n') + 1;
    const bool begins_line = line > 0 || line_starting_;
    if (begins_line && line < text.size() && strip_left(text.substr(line)).empty()) text = text.substr(0, line);
  }
  if (!text.empty()) emit(TokenKind::kData, std::string(text));
}

void Lexer::scan_root() {
  size_t tag = at_;
  while (true) {
    tag = source_.find('{', tag);
    if (tag == source_.npos || tag + 1 >= source_.size()) tag = source_.size();
    if (tag == source_.size() || std::string_view("%{#").find(source_[tag + 1]) != std::string_view::npos) break;
    ++tag;
  }
  if (tag == source_.size()) {
    emit(TokenKind::kData, source_.substr(at_));
    return move_to(tag);
  }
  const char kind = source_[tag + 1];
  size_t end = tag + 2;
  const char sign = end < source_.size() && (source_[end] == '-' || source_[end] == '+') ? source_[end++] : ' ';
  const size_t word = skip_space(end);
  const size_t raw_end = skip_space(std::min(source_.size(), word + 3));
  const auto raw = kind == '%' && starts(word, "raw") ? match_tag_end(raw_end, "%}", false, false) : std::nullopt;
  emit_data(std::string_view(source_).substr(at_, tag - at_), sign, kind == '{');
  line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                       source_.begin() + static_cast<std::ptrdiff_t>(tag), '\n'));
  at_ = tag;
  if (raw) {
    state_ = State::kRaw;
    return move_to(*raw);
  }
  state_ = kind == '%' ? State::kBlock : kind == '{' ? State::kVariable : State::kComment;
  if (kind != '#') emit(kind == '%' ? TokenKind::kBlockBegin : TokenKind::kVariableBegin, "");
  move_to(end);
}

void Lexer::scan_comment() {
  for (size_t at = at_; at < source_.size(); ++at) {
    if (const auto end = match_tag_end(at, "#}", true, true)) {
      state_ = State::kRoot;
      return move_to(*end);
    }
  }
  fail("Missing end of comment tag");
}

void Lexer::scan_raw() {
  for (size_t at = source_.find("{%", at_); at != source_.npos; at = source_.find("{%", at + 1)) {
    const size_t sign_at = at + 2;
    const bool has_sign = sign_at < source_.size() && (source_[sign_at] == '-' || source_[sign_at] == '+');
    const size_t word = skip_space(sign_at + has_sign);
    if (!starts(word, "endraw")) continue;
    const auto end = match_tag_end(skip_space(word + 6), "%}", true, true);
    if (!end) continue;
    emit_data(std::string_view(source_).substr(at_, at - at_), has_sign ? source_[sign_at] : ' ', false);
    state_ = State::kRoot;
    return move_to(*end);
  }
  fail("Missing end of raw directive");
}

void Lexer::scan_tag() {
  if (closers_.empty() && scan_tag_end()) return;
  if (const size_t end = skip_space(at_); end > at_) return move_to(end);
  if (scan_number() || scan_name() || scan_text() || scan_operator()) return;
  size_t behind = at_;
  next_code_point(source_, behind);
  fail(fmt::format("unexpected char {} at {}", text_repr(source_.substr(at_, behind - at_)),
                   count_code_points(std::string_view(source_).substr(0, at_))));
}

bool Lexer::scan_tag_end() {
  const bool is_block = state_ == State::kBlock;
  const auto end = is_block ? match_tag_end(at_, "%}", true, true) : match_tag_end(at_, "}}", false, false);
  if (!end) return false;
  emit(is_block ? TokenKind::kBlockEnd : TokenKind::kVariableEnd, "");
  state_ = State::kRoot;
  move_to(*end);
  return true;
}

bool Lexer::scan_number() {
  const std::string_view s = source_;
  if (!is_ascii_digit(s[at_])) return false;
  if (const size_t end = float_end(s, at_); end != s.npos) {
    const std::string text = without_underscores(s.substr(at_, end - at_));
    emit(TokenKind::kFloat, "");
    ready_.back().number = Value(std::strtod(text.c_str(), nullptr));
    move_to(end);
    return true;
  }
  const IntegerLiteral literal = integer_literal(s, at_);
  const size_t end = literal.end;
  const auto value = parse_integer(without_underscores(s.substr(literal.digits, end - literal.digits)), literal.base);
  if (!value) fail("an integer does not fit 128 bits");
  emit(TokenKind::kInteger, std::string(s.substr(at_, end - at_)));
  ready_.back().number = Value(*value);
  move_to(end);
  return true;
}

bool Lexer::scan_name() {
  size_t end = at_;
  for (size_t at = at_; at < source_.size(); end = at) {
    const char32_t c = next_code_point(source_, at);
    if (!is_word(c) && !is_identifier_part(c)) break;
  }
  if (end == at_) return false;
  const std::string name = source_.substr(at_, end - at_);
  const std::u32string letters = to_code_points(name);
  if (!is_identifier_start(letters[0]) || !std::all_of(letters.begin(), letters.end(), is_identifier_part)) {
    fail("Invalid character in identifier");
  }
  emit(TokenKind::kName, name);
  move_to(end);
  return true;
}

bool Lexer::scan_text() {
  const char quote = source_[at_];
  if (quote != '\'' && quote != '"') return false;
  size_t end = at_ + 1;
  while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
  if (end >= source_.size()) return false;
  try {
    const std::string ascii = ascii_escaped(std::string_view(source_).substr(at_ + 1, end - at_ - 1));
    emit(TokenKind::kText, Unescaper{.in = ascii, .out = {}}.run());
  } catch (const std::string& message) {
    fail(message);
  }
  move_to(end + 1);
  return true;
}

bool Lexer::scan_operator() {
  const auto* found =
      std::find_if(kOperators.begin(), kOperators.end(), [&](const char* op) { return starts(at_, op); });
  if (found == kOperators.end()) return false;
  const std::string op = *found;
  if (op == "(" || op == "[" || op == "{") closers_.push_back(op == "(" ? ')' : op == "[" ? ']' : '}');
  if (op == ")" || op == "]" || op == "}") {
    if (closers_.empty()) fail(fmt::format("unexpected '{}'", op));
    const char expected = closers_.back();
    if (expected != op[0]) fail(fmt::format("unexpected '{}', expected '{}'", op, expected));
    closers_.pop_back();
  }
  emit(TokenKind::kOperator, op);
  move_to(at_ + op.size());
  return true;
}

}  // namespace hone::jinja
