#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "models/text/jinja_builtins.h"
#include "models/text/jinja_format.h"
#include "models/text/jinja_json.h"
#include "models/text/jinja_methods.h"
#include "models/text/jinja_runtime.h"
#include "models/text/jinja_unicode.h"

namespace hone::jinja {
namespace {

using Key = std::function<Value(const Value&)>;

/// The text as filters see it (soft_str), with its markup kept.
Text soft_text(Runtime& runtime, const Value& value) {
  if (const Text* t = value.text()) return *t;
  return {to_string(runtime.meter(), value), false};
}

Value empty_undefined(const char* which) {
  return make_undefined(fmt::format("No {} item, sequence was empty.", which));
}

// ---- attributes: "name", "a.b.0", 0 ---------------------------------------------------------------------------------

std::vector<Value> attribute_parts(const Value& attribute) {
  if (attribute.is_none()) return {};
  if (!attribute.string()) return {attribute};
  std::vector<Value> parts;
  std::string_view rest = *attribute.string();
  for (bool is_last = false; !is_last;) {
    const size_t dot = rest.find('.');
    is_last = dot == rest.npos;
    const std::string part(rest.substr(0, dot));
    const bool is_number = !part.empty() && part.size() < 18 && part.find_first_not_of("0123456789") == part.npos;
    parts.push_back(is_number ? Value(int64_t(std::stoll(part))) : Value(part));
    if (!is_last) rest.remove_prefix(dot + 1);
  }
  return parts;
}

Value lower_if_text(const Value& value) { return value.string() ? Value(to_lower(*value.string())) : value; }

Key attribute_getter(Runtime& runtime, const Value& attribute, bool ignores_case, Value fallback = {}) {
  return [&runtime, parts = attribute_parts(attribute), ignores_case, fallback](const Value& item) {
    Value value = item;
    for (const Value& part : parts) {
      value = get_item(runtime, value, part);
      if (!fallback.is_none() && value.undefined()) value = fallback;
    }
    return ignores_case ? lower_if_text(value) : value;
  };
}

// "a,b" gives a list of both, so that ties in the first are broken by the second.
Key attributes_getter(Runtime& runtime, const Value& attributes, bool ignores_case) {
  std::vector<Key> keys;
  if (const std::string* names = attributes.string()) {
    std::string_view rest = *names;
    for (bool is_last = false; !is_last;) {
      const size_t comma = rest.find(',');
      is_last = comma == rest.npos;
      keys.push_back(attribute_getter(runtime, Value(std::string(rest.substr(0, comma))), ignores_case));
      if (!is_last) rest.remove_prefix(comma + 1);
    }
  } else {
    keys.push_back(attribute_getter(runtime, attributes, ignores_case));
  }
  return [&runtime, keys](const Value& item) {
    Items out;
    for (const Key& key : keys) out.push_back(key(item));
    return make_list(runtime.meter(), std::move(out));
  };
}

Items sorted_by(Runtime& runtime, Items items, const Key& key, bool reverse) {
  std::vector<std::pair<Value, Value>> keyed;
  for (Value& item : items) {
    runtime.meter().step();
    Value k = key(item);
    keyed.emplace_back(std::move(k), std::move(item));
  }
  if (reverse) std::reverse(keyed.begin(), keyed.end());  // equal ones keep their order
  std::stable_sort(keyed.begin(), keyed.end(),
                   [&](const auto& a, const auto& b) { return compare(runtime.meter(), a.first, b.first, "<") == -1; });
  if (reverse) std::reverse(keyed.begin(), keyed.end());
  Items out;
  for (auto& [k, item] : keyed) out.push_back(std::move(item));
  return out;
}

// ---- text -----------------------------------------------------------------------------------------------------------

template <std::string (*Change)(std::string_view)>
Value change(Runtime& runtime, const Value& input, Args& args) {
  const Bound bound("filter", args, {});
  const Text text = soft_text(runtime, input);
  runtime.meter().step(static_cast<int64_t>(text.bytes.size() / 8));
  return make_text(runtime.meter(), Change(text.bytes), text.is_markup);
}

Value trim(Runtime& runtime, const Value& input, Args& args) {
  const Bound bound("trim", args, {"chars"});
  const Text text = soft_text(runtime, input);
  const bool has_characters = bound.has(0) && !bound[0].is_none();
  if (has_characters && !bound[0].string()) {
    fail(fmt::format("strip arg must be None or str, not {}", type_name(bound[0])));
  }
  return make_text(runtime.meter(), strip_text(text.bytes, has_characters ? bound[0].string() : nullptr),
                   text.is_markup);
}

Value title(Runtime& runtime, const Value& input, Args& args) {
  const Bound bound("title", args, {});
  const Text text = soft_text(runtime, input);
  runtime.meter().step(static_cast<int64_t>(text.bytes.size() / 8));
  std::string out;
  const auto is_between = [](char32_t c) {
    return is_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
  };
  const std::u32string points = to_code_points(text.bytes);
  for (size_t begin = 0, end = 0; begin < points.size(); begin = end) {
    while (end < points.size() && is_between(points[end]) == is_between(points[begin])) ++end;
    out += to_upper(to_utf8(points.substr(begin, 1))) + to_lower(to_utf8(points.substr(begin + 1, end - begin - 1)));
  }
  return make_text(runtime.meter(), std::move(out));
}

Value replace(Runtime& runtime, const Value& input, Args& args) {
  const Bound bound("replace", args, {"old", "new", "count"}, 2);
  Meter& meter = runtime.meter();
  const Int count = bound.has(2) && bound[2].is_none() ? Int(-1) : bound.integer(2, -1);
  const std::string text = to_string(meter, input), from = to_string(meter, bound[0]), to = to_string(meter, bound[1]);
  return make_text(meter, replace_text(meter, text, from, to, count));
}

Value join(Runtime& runtime, const Value& input, Args& args) {
  const Bound bound("join", args, {"d", "attribute"});
  Meter& meter = runtime.meter();
  const std::string separator = bound.has(0) ? to_string(meter, bound[0]) : "";
  const Key key = attribute_getter(runtime, bound.get(1, {}), false);
  const auto iterator = iterate(meter, input);
  std::string out;
  for (bool is_first = true; auto item = iterator->next(); is_first = false) {
    meter.step();
    const std::string part = to_string(meter, key(*item));
    meter.build(static_cast<int64_t>(part.size() + separator.size()));
    if (!is_first) out += separator;
    out += part;
  }
  return make_text(meter, std::move(out));
}

Value string(Runtime& runtime, const Value& input, Args& args) {
  const Bound bound("string", args, {});
  return input.text() ? input : make_text(runtime.meter(), to_string(runtime.meter(), input));
}

Value safe(Runtime& runtime, const Value& input, Args& args) {
  const Bound bound("safe", args, {});
  return make_text(runtime.meter(), to_string(runtime.meter(), input), /*is_markup=*/true);
}

Value escape(Runtime& runtime, const Value& input, Args& args) {
  const Bound bound("escape", args, {});
  return make_text(runtime.meter(), escaped(runtime.meter(), input), /*is_markup=*/true);
}

Value force_escape(Runtime& runtime, const Value& input, Args& args) {
  const Bound bound("forceescape", args, {});
  const Value plain(to_string(runtime.meter(), input));
  return make_text(runtime.meter(), escaped(runtime.meter(), plain), /*is_markup=*/true);
}

Value indent(Runtime& runtime, const Value& input, Args& args) {
  const Bound bound("indent", args, {"width", "first", "blank"});
  require_defined(input);
  if (!input.string()) fail(fmt::format("unsupported operand type(s) for +=: '{}' and 'str'", type_name(input)));
  Meter& meter = runtime.meter();
  const bool is_text = bound.has(0) && bound[0].string();
  const std::string fill = is_text ? *bound[0].string() : align_text(meter, "", bound.integer(0, 4), Align::kLeft);
  const std::vector<std::string> lines = split_lines(*input.string() + "\n");
  meter.build_product(static_cast<Int>(lines.size()), static_cast<Int>(fill.size() + sizeof(std::string)));
  std::string out = bound.flag(1) ? fill : "";
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i) out += '\n';
    if (i && (bound.flag(2) || !lines[i].empty())) out += fill;
    out += lines[i];
  }
  return make_text(meter, std::move(out), input.text()->is_markup);
}

Value truncate(Runtime& runtime, const Value& input, Args& args) {
  const Bound bound("truncate", args, {"length", "killwords", "end", "leeway"});
  const std::string end = bound.text(2, "...");
  const Int limit = bound.integer(0, 255), leeway = bound.has(3) && bound[3].is_none() ? 5 : bound.integer(3, 5);
  const auto tail = static_cast<Int>(count_code_points(end));
  if (limit < tail) fail(fmt::format("expected length >= {}, got {}", tail, limit));
  if (leeway < 0) fail(fmt::format("expected leeway >= 0, got {}", leeway));
  const auto size = length(input);
  if (!size) fail(fmt::format("object of type '{}' has no len()", type_name(input)));
  if (*size <= limit + leeway) return input;
  if (!input.string()) fail(fmt::format("'{}' object cannot be truncated", type_name(input)));
  const std::string& text = *input.string();
  std::string cut = text.substr(0, byte_position(text, static_cast<size_t>(limit - tail)));
  if (!bound.flag(1)) cut.resize(std::min(cut.rfind(' '), cut.size()));
  return make_text(runtime.meter(), cut + end);
}

Value center(Runtime& runtime, const Value& input, Args& args) {
  const Bound bound("center", args, {"width"});
  const Text text = soft_text(runtime, input);
  return make_text(runtime.meter(), align_text(runtime.meter(), text.bytes, bound.integer(0, 80), Align::kCenter),
                   text.is_markup);
}

Value word_count(Runtime& runtime, const Value& input, Args& args) {
  const Bound bound("wordcount", args, {});
  int64_t words = 0;
  bool in_word = false;
  for (const char32_t c : to_code_points(soft_text(runtime, input).bytes)) {
    words += is_word(c) && !in_word;
    in_word = is_word(c);
  }
  return Value(words);
}

Value format(Runtime& runtime, const Value& input, Args& args) {
  if (!args.positional.empty() && !args.named.empty()) {
    fail("can't handle positional and keyword arguments at the same time");
  }
  const Text text = soft_text(runtime, input);
  if (args.named.empty()) return format_percent(runtime.meter(), text, make_tuple(runtime.meter(), args.positional));
  auto named = std::make_shared<Dict>();
  for (const auto& [name, value] : args.named) set_item(runtime.meter(), *named, Value(name), value);
  return format_percent(runtime.meter(), text, Value(std::shared_ptr<const Dict>(std::move(named))));
}

Value tojson(Runtime& runtime, const Value& input, Args& args) {
  const Bound bound("tojson", args, {"ensure_ascii", "indent", "separators", "sort_keys"});
  Meter& meter = runtime.meter();
  JsonStyle style{.ensure_ascii = bound.flag(0), .sort_keys = bound.flag(3)};
  if (bound.has(1) && !bound[1].is_none()) {
    style.indent = bound[1].string() ? *bound[1].string() : align_text(meter, "", bound.integer(1, 0), Align::kLeft);
    style.item_separator = ",";
  }
  if (bound.has(2) && !bound[2].is_none()) {
    const Items separators = to_items(meter, bound[2]);
    if (separators.size() != 2 || !separators[0].string() || !separators[1].string()) {
      fail("tojson: separators is a pair of texts");
    }
    style.item_separator = *separators[0].string();
    style.key_separator = *separators[1].string();
  }
  return make_text(meter, to_json(meter, input, style));
}

// ---- numbers --------------------------------------------------------------------------------------------------------

// int(text, base) of Python; nothing when the text is no integer.
std::optional<Int> parse_int(std::string text, Int base) {
  text = strip_text(text, nullptr);
  const bool is_negative = text.starts_with('-');
  if (is_negative || text.starts_with('+')) text.erase(0, 1);
  const char kind = text.size() > 1 && text[0] == '0' ? static_cast<char>(text[1] | 0x20) : ' ';
  const Int prefixed = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 0;
  bool has_prefix = prefixed && (base == prefixed || base == 0);
  if (has_prefix) text.erase(0, 2);
  if (base == 0) base = has_prefix ? prefixed : 10;
  if (base < 2 || base > 36) return {};
  Int out = 0;
  bool is_digit_before = has_prefix, has_digits = false;
  for (const char c : text) {
    const char lower = static_cast<char>(c | 0x20);
    const int digit = c >= '0' && c <= '9' ? c - '0' : lower >= 'a' && lower <= 'z' ? lower - 'a' + 10 : 99;
    if (c == '_' && is_digit_before) {
      is_digit_before = false;
      continue;
    }
    if (digit >= base) return {};
    if (__builtin_mul_overflow(out, base, &out) || __builtin_add_overflow(out, Int(digit), &out)) {
      fail("an integer does not fit 128 bits");
    }
    is_digit_before = has_digits = true;
  }
  if (!has_digits || !is_digit_before) return {};
  return is_negative ? -out : out;
}

// float(text) of Python.
std::optional<double> parse_float(std::string text) {
  text = to_lower(strip_text(text, nullptr));
  for (size_t i = text.find('_'); i != text.npos; i = text.find('_', i)) {
    const auto is_digit_at = [&](size_t at) { return at < text.size() && text[at] >= '0' && text[at] <= '9'; };
    if (i == 0 || !is_digit_at(i - 1) || !is_digit_at(i + 1)) return {};
    text.erase(i, 1);
  }
  const std::string sign = text.starts_with('-') ? "-" : "";
  if (!sign.empty() || text.starts_with('+')) text.erase(0, 1);
  const double factor = sign.empty() ? 1 : -1;
  if (text == "inf" || text == "infinity") return factor * INFINITY;
  if (text == "nan") return NAN;
  if (text.empty() || text.find_first_not_of("0123456789.e+-") != text.npos || text[0] == '+' || text[0] == '-')
    return {};
  double out = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), out);
  if (result.ptr != text.data() + text.size() || result.ec == std::errc::invalid_argument) return {};
  if (result.ec == std::errc::result_out_of_range) out = std::strtod(text.c_str(), nullptr);
  return factor * out;
}

std::optional<Int> truncated(double d, bool fails) {
  if (std::isnan(d)) return {};
  if (std::isinf(d) && fails) fail("cannot convert float infinity to integer");
  if (std::isinf(d)) return {};
  if (std::fabs(d) >= 1.7e38) fail("an integer does not fit 128 bits");
  return static_cast<Int>(d);
}

Value to_int(Runtime&, const Value& input, Args& args) {
  const Bound bound("int", args, {"default", "base"});
  require_defined(input);
  std::optional<Int> out;
  if (const std::string* text = input.string()) {
    out = parse_int(*text, bound.integer(1, 10));
    if (const auto d = out ? std::nullopt : parse_float(*text)) out = truncated(*d, false);
  } else if (input.integer()) {
    out = input.integer();
  } else if (const double* d = input.as<double>()) {
    out = truncated(*d, true);
  }
  return out ? Value(*out) : bound.get(0, Value(0));
}

Value to_float(Runtime&, const Value& input, Args& args) {
  const Bound bound("float", args, {"default"});
  require_defined(input);
  if (const auto n = input.number()) return Value(*n);
  const auto parsed = input.string() ? parse_float(*input.string()) : std::nullopt;
  return parsed ? Value(*parsed) : bound.get(0, Value(0.0));
}

Value absolute(Runtime&, const Value& input, Args& args) {
  const Bound bound("abs", args, {});
  require_defined(input);
  if (const auto i = input.integer()) return *i < 0 ? negate(Value(*i)) : Value(*i);
  if (const double* d = input.as<double>()) return Value(std::fabs(*d));
  fail(fmt::format("bad operand type for abs(): '{}'", type_name(input)));
}

// round(integer, -2): to hundreds, halves to the even one.
Int round_integer(Int value, Int digits) {
  Int unit = 1;
  for (Int i = digits; i < 0 && unit < Int(1) << 120; ++i) unit *= 10;
  const Int rest = ((value % unit) + unit) % unit, low = value - rest;
  const bool goes_up = rest * 2 > unit || (rest * 2 == unit && (low / unit) % 2 != 0);
  return goes_up ? low + unit : low;
}

double round_float(double value, Int digits) {
  if (!std::isfinite(value) || digits > 320) return value;
  if (digits >= 0) return std::strtod(fmt::format("{:.{}f}", value, static_cast<int>(digits)).c_str(), nullptr);
  if (digits < -308) return std::copysign(0.0, value);
  const double unit = std::pow(10.0, static_cast<double>(-digits));
  return std::nearbyint(value / unit) * unit;
}

Value round(Runtime&, const Value& input, Args& args) {
  const Bound bound("round", args, {"precision", "method"});
  const std::string method = bound.text(1, "common");
  if (method != "common" && method != "ceil" && method != "floor") fail("method must be common, ceil or floor");
  require_defined(input);
  if (!input.number()) fail(fmt::format("type {} doesn't define __round__ method", type_name(input)));
  const Int digits = bound.integer(0, 0);
  if (method == "common") {
    if (input.integer()) return Value(digits >= 0 ? *input.integer() : round_integer(*input.integer(), digits));
    return Value(round_float(*input.number(), digits));
  }
  const double unit = std::pow(10.0, static_cast<double>(digits)), scaled = *input.number() * unit;
  if (!std::isfinite(scaled) || unit == 0) fail("cannot convert float infinity to integer");
  return Value((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / unit);
}

Value sum(Runtime& runtime, const Value& input, Args& args) {
  const Bound bound("sum", args, {"attribute", "start"});
  Value total = bound.get(1, Value(0));
  if (total.string()) fail("sum() can't sum strings [use ''.join(seq) instead]");
  const Key key = attribute_getter(runtime, bound.get(0, {}), false);
  for (const Value& item : to_items(runtime.meter(), input)) {
    total = arithmetic(runtime.meter(), BinaryOp::kAdd, total, key(item));
  }
  return total;
}

// ---- sequences ------------------------------------------------------------------------------------------------------

Value length_of(Runtime&, const Value& input, Args& args) {
  const Bound bound("length", args, {});
  if (const auto n = length(input)) return Value(*n);
  fail(fmt::format("object of type '{}' has no len()", type_name(input)));
}

Value first(Runtime& runtime, const Value& input, Args& args) {
  const Bound bound("first", args, {});
  auto item = iterate(runtime.meter(), input)->next();
  return item ? *item : empty_undefined("first");
}

Items reversed_items(Runtime& runtime, const Value& input) {
  const bool can_reverse =
      input.undefined() || input.string() || input.sequence() || input.dict() || input.as<View>() || input.as<Range>();
  if (!can_reverse) fail(fmt::format("'{}' object is not reversible", type_name(input)));
  Items items = to_items(runtime.meter(), input);
  std::reverse(items.begin(), items.end());
  return items;
}

Value last(Runtime& runtime, const Value& input, Args& args) {
  const Bound bound("last", args, {});
  if (const Sequence* s = input.sequence()) return s->items.empty() ? empty_undefined("last") : s->items.back();
  const Items items = reversed_items(runtime, input);
  return items.empty() ? empty_undefined("last") : items[0];
}

Value reverse(Runtime& runtime, const Value& input, Args& args) {
  const Bound bound("reverse", args, {});
  Meter& meter = runtime.meter();
  if (const Text* text = input.text()) {
    meter.build(static_cast<int64_t>(4 * text->bytes.size()));
    std::u32string points = to_code_points(text->bytes);
    std::reverse(points.begin(), points.end());
    return make_text(meter, to_utf8(points), text->is_markup);
  }
  const bool is_stream = input.iterator() != nullptr;
  if (!is_stream && (input.is_none() || input.number() || input.object())) fail("argument must be iterable");
  Items items = is_stream ? to_items(meter, input) : reversed_items(runtime, input);
  if (is_stream) std::reverse(items.begin(), items.end());
  const Value list = make_list(meter, std::move(items));
  if (is_stream) return list;
  auto source = iterate(meter, list);
  return Value(make_iterator(meter, type_name(input) + "_reverseiterator", [source] { return source->next(); }));
}

Value list(Runtime& runtime, const Value& input, Args& args) {
  const Bound bound("list", args, {});
  return make_list(runtime.meter(), to_items(runtime.meter(), input));
}

Value items(Runtime& runtime, const Value& input, Args& args) {
  const Bound bound("items", args, {});
  Meter& meter = runtime.meter();
  const auto* dict = input.as<std::shared_ptr<const Dict>>();
  auto next = [&meter, dict = dict ? *dict : nullptr, is_empty = input.undefined() != nullptr,
               i = size_t(0)]() mutable -> std::optional<Value> {
    if (is_empty) return {};
    if (!dict) fail("Can only get item pairs from a mapping.");
    if (i >= dict->items.size()) return {};
    return at(meter, View{dict, ViewKind::kItems}, i++);
  };
  return Value(make_iterator(meter, "generator", std::move(next)));
}

Value dictsort(Runtime& runtime, const Value& input, Args& args) {
  const Bound bound("dictsort", args, {"case_sensitive", "by", "reverse"});
  const std::string by = bound.text(1, "key");
  if (by != "key" && by != "value") fail("You can only sort by either \"key\" or \"value\"");
  require_defined(input);
  if (!input.dict()) fail(fmt::format("'{}' object has no attribute 'items'", type_name(input)));
  Meter& meter = runtime.meter();
  const View view{*input.as<std::shared_ptr<const Dict>>(), ViewKind::kItems};
  Items pairs;
  for (size_t i = 0; i < view.dict->items.size(); ++i) pairs.push_back(at(meter, view, i));
  const bool is_sensitive = bound.flag(0);
  const auto key = [&](const Value& pair) {
    const Value& v = pair.sequence()->items[by == "key" ? 0 : 1];
    return is_sensitive ? v : lower_if_text(v);
  };
  return make_list(meter, sorted_by(runtime, std::move(pairs), key, bound.flag(2)));
}

Value sort(Runtime& runtime, const Value& input, Args& args) {
  const Bound bound("sort", args, {"reverse", "case_sensitive", "attribute"});
  const Key key = attributes_getter(runtime, bound.get(2, {}), !bound.flag(1));
  return make_list(runtime.meter(), sorted_by(runtime, to_items(runtime.meter(), input), key, bound.flag(0)));
}

// What was seen, by equality; text is looked up, other values are compared one by one.
struct Seen {
  Dict dict;
  bool insert(Meter& meter, const Value& key) {
    meter.step(key.string() ? 1 : static_cast<int64_t>(dict.items.size() / 8 + 1));
    check_hashable(key);
    if (find_item(meter, dict, key)) return false;
    set_item(meter, dict, key, {});
    return true;
  }
};

Value unique(Runtime& runtime, const Value& input, Args& args) {
  const Bound bound("unique", args, {"case_sensitive", "attribute"});
  Meter& meter = runtime.meter();
  auto next = [&meter, input, key = attribute_getter(runtime, bound.get(1, {}), !bound.flag(0)), seen = Seen{},
               source = std::shared_ptr<Iterator>()]() mutable -> std::optional<Value> {
    if (!source) source = iterate(meter, input);
    while (auto item = source->next()) {
      if (seen.insert(meter, key(*item))) return item;
    }
    return {};
  };
  return Value(make_iterator(meter, "generator", std::move(next), input.iterator()));
}

template <bool Largest>
Value extreme(Runtime& runtime, const Value& input, Args& args) {
  const Bound bound(Largest ? "max" : "min", args, {"case_sensitive", "attribute"});
  const Key key = attribute_getter(runtime, bound.get(1, {}), !bound.flag(0));
  std::optional<Value> best, best_key;
  const auto iterator = iterate(runtime.meter(), input);
  while (auto item = iterator->next()) {
    Value k = key(*item);
    const bool is_better = !best || compare(runtime.meter(), k, *best_key, Largest ? ">" : "<") == (Largest ? 1 : -1);
    if (!is_better) continue;
    best = std::move(item);
    best_key = std::move(k);
  }
  return best ? *best : make_undefined("No aggregated item, sequence was empty.");
}

Value batch(Runtime& runtime, const Value& input, Args& args) {
  const Bound bound("batch", args, {"linecount", "fill_with"}, 1);
  Meter& meter = runtime.meter();
  const Int size = bound.integer(0, 1);
  auto next = [&meter, input, size, fill = bound.get(1, {}), source = std::shared_ptr<Iterator>(), ahead = Items(),
               is_over = false]() mutable -> std::optional<Value> {
    if (!source) source = iterate(meter, input);
    while (!is_over) {
      auto item = source->next();
      meter.step();
      if (!item) {
        is_over = true;
        break;
      }
      const bool is_full = static_cast<Int>(ahead.size()) == size;
      Items full = is_full ? std::exchange(ahead, {}) : Items();
      ahead.push_back(std::move(*item));
      if (is_full) return make_list(meter, std::move(full));
    }
    if (ahead.empty()) return {};
    const Int missing = fill.is_none() ? 0 : size - static_cast<Int>(ahead.size());
    meter.build_product(missing, sizeof(Value));
    for (Int i = 0; i < missing; ++i) ahead.push_back(fill);
    return make_list(meter, std::exchange(ahead, {}));
  };
  return Value(make_iterator(meter, "generator", std::move(next), input.iterator()));
}

Value slice(Runtime& runtime, const Value& input, Args& args) {
  const Bound bound("slice", args, {"slices", "fill_with"}, 1);
  Meter& meter = runtime.meter();
  auto next = [&meter, input, n = bound.integer(0, 1), fill = bound.get(1, {}), all = std::optional<Items>(),
               number = Int(0), begin = Int(0)]() mutable -> std::optional<Value> {
    if (!all) {
      all = to_items(meter, input);
      if (n == 0) fail("integer division or modulo by zero");
    }
    if (number >= n) return {};
    const auto size = static_cast<Int>(all->size());
    const Int end = begin + size / n + (number < size % n);
    Items part(all->begin() + static_cast<std::ptrdiff_t>(begin), all->begin() + static_cast<std::ptrdiff_t>(end));
    if (!fill.is_none() && number >= size % n) part.push_back(fill);
    begin = end;
    ++number;
    return make_list(meter, std::move(part));
  };
  return Value(make_iterator(meter, "generator", std::move(next), input.iterator()));
}

// Groups of equal key among the sorted items, as (key, list); the key is the first one's own.
Value groupby(Runtime& runtime, const Value& input, Args& args) {
  const Bound bound("groupby", args, {"attribute", "default", "case_sensitive"}, 1);
  Meter& meter = runtime.meter();
  const Key key = attribute_getter(runtime, bound[0], !bound.flag(2), bound.get(1, {}));
  const Key shown = attribute_getter(runtime, bound[0], false, bound.get(1, {}));
  const Items sorted = sorted_by(runtime, to_items(meter, input), key, false);
  Items groups;
  for (size_t begin = 0, end = 0; begin < sorted.size(); begin = end) {
    const Value k = key(sorted[begin]);
    while (end < sorted.size() && equal(meter, key(sorted[end]), k)) ++end;
    if (end == begin) ++end;  // NaN
    Items members(sorted.begin() + static_cast<std::ptrdiff_t>(begin),
                  sorted.begin() + static_cast<std::ptrdiff_t>(end));
    groups.push_back(make_tuple(meter, {shown(sorted[begin]), make_list(meter, std::move(members))}));
  }
  return make_list(meter, std::move(groups));
}

// ---- filters and tests over sequences -------------------------------------------------------------------------------

std::string take_name(Args& args, size_t at) {
  const Value name = args.positional[at];
  args.positional.erase(args.positional.begin(), args.positional.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  if (!name.string()) fail(fmt::format("'{}' is no name of a filter or test", type_name(name)));
  return *name.string();
}

Key mapper(Runtime& runtime, Args args) {
  const auto named = [&](const char* name) {
    return std::find_if(args.named.begin(), args.named.end(), [&](const auto& a) { return a.first == name; });
  };
  if (args.positional.empty() && named("attribute") != args.named.end()) {
    const Value attribute = named("attribute")->second;
    const Value fallback = named("default") == args.named.end() ? Value() : named("default")->second;
    for (const auto& [name, value] : args.named) {
      if (name != "attribute" && name != "default")
        fail(fmt::format("Unexpected keyword argument {}", text_repr(name)));
    }
    return attribute_getter(runtime, attribute, false, fallback);
  }
  if (args.positional.empty()) fail("map requires a filter argument");
  const std::string name = take_name(args, 0);
  return [&runtime, name, args](const Value& item) {
    const Filter filter = find_filter(name);
    if (!filter) fail(fmt::format("No filter named {}.", text_repr(name)));
    Args copy = args;
    return filter(runtime, item, copy);
  };
}

Value map(Runtime& runtime, const Value& input, Args& args) {
  Meter& meter = runtime.meter();
  auto next = [&runtime, &meter, input, args, key = Key(),
               source = std::shared_ptr<Iterator>()]() mutable -> std::optional<Value> {
    if (!source && !is_true(input)) return {};
    if (!source) {
      key = mapper(runtime, args);
      source = iterate(meter, input);
    }
    meter.step();
    auto item = source->next();
    if (!item) return {};
    return key(*item);
  };
  return Value(make_iterator(meter, "generator", std::move(next), input.iterator()));
}

using Predicate = std::function<bool(const Value&)>;

Predicate predicate(Runtime& runtime, Args args, bool looks_at_attribute) {
  Key key = [](const Value& item) { return item; };
  const size_t offset = looks_at_attribute ? 1 : 0;
  if (looks_at_attribute) {
    if (args.positional.empty()) fail("Missing parameter for attribute name");
    key = attribute_getter(runtime, args.positional[0], false);
  }
  if (args.positional.size() <= offset) return [key](const Value& item) { return is_true(key(item)); };
  const std::string name = take_name(args, offset);
  return [&runtime, name, key, args](const Value& item) {
    const Value value = key(item);
    const Test test = find_test(name);
    if (!test) fail(fmt::format("No test named {}.", text_repr(name)));
    Args copy = args;
    return test(runtime, value, copy);
  };
}

template <bool Keeps, bool ByAttribute>
Value select(Runtime& runtime, const Value& input, Args& args) {
  Meter& meter = runtime.meter();
  auto next = [&runtime, &meter, input, args, holds = Predicate(),
               source = std::shared_ptr<Iterator>()]() mutable -> std::optional<Value> {
    if (!source && !is_true(input)) return {};
    if (!source) {
      holds = predicate(runtime, args, ByAttribute);
      source = iterate(meter, input);
    }
    while (auto item = source->next()) {
      meter.step();
      if (holds(*item) == Keeps) return item;
    }
    return {};
  };
  return Value(make_iterator(meter, "generator", std::move(next), input.iterator()));
}

// ---- the rest -------------------------------------------------------------------------------------------------------

Value fall_back(Runtime&, const Value& input, Args& args) {
  const Bound bound("default", args, {"default_value", "boolean"});
  return input.undefined() || (bound.flag(1) && !is_true(input)) ? bound.get(0, Value("")) : input;
}

Value attribute(Runtime& runtime, const Value& input, Args& args) {
  const Bound bound("attr", args, {"name"}, 1);
  require_defined(input);
  const std::string name = bound.text(0, "");
  if (auto found = builtin_attribute(runtime, input, name)) return *found;
  return Value(Value::Data(std::make_shared<const Undefined>(Undefined{.owner = object_name(input), .name = name})));
}

}  // namespace

Filter find_filter(const std::string& name) {
  static const std::map<std::string, Filter> kFilters{{"abs", absolute},
                                                      {"attr", attribute},
                                                      {"batch", batch},
                                                      {"capitalize", change<capitalize>},
                                                      {"center", center},
                                                      {"count", length_of},
                                                      {"d", fall_back},
                                                      {"default", fall_back},
                                                      {"dictsort", dictsort},
                                                      {"e", escape},
                                                      {"escape", escape},
                                                      {"first", first},
                                                      {"float", to_float},
                                                      {"forceescape", force_escape},
                                                      {"format", format},
                                                      {"groupby", groupby},
                                                      {"indent", indent},
                                                      {"int", to_int},
                                                      {"items", items},
                                                      {"join", join},
                                                      {"last", last},
                                                      {"length", length_of},
                                                      {"list", list},
                                                      {"lower", change<to_lower>},
                                                      {"map", map},
                                                      {"max", extreme<true>},
                                                      {"min", extreme<false>},
                                                      {"reject", select<false, false>},
                                                      {"rejectattr", select<false, true>},
                                                      {"replace", replace},
                                                      {"reverse", reverse},
                                                      {"round", round},
                                                      {"safe", safe},
                                                      {"select", select<true, false>},
                                                      {"selectattr", select<true, true>},
                                                      {"slice", slice},
                                                      {"sort", sort},
                                                      {"string", string},
                                                      {"sum", sum},
                                                      {"title", title},
                                                      {"tojson", tojson},
                                                      {"trim", trim},
                                                      {"truncate", truncate},
                                                      {"unique", unique},
                                                      {"upper", change<to_upper>},
                                                      {"wordcount", word_count}};
  const auto found = kFilters.find(name);
  return found == kFilters.end() ? nullptr : found->second;
}

}  // namespace hone::jinja
