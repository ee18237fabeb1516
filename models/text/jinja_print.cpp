// How values print: Python's str and repr, and HTML escapes.
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "models/text/jinja_unicode.h"
#include "models/text/jinja_value.h"

namespace hone::jinja {

std::string int_repr(Int value) { return fmt::format("{}", value); }

// Shortest digits that read back, laid out as Python does: exponents below -4 or from 16 on in scientific form.
std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  std::string_view text(buffer, static_cast<size_t>(end - buffer));
  const std::string sign = text[0] == '-' ? "-" : "";
  text.remove_prefix(sign.size());
  const size_t e = text.find('e');
  int exponent = 0;
  std::from_chars(text.data() + e + 1 + (text[e + 1] == '+'), end, exponent);
  std::string digits(1, text[0]);
  if (e > 2) digits += text.substr(2, e - 2);
  const int n = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    const std::string fraction = n > 1 ? "." + digits.substr(1) : "";
    return fmt::format("{}{}{}e{}{:02}", sign, digits[0], fraction, exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  if (exponent < 0) return sign + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  if (n <= exponent + 1) return sign + digits + std::string(static_cast<size_t>(exponent + 1 - n), '0') + ".0";
  return sign + digits.substr(0, static_cast<size_t>(exponent + 1)) + "." +
         digits.substr(static_cast<size_t>(exponent + 1));
}

namespace {

void append_escaped(std::string& out, char32_t c, char quote) {
  if (c == char32_t(quote) || c == '\\') {
    out += '\\';
    out += static_cast<char>(c);
  } else if (c == '\n' || c == '\r' || c == '\t') {
    out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
  } else if (is_printable(c)) {
    append_code_point(out, c);
  } else {
    out += escape_code(c);
  }
}

void append_repr(Meter& meter, std::string& out, const Value& value);

void append_list(Meter& meter, std::string& out, const Items& items) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (i) out += ", ";
    append_repr(meter, out, items[i]);
  }
}

void append_dict(Meter& meter, std::string& out, const Dict& dict) {
  out += '{';
  for (size_t i = 0; i < dict.items.size(); ++i) {
    if (i) out += ", ";
    append_repr(meter, out, dict.items[i].first);
    out += ": ";
    append_repr(meter, out, dict.items[i].second);
  }
  out += '}';
}

void append_view(Meter& meter, std::string& out, const View& view) {
  Items items;
  for (size_t i = 0; i < view.dict->items.size(); ++i) items.push_back(at(meter, view, i));
  out += type_name(Value(Value::Data(view))) + "([";
  append_list(meter, out, items);
  out += "])";
}

void append_sequence(Meter& meter, std::string& out, const Sequence& s) {
  out += s.is_tuple ? '(' : '[';
  append_list(meter, out, s.items);
  if (s.is_tuple && s.items.size() == 1) out += ',';
  out += s.is_tuple ? ')' : ']';
}

std::string leaf_repr(Meter& meter, const Value& value) {
  if (value.undefined()) return "Undefined";
  if (value.is_none()) return "None";
  if (const bool* b = value.as<bool>()) return *b ? "True" : "False";
  if (const Int* i = value.as<Int>()) return int_repr(*i);
  if (const double* d = value.as<double>()) return float_repr(*d);
  if (const Text* t = value.text()) return t->is_markup ? "Markup(" + text_repr(t->bytes) + ")" : text_repr(t->bytes);
  if (const Range* r = value.as<Range>()) {
    const std::string step = r->step == 1 ? "" : ", " + int_repr(r->step);
    return fmt::format("range({}, {}{})", r->start, r->stop, step);
  }
  if (const Iterator* i = value.iterator()) return fmt::format("<{} object>", i->type_name);
  return value.object()->repr(meter);
}

void append_repr(Meter& meter, std::string& out, const Value& value) {
  const Meter::Level level(meter);
  meter.step();
  if (const Sequence* s = value.sequence()) return append_sequence(meter, out, *s);
  if (const Dict* d = value.dict()) return append_dict(meter, out, *d);
  if (const View* v = value.as<View>()) return append_view(meter, out, *v);
  const std::string leaf = leaf_repr(meter, value);
  meter.build(static_cast<int64_t>(leaf.size()));
  out += leaf;
}

}  // namespace

std::string text_repr(std::string_view text) {
  const bool has_single = text.find('\'') != text.npos, has_double = text.find('"') != text.npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  std::string out(1, quote);
  for (size_t i = 0; i < text.size();) append_escaped(out, next_code_point(text, i), quote);
  return out + quote;
}

std::string repr(Meter& meter, const Value& value) {
  std::string out;
  append_repr(meter, out, value);
  return out;
}

std::string to_string(Meter& meter, const Value& value) {
  if (const std::string* s = value.string()) return *s;
  if (value.undefined()) return "";
  return repr(meter, value);
}

std::string escaped(Meter& meter, const Value& value) {
  const std::string text = to_string(meter, value);
  if (value.text() && value.text()->is_markup) return text;
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace hone::jinja
