// The values of a chat template: Python's None, bool, int, float, str, list, tuple, dict, dict views, range, one-pass
// iterators and callables, with Python's rules for printing, comparing and arithmetic, plus jinja2's Undefined.
//
// Text is UTF-8; lengths and positions count code points, as in Python. Integers have 128 bits; what does not fit is
// refused. Values are immutable but for namespaces and iterators, and never outlive their Runtime's namespaces.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace hone::jinja {

using Int = __int128;

/// What a template may use up. A step is about one operation, element or comparison; built bytes are those of all text
/// and containers made while rendering, freed or not. On two cores of 2020 all steps take about a second.
struct Limits {
  int64_t max_steps = 10'000'000;
  int64_t max_built_bytes = 512ll << 20;
  int64_t max_output_bytes = 64ll << 20;  ///< of the result, and of each text on the way
  int max_call_depth = 900;   ///< statements and expressions being evaluated inside each other, macro calls included
  int max_value_depth = 200;  ///< containers inside each other
  int64_t max_template_bytes = 1 << 20;
};

/// Everything that can be wrong with a template or with what it does; what() begins with "line N: " where known.
class Error : public std::runtime_error {
 public:
  enum class Kind { kSyntax, kRuntime, kLimit };
  Error(Kind kind, const std::string& message, int line = 0);
  Kind kind() const { return kind_; }
  const std::string& message() const { return message_; }
  int line() const { return line_; }  ///< from 1; 0: not known

 private:
  Kind kind_;
  std::string message_;
  int line_;
};

/// Throws Error of kind kRuntime.
[[noreturn]] void fail(const std::string& message);

/// Counts what is used up. Throws Error of kind kLimit naming the limit.
class Meter {
 public:
  explicit Meter(const Limits& limits) : limits_(limits) {}
  const Limits& limits() const { return limits_; }
  void step(int64_t n = 1);
  void build(int64_t bytes);
  /// For looking for a part of so many bytes in a text: the two may match almost everywhere.
  void search(size_t text, size_t part);
  /// For a result of `count` times `size` bytes, before it is made.
  void build_product(Int count, Int size);

  /// One level of recursion into a value, for as long as it lives.
  class Level {
   public:
    explicit Level(Meter& meter);
    ~Level() { --meter_.levels_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Meter& meter_;
  };

 private:
  Limits limits_;
  int64_t steps_ = 0, bytes_ = 0;
  int levels_ = 0;
};

class Runtime;
struct Value;
struct Dict;

struct None {};

/// jinja2's Undefined: prints as nothing, is false and empty; any other use fails with the message.
struct Undefined {
  std::string hint;      ///< the whole message, when not empty
  std::string owner;     ///< else: jinja2's name of the object's type; empty for a variable
  std::string name;      ///< variable or attribute; for an element its repr
  bool is_item = false;  ///< the name is an element, not an attribute
  std::string message() const;
};

struct Text {
  std::string bytes;
  bool is_markup = false;  ///< markupsafe.Markup: escapes what is added to it
};

struct Sequence {
  std::vector<Value> items;
  bool is_tuple = false;
  int depth = 1;
};

enum class ViewKind { kKeys, kValues, kItems };

struct View {
  std::shared_ptr<const Dict> dict;
  ViewKind kind;
};

struct Range {
  Int start = 0, stop = 0, step = 1;
  Int size() const;
};

/// A Python generator: read once.
struct Iterator {
  std::string type_name;
  std::function<std::optional<Value>()> next;
  int depth = 1;  ///< iterators inside each other
};

struct Args {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

/// Functions, methods, macros, namespaces and the `loop` variable.
struct Object {
  virtual ~Object() = default;
  virtual std::string type_name() const = 0;  ///< with its module, unless that is builtins
  virtual std::string repr(Meter& meter) const = 0;
  virtual std::optional<Value> attribute(Runtime& runtime, const std::string& name);
  virtual bool is_callable() const { return true; }
  virtual Value call(Runtime& runtime, Args args);
};

struct Value {
  using Data = std::variant<std::shared_ptr<const Undefined>, None, bool, Int, double, std::shared_ptr<const Text>,
                            std::shared_ptr<const Sequence>, std::shared_ptr<const Dict>, View, Range,
                            std::shared_ptr<Iterator>, std::shared_ptr<Object>>;
  Data data = None{};

  Value() = default;
  Value(Data d) : data(std::move(d)) {}
  Value(bool b) : data(b) {}
  Value(Int i) : data(i) {}
  Value(int i) : data(Int(i)) {}
  Value(int64_t i) : data(Int(i)) {}
  Value(size_t i) : data(Int(i)) {}
  Value(double d) : data(d) {}
  Value(std::string s, bool is_markup = false) : data(std::make_shared<const Text>(Text{std::move(s), is_markup})) {}
  Value(const char* s) : Value(std::string(s)) {}
  Value(std::shared_ptr<const Dict> d) : data(std::move(d)) {}
  Value(std::shared_ptr<Iterator> i) : data(std::move(i)) {}
  Value(std::shared_ptr<Object> o) : data(std::move(o)) {}
  template <class T>
  requires std::is_base_of_v<Object, T> Value(std::shared_ptr<T> o) : data(std::shared_ptr<Object>(std::move(o))) {}

  template <class T>
  const T* as() const {
    return std::get_if<T>(&data);
  }
  const Undefined* undefined() const { return pointer<const Undefined>(); }
  const Text* text() const { return pointer<const Text>(); }
  const std::string* string() const { return text() ? &text()->bytes : nullptr; }
  const Sequence* sequence() const { return pointer<const Sequence>(); }
  const Dict* dict() const { return pointer<const Dict>(); }
  Iterator* iterator() const { return pointer<Iterator>(); }
  Object* object() const { return pointer<Object>(); }
  bool is_none() const { return std::holds_alternative<None>(data); }
  /// bool counts as an integer, as in Python.
  std::optional<Int> integer() const;
  /// int, bool or float.
  std::optional<double> number() const;

 private:
  template <class T>
  T* pointer() const {
    const auto* p = std::get_if<std::shared_ptr<T>>(&data);
    return p ? p->get() : nullptr;
  }
};

/// A Python dict: keys in the order in which they came.
struct Dict {
  std::vector<std::pair<Value, Value>> items;
  std::unordered_map<std::string, size_t> texts;  ///< where the keys that are text stand
  int depth = 1;
};

using Items = std::vector<Value>;

// ---- making ---------------------------------------------------------------------------------------------------------
Value make_list(Meter& meter, Items items, bool is_tuple = false);
Value make_tuple(Meter& meter, Items items);
Value make_undefined(std::string hint);
std::shared_ptr<Iterator> make_iterator(Meter& meter, std::string type_name, std::function<std::optional<Value>()> next,
                                        const Iterator* source = nullptr);
Value make_text(Meter& meter, std::string bytes, bool is_markup = false);
/// Throws Error for an unhashable key.
void set_item(Meter& meter, Dict& dict, Value key, Value value);
const Value* find_item(Meter& meter, const Dict& dict, const Value& key);
const Value* find_item(const Dict& dict, const std::string& key);

// ---- asking ---------------------------------------------------------------------------------------------------------
/// Python's type(x).__name__.
std::string type_name(const Value& value);
/// jinja2's object_type_repr: "dict object", "None".
std::string object_name(const Value& value);
bool is_true(const Value& value);
bool is_same(const Value& a, const Value& b);  ///< Python's `is`
bool equal(Meter& meter, const Value& a, const Value& b);
/// -1, 0, 1; `op` is for the message. Throws Error when Python has no order for the two. NaN: no order, 2.
int compare(Meter& meter, const Value& a, const Value& b, std::string_view op);
void check_hashable(const Value& value);
/// Throws Error with its message when the value is Undefined.
void require_defined(const Value& value);

// ---- printing -------------------------------------------------------------------------------------------------------
std::string float_repr(double value);
std::string int_repr(Int value);
std::string to_string(Meter& meter, const Value& value);  ///< str(x)
std::string repr(Meter& meter, const Value& value);
std::string text_repr(std::string_view text);
/// HTML-escaped, unless it is markup.
std::string escaped(Meter& meter, const Value& value);

// ---- walking --------------------------------------------------------------------------------------------------------
/// Python's iter(x). Throws Error when it cannot be iterated.
std::shared_ptr<Iterator> iterate(Meter& meter, const Value& value);
Items to_items(Meter& meter, const Value& value);
/// len(x), or nothing when it has none.
std::optional<int64_t> length(const Value& value);
Value at(Meter& meter, const View& view, size_t i);
bool contains(Meter& meter, const Value& container, const Value& item);

// ---- arithmetic -----------------------------------------------------------------------------------------------------
enum class BinaryOp { kAdd, kSub, kMul, kDiv, kFloorDiv, kMod, kPow };
Value arithmetic(Meter& meter, BinaryOp op, const Value& a, const Value& b);
Value negate(const Value& value);
Value plus(const Value& value);

}  // namespace hone::jinja
