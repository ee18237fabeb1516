#include "models/text/jinja_format.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "models/text/jinja_builtins.h"
#include "models/text/jinja_methods.h"
#include "models/text/jinja_runtime.h"
#include "models/text/jinja_unicode.h"

namespace hone::jinja {
namespace {

constexpr Int kMaxPrecision = 1000;  // of floats: more digits than any has

// How one value is laid out; both "%08.3f" and "{:>08.3f}" come down to this.
struct Spec {
  char type = 0;
  std::string fill = " ";
  char align = 0;  ///< < > ^ =, 0 for the type's own
  char sign = '-';
  bool alternate = false;
  bool zero = false;
  char grouping = 0;
  Int width = 0;
  std::optional<Int> precision;
};

std::string in_base(Int magnitude, int base, bool upper) {
  std::string out;
  for (Int rest = magnitude; rest > 0 || out.empty(); rest /= base) {
    const int digit = static_cast<int>(rest % base);
    out += static_cast<char>(digit < 10 ? '0' + digit : (upper ? 'A' : 'a') + digit - 10);
  }
  std::reverse(out.begin(), out.end());
  return out;
}

std::string grouped(const std::string& digits, char separator, size_t size = 3) {
  const size_t whole = std::min(digits.find_first_not_of("0123456789abcdefABCDEF"), digits.size());
  std::string out;
  for (size_t i = 0; i < whole; ++i) {
    if (i && (whole - i) % size == 0) out += separator;
    out += digits[i];
  }
  return out + digits.substr(whole);
}

// Python's %g keeps the point of "1." only with the alternate form; fmt's 'g' does the same.
std::string float_digits(double magnitude, const Spec& spec) {
  const char lower = static_cast<char>(spec.type | 0x20);
  const bool is_upper = spec.type >= 'A' && spec.type <= 'Z';
  if (!std::isfinite(magnitude)) {
    const std::string text = std::isnan(magnitude) ? "nan" : "inf";
    return is_upper ? to_upper(text) : text;
  }
  const auto precision = static_cast<int>(std::min(spec.precision.value_or(6), kMaxPrecision));
  std::string out;
  if (lower == 'f' || lower == '%') out = fmt::format("{:.{}f}", magnitude, precision);
  if (lower == 'e') out = fmt::format("{:.{}e}", magnitude, precision);
  if (lower == 'g') {
    out = spec.alternate ? fmt::format("{:#.{}g}", magnitude, std::max(1, precision))
                         : fmt::format("{:.{}g}", magnitude, std::max(1, precision));
  }
  if (spec.alternate && lower == 'f' && precision == 0) out += '.';
  return is_upper ? to_upper(out) : out;
}

// Sign, digits and padding of a number.
std::string laid_out(Meter& meter, bool is_negative, const std::string& prefix, std::string digits, const Spec& spec) {
  const std::string sign = is_negative ? "-" : spec.sign == '+' ? "+" : spec.sign == ' ' ? " " : "";
  const char align = spec.align ? spec.align : spec.zero ? '=' : '>';
  const std::string fill = spec.zero && !spec.align ? "0" : spec.fill;
  if (spec.grouping)
    digits = grouped(digits, spec.grouping, spec.type == 'x' || spec.type == 'b' || spec.type == 'o' ? 4 : 3);
  const std::string head = sign + prefix;
  if (align == '=') {
    return head + align_text(meter, digits, spec.width - static_cast<Int>(head.size()), Align::kRight, fill);
  }
  const Align how = align == '<' ? Align::kLeft : align == '>' ? Align::kRight : Align::kCenter;
  if (how != Align::kCenter) return align_text(meter, head + digits, spec.width, how, fill);
  const std::string body = head + digits;
  const Int missing = spec.width - static_cast<Int>(count_code_points(body));
  return align_text(
      meter, align_text(meter, body, spec.width - (missing > 0 ? missing - missing / 2 : 0), Align::kRight, fill),
      spec.width, Align::kLeft, fill);
}

std::string integer_text(Meter& meter, Int value, Spec spec) {
  const bool is_negative = value < 0;
  if (is_negative && value == -value) fail("an integer does not fit 128 bits");
  const Int magnitude = is_negative ? -value : value;
  const char lower = static_cast<char>(spec.type | 0x20);
  const int base = lower == 'x' ? 16 : lower == 'o' ? 8 : lower == 'b' ? 2 : 10;
  std::string digits = in_base(magnitude, base, spec.type == 'X');
  if (spec.precision) digits = align_text(meter, digits, *spec.precision, Align::kRight, "0");
  const std::string prefix = spec.alternate && base != 10 ? std::string{'0', spec.type} : "";
  return laid_out(meter, is_negative, prefix, std::move(digits), spec);
}

std::string float_text(Meter& meter, double value, const Spec& spec) {
  const double scaled = spec.type == '%' ? value * 100 : value;
  std::string digits = float_digits(std::fabs(scaled), spec);
  if (spec.type == '%') digits += '%';
  return laid_out(meter, std::signbit(scaled) && !std::isnan(scaled), "", std::move(digits), spec);
}

// The first `precision` code points, then padding.
std::string plain_text(Meter& meter, std::string text, const Spec& spec, char own_align) {
  if (spec.precision) {
    const Int keep = std::min<Int>(*spec.precision, static_cast<Int>(text.size()));
    text.resize(byte_position(text, static_cast<size_t>(keep)));
  }
  const char align = spec.align ? spec.align : own_align;
  if (align == '^') {
    const Int missing = spec.width - static_cast<Int>(count_code_points(text));
    if (missing > 0) text = align_text(meter, text, spec.width - (missing - missing / 2), Align::kRight, spec.fill);
  }
  return align_text(meter, text, spec.width, align == '>' ? Align::kRight : Align::kLeft, spec.fill);
}

// ---- "%" ------------------------------------------------------------------------------------------------------------

std::string ascii_repr(Meter& meter, const Value& value) {
  std::string out;
  const std::string text = repr(meter, value);
  for (size_t at = 0; at < text.size();) {
    const char32_t c = next_code_point(text, at);
    out += c < 0x80 ? std::string(1, static_cast<char>(c)) : escape_code(c);
  }
  return out;
}

class Percent {
 public:
  Percent(Meter& meter, const Text& format, const Value& values) : meter_(meter), format_(format), values_(values) {}

  Value run() {
    const std::string& f = format_.bytes;
    while (at_ < f.size()) {
      const size_t percent = std::min(f.find('%', at_), f.size());
      put(f.substr(at_, percent - at_));
      at_ = percent;
      if (at_ < f.size()) {
        ++at_;
        conversion();
      }
    }
    const Sequence* tuple = values_.sequence();
    const bool is_tuple = tuple && tuple->is_tuple;
    const bool is_mapping =
        values_.dict() || values_.undefined() || (tuple && !is_tuple) || values_.as<View>() || values_.as<Range>();
    if (!has_keys_ && !is_mapping && next_ < (is_tuple ? tuple->items.size() : 1)) {
      fail("not all arguments converted during string formatting");
    }
    return make_text(meter_, std::move(out_), format_.is_markup);
  }

 private:
  void put(const std::string& part) {
    meter_.build(static_cast<int64_t>(part.size()));
    out_ += part;
  }

  char peek() const {
    if (at_ >= format_.bytes.size()) fail("incomplete format");
    return format_.bytes[at_];
  }

  Value next_value() {
    const Sequence* tuple = values_.sequence();
    const bool is_tuple = tuple && tuple->is_tuple;
    if (next_ >= (is_tuple ? tuple->items.size() : 1)) fail("not enough arguments for format string");
    ++next_;
    return is_tuple ? tuple->items[next_ - 1] : values_;
  }

  std::optional<Value> key_value() {
    if (peek() != '(') return {};
    int open = 1;
    const size_t begin = ++at_;
    for (; open > 0; ++at_) open += peek() == '(' ? 1 : peek() == ')' ? -1 : 0;
    const std::string key = format_.bytes.substr(begin, at_ - begin - 1);
    if (!values_.dict()) fail("format requires a mapping");
    has_keys_ = true;
    const Value* found = find_item(*values_.dict(), key);
    if (!found) fail(text_repr(key));
    return *found;
  }

  // A number, or * for the next value.
  std::optional<Int> amount() {
    if (peek() == '*') {
      ++at_;
      const Value v = next_value();
      if (!v.integer()) fail("* wants int");
      return *v.integer();
    }
    std::optional<Int> out;
    for (; peek() >= '0' && peek() <= '9'; ++at_)
      out = std::min<Int>(out.value_or(0) * 10 + (peek() - '0'), Int(1) << 60);
    return out;
  }

  void conversion() {
    Spec spec;
    const std::optional<Value> keyed = key_value();
    for (bool is_flag = true; is_flag; at_ += is_flag) {
      const char c = peek();
      is_flag = c == '-' || c == '+' || c == ' ' || c == '#' || c == '0';
      if (c == '-') spec.align = '<';
      if (c == '+' || (c == ' ' && spec.sign != '+')) spec.sign = c;
      if (c == '#') spec.alternate = true;
      if (c == '0') spec.zero = true;
    }
    spec.width = amount().value_or(0);
    if (spec.width < 0) {
      spec.align = '<';
      spec.width = -spec.width;
    }
    if (peek() == '.') {
      ++at_;
      spec.precision = std::max<Int>(0, amount().value_or(0));
    }
    while (peek() == 'l' || peek() == 'h' || peek() == 'L') ++at_;
    spec.type = peek();
    ++at_;
    if (spec.type == '%') return put("%");
    put(converted(keyed ? *keyed : next_value(), spec));
  }

  std::string converted(const Value& value, Spec spec) {
    switch (spec.type) {
      case 's':
        return plain_text(meter_, format_.is_markup ? escaped(meter_, value) : to_string(meter_, value), spec, '>');
      case 'r':
        return plain_text(meter_, repr(meter_, value), spec, '>');
      case 'a':
        return plain_text(meter_, ascii_repr(meter_, value), spec, '>');
      case 'c':
        return plain_text(meter_, character(value), spec, '>');
      case 'd':
      case 'i':
      case 'u':
        spec.type = 'd';
        return integer_text(meter_, whole(value), spec);
      case 'x':
      case 'X':
      case 'o':
        return integer_text(meter_, exact(value, spec.type), spec);
      default:
        break;
    }
    if (std::string_view("eEfFgG").find(spec.type) == std::string_view::npos) {
      fail(fmt::format("unsupported format character '{}' (0x{:x}) at index {}", spec.type,
                       static_cast<unsigned char>(spec.type), at_ - 1));
    }
    require_defined(value);
    if (!value.number()) fail(fmt::format("must be real number, not {}", type_name(value)));
    return float_text(meter_, *value.number(), spec);
  }

  static Int whole(const Value& value) {
    require_defined(value);
    if (const auto i = value.integer()) return *i;
    const double* d = value.as<double>();
    if (!d) fail(fmt::format("%d format: a real number is required, not {}", type_name(value)));
    if (!(std::fabs(*d) < 1e38)) fail("cannot convert float infinity to integer");
    return static_cast<Int>(*d);
  }

  static Int exact(const Value& value, char type) {
    require_defined(value);
    if (const auto i = value.integer()) return *i;
    fail(fmt::format("%{} format: an integer is required, not {}", type, type_name(value)));
  }

  static std::string character(const Value& value) {
    if (const std::string* s = value.string(); s && count_code_points(*s) == 1) return *s;
    const auto i = value.integer();
    if (!i) fail("%c requires int or char");
    if (*i < 0 || *i > 0x10FFFF || (*i >= 0xD800 && *i <= 0xDFFF)) fail("%c arg not in range(0x110000)");
    std::string out;
    append_code_point(out, static_cast<char32_t>(*i));
    return out;
  }

  Meter& meter_;
  const Text& format_;
  const Value& values_;
  size_t at_ = 0, next_ = 0;
  bool has_keys_ = false;
  std::string out_;
};

// ---- "{}" -----------------------------------------------------------------------------------------------------------

class Braces {
 public:
  Braces(Runtime& runtime, const Args& args) : runtime_(runtime), meter_(runtime.meter()), args_(args) {}

  std::string expand(std::string_view format, int level) {
    if (level > 1) fail("Max string recursion exceeded");
    std::string out;
    for (size_t at = 0; at < format.size();) {
      const char c = format[at];
      if ((c == '{' || c == '}') && at + 1 < format.size() && format[at + 1] == c) {
        out += c;
        at += 2;
      } else if (c == '}') {
        fail("Single '}' encountered in format string");
      } else if (c == '{') {
        const size_t end = closing(format, at);
        out += field(format.substr(at + 1, end - at - 1), level);
        at = end + 1;
      } else {
        out += c;
        ++at;
      }
    }
    meter_.build(static_cast<int64_t>(out.size()));
    return out;
  }

 private:
  static size_t closing(std::string_view format, size_t at) {
    int open = 0;
    for (size_t i = at; i < format.size(); ++i) {
      open += format[i] == '{' ? 1 : format[i] == '}' ? -1 : 0;
      if (open == 0) return i;
    }
    fail(at + 1 == format.size() ? "Single '{' encountered in format string" : "expected '}' before end of string");
  }

  // name [!conversion] [:spec]
  std::string field(std::string_view text, int level) {
    const size_t end = std::min(text.find_first_of("!:"), text.size());
    Value value = named(std::string(text.substr(0, end)));
    std::string_view rest = text.substr(end);
    if (!rest.empty() && rest[0] == '!') {
      if (rest.size() < 2) fail("end of string while looking for conversion specifier");
      value = converted(value, rest[1]);
      rest.remove_prefix(2);
      if (!rest.empty() && rest[0] != ':') fail("expected ':' after conversion specifier");
    }
    const std::string spec = rest.empty() ? "" : expand(rest.substr(1), level + 1);
    return formatted(value, spec);
  }

  Value converted(const Value& value, char how) {
    if (how == 's') return Value(to_string(meter_, value));
    if (how == 'r') return Value(repr(meter_, value));
    if (how == 'a') return Value(ascii_repr(meter_, value));
    fail(fmt::format("Unknown conversion specifier {}", how));
  }

  // first [.attribute | [item]] ..
  Value named(const std::string& name) {
    const size_t end = std::min(name.find_first_of(".["), name.size());
    Value value = first(name.substr(0, end));
    for (size_t at = end; at < name.size();) {
      const bool is_item = name[at] == '[';
      const size_t stop = is_item ? name.find(']', at) : std::min(name.find_first_of(".[", at + 1), name.size());
      if (stop == name.npos) fail("Missing ']' in format string");
      const std::string key = name.substr(at + 1, stop - at - 1);
      if (key.empty()) fail("Empty attribute in format string");
      const bool is_index = is_item && key.find_first_not_of("0123456789") == key.npos && key.size() < 18;
      value = is_item ? get_item(runtime_, value, is_index ? Value(int64_t(std::stoll(key))) : Value(key))
                      : get_attribute(runtime_, value, key);
      at = is_item ? stop + 1 : stop;
    }
    return value;
  }

  Value first(const std::string& name) {
    const bool is_number = !name.empty() && name.find_first_not_of("0123456789") == name.npos && name.size() < 10;
    if (name.empty() || is_number) {
      if (is_number ? automatic_ > 0 : manual_) {
        fail("cannot switch between automatic field numbering and manual field specification");
      }
      manual_ |= is_number;
      const size_t i = is_number ? static_cast<size_t>(std::stoul(name)) : automatic_++;
      if (i < args_.positional.size()) return args_.positional[i];
      fail(fmt::format("Replacement index {} out of range for positional args tuple", i));
    }
    for (const auto& [key, value] : args_.named) {
      if (key == name) return value;
    }
    fail(text_repr(name));
  }

  static Spec parse_spec(const std::string& text) {
    Spec spec;
    const std::u32string points = to_code_points(text);
    size_t at = 0;
    const auto is_align = [](char32_t c) { return c == '<' || c == '>' || c == '^' || c == '='; };
    const auto peek = [&] { return at < points.size() ? points[at] : char32_t(0); };
    if (points.size() > 1 && is_align(points[1])) {
      spec.fill = to_utf8(points.substr(0, 1));
      spec.align = static_cast<char>(points[1]);
      at = 2;
    } else if (is_align(peek())) {
      spec.align = static_cast<char>(points[at++]);
    }
    if (peek() == '+' || peek() == '-' || peek() == ' ') spec.sign = static_cast<char>(points[at++]);
    if (peek() == '#') spec.alternate = ++at;
    if (peek() == '0') spec.zero = ++at;
    const auto amount = [&] {
      Int n = 0;
      for (; peek() >= '0' && peek() <= '9'; ++at)
        n = std::min<Int>(n * 10 + static_cast<Int>(peek() - '0'), Int(1) << 60);
      return n;
    };
    spec.width = amount();
    if (peek() == ',' || peek() == '_') spec.grouping = static_cast<char>(points[at++]);
    if (peek() == '.') {
      ++at;
      if (peek() < '0' || peek() > '9') fail("Format specifier missing precision");
      spec.precision = amount();
    }
    if (at < points.size() && points[at] < 0x80) spec.type = static_cast<char>(points[at++]);
    if (at < points.size()) fail("Invalid format specifier");
    return spec;
  }

  std::string formatted(const Value& value, const std::string& text) {
    if (text.empty()) return to_string(meter_, value);
    Spec spec = parse_spec(text);
    if (value.string()) return formatted_text(value, spec);
    if (!value.number()) {
      fail(fmt::format("unsupported format string passed to {}.__format__", type_name(value)));
    }
    const bool is_float_type = std::string_view("eEfFgG%").find(spec.type) != std::string_view::npos && spec.type;
    if (value.integer() && !is_float_type) return formatted_integer(*value.integer(), spec);
    if (!is_float_type && spec.type) fail_type(spec.type, value);
    if (spec.type) return float_text(meter_, *value.number(), spec);
    return formatted_float(*value.number(), spec);
  }

  [[noreturn]] static void fail_type(char type, const Value& value) {
    fail(fmt::format("Unknown format code '{}' for object of type '{}'", type, type_name(value)));
  }

  std::string formatted_text(const Value& value, Spec spec) {
    if (spec.type && spec.type != 's') fail_type(spec.type, value);
    if (spec.sign != '-') fail("Sign not allowed in string format specifier");
    if (spec.align == '=') fail("'=' alignment not allowed in string format specifier");
    if (spec.zero && !spec.align) spec.fill = "0";
    return plain_text(meter_, *value.string(), spec, '<');
  }

  std::string formatted_integer(Int value, Spec spec) {
    if (spec.type == 'n') spec.type = 'd';
    if (spec.type && std::string_view("bcdoxX").find(spec.type) == std::string_view::npos)
      fail_type(spec.type, Value(value));
    if (spec.precision) fail("Precision not allowed in integer format specifier");
    if (spec.type != 'c') return integer_text(meter_, value, spec);
    std::string out;
    if (value < 0 || value > 0x10FFFF) fail("%c arg not in range(0x110000)");
    append_code_point(out, static_cast<char32_t>(value));
    return plain_text(meter_, out, spec, '>');
  }

  // No type: like 'g' with at least one digit behind the point; without a precision, as it prints.
  std::string formatted_float(double value, Spec spec) {
    if (!spec.precision) {
      std::string digits = float_repr(std::fabs(value));
      return laid_out(meter_, std::signbit(value) && !std::isnan(value), "", std::move(digits), spec);
    }
    spec.type = 'g';
    std::string digits = float_digits(std::fabs(value), spec);
    if (digits.find_first_not_of("0123456789") == digits.npos) digits += ".0";
    return laid_out(meter_, std::signbit(value) && !std::isnan(value), "", std::move(digits), spec);
  }

  Runtime& runtime_;
  Meter& meter_;
  const Args& args_;
  size_t automatic_ = 0;
  bool manual_ = false;
};

}  // namespace

Value format_percent(Meter& meter, const Text& format, const Value& values) {
  return Percent(meter, format, values).run();
}

Value format_braces(Runtime& runtime, const Text& format, const Args& args) {
  return make_text(runtime.meter(), Braces(runtime, args).expand(format.bytes, 0), format.is_markup);
}

}  // namespace hone::jinja
