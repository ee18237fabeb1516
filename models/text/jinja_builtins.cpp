#include "models/text/jinja_builtins.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "models/text/jinja_methods.h"
#include "models/text/jinja_runtime.h"
#include "models/text/jinja_unicode.h"

namespace hone::jinja {
namespace {

constexpr Int kMaxRange = 100000;  // jinja2's sandbox

class Function : public Object {
 public:
  Function(std::string name, std::function<Value(Runtime&, Args)> call, std::string type)
      : name_(std::move(name)), call_(std::move(call)), type_(std::move(type)) {}
  std::string type_name() const override { return type_; }
  std::string repr(Meter&) const override { return fmt::format("<{} {}>", type_, name_); }
  Value call(Runtime& runtime, Args args) override { return call_(runtime, std::move(args)); }

 private:
  std::string name_;
  std::function<Value(Runtime&, Args)> call_;
  std::string type_;
};

void add_pairs(Meter& meter, Dict& dict, const Value& pairs) {
  int64_t number = 0;
  for (const Value& pair : to_items(meter, pairs)) {
    const Items items = to_items(meter, pair);
    if (items.size() != 2) {
      fail(fmt::format("dictionary update sequence element #{} has length {}; 2 is required", number, items.size()));
    }
    set_item(meter, dict, items[0], items[1]);
    ++number;
  }
}

// dict(mapping or pairs, name=value ..)
std::shared_ptr<Dict> dict_of(Meter& meter, const Args& args) {
  auto out = std::make_shared<Dict>();
  if (args.positional.size() > 1) fail(fmt::format("dict expected at most 1 argument, got {}", args.positional.size()));
  if (!args.positional.empty()) {
    const Dict* mapping = args.positional[0].dict();
    if (mapping) {
      for (const auto& [key, value] : mapping->items) set_item(meter, *out, key, value);
    } else {
      add_pairs(meter, *out, args.positional[0]);
    }
  }
  for (const auto& [name, value] : args.named) set_item(meter, *out, Value(name), value);
  return out;
}

Value make_range(Runtime&, Args args) {
  std::vector<Int> parts;
  for (const Value& v : args.positional) {
    require_defined(v);
    if (!v.integer()) fail(fmt::format("'{}' object cannot be interpreted as an integer", type_name(v)));
    parts.push_back(*v.integer());
  }
  if (parts.empty() || parts.size() > 3 || !args.named.empty()) {
    fail(fmt::format("range expected 1 to 3 arguments, got {}", parts.size()));
  }
  const auto is_huge = [](Int i) { return i > Int(1) << 100 || i < -(Int(1) << 100); };
  if (std::any_of(parts.begin(), parts.end(), is_huge)) fail("a bound of a range does not fit 100 bits");
  Range range{.stop = parts[0]};
  if (parts.size() > 1) range = {parts[0], parts[1], parts.size() > 2 ? parts[2] : Int(1)};
  if (range.step == 0) fail("range() arg 3 must not be zero");
  if (range.size() > kMaxRange) fail("Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).");
  return Value(Value::Data(range));
}

Value make_namespace(Runtime& runtime, Args args) {
  auto out = std::make_shared<Namespace>();
  runtime.keep(out);
  const std::shared_ptr<Dict> given = dict_of(runtime.meter(), args);
  for (const auto& [key, value] : given->items) {
    if (!key.string()) fail("a namespace's attributes are named by text");
    out->set(runtime.meter(), *key.string(), value);
  }
  return Value(std::move(out));
}

Value raise_exception(Runtime& runtime, Args args) {
  const Bound bound("raise_exception", args, {"message"}, 1);
  fail(to_string(runtime.meter(), bound[0]));
}

Value strftime_now(Runtime& runtime, Args args) {
  const Bound bound("strftime_now", args, {"format"}, 1);
  if (!runtime.options().now) fail("strftime_now: the caller gave no time");
  const std::string format = bound.text(0, "");
  if (format.empty()) return Value("");
  if (format.size() > 4096) fail("strftime_now: a format of more than 4096 bytes");
  std::string out(format.size() * 64 + 64, '\0');
  out.resize(std::strftime(out.data(), out.size(), format.c_str(), &*runtime.options().now));
  return make_text(runtime.meter(), std::move(out));
}

Value make_dict(Runtime& runtime, Args args) {
  return Value(std::shared_ptr<const Dict>(dict_of(runtime.meter(), args)));
}

Value undefined_member(const Value& object, const Value& key, Meter& meter) {
  Undefined out{.owner = object_name(object)};
  out.is_item = !key.string();
  out.name = out.is_item ? repr(meter, key) : *key.string();
  return Value(Value::Data(std::make_shared<const Undefined>(std::move(out))));
}

// object[key] of Python; nothing where it raises a TypeError or LookupError.
std::optional<Value> subscript(Meter& meter, const Value& object, const Value& key) {
  if (const Dict* dict = object.dict()) {
    const bool is_hashable = !(key.dict() || key.as<View>() || (key.sequence() && !key.sequence()->is_tuple));
    const Value* found = is_hashable ? find_item(meter, *dict, key) : nullptr;
    return found ? std::optional<Value>(*found) : std::nullopt;
  }
  const auto size = object.text() || object.sequence() || object.as<Range>() ? length(object) : std::nullopt;
  if (!size || !key.integer()) return {};
  const Int i = *key.integer() < 0 ? *key.integer() + *size : *key.integer();
  if (i < 0 || i >= *size) return {};
  if (const Range* r = object.as<Range>()) return Value(r->start + r->step * i);
  if (const Sequence* s = object.sequence()) return s->items[static_cast<size_t>(i)];
  const std::string& text = *object.string();
  size_t at = byte_position(text, static_cast<size_t>(i));
  const size_t begin = at;
  next_code_point(text, at);
  return make_text(meter, text.substr(begin, at - begin), object.text()->is_markup);
}

Int clamp_index(const Value& value, Int size, Int low, Int high, Int fallback) {
  if (value.is_none()) return fallback;
  if (!value.integer()) fail("slice indices must be integers or None or have an __index__ method");
  const Int i = *value.integer();
  return std::clamp(i < 0 ? i + size : i, low, high);
}

struct SliceRange {
  Int start, stop, step;
  Int size() const { return Range{start, stop, step}.size(); }
};

SliceRange slice_range(Int size, const Value& start, const Value& stop, const Value& step) {
  if (!step.is_none() && !step.integer()) fail("slice indices must be integers or None or have an __index__ method");
  const Int by = step.is_none() ? Int(1) : std::clamp<Int>(*step.integer(), -(Int(1) << 62), Int(1) << 62);
  if (by == 0) fail("slice step cannot be zero");
  if (by > 0) return {clamp_index(start, size, 0, size, 0), clamp_index(stop, size, 0, size, size), by};
  return {clamp_index(start, size, -1, size - 1, size - 1), clamp_index(stop, size, -1, size - 1, -1), by};
}

std::string slice_text(Meter& meter, const std::string& text, const SliceRange& range) {
  if (range.step == 1) {
    if (range.size() == 0) return "";
    const size_t begin = byte_position(text, static_cast<size_t>(range.start));
    const std::string_view rest = std::string_view(text).substr(begin);
    return std::string(rest.substr(0, byte_position(rest, static_cast<size_t>(range.size()))));
  }
  meter.build(static_cast<int64_t>(4 * text.size()));
  const std::u32string points = to_code_points(text);
  std::string out;
  for (Int i = 0; i < range.size(); ++i) {
    append_code_point(out, points[static_cast<size_t>(range.start + range.step * i)]);
  }
  return out;
}

}  // namespace

std::optional<Value> find_global(const std::string& name) {
  static const std::map<std::string, Value (*)(Runtime&, Args)> kFunctions{{"range", make_range},
                                                                           {"dict", make_dict},
                                                                           {"namespace", make_namespace},
                                                                           {"raise_exception", raise_exception},
                                                                           {"strftime_now", strftime_now}};
  const auto found = kFunctions.find(name);
  if (found == kFunctions.end()) return {};
  return make_function(name, found->second, "function");
}

Value make_function(std::string name, std::function<Value(Runtime&, Args)> call, std::string type) {
  return Value(std::make_shared<Function>(std::move(name), std::move(call), std::move(type)));
}

// ---- access ---------------------------------------------------------------------------------------------------------

Value get_attribute(Runtime& runtime, const Value& object, const std::string& name) {
  if (!name.starts_with("__")) require_defined(object);
  if (auto found = builtin_attribute(runtime, object, name)) return *found;
  require_defined(object);
  const Value key(name);
  if (auto found = subscript(runtime.meter(), object, key)) return *found;
  return undefined_member(object, key, runtime.meter());
}

Value get_item(Runtime& runtime, const Value& object, const Value& key) {
  require_defined(object);
  if (auto found = subscript(runtime.meter(), object, key)) return *found;
  if (const std::string* name = key.string()) {
    if (auto found = builtin_attribute(runtime, object, *name)) return *found;
  }
  return undefined_member(object, key, runtime.meter());
}

Value get_slice(Meter& meter, const Value& object, const Value& start, const Value& stop, const Value& step) {
  require_defined(object);
  const auto size = object.text() || object.sequence() || object.as<Range>() ? length(object) : std::nullopt;
  if (object.dict()) fail("unhashable type: 'slice'");
  if (!size) fail(fmt::format("'{}' object is not subscriptable", type_name(object)));
  meter.step(*size / 8);
  const SliceRange range = slice_range(*size, start, stop, step);
  if (const Range* r = object.as<Range>()) {
    const Int first = r->start + r->step * range.start;
    return Value(Value::Data(Range{first, r->start + r->step * range.stop, r->step * range.step}));
  }
  if (object.text()) return make_text(meter, slice_text(meter, *object.string(), range), object.text()->is_markup);
  Items out;
  for (Int i = 0; i < range.size(); ++i) {
    out.push_back(object.sequence()->items[static_cast<size_t>(range.start + range.step * i)]);
  }
  return make_list(meter, std::move(out), object.sequence()->is_tuple);
}

Value call_value(Runtime& runtime, const Value& callee, Args args) {
  require_defined(callee);
  runtime.meter().step();
  Object* object = callee.object();
  if (!object || !object->is_callable()) fail(fmt::format("'{}' object is not callable", type_name(callee)));
  return object->call(runtime, std::move(args));
}

// ---- arguments ------------------------------------------------------------------------------------------------------

Bound::Bound(const std::string& function, Args& args, std::initializer_list<const char*> parameters, size_t required) {
  if (args.positional.size() > parameters.size()) {
    fail(
        fmt::format("{}() takes at most {} arguments ({} given)", function, parameters.size(), args.positional.size()));
  }
  for (Value& v : args.positional) values_.emplace_back(std::move(v));
  values_.resize(parameters.size());
  for (auto& [name, value] : args.named) {
    const auto* found =
        std::find_if(parameters.begin(), parameters.end(), [&](const char* p) { return *p && name == p; });
    const auto i = static_cast<size_t>(found - parameters.begin());
    if (found == parameters.end()) fail(fmt::format("{}() got an unexpected keyword argument '{}'", function, name));
    if (values_[i]) fail(fmt::format("{}() got multiple values for argument '{}'", function, name));
    values_[i] = std::move(value);
  }
  for (size_t i = 0; i < required; ++i) {
    if (!values_[i]) {
      fail(fmt::format("{}() missing required argument '{}' (pos {})", function, parameters.begin()[i], i + 1));
    }
  }
}

Int Bound::integer(size_t i, Int fallback) const {
  if (!has(i)) return fallback;
  require_defined(*values_[i]);
  if (const auto n = values_[i]->integer()) return *n;
  fail(fmt::format("'{}' object cannot be interpreted as an integer", type_name(*values_[i])));
}

std::string Bound::text(size_t i, const std::string& fallback) const {
  if (!has(i)) return fallback;
  if (const std::string* s = values_[i]->string()) return *s;
  fail(fmt::format("argument {} must be str, not {}", i + 1, type_name(*values_[i])));
}

// ---- namespaces -----------------------------------------------------------------------------------------------------

std::string Namespace::repr(Meter& meter) const {
  std::string out = "<Namespace {";
  for (size_t i = 0; i < attributes_.items.size(); ++i) {
    if (i) out += ", ";
    const Meter::Level level(meter);
    out += jinja::repr(meter, attributes_.items[i].first) + ": " + jinja::repr(meter, attributes_.items[i].second);
  }
  meter.build(static_cast<int64_t>(out.size()));
  return out + "}>";
}

std::optional<Value> Namespace::attribute(Runtime&, const std::string& name) {
  const Value* found = find_item(attributes_, name);
  return found ? std::optional<Value>(*found) : std::nullopt;
}

void Namespace::set(Meter& meter, const std::string& name, Value value) {
  if (!name.empty() && name[0] == '_') {
    fail(
        fmt::format("Chat templates cannot store underscore-prefixed attributes on a namespace, but got {}. "
                    "Please rename the attribute.",
                    text_repr(name)));
  }
  attributes_.depth = 1;  // a namespace is a leaf to what holds it
  set_item(meter, attributes_, Value(name), std::move(value));
}

}  // namespace hone::jinja
