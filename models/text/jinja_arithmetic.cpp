// Python's operators on values.
#include <cmath>

#include <fmt/format.h>

#include "models/text/jinja_format.h"
#include "models/text/jinja_unicode.h"
#include "models/text/jinja_value.h"

namespace hone::jinja {

namespace {

constexpr const char* kOpNames[] = {"+", "-", "*", "/", "//", "%", "** or pow()"};

[[noreturn]] void fail_to_combine(BinaryOp op, const Value& a, const Value& b) {
  const bool is_text = a.string() || (a.sequence() && op == BinaryOp::kAdd);
  if (op == BinaryOp::kAdd && is_text) {
    const std::string kind = a.string() ? "str" : type_name(a);
    fail(fmt::format("can only concatenate {} (not \"{}\") to {}", kind, type_name(b), kind));
  }
  fail(fmt::format("unsupported operand type(s) for {}: '{}' and '{}'", kOpNames[static_cast<int>(op)], type_name(a),
                   type_name(b)));
}

[[noreturn]] void fail_overflow() { fail("an integer does not fit 128 bits"); }

Value floor_divide(Int a, Int b) {
  if (b == 0) fail("integer division or modulo by zero");
  if (b == -1) return negate(Value(a));
  const Int quotient = a / b;
  return Value(quotient - Int(a % b != 0 && (a < 0) != (b < 0)));
}

Value modulo(Int a, Int b) {
  if (b == 0) fail("integer modulo by zero");
  if (b == -1) return Value(Int(0));
  const Int rest = a % b;
  return Value(rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest);
}

Value power(Int base, Int exponent) {
  Int result = 1;
  if (base == 0 || base == 1 || base == -1)
    return Value(exponent == 0 ? Int(1) : exponent % 2 == 0 ? base * base : base);
  for (Int i = 0; i < exponent; ++i) {
    if (__builtin_mul_overflow(result, base, &result)) fail_overflow();
  }
  return Value(result);
}

Value combine_integers(BinaryOp op, Int a, Int b) {
  Int out = 0;
  switch (op) {
    case BinaryOp::kAdd:
      if (__builtin_add_overflow(a, b, &out)) fail_overflow();
      return Value(out);
    case BinaryOp::kSub:
      if (__builtin_sub_overflow(a, b, &out)) fail_overflow();
      return Value(out);
    case BinaryOp::kMul:
      if (__builtin_mul_overflow(a, b, &out)) fail_overflow();
      return Value(out);
    case BinaryOp::kFloorDiv:
      return floor_divide(a, b);
    case BinaryOp::kMod:
      return modulo(a, b);
    default:
      return power(a, b);
  }
}

// The remainder has the divisor's sign.
double float_modulo(double a, double b) {
  const double rest = std::fmod(a, b);
  if (rest == 0) return std::copysign(0.0, b);
  return (rest < 0) != (b < 0) ? rest + b : rest;
}

double float_floor_divide(double a, double b) {
  const double rest = std::fmod(a, b);
  double quotient = (a - rest) / b;
  if (rest != 0 && (rest < 0) != (b < 0)) quotient -= 1;
  if (quotient == 0) return std::copysign(0.0, a / b);
  const double whole = std::floor(quotient);
  return quotient - whole > 0.5 ? whole + 1 : whole;
}

Value float_power(double a, double b) {
  if (a == 0 && b < 0) fail("0.0 cannot be raised to a negative power");
  const double out = std::pow(a, b);
  if (std::isnan(out) && !std::isnan(a) && !std::isnan(b)) fail("complex numbers are not supported");
  if (std::isinf(out) && std::isfinite(a) && std::isfinite(b)) fail("(34, 'Numerical result out of range')");
  return Value(out);
}

Value combine_floats(BinaryOp op, double a, double b) {
  const bool divides = op == BinaryOp::kDiv || op == BinaryOp::kFloorDiv || op == BinaryOp::kMod;
  if (divides && b == 0) fail(op == BinaryOp::kMod ? "float modulo" : "float division by zero");
  switch (op) {
    case BinaryOp::kAdd:
      return Value(a + b);
    case BinaryOp::kSub:
      return Value(a - b);
    case BinaryOp::kMul:
      return Value(a * b);
    case BinaryOp::kDiv:
      return Value(a / b);
    case BinaryOp::kFloorDiv:
      return Value(float_floor_divide(a, b));
    case BinaryOp::kMod:
      return Value(float_modulo(a, b));
    default:
      return float_power(a, b);
  }
}

Value repeat_text(Meter& meter, const Text& text, Int count) {
  meter.build_product(count, static_cast<Int>(text.bytes.size()));
  std::string out;
  for (Int i = 0; i < count && !text.bytes.empty(); ++i) out += text.bytes;
  return Value(std::move(out), text.is_markup);
}

Value repeat_items(Meter& meter, const Sequence& s, Int count) {
  meter.build_product(count, static_cast<Int>(s.items.size() * sizeof(Value)));
  Items out;
  for (Int i = 0; i < count && !s.items.empty(); ++i) out.insert(out.end(), s.items.begin(), s.items.end());
  return make_list(meter, std::move(out), s.is_tuple);
}

Value multiply(Meter& meter, const Value& a, const Value& b) {
  const Value& container = a.integer() ? b : a;
  const auto count = a.integer() ? a.integer() : b.integer();
  if (count && container.text()) return repeat_text(meter, *container.text(), *count);
  if (count && container.sequence()) return repeat_items(meter, *container.sequence(), *count);
  if (container.text() || container.sequence()) {
    fail(fmt::format("can't multiply sequence by non-int of type '{}'", type_name(&container == &a ? b : a)));
  }
  fail_to_combine(BinaryOp::kMul, a, b);
}

Value add_texts(Meter& meter, const Value& a, const Value& b) {
  if (!a.text()->is_markup && !b.text()->is_markup) return make_text(meter, *a.string() + *b.string());
  return make_text(meter, escaped(meter, a) + escaped(meter, b), /*is_markup=*/true);
}

Value add_sequences(Meter& meter, const Sequence& a, const Sequence& b) {
  Items items = a.items;
  items.insert(items.end(), b.items.begin(), b.items.end());
  return make_list(meter, std::move(items), a.is_tuple);
}

}  // namespace

Value arithmetic(Meter& meter, BinaryOp op, const Value& a, const Value& b) {
  if (op == BinaryOp::kMod && a.text()) return format_percent(meter, *a.text(), b);
  require_defined(a);
  require_defined(b);
  if (a.number() && b.number()) {
    const bool is_integer = a.integer() && b.integer();
    const bool is_fraction = op == BinaryOp::kDiv || (op == BinaryOp::kPow && is_integer && *b.integer() < 0);
    if (is_integer && !is_fraction) return combine_integers(op, *a.integer(), *b.integer());
    if (is_integer && *b.integer() == 0) fail("division by zero");
    return combine_floats(op, *a.number(), *b.number());
  }
  if (op == BinaryOp::kAdd && a.text() && b.text()) return add_texts(meter, a, b);
  const Sequence *x = a.sequence(), *y = b.sequence();
  if (op == BinaryOp::kAdd && x && y && x->is_tuple == y->is_tuple) return add_sequences(meter, *x, *y);
  if (op == BinaryOp::kMul) return multiply(meter, a, b);
  fail_to_combine(op, a, b);
}

Value negate(const Value& value) {
  require_defined(value);
  if (const auto i = value.integer()) return combine_integers(BinaryOp::kSub, 0, *i);
  if (const double* d = value.as<double>()) return Value(-*d);
  fail(fmt::format("bad operand type for unary -: '{}'", type_name(value)));
}

Value plus(const Value& value) {
  require_defined(value);
  if (const auto i = value.integer()) return Value(*i);
  if (value.as<double>()) return value;
  fail(fmt::format("bad operand type for unary +: '{}'", type_name(value)));
}

}  // namespace hone::jinja
