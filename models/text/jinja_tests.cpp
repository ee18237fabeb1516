#include <map>

#include <fmt/format.h>

#include "models/text/jinja_builtins.h"
#include "models/text/jinja_methods.h"
#include "models/text/jinja_runtime.h"
#include "models/text/jinja_unicode.h"

namespace hone::jinja {
namespace {

// A test without arguments.
template <bool (*Holds)(const Value&)>
bool plain(Runtime&, const Value& input, Args& args) {
  const Bound bound("test", args, {});
  return Holds(input);
}

bool is_defined(const Value& v) { return !v.undefined(); }
bool is_undefined(const Value& v) { return v.undefined(); }
bool is_nothing(const Value& v) { return v.is_none(); }
bool is_boolean(const Value& v) { return v.as<bool>(); }
bool is_exactly_true(const Value& v) { return v.as<bool>() && *v.as<bool>(); }
bool is_exactly_false(const Value& v) { return v.as<bool>() && !*v.as<bool>(); }
bool is_integer(const Value& v) { return v.as<Int>(); }
bool is_float(const Value& v) { return v.as<double>(); }
bool is_number(const Value& v) { return v.number().has_value(); }
bool is_string(const Value& v) { return v.string(); }
bool is_mapping(const Value& v) { return v.dict(); }
bool is_escaped(const Value& v) { return v.text() && v.text()->is_markup; }
bool is_callable(const Value& v) { return v.undefined() || (v.object() && v.object()->is_callable()); }
bool is_sequence(const Value& v) { return v.undefined() || v.string() || v.sequence() || v.dict() || v.as<Range>(); }
bool is_iterable(const Value& v) { return is_sequence(v) || v.as<View>() || v.iterator(); }

bool remainder_is(Runtime& runtime, const Value& input, const Value& divisor, Int rest) {
  const Value remainder = arithmetic(runtime.meter(), BinaryOp::kMod, input, divisor);
  return equal(runtime.meter(), remainder, Value(rest));
}

template <int Rest>
bool parity(Runtime& runtime, const Value& input, Args& args) {
  const Bound bound("odd", args, {});
  return remainder_is(runtime, input, Value(2), Rest);
}

bool is_divisible(Runtime& runtime, const Value& input, Args& args) {
  const Bound bound("divisibleby", args, {"num"}, 1);
  return remainder_is(runtime, input, bound[0], 0);
}

// str.islower and str.isupper of what the value prints.
template <bool (*Is)(char32_t)>
bool has_case(Runtime& runtime, const Value& input, Args& args) {
  const Bound bound("lower", args, {});
  bool any = false;
  for (const char32_t c : to_code_points(to_string(runtime.meter(), input))) {
    if (is_cased(c) && !Is(c)) return false;
    any |= is_cased(c);
  }
  return any;
}

bool is_same_as(Runtime&, const Value& input, Args& args) {
  const Bound bound("sameas", args, {"other"}, 1);
  return is_same(input, bound[0]);
}

bool is_in(Runtime& runtime, const Value& input, Args& args) {
  const Bound bound("in", args, {"seq"}, 1);
  return contains(runtime.meter(), bound[0], input);
}

template <bool Wanted>
bool equals(Runtime& runtime, const Value& input, Args& args) {
  const Bound bound("eq", args,
                    {
                        "",
                    },
                    1);
  return equal(runtime.meter(), input, bound[0]) == Wanted;
}

enum class Order { kLess, kLessEqual, kGreater, kGreaterEqual };

template <Order Wanted>
bool is_ordered(Runtime& runtime, const Value& input, Args& args) {
  constexpr const char* kNames[] = {"<", "<=", ">", ">="};
  const Bound bound("order", args, {""}, 1);
  const int order = compare(runtime.meter(), input, bound[0], kNames[static_cast<int>(Wanted)]);
  const bool is_less = Wanted == Order::kLess || Wanted == Order::kLessEqual;
  const bool takes_equal = Wanted == Order::kLessEqual || Wanted == Order::kGreaterEqual;
  return order == (is_less ? -1 : 1) || (takes_equal && order == 0);
}

bool is_filter(Runtime&, const Value& input, Args& args) {
  const Bound bound("filter", args, {});
  check_hashable(input);
  return input.string() && find_filter(*input.string());
}

bool is_test(Runtime&, const Value& input, Args& args) {
  const Bound bound("test", args, {});
  check_hashable(input);
  return input.string() && find_test(*input.string());
}

}  // namespace

Test find_test(const std::string& name) {
  static const std::map<std::string, Test> kTests{{"odd", parity<1>},
                                                  {"even", parity<0>},
                                                  {"divisibleby", is_divisible},
                                                  {"defined", plain<is_defined>},
                                                  {"undefined", plain<is_undefined>},
                                                  {"filter", is_filter},
                                                  {"test", is_test},
                                                  {"none", plain<is_nothing>},
                                                  {"boolean", plain<is_boolean>},
                                                  {"true", plain<is_exactly_true>},
                                                  {"false", plain<is_exactly_false>},
                                                  {"integer", plain<is_integer>},
                                                  {"float", plain<is_float>},
                                                  {"number", plain<is_number>},
                                                  {"string", plain<is_string>},
                                                  {"mapping", plain<is_mapping>},
                                                  {"sequence", plain<is_sequence>},
                                                  {"iterable", plain<is_iterable>},
                                                  {"callable", plain<is_callable>},
                                                  {"escaped", plain<is_escaped>},
                                                  {"lower", has_case<is_lower>},
                                                  {"upper", has_case<is_upper>},
                                                  {"sameas", is_same_as},
                                                  {"in", is_in},
                                                  {"==", equals<true>},
                                                  {"eq", equals<true>},
                                                  {"equalto", equals<true>},
                                                  {"!=", equals<false>},
                                                  {"ne", equals<false>},
                                                  {"<", is_ordered<Order::kLess>},
                                                  {"lt", is_ordered<Order::kLess>},
                                                  {"lessthan", is_ordered<Order::kLess>},
                                                  {"<=", is_ordered<Order::kLessEqual>},
                                                  {"le", is_ordered<Order::kLessEqual>},
                                                  {">", is_ordered<Order::kGreater>},
                                                  {"gt", is_ordered<Order::kGreater>},
                                                  {"greaterthan", is_ordered<Order::kGreater>},
                                                  {">=", is_ordered<Order::kGreaterEqual>},
                                                  {"ge", is_ordered<Order::kGreaterEqual>}};
  const auto found = kTests.find(name);
  return found == kTests.end() ? nullptr : found->second;
}

}  // namespace hone::jinja
