#include "models/text/jinja_runtime.h"

#include <algorithm>

#include <fmt/format.h>

#include "models/text/jinja_format.h"
#include "models/text/jinja_parser.h"
#include "models/text/jinja_unicode.h"

namespace hone::jinja {

using Kind = ExpressionKind;

// ---- scopes ---------------------------------------------------------------------------------------------------------

std::optional<Value>* Frame::find(int name) {
  for (auto& [number, value] : variables) {
    if (number == name) return &value;
  }
  return nullptr;
}

void Frame::set(int name, std::optional<Value> value) {
  if (auto* found = find(name)) {
    *found = std::move(value);
  } else {
    variables.emplace_back(name, std::move(value));
  }
}

// A new innermost scope for as long as it lives. A frame that something still holds then (a macro's) is emptied when
// the render ends, since it may hold the macro too.
class Runtime::Scope {
 public:
  Scope(Runtime& runtime, std::shared_ptr<Frame> parent, const std::vector<int>& unset)
      : runtime_(runtime), outer_(runtime.frame_) {
    runtime.frame_ = std::make_shared<Frame>(Frame{.parent = std::move(parent), .variables = {}});
    for (const int name : unset) runtime.frame_->variables.emplace_back(name, std::nullopt);
  }
  ~Scope() {
    if (runtime_.frame_.use_count() > 1) runtime_.captured_.push_back(runtime_.frame_);
    runtime_.frame_ = std::move(outer_);
  }
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;
  Frame& frame() { return *runtime_.frame_; }

 private:
  Runtime& runtime_;
  std::shared_ptr<Frame> outer_;
};

class Runtime::Depth {
 public:
  explicit Depth(Runtime& runtime) : runtime_(runtime) {
    const int limit = runtime.meter_.limits().max_call_depth;
    if (++runtime.depth_ <= limit) return;
    --runtime.depth_;
    throw Error(
        Error::Kind::kLimit,
        fmt::format("more than {} levels of blocks, expressions and macro calls; does a macro call itself?", limit));
  }
  ~Depth() { --runtime_.depth_; }
  Depth(const Depth&) = delete;
  Depth& operator=(const Depth&) = delete;

 private:
  Runtime& runtime_;
};

// Collects what is written while it lives.
class Runtime::Capture {
 public:
  explicit Capture(Runtime& runtime) : runtime_(runtime), outer_(runtime.output_) { runtime.output_ = &text_; }
  ~Capture() { runtime_.output_ = outer_; }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;
  std::string take() { return std::move(text_); }

 private:
  Runtime& runtime_;
  std::string* outer_;
  std::string text_;
};

// ---- loop and macros ------------------------------------------------------------------------------------------------

// The variable `loop`. Looking ahead reads the next item early, asking for the length all of them.
class Loop : public Object, public std::enable_shared_from_this<Loop> {
 public:
  Loop(Meter& meter, std::shared_ptr<Iterator> items, std::optional<int64_t> length, int depth,
       std::function<std::string(const Value&, int)> recurse)
      : meter_(meter), items_(std::move(items)), length_(length), depth_(depth), recurse_(std::move(recurse)) {}

  std::optional<Value> next() {
    std::optional<Value> item = take();
    if (!item) return {};
    ++index_;
    before_ = std::move(current_);
    current_ = item;
    return item;
  }

  std::string type_name() const override { return "jinja2.runtime.LoopContext"; }
  std::string repr(Meter&) const override { return "<LoopContext>"; }

  std::optional<Value> attribute(Runtime&, const std::string& name) override {
    if (name == "index") return Value(index_ + 1);
    if (name == "index0") return Value(index_);
    if (name == "first") return Value(index_ == 0);
    if (name == "last") return Value(!peek());
    if (name == "length") return Value(length());
    if (name == "revindex") return Value(length() - index_);
    if (name == "revindex0") return Value(length() - index_ - 1);
    if (name == "depth") return Value(depth_ + 1);
    if (name == "depth0") return Value(depth_);
    if (name == "previtem") return index_ == 0 || !before_ ? make_undefined("there is no previous item") : *before_;
    if (name == "nextitem") return peek() ? *peek() : make_undefined("there is no next item");
    const auto self = shared_from_this();
    if (name == "cycle")
      return make_function(
          name, [self](Runtime&, Args args) { return self->cycle(args); }, "method");
    if (name == "changed") {
      return make_function(
          name, [self](Runtime&, Args args) { return self->changed(args); }, "method");
    }
    return {};
  }

  Value call(Runtime& runtime, Args args) override {
    const Bound bound("__call__", args, {"iterable"}, 1);
    if (!recurse_) fail("The loop must have the 'recursive' marker to be called recursively.");
    return make_text(runtime.meter(), recurse_(bound[0], depth_ + 1));
  }

  // Lets go of everything that might hold this loop: nothing is left to free when it is over.
  void finish() {
    is_over_ = true;
    items_ = nullptr;
    has_ahead_ = false;
    ahead_ = before_ = current_ = last_changed_ = std::nullopt;
  }

 private:
  std::optional<Value> take() {
    if (!has_ahead_) return is_over_ ? std::nullopt : items_->next();
    has_ahead_ = false;
    return std::move(ahead_);
  }
  const std::optional<Value>& peek() {
    if (!has_ahead_) ahead_ = is_over_ ? std::nullopt : items_->next();
    has_ahead_ = ahead_.has_value();
    return ahead_;
  }
  int64_t length() {
    if (length_ || is_over_) return length_.value_or(index_ + 1);
    Items rest = to_items(meter_, Value(items_));
    length_ = static_cast<int64_t>(rest.size()) + index_ + 1 + has_ahead_;
    items_ = iterate(meter_, make_list(meter_, std::move(rest)));
    return *length_;
  }
  Value cycle(const Args& args) const {
    if (args.positional.empty()) fail("no items for cycling given");
    return args.positional[static_cast<size_t>(index_) % args.positional.size()];
  }
  Value changed(const Args& args) {
    Value now = make_tuple(meter_, args.positional);
    const bool is_changed = !last_changed_ || !equal(meter_, *last_changed_, now);
    if (!is_over_) last_changed_ = std::move(now);
    return Value(is_changed);
  }

  Meter& meter_;
  std::shared_ptr<Iterator> items_;
  std::optional<int64_t> length_;
  int64_t index_ = -1;
  int depth_;
  std::function<std::string(const Value&, int)> recurse_;
  bool has_ahead_ = false, is_over_ = false;
  std::optional<Value> ahead_, before_, current_, last_changed_;
};

struct LoopEnd {
  std::shared_ptr<Loop> loop;
  ~LoopEnd() {
    if (loop) loop->finish();
  }
};

// A {% macro %}, or the body of a {% call %}.
class Macro : public Object {
 public:
  Macro(const Runtime& runtime, const Statement& statement, std::shared_ptr<Frame> closure)
      : statement_(statement), closure_(std::move(closure)) {
    for (const auto& p : statement.targets) names_.push_back(runtime.tree_.names[static_cast<size_t>(p->name)]);
    if (statement.kind == StatementKind::kMacro) name_ = runtime.tree_.names[static_cast<size_t>(statement.name)];
  }
  std::string type_name() const override { return "jinja2.runtime.Macro"; }
  std::string repr(Meter&) const override { return fmt::format("<Macro {}>", name_ ? text_repr(*name_) : "anonymous"); }
  std::optional<Value> attribute(Runtime&, const std::string& name) override {
    if (name == "name") return name_ ? Value(*name_) : Value();
    if (name == "caller") return Value(statement_.catches_caller);
    if (name == "catch_kwargs") return Value(statement_.catches_kwargs);
    if (name == "catch_varargs") return Value(statement_.catches_varargs);
    return {};
  }
  Value call(Runtime& runtime, Args args) override;

 private:
  std::optional<Value> take_named(Args& args, const std::string& name) const {
    for (auto it = args.named.begin(); it != args.named.end(); ++it) {
      if (it->first != name) continue;
      Value value = std::move(it->second);
      args.named.erase(it);
      return value;
    }
    return {};
  }
  [[noreturn]] void fail_named(const Args& args) const;

  const Statement& statement_;
  std::shared_ptr<Frame> closure_;
  std::vector<std::string> names_;
  std::optional<std::string> name_;
};

void Macro::fail_named(const Args& args) const {
  const std::string name = name_ ? text_repr(*name_) : "None";
  for (const auto& [key, value] : args.named) {
    if (key != "caller") continue;
    fail(fmt::format("macro {} was invoked with two values for the special caller argument. This is most likely a bug.",
                     name));
  }
  fail(fmt::format("macro {} takes no keyword argument {}", name, text_repr(args.named[0].first)));
}

Value Macro::call(Runtime& runtime, Args args) {
  const size_t given = std::min(args.positional.size(), names_.size());
  std::vector<std::pair<int, std::optional<Value>>> arguments;
  bool has_caller = given == names_.size() && std::count(names_.begin(), names_.end(), "caller");
  for (size_t i = 0; i < names_.size(); ++i) {
    has_caller |= i >= given && names_[i] == "caller";
    arguments.emplace_back(statement_.targets[i]->name,
                           i < given ? std::optional(args.positional[i]) : take_named(args, names_[i]));
  }
  if (statement_.catches_caller && !has_caller) {
    auto caller = take_named(args, "caller");
    if (!caller || caller->is_none()) caller = make_undefined("No caller defined");
    arguments.emplace_back(runtime.tree_.caller, std::move(caller));
  }
  if (statement_.catches_kwargs) {
    auto rest = std::make_shared<Dict>();
    for (auto& [key, value] : args.named) set_item(runtime.meter(), *rest, Value(key), std::move(value));
    arguments.emplace_back(runtime.tree_.kwargs, Value(std::shared_ptr<const Dict>(std::move(rest))));
  } else if (!args.named.empty()) {
    fail_named(args);
  }
  if (statement_.catches_varargs) {
    Items rest(args.positional.begin() + static_cast<std::ptrdiff_t>(given), args.positional.end());
    arguments.emplace_back(runtime.tree_.varargs, make_tuple(runtime.meter(), std::move(rest)));
  } else if (args.positional.size() > names_.size()) {
    fail(fmt::format("macro {} takes not more than {} argument(s)", name_ ? text_repr(*name_) : "None", names_.size()));
  }
  return make_text(runtime.meter(), runtime.call_macro(statement_, closure_, std::move(arguments)));
}

// Defaults are evaluated inside the macro's scope, one by one.
std::string Runtime::call_macro(const Statement& s, const std::shared_ptr<Frame>& closure,
                                std::vector<std::pair<int, std::optional<Value>>> arguments) {
  const Depth depth(*this);
  meter_.step();
  Scope scope(*this, closure, s.unset_names);
  for (auto& [name, value] : arguments) scope.frame().set(name, value);
  const size_t required = s.targets.size() - s.values.size();
  for (size_t i = 0; i < s.targets.size(); ++i) {
    if (arguments[i].second) continue;
    const int name = s.targets[i]->name;
    const std::string& text = tree_.names[static_cast<size_t>(name)];
    scope.frame().set(name, i >= required
                                ? evaluate(*s.values[i - required])
                                : make_undefined(fmt::format("parameter {} was not provided", text_repr(text))));
  }
  Capture capture(*this);
  execute(s.body);
  return capture.take();
}

// ---- rendering ------------------------------------------------------------------------------------------------------

Runtime::Runtime(const Tree& tree, const Dict& variables, const RenderOptions& options)
    : tree_(tree), options_(options), meter_(options.limits) {
  for (const std::string& name : tree.names) {
    const Value* given = find_item(variables, name);
    outer_.push_back(given ? std::optional<Value>(*given) : find_global(name));
  }
}

Runtime::~Runtime() {
  for (const auto& frame : captured_) frame->variables.clear();
  for (const auto& ns : namespaces_) ns->clear();
}

Rendered Runtime::run() {
  try {
    Scope scope(*this, nullptr, tree_.unset_names);
    execute(tree_.body);
  } catch (const Error& e) {
    if (e.line() > 0) throw;
    throw Error(e.kind(), e.message(), line_);
  }
  return {std::move(root_output_), std::move(generation_)};
}

void Runtime::write(const std::string& text) {
  meter_.build(static_cast<int64_t>(text.size()));
  const int64_t limit = meter_.limits().max_output_bytes;
  if (static_cast<int64_t>(output_->size() + text.size()) > limit) {
    throw Error(Error::Kind::kLimit, fmt::format("the template wrote more than {} bytes", limit));
  }
  *output_ += text;
}

Runtime::Flow Runtime::execute(const Body& body) {
  for (const Statement& s : body) {
    const Flow flow = execute(s);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Runtime::Flow Runtime::execute(const Statement& s) {
  const Depth depth(*this);
  meter_.step();
  line_ = s.line;
  switch (s.kind) {
    case StatementKind::kData:
      write(s.text);
      break;
    case StatementKind::kPrint:
      write(to_string(meter_, evaluate(*s.expression)));
      break;
    case StatementKind::kSet:
      execute_set(s);
      break;
    case StatementKind::kSetBlock:
      return execute_set_block(s);
    case StatementKind::kFor:
      return execute_for(s);
    case StatementKind::kIf:
      return execute_if(s);
    case StatementKind::kMacro:
      frame_->set(s.name, Value(std::make_shared<Macro>(*this, s, frame_)));
      break;
    case StatementKind::kCallBlock:
      execute_call_block(s);
      break;
    case StatementKind::kFilterBlock:
      return execute_filter_block(s);
    case StatementKind::kWith:
      return execute_with(s);
    case StatementKind::kGeneration:
      execute_generation(s);
      break;
    case StatementKind::kBreak:
      return Flow::kBreak;
    case StatementKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

Runtime::Flow Runtime::execute_if(const Statement& s) {
  for (const auto& [condition, body] : s.branches) {
    if (is_true(evaluate(*condition))) return execute(body);
  }
  return execute(s.else_body);
}

void Runtime::check_namespaces(const Expression& target) {
  if (target.kind == Kind::kAttributeTarget && !dynamic_cast<Namespace*>(lookup(target.name).object())) {
    fail("cannot assign attribute on non-namespace object");
  }
  for (const auto& child : target.children) check_namespaces(*child);
}

void Runtime::execute_set(const Statement& s) {
  check_namespaces(*s.target);
  assign(*s.target, evaluate(*s.expression));
}

Runtime::Flow Runtime::execute_set_block(const Statement& s) {
  const std::shared_ptr<Frame> outer = frame_;
  Value text;
  {
    Scope scope(*this, outer, s.unset_names);
    Capture capture(*this);
    if (const Flow flow = execute(s.body); flow != Flow::kNext) return flow;
    text = Value(capture.take());
    if (s.expression) text = evaluate_filter(*s.expression, &text);
  }
  assign(*s.target, text);
  return Flow::kNext;
}

Runtime::Flow Runtime::execute_filter_block(const Statement& s) {
  Scope scope(*this, frame_, s.unset_names);
  Value text;
  {
    Capture capture(*this);
    if (const Flow flow = execute(s.body); flow != Flow::kNext) return flow;
    text = Value(capture.take());
  }
  write(to_string(meter_, evaluate_filter(*s.expression, &text)));
  return Flow::kNext;
}

Runtime::Flow Runtime::execute_with(const Statement& s) {
  const Items values = evaluate_all(s.values);
  Scope scope(*this, frame_, s.unset_names);
  for (size_t i = 0; i < values.size(); ++i) assign(*s.targets[i], values[i]);
  return execute(s.body);
}

void Runtime::execute_call_block(const Statement& s) {
  const Value caller(std::make_shared<Macro>(*this, s, frame_));
  write(to_string(meter_, evaluate_call(*s.expression, &caller)));
}

void Runtime::execute_generation(const Statement& s) {
  if (options_.tracks_generation && output_ != &root_output_) {
    fail(
        "{% generation %} stands inside a macro, filter, call or set block; move it out, its place in the text is "
        "unknown");
  }
  std::string text = call_macro(s, frame_, {});
  const size_t begin = output_->size();
  write(text);
  if (options_.tracks_generation) generation_.push_back({begin, output_->size()});
}

// ---- loops ----------------------------------------------------------------------------------------------------------

Runtime::Flow Runtime::execute_for(const Statement& s) {
  const Value iterable = evaluate(*s.expression);
  if (!s.is_recursive) return run_loop(s, iterable, 0);
  write(run_recursive(s, iterable, 0));
  return Flow::kNext;
}

std::string Runtime::run_recursive(const Statement& s, const Value& iterable, int depth) {
  const Depth level(*this);
  Capture capture(*this);
  run_loop(s, iterable, depth);
  return capture.take();
}

// The items for which the loop's `if` holds, each asked for when the loop comes to it.
std::shared_ptr<Iterator> Runtime::filtered(const Statement& s, const Value& iterable) {
  std::shared_ptr<Iterator> source = iterate(meter_, iterable);
  auto next = [this, &s, source, outer = frame_]() -> std::optional<Value> {
    while (auto item = source->next()) {
      meter_.step();
      Scope scope(*this, outer, {});
      assign(*s.target, *item);
      if (!is_true(evaluate(*s.condition))) continue;
      return s.target->kind == Kind::kTuple ? evaluate(*s.target) : *item;  // as jinja2 yields it
    }
    return {};
  };
  return make_iterator(meter_, "generator", std::move(next), source.get());
}

Runtime::Flow Runtime::run_loop(const Statement& s, const Value& iterable, int depth) {
  const std::shared_ptr<Frame> outer = frame_;
  const std::shared_ptr<Iterator> items = s.condition ? filtered(s, iterable) : iterate(meter_, iterable);
  std::shared_ptr<Loop> loop;
  if (s.uses_loop) {
    std::function<std::string(const Value&, int)> recurse;
    if (s.is_recursive) {
      recurse = [this, &s, weak = std::weak_ptr<Frame>(outer)](const Value& inner, int inner_depth) {
        const std::shared_ptr<Frame> frame = weak.lock();
        if (!frame) fail("a recursive loop cannot be called after it has ended");
        const std::shared_ptr<Frame> caller = std::exchange(frame_, frame);
        std::string text;
        try {
          text = run_recursive(s, inner, inner_depth);
        } catch (...) {
          frame_ = caller;
          throw;
        }
        frame_ = caller;
        return text;
      };
    }
    loop =
        std::make_shared<Loop>(meter_, items, s.condition ? std::nullopt : length(iterable), depth, std::move(recurse));
  }
  const LoopEnd end{loop};
  bool completed = false;  // some body ran to its end: as jinja2 has it, `continue` in all of them brings on `else`
  while (auto item = loop ? loop->next() : items->next()) {
    if (run_iteration(s, outer, *item, loop, completed) == Flow::kBreak) break;
  }
  if (completed || s.else_body.empty()) return Flow::kNext;
  Scope scope(*this, outer, s.unset_else_names);
  return execute(s.else_body);
}

Runtime::Flow Runtime::run_iteration(const Statement& s, const std::shared_ptr<Frame>& outer, const Value& item,
                                     const std::shared_ptr<Loop>& loop, bool& completed) {
  meter_.step();
  Scope scope(*this, outer, s.unset_names);
  if (loop) scope.frame().set(tree_.loop, Value(loop));
  assign(*s.target, item);
  const Flow flow = execute(s.body);
  completed |= flow == Flow::kNext;
  return flow;
}

void Runtime::assign(const Expression& target, const Value& value) {
  if (target.kind == Kind::kName) return frame_->set(target.name, value);
  if (target.kind == Kind::kAttributeTarget) {
    auto* ns = dynamic_cast<Namespace*>(lookup(target.name).object());
    if (!ns) fail("cannot assign attribute on non-namespace object");
    return ns->set(meter_, target.text, value);
  }
  const bool can_unpack = value.sequence() || value.string() || value.dict() || value.as<View>() || value.as<Range>() ||
                          value.iterator() || value.undefined();
  if (!can_unpack) fail(fmt::format("cannot unpack non-iterable {} object", type_name(value)));
  const Items items = to_items(meter_, value);
  const size_t n = target.children.size();
  if (items.size() > n) fail(fmt::format("too many values to unpack (expected {})", n));
  if (items.size() < n) fail(fmt::format("not enough values to unpack (expected {}, got {})", n, items.size()));
  for (size_t i = 0; i < n; ++i) assign(*target.children[i], items[i]);
}

// ---- expressions ----------------------------------------------------------------------------------------------------

Value Runtime::lookup(int name) {
  for (Frame* f = frame_.get(); f; f = f->parent.get()) {
    const auto* found = f->find(name);
    if (found && *found) return **found;
    if (found)
      return Value(
          Value::Data(std::make_shared<const Undefined>(Undefined{.name = tree_.names[static_cast<size_t>(name)]})));
  }
  const auto& value = outer_[static_cast<size_t>(name)];
  if (value) return *value;
  return Value(
      Value::Data(std::make_shared<const Undefined>(Undefined{.name = tree_.names[static_cast<size_t>(name)]})));
}

Items Runtime::evaluate_all(const std::vector<ExpressionPtr>& expressions) {
  Items out;
  for (const auto& e : expressions) out.push_back(evaluate(*e));
  return out;
}

Value Runtime::evaluate(const Expression& e) {
  const Depth depth(*this);
  meter_.step();
  line_ = e.line;
  const auto child = [&](size_t i) { return evaluate(*e.children[i]); };
  switch (e.kind) {
    case Kind::kConstant:
      return e.value;
    case Kind::kName:
    case Kind::kAttributeTarget:
      return lookup(e.name);
    case Kind::kTuple:
      return make_tuple(meter_, evaluate_all(e.children));
    case Kind::kList:
      return make_list(meter_, evaluate_all(e.children));
    case Kind::kDict:
      return evaluate_dict(e);
    case Kind::kAttribute:
      return get_attribute(*this, child(0), e.text);
    case Kind::kItem: {
      const Value object = child(0);
      return get_item(*this, object, child(1));
    }
    case Kind::kSlice:
      return evaluate_slice(e);
    case Kind::kCall:
      return evaluate_call(e);
    case Kind::kFilter:
      return evaluate_filter(e);
    case Kind::kTest:
      return evaluate_test(e);
    case Kind::kNot:
      return Value(!is_true(child(0)));
    case Kind::kNegate:
      return negate(child(0));
    case Kind::kPlus:
      return plus(child(0));
    case Kind::kBinary: {
      const Value left = child(0);
      return arithmetic(meter_, e.operation, left, child(1));
    }
    case Kind::kConcat:
      return evaluate_concat(e);
    case Kind::kAnd: {
      Value left = child(0);
      return is_true(left) ? child(1) : left;
    }
    case Kind::kOr: {
      Value left = child(0);
      return is_true(left) ? left : child(1);
    }
    case Kind::kCompare:
      return evaluate_compare(e);
    case Kind::kIf:
      return evaluate_if(e);
  }
  return {};
}

Value Runtime::evaluate_dict(const Expression& e) {
  auto out = std::make_shared<Dict>();
  for (size_t i = 0; i < e.children.size(); i += 2) {
    Value key = evaluate(*e.children[i]);
    set_item(meter_, *out, std::move(key), evaluate(*e.children[i + 1]));
  }
  return Value(std::shared_ptr<const Dict>(std::move(out)));
}

Value Runtime::evaluate_slice(const Expression& e) {
  const Value object = evaluate(*e.children[0]);
  Value parts[3];
  for (size_t i = 0; i < 3; ++i) parts[i] = e.children[i + 1] ? evaluate(*e.children[i + 1]) : Value();
  return get_slice(meter_, object, parts[0], parts[1], parts[2]);
}

Args Runtime::evaluate_arguments(const Arguments& arguments) {
  Args out;
  out.positional = evaluate_all(arguments.positional);
  for (const auto& [name, e] : arguments.named) out.named.emplace_back(name, evaluate(*e));
  if (arguments.star) {
    for (Value& item : to_items(meter_, evaluate(*arguments.star))) out.positional.push_back(std::move(item));
  }
  if (arguments.double_star) {
    const Value more = evaluate(*arguments.double_star);
    if (!more.dict()) fail(fmt::format("argument after ** must be a mapping, not {}", type_name(more)));
    for (const auto& [key, value] : more.dict()->items) {
      if (!key.string()) fail("keywords must be strings");
      out.named.emplace_back(*key.string(), value);
    }
  }
  return out;
}

Value Runtime::evaluate_call(const Expression& e, const Value* caller) {
  const Value callee = evaluate(*e.children[0]);
  Args args = evaluate_arguments(e.arguments);
  if (caller) args.named.emplace_back("caller", *caller);
  line_ = e.line;
  Value out = call_value(*this, callee, std::move(args));
  line_ = e.line;
  return out;
}

Value Runtime::evaluate_filter(const Expression& e, const Value* input) {
  Value value;
  if (e.children[0]) {
    const bool is_chain = input && e.children[0]->kind == Kind::kFilter;
    value = is_chain ? evaluate_filter(*e.children[0], input) : evaluate(*e.children[0]);
  } else if (input) {
    value = *input;
  }
  Args args = evaluate_arguments(e.arguments);
  line_ = e.line;
  const Filter filter = find_filter(e.text);
  if (!filter) fail(fmt::format("No filter named '{}' found.", e.text));
  return filter(*this, value, args);
}

Value Runtime::evaluate_test(const Expression& e) {
  const Value value = evaluate(*e.children[0]);
  Args args = evaluate_arguments(e.arguments);
  line_ = e.line;
  const Test test = find_test(e.text);
  if (!test) fail(fmt::format("No test named '{}' found.", e.text));
  return Value(test(*this, value, args));
}

Value Runtime::evaluate_concat(const Expression& e) {
  std::string out;
  for (const auto& child : e.children) out += to_string(meter_, evaluate(*child));
  return make_text(meter_, std::move(out));
}

bool Runtime::compare_one(Comparison comparison, const Value& a, const Value& b) {
  switch (comparison) {
    case Comparison::kEqual:
      return equal(meter_, a, b);
    case Comparison::kNotEqual:
      return !equal(meter_, a, b);
    case Comparison::kLess:
      return compare(meter_, a, b, "<") == -1;
    case Comparison::kGreater:
      return compare(meter_, a, b, ">") == 1;
    case Comparison::kIn:
      return contains(meter_, b, a);
    case Comparison::kNotIn:
      return !contains(meter_, b, a);
    default:
      break;
  }
  const bool is_less = comparison == Comparison::kLessEqual;
  const int order = compare(meter_, a, b, is_less ? "<=" : ">=");
  return order == 0 || order == (is_less ? -1 : 1);
}

Value Runtime::evaluate_compare(const Expression& e) {
  Value left = evaluate(*e.children[0]);
  for (size_t i = 0; i < e.comparisons.size(); ++i) {
    Value right = evaluate(*e.children[i + 1]);
    if (!compare_one(e.comparisons[i], left, right)) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Value Runtime::evaluate_if(const Expression& e) {
  if (is_true(evaluate(*e.children[1]))) return evaluate(*e.children[0]);
  if (e.children[2]) return evaluate(*e.children[2]);
  return make_undefined(
      fmt::format("the inline if-expression on line {} evaluated to false and no else section was defined.", e.line));
}

// ---- the public face ------------------------------------------------------------------------------------------------

Template Template::parse(std::string_view source) {
  const auto limit = static_cast<size_t>(Limits{}.max_template_bytes);
  if (source.size() > limit) {
    throw Error(Error::Kind::kLimit,
                fmt::format("the template has {} bytes; at most {} are read", source.size(), limit));
  }
  if (!is_utf8(source)) throw Error(Error::Kind::kSyntax, "the template is not UTF-8");
  return Template(std::make_shared<const Tree>(jinja::parse(source)));
}

Rendered Template::render(const Dict& variables, const RenderOptions& options) const {
  return Runtime(*tree_, variables, options).run();
}

}  // namespace hone::jinja
