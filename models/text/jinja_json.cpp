#include "models/text/jinja_json.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "models/text/jinja_unicode.h"

namespace hone::jinja {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMaxNesting = 150;

Value to_value(Meter& meter, const Json& json, int level) {
  if (level > kMaxNesting) {
    throw Error(Error::Kind::kLimit, fmt::format("JSON nested deeper than {} levels; make it flatter", kMaxNesting));
  }
  if (json.is_object()) {
    auto out = std::make_shared<Dict>();
    for (const auto& [key, value] : json.items()) set_item(meter, *out, Value(key), to_value(meter, value, level + 1));
    return Value(std::shared_ptr<const Dict>(std::move(out)));
  }
  if (json.is_array()) {
    Items items;
    for (const Json& item : json) items.push_back(to_value(meter, item, level + 1));
    return make_list(meter, std::move(items));
  }
  if (json.is_string()) return Value(json.get<std::string>());
  if (json.is_boolean()) return Value(json.get<bool>());
  if (json.is_number_unsigned()) return Value(Int(json.get<uint64_t>()));
  if (json.is_number_integer()) return Value(json.get<int64_t>());
  if (json.is_number_float()) return Value(json.get<double>());
  return Value();
}

// Writes what json.dumps writes, byte for byte.
class Writer {
 public:
  Writer(Meter& meter, const JsonStyle& style) : meter_(meter), style_(style) {}

  void value(const Value& v) {
    const Meter::Level level(meter_);
    meter_.step();
    if (const Sequence* s = v.sequence()) return list(s->items);
    if (const Dict* d = v.dict()) return dict(*d);
    if (const std::string* s = v.string()) return text(*s);
    if (v.undefined() || v.as<View>() || v.as<Range>() || v.iterator() || v.object()) {
      fail(fmt::format("Object of type {} is not JSON serializable", type_name(v)));
    }
    put(scalar(v));
  }
  std::string take() { return std::move(out_); }

 private:
  void put(std::string_view part) {
    meter_.build(static_cast<int64_t>(part.size()));
    out_ += part;
  }

  void new_line() {
    if (!style_.indent) return;
    meter_.build_product(levels_, static_cast<Int>(style_.indent->size()));
    out_ += '\n';
    for (int i = 0; i < levels_; ++i) out_ += *style_.indent;
  }

  // Opening and closing brackets around n elements, each written by element(i).
  template <class Element>
  void block(char open, char close, size_t n, const Element& element) {
    put(std::string(1, open));
    ++levels_;
    for (size_t i = 0; i < n; ++i) {
      if (i) put(style_.item_separator);
      new_line();
      element(i);
    }
    --levels_;
    if (n) new_line();
    put(std::string(1, close));
  }

  void list(const Items& items) {
    block('[', ']', items.size(), [&](size_t i) { value(items[i]); });
  }

  void dict(const Dict& dict) {
    std::vector<const std::pair<Value, Value>*> entries;
    for (const auto& entry : dict.items) entries.push_back(&entry);
    if (style_.sort_keys) {
      std::stable_sort(entries.begin(), entries.end(),
                       [&](const auto* a, const auto* b) { return compare(meter_, a->first, b->first, "<") == -1; });
    }
    block('{', '}', entries.size(), [&](size_t i) {
      text(key(entries[i]->first));
      put(style_.key_separator);
      value(entries[i]->second);
    });
  }

  static std::string scalar(const Value& v) {
    if (v.is_none()) return "null";
    if (const bool* b = v.as<bool>()) return *b ? "true" : "false";
    if (const Int* i = v.as<Int>()) return int_repr(*i);
    const double d = *v.as<double>();
    return std::isnan(d) ? "NaN" : std::isinf(d) ? (d > 0 ? "Infinity" : "-Infinity") : float_repr(d);
  }

  static std::string key(const Value& v) {
    if (const std::string* s = v.string()) return *s;
    if (v.is_none() || v.number()) return scalar(v);
    fail(fmt::format("keys must be str, int, float, bool or None, not {}", type_name(v)));
  }

  void text(const std::string& s) {
    std::string quoted = "\"";
    for (size_t at = 0; at < s.size();) character(quoted, next_code_point(s, at));
    put(quoted + "\"");
  }

  void character(std::string& quoted, char32_t c) const {
    constexpr std::string_view kShort = "\"\\\b\f\n\r\t", kLetters = "\"\\bfnrt";
    const size_t found = c < 0x80 ? kShort.find(static_cast<char>(c)) : kShort.npos;
    if (found != kShort.npos) {
      quoted += {'\\', kLetters[found]};
    } else if (c >= 0x20 && (c < 0x7F || !style_.ensure_ascii)) {
      append_code_point(quoted, c);
    } else if (c == 0x7F) {
      quoted += '\x7F';
    } else if (c <= 0xFFFF) {
      quoted += fmt::format("\\u{:04x}", static_cast<uint32_t>(c));
    } else {
      const auto rest = static_cast<uint32_t>(c - 0x10000);
      quoted += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF));
    }
  }

  Meter& meter_;
  const JsonStyle& style_;
  int levels_ = 0;
  std::string out_;
};

}  // namespace

Value from_json(Meter& meter, const nlohmann::ordered_json& json) { return to_value(meter, json, 0); }

std::string to_json(Meter& meter, const Value& value, const JsonStyle& style) {
  Writer writer(meter, style);
  writer.value(value);
  return writer.take();
}

}  // namespace hone::jinja
