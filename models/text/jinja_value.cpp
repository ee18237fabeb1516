#include "models/text/jinja_value.h"

#include <algorithm>

#include <fmt/format.h>

#include "models/text/jinja_unicode.h"

namespace hone::jinja {
namespace {

std::string at_line(const std::string& message, int line) {
  return line > 0 ? fmt::format("line {}: {}", line, message) : message;
}

int depth_of(const Value& value) {
  if (const Sequence* s = value.sequence()) return s->depth;
  if (const Dict* d = value.dict()) return d->depth;
  if (const View* v = value.as<View>()) return v->dict->depth;
  if (const Iterator* i = value.iterator()) return i->depth;
  return 0;
}

void check_depth(const Meter& meter, int depth) {
  if (depth <= meter.limits().max_value_depth) return;
  throw Error(Error::Kind::kLimit,
              fmt::format("values nested deeper than {} levels; make them flatter", meter.limits().max_value_depth));
}

const char* view_name(ViewKind kind) {
  return kind == ViewKind::kKeys ? "dict_keys" : kind == ViewKind::kValues ? "dict_values" : "dict_items";
}

}  // namespace

Error::Error(Kind kind, const std::string& message, int line)
    : std::runtime_error(at_line(message, line)), kind_(kind), message_(message), line_(line) {}

void fail(const std::string& message) { throw Error(Error::Kind::kRuntime, message); }

// ---- limits ---------------------------------------------------------------------------------------------------------

void Meter::step(int64_t n) {
  steps_ += n;
  if (steps_ <= limits_.max_steps) return;
  throw Error(Error::Kind::kLimit,
              fmt::format("the template took more than {} steps; does it loop too often?", limits_.max_steps));
}

void Meter::build(int64_t bytes) {
  bytes_ += bytes;
  if (bytes_ <= limits_.max_built_bytes) return;
  throw Error(Error::Kind::kLimit,
              fmt::format("the template built more than {} bytes of text and lists", limits_.max_built_bytes));
}

void Meter::search(size_t text, size_t part) {
  step(static_cast<int64_t>(static_cast<Int>(text) * static_cast<Int>(part + 64) / 65536));
}

void Meter::build_product(Int count, Int size) {
  const Int bytes = count <= 0 || size <= 0                      ? 0
                    : count > limits_.max_built_bytes / size + 1 ? Int(1) << 62
                                                                 : count * size;
  build(static_cast<int64_t>(std::min<Int>(bytes, Int(1) << 61)));
}

Meter::Level::Level(Meter& meter) : meter_(meter) {
  check_depth(meter, ++meter.levels_ - meter.limits().max_value_depth);
}

// ---- types ----------------------------------------------------------------------------------------------------------

std::string Undefined::message() const {
  if (!hint.empty()) return hint;
  if (owner.empty()) return fmt::format("{} is undefined", text_repr(name));
  if (is_item) return fmt::format("{} has no element {}", owner, name);
  return fmt::format("{} has no attribute {}", text_repr(owner), text_repr(name));
}

Int Range::size() const {
  if (step > 0) return start < stop ? (stop - start + step - 1) / step : 0;
  return start > stop ? (start - stop - step - 1) / -step : 0;
}

std::optional<Value> Object::attribute(Runtime&, const std::string&) { return {}; }

Value Object::call(Runtime&, Args) { fail(fmt::format("'{}' object is not callable", type_name())); }

std::optional<Int> Value::integer() const {
  if (const Int* i = as<Int>()) return *i;
  if (const bool* b = as<bool>()) return Int(*b);
  return {};
}

std::optional<double> Value::number() const {
  if (const double* d = as<double>()) return *d;
  const auto i = integer();
  return i ? std::optional<double>(static_cast<double>(*i)) : std::nullopt;
}

std::string type_name(const Value& value) {
  if (value.undefined()) return "Undefined";
  if (value.is_none()) return "NoneType";
  if (value.as<bool>()) return "bool";
  if (value.as<Int>()) return "int";
  if (value.as<double>()) return "float";
  if (const Text* t = value.text()) return t->is_markup ? "Markup" : "str";
  if (const Sequence* s = value.sequence()) return s->is_tuple ? "tuple" : "list";
  if (value.dict()) return "dict";
  if (const View* v = value.as<View>()) return view_name(v->kind);
  if (value.as<Range>()) return "range";
  if (const Iterator* i = value.iterator()) return i->type_name;
  const std::string name = value.object()->type_name();
  return name.substr(name.rfind('.') + 1);
}

std::string object_name(const Value& value) {
  if (value.is_none()) return "None";
  if (const Text* t = value.text(); t && t->is_markup) return "markupsafe.Markup object";
  return (value.object() ? value.object()->type_name() : type_name(value)) + " object";
}

// ---- making ---------------------------------------------------------------------------------------------------------

Value make_list(Meter& meter, Items items, bool is_tuple) {
  auto out = std::make_shared<Sequence>();
  for (const Value& item : items) out->depth = std::max(out->depth, 1 + depth_of(item));
  check_depth(meter, out->depth);
  meter.build(static_cast<int64_t>(sizeof(Sequence) + items.size() * sizeof(Value)));
  out->items = std::move(items);
  out->is_tuple = is_tuple;
  return Value(Value::Data(std::shared_ptr<const Sequence>(std::move(out))));
}

Value make_tuple(Meter& meter, Items items) { return make_list(meter, std::move(items), /*is_tuple=*/true); }

Value make_undefined(std::string hint) {
  return Value(Value::Data(std::make_shared<const Undefined>(Undefined{.hint = std::move(hint)})));
}

Value make_text(Meter& meter, std::string bytes, bool is_markup) {
  const auto size = static_cast<int64_t>(bytes.size());
  if (size > meter.limits().max_output_bytes) {
    throw Error(Error::Kind::kLimit, fmt::format("a text of more than {} bytes", meter.limits().max_output_bytes));
  }
  meter.build(size + static_cast<int64_t>(sizeof(Text)));
  return Value(std::move(bytes), is_markup);
}

std::shared_ptr<Iterator> make_iterator(Meter& meter, std::string type_name, std::function<std::optional<Value>()> next,
                                        const Iterator* source) {
  const int depth = source ? source->depth + 1 : 1;
  check_depth(meter, depth);
  meter.build(sizeof(Iterator) + 64);
  return std::make_shared<Iterator>(Iterator{std::move(type_name), std::move(next), depth});
}

void set_item(Meter& meter, Dict& dict, Value key, Value value) {
  check_hashable(key);
  dict.depth = std::max({dict.depth, 1 + depth_of(key), 1 + depth_of(value)});
  check_depth(meter, dict.depth);
  if (const Value* found = find_item(meter, dict, key)) {
    *const_cast<Value*>(found) = std::move(value);
    return;
  }
  meter.build(static_cast<int64_t>(sizeof(dict.items[0]) + 64));
  if (const std::string* text = key.string()) dict.texts.emplace(*text, dict.items.size());
  dict.items.emplace_back(std::move(key), std::move(value));
}

const Value* find_item(const Dict& dict, const std::string& key) {
  const auto found = dict.texts.find(key);
  return found == dict.texts.end() ? nullptr : &dict.items[found->second].second;
}

const Value* find_item(Meter& meter, const Dict& dict, const Value& key) {
  if (const std::string* text = key.string()) return find_item(dict, *text);
  for (const auto& [k, v] : dict.items) {
    if (!k.string() && equal(meter, k, key)) return &v;
  }
  return nullptr;
}

// ---- asking ---------------------------------------------------------------------------------------------------------

bool is_true(const Value& value) {
  if (value.undefined() || value.is_none()) return false;
  if (const auto n = value.number()) return *n != 0;
  if (const auto n = length(value)) return *n != 0;
  return true;
}

bool is_same(const Value& a, const Value& b) {
  if (a.data.index() != b.data.index()) return false;
  if (a.is_none()) return true;
  if (a.as<bool>()) return *a.as<bool>() == *b.as<bool>();
  if (a.as<Int>()) return *a.as<Int>() == *b.as<Int>();
  if (a.text()) return a.text() == b.text() || (a.text()->bytes.size() <= 1 && a.text()->bytes == b.text()->bytes);
  if (a.undefined()) return a.undefined() == b.undefined();
  if (a.sequence())
    return a.sequence() == b.sequence() || (a.sequence()->is_tuple && b.sequence()->is_tuple &&
                                            a.sequence()->items.empty() && b.sequence()->items.empty());
  if (a.dict()) return a.dict() == b.dict();
  if (a.iterator()) return a.iterator() == b.iterator();
  return a.object() && a.object() == b.object();
}

namespace {

bool equal_items(Meter& meter, const Items& a, const Items& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!is_same(a[i], b[i]) && !equal(meter, a[i], b[i])) return false;
  }
  return true;
}

bool equal_dicts(Meter& meter, const Dict& a, const Dict& b) {
  if (a.items.size() != b.items.size()) return false;
  for (const auto& [key, value] : a.items) {
    const Value* other = find_item(meter, b, key);
    if (!other || !(is_same(value, *other) || equal(meter, value, *other))) return false;
  }
  return true;
}

bool equal_numbers(const Value& a, const Value& b) {
  if (a.integer() && b.integer()) return *a.integer() == *b.integer();
  return *a.number() == *b.number();
}

}  // namespace

bool equal(Meter& meter, const Value& a, const Value& b) {
  meter.step();
  if (a.number() && b.number()) return equal_numbers(a, b);
  if (a.undefined() && b.undefined()) return true;
  if (a.string() && b.string()) return *a.string() == *b.string();
  if (a.sequence() && b.sequence()) {
    return a.sequence()->is_tuple == b.sequence()->is_tuple &&
           equal_items(meter, a.sequence()->items, b.sequence()->items);
  }
  if (a.dict() && b.dict()) return equal_dicts(meter, *a.dict(), *b.dict());
  if (const Range* x = a.as<Range>(), *y = b.as<Range>(); x && y) {
    return x->size() == y->size() &&
           (x->size() == 0 || (x->start == y->start && (x->size() == 1 || x->step == y->step)));
  }
  return is_same(a, b);
}

namespace {

template <class T>
int order(const T& a, const T& b) {
  return a < b ? -1 : a > b ? 1 : a == b ? 0 : 2;
}

[[noreturn]] void fail_to_order(const Value& a, const Value& b, std::string_view op) {
  fail(fmt::format("'{}' not supported between instances of '{}' and '{}'", op, type_name(a), type_name(b)));
}

int compare_items(Meter& meter, const Items& a, const Items& b, std::string_view op) {
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    if (!is_same(a[i], b[i]) && !equal(meter, a[i], b[i])) return compare(meter, a[i], b[i], op);
  }
  return order(a.size(), b.size());
}

}  // namespace

int compare(Meter& meter, const Value& a, const Value& b, std::string_view op) {
  meter.step();
  require_defined(a);
  require_defined(b);
  if (a.integer() && b.integer()) return order(*a.integer(), *b.integer());
  if (a.number() && b.number()) return order(*a.number(), *b.number());
  if (a.string() && b.string()) return order(a.string()->compare(*b.string()), 0);
  const Sequence *x = a.sequence(), *y = b.sequence();
  if (x && y && x->is_tuple == y->is_tuple) return compare_items(meter, x->items, y->items, op);
  fail_to_order(a, b, op);
}

void check_hashable(const Value& value) {
  const Sequence* s = value.sequence();
  if (s && s->is_tuple) {
    for (const Value& item : s->items) check_hashable(item);
    return;
  }
  if (s || value.dict() || value.as<View>()) fail(fmt::format("unhashable type: '{}'", type_name(value)));
}

void require_defined(const Value& value) {
  if (const Undefined* u = value.undefined()) fail(u->message());
}

// ---- walking --------------------------------------------------------------------------------------------------------

std::optional<int64_t> length(const Value& value) {
  if (value.undefined()) return 0;
  if (const std::string* s = value.string()) return static_cast<int64_t>(count_code_points(*s));
  if (const Sequence* s = value.sequence()) return static_cast<int64_t>(s->items.size());
  if (const Dict* d = value.dict()) return static_cast<int64_t>(d->items.size());
  if (const View* v = value.as<View>()) return static_cast<int64_t>(v->dict->items.size());
  if (const Range* r = value.as<Range>()) return static_cast<int64_t>(r->size());
  return {};
}

Value at(Meter& meter, const View& view, size_t i) {
  const auto& [key, value] = view.dict->items[i];
  if (view.kind == ViewKind::kKeys) return key;
  return view.kind == ViewKind::kValues ? value : make_tuple(meter, {key, value});
}

namespace {

// The i-th element of what has a length and is not a dict's items; text is walked by its bytes instead.
std::function<std::optional<Value>()> walk_text(Meter& meter, std::shared_ptr<const Text> text) {
  return [&meter, text = std::move(text), i = size_t(0)]() mutable -> std::optional<Value> {
    if (i >= text->bytes.size()) return {};
    const size_t begin = i;
    next_code_point(text->bytes, i);
    return make_text(meter, text->bytes.substr(begin, i - begin));
  };
}

std::function<std::optional<Value>()> walk_view(Meter& meter, View view) {
  return [&meter, view = std::move(view), i = size_t(0)]() mutable -> std::optional<Value> {
    if (i >= view.dict->items.size()) return {};
    return at(meter, view, i++);
  };
}

std::function<std::optional<Value>()> walk_items(std::shared_ptr<const Sequence> items) {
  return [items = std::move(items), i = size_t(0)]() mutable -> std::optional<Value> {
    if (i >= items->items.size()) return {};
    return items->items[i++];
  };
}

std::function<std::optional<Value>()> walk_range(const Range& range) {
  return [range, i = Int(0), n = range.size()]() mutable -> std::optional<Value> {
    if (i >= n) return {};
    return Value(range.start + range.step * i++);
  };
}

}  // namespace

std::shared_ptr<Iterator> iterate(Meter& meter, const Value& value) {
  if (const auto* i = value.as<std::shared_ptr<Iterator>>()) return *i;
  if (value.undefined()) return make_iterator(meter, "generator", [] { return std::optional<Value>(); });
  if (const auto* t = value.as<std::shared_ptr<const Text>>()) {
    return make_iterator(meter, "str_iterator", walk_text(meter, *t));
  }
  if (const auto* s = value.as<std::shared_ptr<const Sequence>>()) {
    return make_iterator(meter, "list_iterator", walk_items(*s));
  }
  if (const auto* d = value.as<std::shared_ptr<const Dict>>()) {
    return make_iterator(meter, "dict_keyiterator", walk_view(meter, {*d, ViewKind::kKeys}));
  }
  if (const View* v = value.as<View>()) return make_iterator(meter, "dict_iterator", walk_view(meter, *v));
  if (const Range* r = value.as<Range>()) return make_iterator(meter, "range_iterator", walk_range(*r));
  fail(fmt::format("'{}' object is not iterable", type_name(value)));
}

Items to_items(Meter& meter, const Value& value) {
  if (const Sequence* s = value.sequence()) {
    meter.step(static_cast<int64_t>(s->items.size()));
    return s->items;
  }
  Items out;
  const auto iterator = iterate(meter, value);
  while (auto item = iterator->next()) {
    meter.step();
    meter.build(sizeof(Value));
    out.push_back(std::move(*item));
  }
  return out;
}

namespace {

bool any_equal(Meter& meter, const Value& container, const Value& item) {
  const auto iterator = iterate(meter, container);
  while (auto other = iterator->next()) {
    if (is_same(*other, item) || equal(meter, *other, item)) return true;
  }
  return false;
}

}  // namespace

bool contains(Meter& meter, const Value& container, const Value& item) {
  if (const std::string* text = container.string()) {
    if (const std::string* part = item.string()) {
      meter.search(text->size(), part->size());
      return text->find(*part) != text->npos;
    }
    fail(fmt::format("'in <string>' requires string as left operand, not {}", type_name(item)));
  }
  const View* view = container.as<View>();
  if (const Dict* dict = view && view->kind == ViewKind::kKeys ? view->dict.get() : container.dict()) {
    check_hashable(item);
    return find_item(meter, *dict, item) != nullptr;
  }
  if (container.is_none() || container.number() || container.object()) {
    fail(fmt::format("argument of type '{}' is not iterable", type_name(container)));
  }
  return any_equal(meter, container, item);
}

}  // namespace hone::jinja
