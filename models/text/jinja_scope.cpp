#include "models/text/jinja_scope.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include <fmt/format.h>

#include "models/text/jinja_builtins.h"

namespace hone::jinja {
namespace {

using Kind = ExpressionKind;

[[noreturn]] void fail_at(const std::string& message, int line) { throw Error(Error::Kind::kSyntax, message, line); }

// ---- walking every name, in the order of jinja2's tree
// ---------------------------------------------------------------

enum class Use { kLoad, kStore, kParameter };
using NameFn = std::function<void(const Expression& name, Use use)>;

void each_name(const Expression* e, Use use, const NameFn& fn) {
  if (!e) return;
  if (e->kind == Kind::kName) fn(*e, use);
  for (const auto& child : e->children) each_name(child.get(), use, fn);
  for (const auto& argument : e->arguments.positional) each_name(argument.get(), use, fn);
  for (const auto& [name, argument] : e->arguments.named) each_name(argument.get(), use, fn);
  each_name(e->arguments.star.get(), use, fn);
  each_name(e->arguments.double_star.get(), use, fn);
}

void each_name(const Body& body, const NameFn& fn);

void each_name(const std::vector<ExpressionPtr>& expressions, Use use, const NameFn& fn) {
  for (const auto& e : expressions) each_name(e.get(), use, fn);
}

void each_name(const Statement& s, const NameFn& fn) {
  const bool is_callable = s.kind == StatementKind::kMacro || s.kind == StatementKind::kCallBlock;
  if (s.kind == StatementKind::kFilterBlock) each_name(s.body, fn);
  if (s.kind == StatementKind::kCallBlock) each_name(s.expression.get(), Use::kLoad, fn);
  if (s.kind != StatementKind::kMacro) each_name(s.target.get(), Use::kStore, fn);
  if (s.kind != StatementKind::kCallBlock) each_name(s.expression.get(), Use::kLoad, fn);
  each_name(s.targets, Use::kParameter, fn);
  each_name(s.values, Use::kLoad, fn);
  for (const auto& [condition, body] : s.branches) {
    each_name(condition.get(), Use::kLoad, fn);
    each_name(body, fn);
  }
  if (s.kind != StatementKind::kFilterBlock) each_name(s.body, fn);
  each_name(s.else_body, fn);
  if (!is_callable) each_name(s.condition.get(), Use::kLoad, fn);
}

void each_name(const Body& body, const NameFn& fn) {
  for (const Statement& s : body) each_name(s, fn);
}

// Whether `name` is read in the body before anything there sets it.
bool is_read(const Body& body, int name) {
  bool is_read = false, is_set = false;
  each_name(body, [&](const Expression& e, Use use) {
    if (e.name != name || is_set) return;
    (use == Use::kLoad ? is_read : is_set) = true;
  });
  return is_read;
}

// ---- the names of a frame -------------------------------------------------------------------------------------------

enum class Load { kParameter, kResolve, kAlias, kUndefined };

struct Symbols {
  const Symbols* parent = nullptr;  ///< the frame around this one
  const Symbols* base = nullptr;    ///< of a branch of an `if`: what the frame knew before it
  std::map<int, Load> loads;
  std::set<int> stores;

  bool is_here(int name) const {
    for (const Symbols* s = this; s; s = s->base) {
      if (s->loads.count(name)) return true;
    }
    return false;
  }
  bool is_stored_here(int name) const {
    for (const Symbols* s = this; s; s = s->base) {
      if (s->stores.count(name)) return true;
    }
    return false;
  }
  bool is_known(int name) const { return is_here(name) || (parent && parent->is_known(name)); }
  void load(int name) {
    if (!is_known(name)) loads[name] = Load::kResolve;
  }
  void store(int name) {
    stores.insert(name);
    if (!is_here(name)) loads[name] = parent && parent->is_known(name) ? Load::kAlias : Load::kUndefined;
  }
  void declare(int name) {
    stores.insert(name);
    loads[name] = Load::kParameter;
  }
  // What only some of the branches set keeps the outer value in the others.
  void join(const std::vector<Symbols>& branches) {
    std::set<int> changed;
    for (const Symbols& b : branches) {
      for (const int name : b.stores) {
        if (!is_stored_here(name)) changed.insert(name);
      }
    }
    for (const Symbols& b : branches) {
      for (const auto& [name, load] : b.loads) loads[name] = load;
      stores.insert(b.stores.begin(), b.stores.end());
    }
    for (const int name : changed) loads[name] = parent && parent->is_known(name) ? Load::kAlias : Load::kResolve;
  }
  std::vector<int> unset() const {
    std::vector<int> out;
    for (const auto& [name, load] : loads) {
      if (load == Load::kUndefined) out.push_back(name);
    }
    return out;
  }
};

void visit(Symbols& symbols, const Expression* e, Use use = Use::kLoad) {
  if (!e) return;
  if (e->kind == Kind::kAttributeTarget) symbols.load(e->name);
  if (e->kind == Kind::kName) {
    if (use == Use::kParameter) symbols.declare(e->name);
    if (use == Use::kStore) symbols.store(e->name);
    if (use == Use::kLoad) symbols.load(e->name);
  }
  for (const auto& child : e->children) visit(symbols, child.get(), use);
  for (const auto& argument : e->arguments.positional) visit(symbols, argument.get());
  for (const auto& [name, argument] : e->arguments.named) visit(symbols, argument.get());
  visit(symbols, e->arguments.star.get());
  visit(symbols, e->arguments.double_star.get());
}

void visit(Symbols& symbols, const Body& body);

Symbols branch_of(const Symbols& symbols) { return Symbols{.parent = symbols.parent, .base = &symbols}; }

void visit_if(Symbols& symbols, const Statement& s) {
  visit(symbols, s.branches[0].first.get());
  std::vector<Symbols> branches(3, branch_of(symbols));
  visit(branches[0], s.branches[0].second);
  for (size_t i = 1; i < s.branches.size(); ++i) {
    visit(branches[1], s.branches[i].first.get());
    std::vector<Symbols> inner(1, branch_of(branches[1]));
    visit(inner[0], s.branches[i].second);
    branches[1].join(inner);
  }
  visit(branches[2], s.else_body);
  symbols.join(branches);
}

// Statements with a frame of their own show this one only what is evaluated here.
void visit(Symbols& symbols, const Statement& s) {
  switch (s.kind) {
    case StatementKind::kIf:
      return visit_if(symbols, s);
    case StatementKind::kMacro:
      return symbols.store(s.name);
    case StatementKind::kSetBlock:
      return visit(symbols, s.target.get(), Use::kStore);
    case StatementKind::kSet:
      visit(symbols, s.expression.get());
      return visit(symbols, s.target.get(), Use::kStore);
    case StatementKind::kWith:
      for (const auto& value : s.values) visit(symbols, value.get());
      return;
    default:
      return visit(symbols, s.expression.get());
  }
}

void visit(Symbols& symbols, const Body& body) {
  for (const Statement& s : body) visit(symbols, s);
}

// ---- the pass over all frames ---------------------------------------------------------------------------------------

struct Place {
  bool is_soft = false;  ///< directly inside `if`: unknown filters and tests fail only when they run
  bool in_loop = false;
};

class Resolver {
 public:
  explicit Resolver(Tree& tree) : tree_(tree) {}
  void run() {
    Symbols root;
    visit(root, tree_.body);
    tree_.unset_names = root.unset();
    walk(tree_.body, root, {});
  }

 private:
  void check(const Expression* e, bool is_soft) const {
    if (!e) return;
    const bool is_unknown =
        (e->kind == Kind::kFilter && !find_filter(e->text)) || (e->kind == Kind::kTest && !find_test(e->text));
    if (is_unknown && !is_soft) {
      fail_at(fmt::format("No {} named '{}'.", e->kind == Kind::kFilter ? "filter" : "test", e->text), e->line);
    }
    is_soft |= e->kind == Kind::kIf;
    for (const auto& child : e->children) check(child.get(), is_soft);
    for (const auto& argument : e->arguments.positional) check(argument.get(), is_soft);
    for (const auto& [name, argument] : e->arguments.named) check(argument.get(), is_soft);
    check(e->arguments.star.get(), is_soft);
    check(e->arguments.double_star.get(), is_soft);
  }

  void walk(Body& body, const Symbols& symbols, Place place) {
    for (Statement& s : body) walk(s, symbols, place);
  }

  void walk(Statement& s, const Symbols& symbols, Place place) {
    switch (s.kind) {
      case StatementKind::kFor:
        return walk_for(s, symbols, place);
      case StatementKind::kIf:
        return walk_if(s, symbols, place);
      case StatementKind::kMacro:
      case StatementKind::kCallBlock:
        return walk_callable(s, symbols, place);
      case StatementKind::kGeneration:
        return walk_inner(s, symbols, {});
      case StatementKind::kBreak:
      case StatementKind::kContinue:
        if (!place.in_loop) {
          const bool is_break = s.kind == StatementKind::kBreak;
          fail_at(is_break ? "'break' outside loop" : "'continue' not properly in loop", s.line);
        }
        return;
      default:
        break;
    }
    const bool has_filters = s.kind == StatementKind::kFilterBlock || s.kind == StatementKind::kSetBlock;
    check(s.expression.get(), place.is_soft && !has_filters);
    for (const auto& value : s.values) check(value.get(), place.is_soft);
    const bool has_frame =
        s.kind == StatementKind::kWith || s.kind == StatementKind::kFilterBlock || s.kind == StatementKind::kSetBlock;
    if (has_frame) walk_inner(s, symbols, {.in_loop = place.in_loop});
  }

  void walk_inner(Statement& s, const Symbols& outer, Place place) {
    Symbols inner{.parent = &outer};
    for (const auto& target : s.targets) visit(inner, target.get(), Use::kParameter);
    visit(inner, s.body);
    if (s.kind == StatementKind::kFilterBlock) visit(inner, s.expression.get());
    s.unset_names = inner.unset();
    walk(s.body, inner, place);
  }

  void walk_if(Statement& s, const Symbols& symbols, Place place) {
    place.is_soft = true;
    for (auto& [condition, body] : s.branches) {
      check(condition.get(), true);
      walk(body, symbols, place);
    }
    walk(s.else_body, symbols, place);
  }

  void walk_for(Statement& s, const Symbols& symbols, Place place) {
    s.uses_loop = s.is_recursive || is_read(s.body, tree_.loop);
    each_name(s, [&](const Expression& e, Use use) {
      if (e.name == tree_.loop && use == Use::kStore) {
        fail_at("Can't assign to special loop variable in for-loop target", e.line);
      }
    });
    check(s.condition.get(), false);
    check(s.expression.get(), place.is_soft);
    Symbols inner{.parent = &symbols};
    if (s.uses_loop) inner.declare(tree_.loop);
    visit(inner, s.target.get(), Use::kParameter);
    visit(inner, s.body);
    s.unset_names = inner.unset();
    walk(s.body, inner, {.in_loop = true});
    Symbols otherwise{.parent = &symbols};
    visit(otherwise, s.else_body);
    s.unset_else_names = otherwise.unset();
    walk(s.else_body, otherwise, {.in_loop = place.in_loop && !s.is_recursive});
  }

  void walk_callable(Statement& s, const Symbols& symbols, Place place) {
    s.catches_caller = is_read(s.body, tree_.caller);
    s.catches_kwargs = is_read(s.body, tree_.kwargs);
    s.catches_varargs = is_read(s.body, tree_.varargs);
    check_caller(s);
    check(s.expression.get(), place.is_soft);
    Symbols inner{.parent = &symbols};
    for (const auto& parameter : s.targets) visit(inner, parameter.get(), Use::kParameter);
    for (const auto& value : s.values) {
      check(value.get(), false);
      visit(inner, value.get());
    }
    if (s.catches_caller) inner.declare(tree_.caller);
    if (s.catches_kwargs) inner.declare(tree_.kwargs);
    if (s.catches_varargs) inner.declare(tree_.varargs);
    visit(inner, s.body);
    s.unset_names = inner.unset();
    walk(s.body, inner, {});
  }

  void check_caller(Statement& s) const {
    const size_t required = s.targets.size() - s.values.size();
    for (size_t i = 0; i < s.targets.size(); ++i) {
      const std::string& name = tree_.names[static_cast<size_t>(s.targets[i]->name)];
      if (name == "kwargs") s.catches_kwargs = false;
      if (name == "varargs") s.catches_varargs = false;
      if (name == "caller" && s.catches_caller && i < required) {
        fail_at(
            "When defining macros or call blocks the special \"caller\" argument must be omitted or be given a "
            "default.",
            s.line);
      }
    }
  }

  Tree& tree_;
};

}  // namespace

void resolve_scopes(Tree& tree) { Resolver(tree).run(); }

}  // namespace hone::jinja
