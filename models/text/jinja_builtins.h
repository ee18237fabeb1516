// Filters, tests, methods and global functions: those of jinja2 3.1 that make sense in a chat template, with its
// names, arguments and messages. Left out, and refused as unknown: filesizeformat, pprint, random, urlencode, urlize,
// wordwrap, xmlattr, striptags; functions lipsum, cycler, joiner; str.encode, translate, maketrans.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>

#include "models/text/jinja_value.h"

namespace hone::jinja {

using Filter = Value (*)(Runtime& runtime, const Value& input, Args& args);
using Test = bool (*)(Runtime& runtime, const Value& input, Args& args);

/// Null for an unknown name.
Filter find_filter(const std::string& name);
Test find_test(const std::string& name);

/// range, dict, namespace, raise_exception, strftime_now; nothing for another name.
std::optional<Value> find_global(const std::string& name);

/// A method or attribute of Python's type, as `value.name` gives it; nothing when the type has none of that name. What
/// would change the value is an Undefined that fails when used, as in jinja2's immutable sandbox.
std::optional<Value> builtin_attribute(Runtime& runtime, const Value& value, const std::string& name);

/// {{ object.name }} and {{ object[key] }}: Undefined when there is none.
Value get_attribute(Runtime& runtime, const Value& object, const std::string& name);
Value get_item(Runtime& runtime, const Value& object, const Value& key);
Value get_slice(Meter& meter, const Value& object, const Value& start, const Value& stop, const Value& step);
Value call_value(Runtime& runtime, const Value& callee, Args args);

/// A function made of a lambda; what a method is once it is read.
Value make_function(std::string name, std::function<Value(Runtime&, Args)> call,
                    std::string type = "builtin_function_or_method");

/// Arguments by parameter name, as Python binds them.
class Bound {
 public:
  /// Throws Error for too many, unknown, doubled or (the first `required` ones) missing arguments.
  Bound(const std::string& function, Args& args, std::initializer_list<const char*> parameters, size_t required = 0);
  bool has(size_t i) const { return values_[i].has_value(); }
  const Value& operator[](size_t i) const { return *values_[i]; }
  Value get(size_t i, Value fallback) const { return has(i) ? *values_[i] : fallback; }
  bool flag(size_t i, bool fallback = false) const { return has(i) ? is_true(*values_[i]) : fallback; }
  /// Throws Error unless it is one.
  Int integer(size_t i, Int fallback) const;
  std::string text(size_t i, const std::string& fallback) const;

 private:
  std::vector<std::optional<Value>> values_;
};

/// jinja2's Namespace: `{% set ns.name = .. %}` changes it.
class Namespace : public Object {
 public:
  std::string type_name() const override { return "transformers.utils.chat_template_utils.TemplateNamespace"; }
  std::string repr(Meter& meter) const override;
  bool is_callable() const override { return false; }
  std::optional<Value> attribute(Runtime& runtime, const std::string& name) override;
  /// Throws Error for a name that begins with an underscore.
  void set(Meter& meter, const std::string& name, Value value);
  void clear() { attributes_ = {}; }

 private:
  Dict attributes_;
};

}  // namespace hone::jinja
