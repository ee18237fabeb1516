#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "rewards/math/answer_data.h"
#include "rewards/math/lex.h"
#include "rewards/math/math.h"
#include "rewards/math/parse.h"
#include "rewards/math/scan.h"

namespace hone {
namespace {

/// 1,234,567.8 or 1 234, 0,5, .5, -7: groups of three are one number, any other comma is a decimal point.
Expr plain_number(std::string_view text, Arena& arena, Budget& budget) {
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  if (text.size() > budget.limits().digits) {
    budget.reach("digits of a number");
    return nullptr;
  }
  const size_t first = text.find_first_of(", ");
  const bool grouped = first != std::string_view::npos && first <= 3 && text[0] != '0' && text.size() >= first + 4 &&
                       text.substr(first + 1, 3).find_first_of(",. ") == std::string_view::npos &&
                       (text.size() == first + 4 || !is_ascii_digit(text[first + 4]));
  std::string digits;
  for (const char c : text) {
    if (is_ascii_digit(c)) digits += c;
    if (c == '.' || (c == ',' && !grouped)) digits += '.';
  }
  if (digits.empty() || std::ranges::count(digits, '.') > 1) return nullptr;
  const auto value = Rational::from_decimal(digits);
  const bool decimal = digits.find('.') != std::string::npos;
  return arena.number(negative ? -value : value, decimal ? kDecimal : 0);
}

/// Reads one formula.
class Reader {
 public:
  Reader(Arena& arena, bool quirks, Budget& budget) : arena_(arena), quirks_(quirks), budget_(budget) {}

  Expr latex(std::string_view source, std::string& text, std::optional<Unit>& unit) {
    text = source;
    if (source.size() > budget_.limits().formula_bytes) {
      budget_.reach("length of a formula");
      return too_large(source);
    }
    auto tokens = lex(source, quirks_);
    if (!spend_on(source, tokens) || tokens.empty()) return nullptr;
    const auto dropped = drop_units(tokens, quirks_);
    if (!quirks_) unit = unit_of(dropped, tokens, source);
    text = join(tokens);
    merge_groups(tokens);
    const auto unread = tokens;
    if (const auto* value = parse(tokens, arena_, quirks_, budget_)) return as_written(value, tokens);
    return budget_.reached() ? too_large(text) : last_of_chain(unread);
  }

  /// Digits and operators, as in a line of Python: numbers and parentheses do not stand side by side, but for 1 3/4.
  Expr arithmetic(std::string_view source) {
    while (!source.empty() && (source.back() == '.' || source.back() == ' ')) source.remove_suffix(1);
    if (source.size() > budget_.limits().formula_bytes) return nullptr;
    auto tokens = lex(source, quirks_);
    if (!spend_on(source, tokens)) return nullptr;
    for (size_t i = 0; i + 1 < tokens.size(); ++i) {
      const bool ends = tokens[i].kind == Tok::kNumber || tokens[i].is(')');
      const bool number_follows = tokens[i + 1].kind == Tok::kNumber;
      const bool mixed = !quirks_ && number_follows && !tokens[i].is(')') && tokens[i + 2].is('/');
      if (ends && ((number_follows && !mixed) || tokens[i + 1].is('('))) return nullptr;
    }
    return parse(tokens, arena_, quirks_, budget_);
  }

 private:
  /// What was dropped, or dollars, or the base of a numeral.
  static std::optional<Unit> unit_of(std::string_view dropped, const std::vector<Token>& tokens,
                                     std::string_view source) {
    if (!dropped.empty()) return read_unit(dropped);
    if (auto currency = currency_in(source)) return currency;
    const bool braced = tokens.size() > 2 && tokens[2].is('{');
    const size_t base = braced ? 3 : 2;
    const bool numeral = tokens.size() == base + (braced ? 3 : 2) && tokens[0].kind == Tok::kNumber &&
                         tokens[1].is('_') && tokens[base].kind == Tok::kNumber && tokens[base].text.size() <= 2;
    if (!numeral) return {};
    int8_t value = 0;
    std::from_chars(tokens[base].text.data(), tokens[base].text.data() + tokens[base].text.size(), value);
    return numeral_of_base(value);
  }

  bool spend_on(std::string_view source, const std::vector<Token>& tokens) {
    return budget_.spend(static_cast<int64_t>(source.size() / 8 + tokens.size()));
  }

  /// What is beyond the limits is a value that equals only what is written alike.
  Expr too_large(std::string_view text) { return arena_.make(Op::kOpaque, {}, kTooLarge, text); }

  /// $0.5$ is the fraction; a decimal otherwise is one that may have been rounded.
  Expr as_written(Expr value, const std::vector<Token>& tokens) {
    return tokens.size() == 2 && tokens[0].text == "0.5" ? arena_.number(Rational(1, 2)) : value;
  }

  /// 1,234.5 alone (or behind "x =" or "="): one number.
  void merge_groups(std::vector<Token>& tokens) {
    const size_t name = tokens[0].kind == Tok::kLetter ? 1 : 0;
    size_t begin = !quirks_ && tokens.size() > 3 && tokens[name].is('=') ? name + 1 : 0;
    if (tokens[begin].is('-') || (!quirks_ && tokens[begin].is('+'))) ++begin;
    size_t end = tokens.size() - 1;
    if (!quirks_ && end > begin && tokens[end - 1].is('%')) --end;
    if (end < begin + 3 || (end - begin) % 2 == 0) return;
    merged_.clear();
    for (size_t i = begin; i < end; ++i) {
      const auto& token = tokens[i];
      if (i > begin && token.space_before) return;
      if ((i - begin) % 2 == 1) {
        if (!token.is(',')) return;
        continue;
      }
      const size_t digits = std::min(token.text.find('.'), token.text.size());
      const bool fits = i == begin ? digits >= 1 && digits <= 3 && digits == token.text.size() : digits == 3;
      if (token.kind != Tok::kNumber || !fits || (digits < token.text.size() && i + 1 < end)) return;
      if (i == begin + 2 && tokens[begin].text.starts_with('0')) merged_ += '.';
      merged_ += token.text;
    }
    if (std::ranges::count(merged_, '.') > 1) return;
    tokens[begin].text = merged_;
    tokens.erase(tokens.begin() + static_cast<ptrdiff_t>(begin) + 1, tokens.begin() + static_cast<ptrdiff_t>(end));
  }

  /// Of a = b = c that cannot be read, c.
  Expr last_of_chain(const std::vector<Token>& tokens) {
    const auto is_equals = [](const Token& token) { return token.is('='); };
    const auto separates = [](const Token& token) { return token.is(',') || token.is(';'); };
    if (std::ranges::count_if(tokens, is_equals) < 2 || std::ranges::any_of(tokens, separates)) return nullptr;
    const auto last = std::find_if(tokens.rbegin(), tokens.rend(), is_equals);
    std::vector<Token> rest(last.base(), tokens.end());
    return parse(rest, arena_, quirks_, budget_);
  }

  Arena& arena_;
  bool quirks_;
  Budget& budget_;
  std::string merged_;
};

Expr read_span(const Span& span, Arena& arena, bool quirks, Budget& budget, Reading& reading) {
  auto& text = reading.text;
  Reader reader(arena, quirks, budget);
  Expr value = nullptr;
  switch (span.kind) {
    case SpanKind::kNumber:
      text = span.text;
      value = plain_number(span.text, arena, budget);
      break;
    case SpanKind::kExpression:
      text = span.text;
      value = reader.arithmetic(span.text);
      break;
    case SpanKind::kString:
      text = span.text;
      return nullptr;
    default:
      value = reader.latex(unbox(span.text, span.kind != SpanKind::kLastBoxes), text, reading.unit);
  }
  return value && span.percent && is_scalar(value->op) ? arena.make(Op::kPercent, {value}) : value;
}

}  // namespace

Reading read_answer(std::span<const Span> spans, const CompareConfig& config, Budget& budget) {
  auto data = std::make_shared<AnswerData>();
  Reading reading;
  Exprs elements;
  bool all = true;
  std::string texts;
  for (const auto& span : spans) {
    Reading part;
    const auto* value = read_span(span, data->arena, config.upstream_quirks, budget, part);
    if (elements.empty() && all) data->root = value;
    texts += texts.empty() ? part.text : " and " + part.text;
    if (&span == &spans[0]) reading = std::move(part);
    all = all && value;
    if (!value) continue;
    if (value->is(Op::kSet)) {
      elements.insert(elements.end(), value->args.begin(), value->args.end());
    } else {
      elements.push_back(value);
    }
  }
  if (spans.size() > 1 && all) {
    data->root = data->arena.make(Op::kSet, elements);
    reading.text = texts;
  }
  if (spans.size() > 1) reading.unit.reset();
  if (data->root) reading.answer.emplace(std::move(data));
  return reading;
}

std::optional<Answer> scaled(const Answer& answer, const Rational& factor) {
  const auto* value = answer.data().root;
  if (!is_scalar(value->op)) return {};
  auto data = std::make_shared<AnswerData>();
  auto& arena = data->arena;
  if (value->is_number() && value->value->bits() <= MathLimits().result_bits) {
    data->root = arena.number(*value->value * factor, value->flags);
  } else {
    data->root = arena.make(Op::kProduct, {arena.number(factor), arena.import(value)});
  }
  return Answer(std::move(data));
}

std::optional<Quantity> as_quantity(const Answer& answer) {
  const auto* value = answer.data().root;
  const bool may_be = value->is(Op::kProduct) && value->args.size() == 2 && (*value)[0]->is_number();
  if (!may_be || !(*value)[1]->is(Op::kSymbol)) return {};
  const auto unit = read_unit((*value)[1]->name);
  if (!unit) return {};
  auto data = std::make_shared<AnswerData>();
  data->root = data->arena.import((*value)[0]);
  return Quantity{Answer(std::move(data)), *unit};
}

}  // namespace hone
