#include <algorithm>

#include "rewards/math/spans.h"

namespace hone {
namespace {

constexpr size_t kNone = std::string_view::npos;

char peek(std::string_view text, size_t at) { return at < text.size() ? text[at] : '\0'; }
bool digit_at(std::string_view text, size_t at) { return is_ascii_digit(peek(text, at)); }
size_t skip_digits(std::string_view text, size_t at) {
  while (digit_at(text, at)) ++at;
  return at;
}

/// Bytes of + - * / ^ ( ) or of the signs for times and division, 0 when there is none.
size_t operator_at(std::string_view text, size_t at) {
  switch (peek(text, at)) {
    case '+':
    case '-':
    case '*':
    case '/':
    case '^':
    case '(':
    case ')':
      return 1;
    case '\xC3':
      return peek(text, at + 1) == '\x97' || peek(text, at + 1) == '\xB7' ? 2 : 0;
    default:
      return 0;
  }
}

/// Bytes of a currency sign: $, pound, yen, baht, U+20A1..20BF.
size_t currency_at(std::string_view text, size_t at) {
  const auto rest = text.substr(std::min(at, text.size()));
  if (rest.starts_with('$')) return 1;
  if (rest.starts_with("\xC2\xA3") || rest.starts_with("\xC2\xA5")) return 2;
  if (rest.starts_with("\xE0\xB8\xBF")) return 3;
  if (!rest.starts_with("\xE2\x82") || rest.size() < 3) return 0;
  const auto last = static_cast<unsigned char>(rest[2]);
  return last >= 0xA1 && last <= 0xBF ? 3 : 0;
}

/// Where a percent sign or word (after white space, if any) ends; npos when there is none.
size_t after_percent(std::string_view text, size_t at) {
  const char c = peek(text, at);  // most numbers have none: decide quickly
  if (c != '%' && c != 'p' && c != 'P' && !space_at(text, at)) return kNone;
  at = skip_space(text, at);
  const auto rest = text.substr(std::min(at, text.size()));
  if (rest.starts_with('%')) return at + 1;
  if (rest.starts_with("percent") || rest.starts_with("Percent")) return at + 7;
  if (rest.starts_with("pct") || rest.starts_with("Pct")) return at + 3;
  return kNone;
}

/// What may follow an expression: a stop, a parenthesis, a dollar sign, white space or the end; npos for another.
size_t after_suffix(std::string_view text, size_t at) {
  if (at == text.size()) return at;
  const char c = text[at];
  if (c == '.' || c == ',' || c == ':' || c == ')' || c == '$') return at + 1;
  const size_t space = space_at(text, at);
  return space ? at + space : kNone;
}

}  // namespace

bool i_hope_at(std::string_view text, size_t at) {
  const auto hope = [&](size_t from) { return text.substr(std::min(from, text.size())).starts_with("I hope"); };
  const auto spaced = [&](size_t from) { return hope(from + space_at(text, from)) || hope(from); };
  return (peek(text, at) == '.' && spaced(at + 1)) || spaced(at);
}

size_t PlainScanner::skip_space(size_t at) {
  if (at >= space_from_ && at <= space_to_) return space_to_;
  size_t end = at;
  while (const size_t bytes = space_at(text_, end)) {
    end += bytes;
    if (end == space_from_) end = space_to_;
  }
  if (end > at) {
    space_from_ = at;
    space_to_ = end;
  }
  return end;
}

bool PlainScanner::holds(Then then, size_t at) {
  switch (then) {
    case Then::kAnything:
      return true;
    case Then::kNoEqualsSign:
      return peek(text_, skip_space(at)) != '=';
    case Then::kIHope:
      return i_hope_at(text_, at);
  }
  return true;
}

/// Where what begins at `at` may go on after its first character, white space or =, and **. The start of the text
/// needs no such character.
PlainScanner::Starts PlainScanner::after_prefix(size_t at) const {
  Starts starts;
  const auto add = [&](size_t begin) {
    starts.at[starts.count++] = text_.substr(begin).starts_with("**") ? begin + 2 : begin;
  };
  if (at == 0) add(0);
  if (at >= text_.size()) return starts;
  const size_t bytes = text_[at] == '=' ? 1 : space_at(text_, at);
  if (bytes) add(at + bytes);
  return starts;
}

std::optional<PlainScanner::Match> PlainScanner::expression_at(size_t at, Then then) {
  const auto starts = after_prefix(at);
  for (int i = 0; i < starts.count; ++i) {
    if (auto match = bare_expression_at(starts.at[i], then)) return match;
  }
  return {};
}

std::optional<PlainScanner::Match> PlainScanner::number_at(size_t at, Then then) {
  const auto starts = after_prefix(at);
  for (int i = 0; i < starts.count; ++i) {
    if (auto match = bare_number_at(starts.at[i] + currency_at(text_, starts.at[i]), then)) return match;
  }
  return {};
}

std::optional<PlainScanner::Match> PlainScanner::either_at(size_t at, Then then) {
  auto match = expression_at(at, then);
  return match ? match : number_at(at, then);
}

/// Bytes of a digit, point, operator or white space, 0 when there is none, or what ends a sentence or line.
size_t PlainScanner::expression_char_at(size_t at) const {
  const char c = peek(text_, at);
  if (is_ascii_digit(c)) return 1;
  if (c == '.') return quirks_ || digit_at(text_, at + 1) ? 1 : 0;
  const size_t bytes = operator_at(text_, at);
  if (bytes) return bytes;
  return quirks_ || c != '\n' ? space_at(text_, at) : 0;
}

/// The run of expression characters from `at` on, and the last place in it where an expression may end so that `then`
/// holds. Remembered, because scans ask again and again from inside one run.
void PlainScanner::load_run(size_t at, Then then) {
  const bool same_run = at >= run_from_ && at <= run_to_;
  if (same_run && then == run_then_) return;
  if (!same_run) {
    run_to_ = at;
    while (const size_t bytes = expression_char_at(run_to_)) run_to_ += bytes;
  }
  run_from_ = at;
  run_then_ = then;
  run_last_ = kNone;
  for (size_t end = run_to_;; end = previous_char(text_, end)) {
    const size_t after = after_suffix(text_, end);
    if (after != kNone && holds(then, after)) {
      run_last_ = end;
      run_last_end_ = after;
      return;
    }
    if (end <= at) return;
  }
}

/// The first operator among the expression characters from `at` on, npos when they end before one.
size_t PlainScanner::next_operator(size_t at) {
  if (at < plain_from_ || at > plain_to_) {
    plain_from_ = plain_to_ = at;
    while (operator_at(text_, plain_to_) == 0) {
      const size_t bytes = expression_char_at(plain_to_);
      if (bytes == 0) break;
      plain_to_ += bytes;
    }
  }
  return operator_at(text_, plain_to_) ? plain_to_ : kNone;
}

/// -(-5 .. with at least one operator after its first digit; as long as the text allows.
std::optional<PlainScanner::Match> PlainScanner::bare_expression_at(size_t at, Then then) {
  size_t digit = at;
  if (peek(text_, digit) == '-') ++digit;
  if (peek(text_, digit) == '(') ++digit;
  if (peek(text_, digit) == '-') ++digit;
  if (!digit_at(text_, digit)) return {};
  const size_t op = next_operator(digit + 1);
  if (op == kNone) return {};
  load_run(digit + 1, then);
  if (run_last_ == kNone || run_last_ < op + operator_at(text_, op) + 1) return {};
  return Match{{SpanKind::kExpression, text_.substr(at, run_last_ - at), false}, run_last_end_};
}

/// The number [begin, end), with a percent sign if `then` holds after it.
std::optional<PlainScanner::Match> PlainScanner::number_to(size_t begin, size_t end, Then then) {
  const auto text = text_.substr(begin, end - begin);
  const size_t percent = after_percent(text_, end);
  if (percent != kNone && holds(then, percent)) return Match{{SpanKind::kNumber, text, true}, percent};
  if (holds(then, end)) return Match{{SpanKind::kNumber, text, false}, end};
  return {};
}

/// The digits after the point or comma at `point`: as many as `then` allows, one at least.
std::optional<PlainScanner::Match> PlainScanner::fraction_digits(size_t begin, size_t point, Then then) {
  for (size_t end = skip_digits(text_, point + 1); end > point + 1; --end) {
    if (auto match = number_to(begin, end, then)) return match;
  }
  return {};
}

/// 1,234,567.8 or 1 234 567.8, whose first group is `digits`.
std::optional<PlainScanner::Match> PlainScanner::grouped_number_at(size_t begin, size_t digits, Then then) {
  const size_t first_end = skip_digits(text_, digits);
  if (peek(text_, digits) == '0' || first_end - digits > 3) return {};
  const auto group_at = [&](size_t at) {
    const char separator = peek(text_, at);
    return (separator == ' ' || separator == ',') && digit_at(text_, at + 1) && digit_at(text_, at + 2) &&
           digit_at(text_, at + 3);
  };
  size_t end = first_end;
  while (group_at(end)) end += 4;
  for (; end > first_end; end -= 4) {
    std::optional<Match> match;
    if (peek(text_, end) == '.') match = fraction_digits(begin, end, then);
    if (!match) match = number_to(begin, end, then);
    if (match) return match;
  }
  return {};
}

std::optional<PlainScanner::Match> PlainScanner::bare_number_at(size_t at, Then then) {
  const size_t digits = peek(text_, at) == '-' ? at + 1 : at;
  if (digit_at(text_, digits)) {
    if (auto match = grouped_number_at(at, digits, then)) return match;
    const size_t end = skip_digits(text_, digits);
    if (peek(text_, end) == '.' || peek(text_, end) == ',') {
      if (auto match = fraction_digits(at, end, then)) return match;
    }
    for (size_t part = end; part > digits; --part) {
      if (auto match = number_to(at, part, then)) return match;
    }
    return {};
  }
  return digits == at && peek(text_, at) == '.' ? fraction_digits(at, at, then) : std::nullopt;
}

}  // namespace hone
