#include "models/text/jinja_methods.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "models/text/jinja_builtins.h"
#include "models/text/jinja_format.h"
#include "models/text/jinja_runtime.h"
#include "models/text/jinja_unicode.h"

namespace hone::jinja {
namespace {

using Method = Value (*)(Runtime& runtime, const Value& self, Args& args);
using Methods = std::map<std::string, Method>;

const std::string& text_of(const Value& self) { return *self.string(); }

Value text_value(Runtime& runtime, const Value& self, std::string text) {
  return make_text(runtime.meter(), std::move(text), self.text()->is_markup);
}

// ---- letters --------------------------------------------------------------------------------------------------------

template <std::string (*Change)(std::string_view)>
Value change(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound("method", args, {});
  runtime.meter().step(static_cast<int64_t>(text_of(self).size() / 8));
  return text_value(runtime, self, Change(text_of(self)));
}

template <bool (*Is)(char32_t)>
Value all_are(Runtime&, const Value& self, Args& args) {
  const Bound bound("method", args, {});
  const std::u32string points = to_code_points(text_of(self));
  return Value(!points.empty() && std::all_of(points.begin(), points.end(), Is));
}

bool is_alphanumeric(char32_t c) { return is_word(c) && c != '_'; }
bool is_numeric(char32_t c) { return is_alphanumeric(c) && !is_alpha(c); }

// Cased letters, all of the one case and at least one.
template <bool (*Is)(char32_t)>
Value cased_are(Runtime&, const Value& self, Args& args) {
  const Bound bound("method", args, {});
  bool any = false;
  for (const char32_t c : to_code_points(text_of(self))) {
    if (is_cased(c) && !Is(c)) return Value(false);
    any |= is_cased(c);
  }
  return Value(any);
}

Value is_title_text(Runtime&, const Value& self, Args& args) {
  const Bound bound("istitle", args, {});
  bool any = false, in_word = false;
  for (const char32_t c : to_code_points(text_of(self))) {
    const bool starts = is_upper(c) || is_title(c);
    if ((starts && in_word) || (is_lower(c) && !in_word)) return Value(false);
    in_word = is_cased(c);
    any |= in_word;
  }
  return Value(any);
}

Value is_ascii_text(Runtime&, const Value& self, Args& args) {
  const Bound bound("isascii", args, {});
  return Value(count_code_points(text_of(self)) == text_of(self).size());
}

Value is_printable_text(Runtime&, const Value& self, Args& args) {
  const Bound bound("isprintable", args, {});
  const std::u32string points = to_code_points(text_of(self));
  return Value(std::all_of(points.begin(), points.end(), is_printable));
}

Value is_identifier_text(Runtime&, const Value& self, Args& args) {
  const Bound bound("isidentifier", args, {});
  const std::u32string points = to_code_points(text_of(self));
  return Value(!points.empty() && is_identifier_start(points[0]) &&
               std::all_of(points.begin(), points.end(), is_identifier_part));
}

// ---- strip, split, join ---------------------------------------------------------------------------------------------

const std::string* characters_of(const Bound& bound) {
  if (!bound.has(0) || bound[0].is_none()) return nullptr;
  if (const std::string* s = bound[0].string()) return s;
  fail(fmt::format("strip arg must be None or str, not {}", type_name(bound[0])));
}

template <bool Left, bool Right>
Value strip(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound("strip", args, {""});
  return text_value(runtime, self, strip_text(text_of(self), characters_of(bound), Left, Right));
}

// The pieces of a split, paid for one by one: there may be as many as bytes.
class Pieces {
 public:
  explicit Pieces(Meter& meter) : meter_(meter) {}
  void add(std::string_view piece) {
    meter_.build(static_cast<int64_t>(sizeof(std::string)));
    pieces_.emplace_back(piece);
  }
  std::vector<std::string> take() { return std::move(pieces_); }
  std::vector<std::string> take_reversed() {
    std::reverse(pieces_.begin(), pieces_.end());
    return take();
  }

 private:
  Meter& meter_;
  std::vector<std::string> pieces_;
};

size_t first_space(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    if (is_space(next_code_point(text, at))) return begin;
  }
  return text.size();
}

// Where the last word of a text that does not end in white space begins.
size_t last_word(std::string_view text) {
  size_t begin = text.size();
  while (begin > 0) {
    size_t start = begin - 1;
    while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) --start;
    size_t at = start;
    if (is_space(next_code_point(text, at))) break;
    begin = start;
  }
  return begin;
}

std::vector<std::string> split_space(Meter& meter, std::string_view text, Int limit) {
  Pieces out(meter);
  for (text = strip_left(text); !text.empty() && limit != 0; --limit) {
    const size_t end = first_space(text);
    out.add(text.substr(0, end));
    text = strip_left(text.substr(end));
  }
  if (!text.empty()) out.add(text);
  return out.take();
}

std::vector<std::string> split_space_right(Meter& meter, std::string_view text, Int limit) {
  Pieces out(meter);
  for (text = strip_right(text); !text.empty() && limit != 0; --limit) {
    const size_t begin = last_word(text);
    out.add(text.substr(begin));
    text = strip_right(text.substr(0, begin));
  }
  if (!text.empty()) out.add(text);
  return out.take_reversed();
}

std::vector<std::string> split_at(Meter& meter, std::string_view text, std::string_view separator, Int limit) {
  Pieces out(meter);
  for (size_t found = text.find(separator); found != text.npos && limit != 0; found = text.find(separator), --limit) {
    out.add(text.substr(0, found));
    text.remove_prefix(found + separator.size());
  }
  out.add(text);
  return out.take();
}

std::vector<std::string> split_at_right(Meter& meter, std::string_view text, std::string_view separator, Int limit) {
  Pieces out(meter);
  for (size_t found = text.rfind(separator); found != text.npos && limit != 0; found = text.rfind(separator), --limit) {
    out.add(text.substr(found + separator.size()));
    text = text.substr(0, found);
  }
  out.add(text);
  return out.take_reversed();
}

Value text_list(Runtime& runtime, const Value& self, std::vector<std::string> texts) {
  Items out;
  runtime.meter().step(static_cast<int64_t>(texts.size()));
  for (std::string& text : texts) out.push_back(text_value(runtime, self, std::move(text)));
  return make_list(runtime.meter(), std::move(out));
}

template <bool FromRight>
Value split(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound("split", args, {"sep", "maxsplit"});
  const Int limit = bound.integer(1, -1);
  const std::string& text = text_of(self);
  Meter& meter = runtime.meter();
  if (!bound.has(0) || bound[0].is_none()) {
    return text_list(runtime, self,
                     FromRight ? split_space_right(meter, text, limit) : split_space(meter, text, limit));
  }
  if (!bound[0].string()) fail(fmt::format("must be str or None, not {}", type_name(bound[0])));
  const std::string separator = bound.text(0, "");
  if (separator.empty()) fail("empty separator");
  meter.search(text.size(), separator.size());
  return text_list(runtime, self,
                   FromRight ? split_at_right(meter, text, separator, limit) : split_at(meter, text, separator, limit));
}

Value splitlines(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound("splitlines", args, {"keepends"});
  const auto may_break = [](char c) {
    return (c >= '\n' && c <= '\r') || c == '\x1c' || c == '\x1d' || c == '\x1e' || c < 0;
  };
  const auto breaks = std::count_if(text_of(self).begin(), text_of(self).end(), may_break);
  runtime.meter().build(static_cast<int64_t>(sizeof(std::string)) * breaks);
  return text_list(runtime, self, split_lines(text_of(self), bound.flag(0)));
}

template <bool FromRight>
Value partition(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound("partition", args, {""}, 1);
  const std::string separator = bound.text(0, ""), &text = text_of(self);
  if (separator.empty()) fail("empty separator");
  runtime.meter().search(text.size(), separator.size());
  const size_t found = FromRight ? text.rfind(separator) : text.find(separator);
  const auto part = [&](std::string s) { return text_value(runtime, self, std::move(s)); };
  if (found == text.npos && FromRight) return make_tuple(runtime.meter(), {part(""), part(""), part(text)});
  if (found == text.npos) return make_tuple(runtime.meter(), {part(text), part(""), part("")});
  return make_tuple(runtime.meter(),
                    {part(text.substr(0, found)), part(separator), part(text.substr(found + separator.size()))});
}

Value join(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound("join", args, {""}, 1);
  std::string out;
  int64_t number = 0;
  for (const Value& item : to_items(runtime.meter(), bound[0])) {
    if (!item.string()) fail(fmt::format("sequence item {}: expected str instance, {} found", number, type_name(item)));
    if (number++) out += text_of(self);
    out += self.text()->is_markup ? escaped(runtime.meter(), item) : *item.string();
    runtime.meter().build(static_cast<int64_t>(text_of(self).size() + item.string()->size()));
  }
  return text_value(runtime, self, std::move(out));
}

// ---- search ---------------------------------------------------------------------------------------------------------

// The part of the text between the optional start and end of find, count, startswith and endswith.
struct Window {
  std::string_view text;
  Int start = 0;  ///< in code points
  bool is_valid = true;
};

Window window_of(const Value& self, const Bound& bound) {
  const std::string& text = text_of(self);
  const auto size = static_cast<Int>(count_code_points(text));
  const auto edge = [&](size_t i, Int fallback) {
    if (!bound.has(i) || bound[i].is_none()) return fallback;
    const Int n = bound.integer(i, 0);
    return n < 0 ? std::max<Int>(0, n + size) : n;
  };
  const Int start = edge(1, 0), end = std::min(size, edge(2, size));
  if (start > end) return {{}, start, false};
  const size_t begin = byte_position(text, static_cast<size_t>(start));
  const size_t stop = byte_position(text, static_cast<size_t>(end));
  return {std::string_view(text).substr(begin, stop - begin), start, true};
}

Int find_in(const Value& self, const Bound& bound, bool from_right) {
  const Window window = window_of(self, bound);
  const std::string part = bound.text(0, "");
  if (!window.is_valid) return -1;
  const size_t found = from_right ? window.text.rfind(part) : window.text.find(part);
  if (found == window.text.npos) return -1;
  return window.start + static_cast<Int>(count_code_points(window.text.substr(0, found)));
}

template <bool FromRight, bool Must>
Value find(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound("find", args, {"", "", ""}, 1);
  runtime.meter().search(text_of(self).size(), bound.text(0, "").size());
  const Int found = find_in(self, bound, FromRight);
  if (Must && found < 0) fail("substring not found");
  return Value(found);
}

Value count(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound("count", args, {"", "", ""}, 1);
  const Window window = window_of(self, bound);
  const std::string part = bound.text(0, "");
  if (!window.is_valid) return Value(0);
  if (part.empty()) return Value(count_code_points(window.text) + 1);
  runtime.meter().search(window.text.size(), part.size());
  Int n = 0;
  for (size_t at = window.text.find(part); at != window.text.npos; at = window.text.find(part, at + part.size())) ++n;
  return Value(n);
}

template <bool AtEnd>
Value has_affix(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound(AtEnd ? "endswith" : "startswith", args, {"", "", ""}, 1);
  const Window window = window_of(self, bound);
  const Sequence* several = bound[0].sequence();
  const bool is_tuple = several && several->is_tuple;
  if (!bound[0].string() && !is_tuple) {
    fail(fmt::format("{} first arg must be str or a tuple of str, not {}", AtEnd ? "endswith" : "startswith",
                     type_name(bound[0])));
  }
  for (const Value& affix : is_tuple ? several->items : Items{bound[0]}) {
    runtime.meter().step();
    if (!affix.string()) fail(fmt::format("tuple for startswith must only contain str, not {}", type_name(affix)));
    const std::string& s = *affix.string();
    if (window.is_valid && (AtEnd ? window.text.ends_with(s) : window.text.starts_with(s))) return Value(true);
  }
  return Value(false);
}

Value replace(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound("replace", args, {"", "", ""}, 2);
  const std::string from = bound.text(0, ""), to = bound.text(1, "");
  return text_value(runtime, self, replace_text(runtime.meter(), text_of(self), from, to, bound.integer(2, -1)));
}

template <bool AtEnd>
Value remove_affix(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound(AtEnd ? "removesuffix" : "removeprefix", args, {""}, 1);
  const std::string affix = bound.text(0, ""), &text = text_of(self);
  if (affix.empty() || !(AtEnd ? text.ends_with(affix) : text.starts_with(affix))) return self;
  return text_value(runtime, self, AtEnd ? text.substr(0, text.size() - affix.size()) : text.substr(affix.size()));
}

// ---- width and format -----------------------------------------------------------------------------------------------

template <Align How>
Value align(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound("center", args, {"", ""}, 1);
  const std::string fill = bound.text(1, " ");
  if (count_code_points(fill) != 1) fail("The fill character must be exactly one character long");
  return text_value(runtime, self, align_text(runtime.meter(), text_of(self), bound.integer(0, 0), How, fill));
}

Value zfill(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound("zfill", args, {""}, 1);
  std::string text = text_of(self), sign;
  const Int width = bound.integer(0, 0);
  if (!text.empty() && (text[0] == '+' || text[0] == '-')) {
    sign = text.substr(0, 1);
    text.erase(0, 1);
  }
  const auto digits = width - static_cast<Int>(sign.size());
  return text_value(runtime, self, sign + align_text(runtime.meter(), text, digits, Align::kRight, "0"));
}

Value expandtabs(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound("expandtabs", args, {"tabsize"});
  const Int width = std::clamp<Int>(bound.integer(0, 8), 0, 1 << 20);
  std::string out;
  Int column = 0;
  for (size_t at = 0; at < text_of(self).size();) {
    const char32_t c = next_code_point(text_of(self), at);
    if (c == '\t') {
      const Int spaces = width > 0 ? width - column % width : 0;
      runtime.meter().build(static_cast<int64_t>(spaces));
      out.append(static_cast<size_t>(spaces), ' ');
      column += spaces;
      continue;
    }
    append_code_point(out, c);
    column = c == '\n' || c == '\r' ? 0 : column + 1;
  }
  return text_value(runtime, self, std::move(out));
}

Value format(Runtime& runtime, const Value& self, Args& args) { return format_braces(runtime, *self.text(), args); }

Value format_map(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound("format_map", args, {""}, 1);
  if (!bound[0].dict()) fail("format_map() takes a mapping");
  Args named;
  for (const auto& [key, value] : bound[0].dict()->items) {
    if (key.string()) named.named.emplace_back(*key.string(), value);
  }
  return format_braces(runtime, *self.text(), named);
}

Value unsupported(Runtime&, const Value&, Args&) { fail("this method of str is not supported in chat templates"); }

const Methods& text_methods() {
  static const Methods kMethods{{"upper", change<to_upper>},
                                {"lower", change<to_lower>},
                                {"casefold", change<fold_case>},
                                {"title", change<title_first>},
                                {"capitalize", change<capitalize>},
                                {"swapcase", change<swap_case>},
                                {"strip", strip<true, true>},
                                {"lstrip", strip<true, false>},
                                {"rstrip", strip<false, true>},
                                {"split", split<false>},
                                {"rsplit", split<true>},
                                {"splitlines", splitlines},
                                {"partition", partition<false>},
                                {"rpartition", partition<true>},
                                {"join", join},
                                {"find", find<false, false>},
                                {"rfind", find<true, false>},
                                {"index", find<false, true>},
                                {"rindex", find<true, true>},
                                {"count", count},
                                {"startswith", has_affix<false>},
                                {"endswith", has_affix<true>},
                                {"replace", replace},
                                {"removeprefix", remove_affix<false>},
                                {"removesuffix", remove_affix<true>},
                                {"center", align<Align::kCenter>},
                                {"ljust", align<Align::kLeft>},
                                {"rjust", align<Align::kRight>},
                                {"zfill", zfill},
                                {"expandtabs", expandtabs},
                                {"format", format},
                                {"format_map", format_map},
                                {"isalpha", all_are<is_alpha>},
                                {"isdecimal", all_are<is_decimal>},
                                {"isdigit", all_are<is_digit>},
                                {"isnumeric", all_are<is_numeric>},
                                {"isalnum", all_are<is_alphanumeric>},
                                {"isspace", all_are<is_space>},
                                {"isupper", cased_are<is_upper>},
                                {"islower", cased_are<is_lower>},
                                {"istitle", is_title_text},
                                {"isascii", is_ascii_text},
                                {"isprintable", is_printable_text},
                                {"isidentifier", is_identifier_text},
                                {"encode", unsupported},
                                {"translate", unsupported},
                                {"maketrans", unsupported}};
  return kMethods;
}

// ---- list, tuple, dict ----------------------------------------------------------------------------------------------

Value sequence_index(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound("index", args, {"", "", ""}, 1);
  const Items& items = self.sequence()->items;
  const auto size = static_cast<Int>(items.size());
  const auto edge = [&](size_t i, Int fallback) {
    const Int n = bound.integer(i, fallback);
    return std::clamp<Int>(n < 0 ? n + size : n, 0, size);
  };
  const Int stop = edge(2, size);
  for (Int i = edge(1, 0); i < stop; ++i) {
    const Value& item = items[static_cast<size_t>(i)];
    if (is_same(item, bound[0]) || equal(runtime.meter(), item, bound[0])) return Value(i);
  }
  const bool is_tuple = self.sequence()->is_tuple;
  fail(is_tuple ? "tuple.index(x): x not in tuple" : repr(runtime.meter(), bound[0]) + " is not in list");
}

Value sequence_count(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound("count", args, {""}, 1);
  Int n = 0;
  for (const Value& item : self.sequence()->items)
    n += is_same(item, bound[0]) || equal(runtime.meter(), item, bound[0]);
  return Value(n);
}

Value list_copy(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound("copy", args, {});
  return make_list(runtime.meter(), self.sequence()->items);
}

Value dict_get(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound("get", args, {"", ""}, 1);
  check_hashable(bound[0]);
  const Value* found = find_item(runtime.meter(), *self.dict(), bound[0]);
  return found ? *found : bound.get(1, {});
}

template <ViewKind Kind>
Value dict_view(Runtime&, const Value& self, Args& args) {
  const Bound bound("keys", args, {});
  return Value(Value::Data(View{*self.as<std::shared_ptr<const Dict>>(), Kind}));
}

Value dict_copy(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound("copy", args, {});
  runtime.meter().build(static_cast<int64_t>(self.dict()->items.size() * 2 * sizeof(Value)));
  return Value(std::make_shared<const Dict>(*self.dict()));
}

Value dict_fromkeys(Runtime& runtime, const Value&, Args& args) {
  const Bound bound("fromkeys", args, {"", ""}, 1);
  auto out = std::make_shared<Dict>();
  for (const Value& key : to_items(runtime.meter(), bound[0])) set_item(runtime.meter(), *out, key, bound.get(1, {}));
  return Value(std::shared_ptr<const Dict>(std::move(out)));
}

Value int_bit_length(Runtime&, const Value& self, Args&) {
  int bits = 0;
  for (Int i = *self.integer(); i != 0; i /= 2) ++bits;
  return Value(bits);
}

Value float_is_integer(Runtime&, const Value& self, Args&) {
  const double d = *self.as<double>();
  return Value(d == static_cast<double>(static_cast<Int>(d)));
}

Value range_index(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound("index", args, {""}, 1);
  const Items items = to_items(runtime.meter(), self);
  for (size_t i = 0; i < items.size(); ++i) {
    if (equal(runtime.meter(), items[i], bound[0])) return Value(i);
  }
  fail(fmt::format("{} is not in range", repr(runtime.meter(), bound[0])));
}

Value range_count(Runtime& runtime, const Value& self, Args& args) {
  const Bound bound("count", args, {""}, 1);
  return Value(Int(contains(runtime.meter(), self, bound[0])));
}

const Methods* methods_of(const Value& value) {
  static const Methods kList{{"index", sequence_index}, {"count", sequence_count}, {"copy", list_copy}};
  static const Methods kTuple{{"index", sequence_index}, {"count", sequence_count}};
  static const Methods kDict{{"get", dict_get},
                             {"keys", dict_view<ViewKind::kKeys>},
                             {"values", dict_view<ViewKind::kValues>},
                             {"items", dict_view<ViewKind::kItems>},
                             {"copy", dict_copy},
                             {"fromkeys", dict_fromkeys}};
  static const Methods kInt{{"bit_length", int_bit_length}};
  static const Methods kRange{{"index", range_index}, {"count", range_count}};
  static const Methods kFloat{{"is_integer", float_is_integer}};
  if (value.text()) return &text_methods();
  if (const Sequence* s = value.sequence()) return s->is_tuple ? &kTuple : &kList;
  if (value.dict()) return &kDict;
  if (value.as<Range>()) return &kRange;
  if (value.as<double>()) return &kFloat;
  return value.integer() ? &kInt : nullptr;
}

bool changes_value(const Value& value, const std::string& name) {
  static const std::vector<std::string> kList{"append", "clear", "pop",    "reverse",
                                              "insert", "sort",  "extend", "remove"};
  static const std::vector<std::string> kDict{"clear", "pop", "popitem", "setdefault", "update"};
  const bool is_list = value.sequence() && !value.sequence()->is_tuple;
  if (!is_list && !value.dict()) return false;
  const auto& names = is_list ? kList : kDict;
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Attributes that are no methods: those of numbers and ranges.
std::optional<Value> plain_attribute(const Value& value, const std::string& name) {
  if (const Range* r = value.as<Range>()) {
    if (name == "start") return Value(r->start);
    if (name == "stop") return Value(r->stop);
    if (name == "step") return Value(r->step);
  }
  if (!value.number()) return {};
  const bool is_float = value.as<double>();
  if (name == "real") return is_float ? value : Value(*value.integer());
  if (name == "imag") return is_float ? Value(0.0) : Value(0);
  if (name == "numerator" && !is_float) return Value(*value.integer());
  if (name == "denominator" && !is_float) return Value(1);
  return {};
}

// Every Python object has these; the sandbox hides them.
bool is_internal(const std::string& name) {
  static const std::vector<std::string> kNames{"__class__", "__doc__",    "__init__",   "__str__",
                                               "__repr__",  "__eq__",     "__hash__",   "__dir__",
                                               "__new__",   "__reduce__", "__format__", "__getattribute__"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

}  // namespace

std::optional<Value> builtin_attribute(Runtime& runtime, const Value& value, const std::string& name) {
  if (Object* object = value.object()) {
    if (auto found = object->attribute(runtime, name)) return found;
  }
  if (is_internal(name) || changes_value(value, name)) {
    return make_undefined(
        fmt::format("access to attribute {} of {} object is unsafe.", text_repr(name), text_repr(type_name(value))));
  }
  if (auto found = plain_attribute(value, name)) return found;
  const Methods* methods = methods_of(value);
  const auto found = methods ? methods->find(name) : Methods::const_iterator{};
  if (!methods || found == methods->end()) return {};
  return make_function(name, [value, method = found->second](Runtime& r, Args args) { return method(r, value, args); });
}

std::string replace_text(Meter& meter, std::string_view text, std::string_view from, std::string_view to, Int count) {
  meter.search(text.size(), from.size());
  std::string out;
  const auto put = [&](std::string_view part) {
    meter.build(static_cast<int64_t>(part.size()));
    out += part;
  };
  size_t at = 0;
  if (from.empty()) {
    for (; count != 0; --count) {  // before every code point and at the end
      put(to);
      if (at >= text.size()) break;
      const size_t begin = at;
      next_code_point(text, at);
      put(text.substr(begin, at - begin));
    }
    put(text.substr(at));
    return out;
  }
  for (size_t found = text.find(from); found != text.npos && count != 0; found = text.find(from, at), --count) {
    put(text.substr(at, found - at));
    put(to);
    at = found + from.size();
  }
  put(text.substr(at));
  return out;
}

std::string strip_text(std::string_view text, const std::string* characters, bool left, bool right) {
  if (!characters) {
    if (left) text = strip_left(text);
    return std::string(right ? strip_right(text) : text);
  }
  std::u32string set = to_code_points(*characters);
  std::sort(set.begin(), set.end());
  const std::u32string points = to_code_points(text);
  size_t begin = 0, end = points.size();
  const auto is_in_set = [&](char32_t c) { return std::binary_search(set.begin(), set.end(), c); };
  while (left && begin < end && is_in_set(points[begin])) ++begin;
  while (right && end > begin && is_in_set(points[end - 1])) --end;
  return to_utf8(std::u32string_view(points).substr(begin, end - begin));
}

std::string align_text(Meter& meter, const std::string& text, Int width, Align align, const std::string& fill) {
  const Int missing = width - static_cast<Int>(count_code_points(text));
  if (missing <= 0) return text;
  meter.build_product(missing, static_cast<Int>(fill.size()));
  const Int half = missing / 2 + (missing & width & 1);  // as CPython splits it
  const Int left = align == Align::kLeft ? 0 : align == Align::kRight ? missing : half;
  std::string out;
  for (Int i = 0; i < left; ++i) out += fill;
  out += text;
  for (Int i = left; i < missing; ++i) out += fill;
  return out;
}

}  // namespace hone::jinja
