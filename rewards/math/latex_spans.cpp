#include "rewards/math/spans.h"

#include <algorithm>

namespace hone {
namespace {

constexpr size_t kNone = std::string_view::npos;

bool is_escaped(std::string_view text, size_t at) { return at > 0 && text[at - 1] == '\\'; }

size_t percent_word_at(std::string_view text, size_t at) {
  const auto rest = text.substr(at);
  if (rest.starts_with("\\%")) return 2;
  if (rest.starts_with("%")) return 1;
  if (rest.starts_with("percent") || rest.starts_with("Percent")) return 7;
  if (rest.starts_with("pct") || rest.starts_with("Pct")) return 3;
  return 0;
}

/// Where ",and", "and", ",or", "or" or "," ends; npos when none stands at `at`.
size_t after_joint(std::string_view text, size_t at) {
  const bool comma = at < text.size() && text[at] == ',';
  const auto rest = text.substr(comma ? at + 1 : at);
  if (rest.starts_with("and")) return at + comma + 3;
  if (rest.starts_with("or")) return at + comma + 2;
  return comma ? at + 1 : kNone;
}

/// Where -5, 5.5 or 5,5 in braces ends; npos when there is none.
size_t after_braced_number(std::string_view text, size_t at) {
  const auto peek = [&](size_t i) { return i < text.size() ? text[i] : '\0'; };
  if (peek(at++) != '{') return kNone;
  if (peek(at) == '-') ++at;
  const size_t first = at;
  while (is_ascii_digit(peek(at))) ++at;
  if (at == first) return kNone;
  if ((peek(at) == '.' || peek(at) == ',') && is_ascii_digit(peek(at + 1))) {
    ++at;
    while (is_ascii_digit(peek(at))) ++at;
  }
  return peek(at) == '}' ? at + 1 : kNone;
}

}  // namespace

size_t LatexScanner::match_at(size_t at, bool boxed, std::vector<Span>& spans) {
  auto found = environment_at(at, boxed);
  size_t end = kNone;
  for (int count = 1; found; ++count) {
    spans.push_back(found->span);
    end = boxed ? skip_space(text_, found->end) : found->end;
    if (count == kMaxEnvironments) break;
    const size_t joint = after_joint(text_, skip_space(text_, end));
    if (joint == kNone) break;
    found = environment_after_space(joint, boxed);
  }
  return end;
}

size_t LatexScanner::match_after_space(size_t at, bool boxed, std::vector<Span>& spans) {
  const size_t begin = skip_space(text_, at);
  const size_t end = match_at(begin, boxed, spans);
  // white space [..] begins with its white space
  return end == kNone && begin > at ? match_at(previous_char(text_, begin), boxed, spans) : end;
}

LatexScanner::Found LatexScanner::environment_after_space(size_t at, bool boxed) {
  const size_t begin = skip_space(text_, at);
  auto found = environment_at(begin, boxed);
  if (!found && begin > at) found = environment_at(previous_char(text_, begin), boxed);
  return found;
}

LatexScanner::Found LatexScanner::environment_at(size_t at, bool boxed) {
  auto found = delimited_at(at);
  if (boxed) {
    if (found && !holds_box(found->span.text)) return {};
  } else if (!found) {
    found = fraction_at(at);
  }
  return found ? with_percent(*found) : found;
}

LatexScanner::Found LatexScanner::delimited_at(size_t at) {
  if (at >= text_.size()) return {};
  if (text_[at] == '$') return dollars_at(at);
  if (text_[at] == '\\') {
    if (is_escaped(text_, at) || at + 1 >= text_.size()) return {};
    return text_[at + 1] == '[' ? display_bracket_at(at) : text_[at + 1] == '(' ? parenthesis_at(at) : Found();
  }
  return space_at(text_, at) ? square_bracket_at(at) : Found();
}

/// [begin, end) is the content if it is not empty and its delimiter is not escaped.
LatexScanner::Found LatexScanner::content(size_t begin, size_t end, size_t delimiter_bytes) {
  if (end == kNone || end <= begin || is_escaped(text_, end)) return {};
  return Environment{{SpanKind::kLatex, text_.substr(begin, end - begin), false}, end + delimiter_bytes};
}

LatexScanner::Found LatexScanner::dollars_at(size_t at) {
  if (is_escaped(text_, at)) return {};
  if (at + 1 < text_.size() && text_[at + 1] == '$') return content(at + 2, dollars_.next(at + 2), 2);
  if (at > 0 && is_ascii_digit(text_[at - 1])) return {};  // 5$: money, or the end of something
  for (size_t end = at + 1; (end = text_.find('$', end)) != kNone; ++end) {
    if (!is_escaped(text_, end)) return is_on_a_line(at + 1, end) ? content(at + 1, end, 1) : Found();
  }
  return {};
}

LatexScanner::Found LatexScanner::display_bracket_at(size_t at) {
  return content(at + 2, close_bracket_.next(at + 2), 2);
}

LatexScanner::Found LatexScanner::parenthesis_at(size_t at) {
  const size_t end = close_parenthesis_.next(at + 2);
  return end != kNone && is_on_a_line(at + 2, end) ? content(at + 2, end, 2) : Found();
}

/// Whether [begin, end) has no line break, but for those inside \begin..\end.
bool LatexScanner::is_on_a_line(size_t begin, size_t end) {
  const size_t line = line_.next(begin);
  if (line >= end) return true;
  return !quirks_ && begin_.next(begin) < line && next_outer_line(begin) >= end;
}

/// The first line break from `at` on that has no \begin before it, or an \end since. Remembered, so that a text full of
/// formulas that do not end is read once.
size_t LatexScanner::next_outer_line(size_t at) {
  if (at >= outer_from_ && at <= outer_line_) return outer_line_;
  outer_from_ = at;
  bool inside = false;
  for (; (at = text_.find_first_of("\n\\", at)) != kNone; ++at) {
    const auto rest = text_.substr(at);
    if (rest[0] == '\n' && !inside) break;
    if (rest.starts_with("\\begin{")) inside = true;
    if (rest.starts_with("\\end{")) inside = false;
  }
  return outer_line_ = at;
}

LatexScanner::Found LatexScanner::square_bracket_at(size_t at) {
  const size_t open = next_char(text_, at);
  if (open >= text_.size() || text_[open] != '[') return {};
  const size_t close = text_.find_first_of("[]\n", open + 1);
  if (close == kNone || text_[close] != ']' || close == open + 1) return {};
  const size_t space = space_at(text_, close + 1);
  if (space == 0) return {};
  return Environment{{SpanKind::kLatex, text_.substr(open + 1, close - open - 1), false}, close + 1 + space};
}

LatexScanner::Found LatexScanner::fraction_at(size_t at) {
  const auto rest = text_.substr(std::min(at, text_.size()));
  const size_t sign = rest.starts_with('-') ? 1 : 0;
  if (!rest.substr(sign).starts_with("\\frac{")) return {};
  size_t end = after_braced_number(text_, at + sign + 5);
  if (end != kNone) end = after_braced_number(text_, end);
  if (end == kNone) return {};
  return Environment{{SpanKind::kFraction, text_.substr(at, end - at), false}, end};
}

bool LatexScanner::holds_box(std::string_view content) {
  const auto begin = static_cast<size_t>(content.data() - text_.data()), end = begin + content.size();
  const size_t box = box_.next(begin);
  if (box >= end) return false;
  return brace_.next(box + 8) < end;  // \boxed{ and one character at least
}

LatexScanner::Found LatexScanner::with_percent(Environment found) {
  found.end = skip_space(text_, found.end);
  if (const size_t bytes = percent_word_at(text_, found.end)) {
    found.span.percent = true;
    found.end += bytes;
  }
  return found;
}

}  // namespace hone
