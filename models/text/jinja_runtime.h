// Walks a template's tree. One Runtime renders once; everything it made ends with it.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "models/text/jinja.h"
#include "models/text/jinja_ast.h"
#include "models/text/jinja_builtins.h"

namespace hone::jinja {

/// The variables of one scope. A variable without a value is undefined there, whatever outer scopes have.
struct Frame {
  std::shared_ptr<Frame> parent;
  std::vector<std::pair<int, std::optional<Value>>> variables;

  std::optional<Value>* find(int name);
  void set(int name, std::optional<Value> value);
};

class Runtime {
 public:
  Runtime(const Tree& tree, const Dict& variables, const RenderOptions& options);
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  Rendered run();

  Meter& meter() { return meter_; }
  const RenderOptions& options() const { return options_; }
  /// Namespaces may hold themselves: they are emptied at the end.
  void keep(std::shared_ptr<Namespace> ns) { namespaces_.push_back(std::move(ns)); }

 private:
  friend class Macro;
  friend class Loop;
  enum class Flow { kNext, kBreak, kContinue };
  class Scope;
  class Depth;
  class Capture;

  // statements
  Flow execute(const Body& body);
  Flow execute(const Statement& s);
  Flow execute_if(const Statement& s);
  void execute_set(const Statement& s);
  Flow execute_set_block(const Statement& s);
  Flow execute_filter_block(const Statement& s);
  Flow execute_with(const Statement& s);
  void execute_call_block(const Statement& s);
  void execute_generation(const Statement& s);
  Flow execute_for(const Statement& s);
  Flow run_loop(const Statement& s, const Value& iterable, int depth);
  Flow run_iteration(const Statement& s, const std::shared_ptr<Frame>& outer, const Value& item,
                     const std::shared_ptr<class Loop>& loop, bool& completed);
  std::string run_recursive(const Statement& s, const Value& iterable, int depth);
  std::shared_ptr<Iterator> filtered(const Statement& s, const Value& iterable);
  void assign(const Expression& target, const Value& value);
  void check_namespaces(const Expression& target);
  void write(const std::string& text);

  // expressions
  Value evaluate(const Expression& e);
  Value lookup(int name);
  Value evaluate_dict(const Expression& e);
  Value evaluate_slice(const Expression& e);
  Value evaluate_call(const Expression& e, const Value* caller = nullptr);
  Value evaluate_filter(const Expression& e, const Value* input = nullptr);
  Value evaluate_test(const Expression& e);
  Value evaluate_concat(const Expression& e);
  Value evaluate_compare(const Expression& e);
  Value evaluate_if(const Expression& e);
  bool compare_one(Comparison comparison, const Value& a, const Value& b);
  Items evaluate_all(const std::vector<ExpressionPtr>& expressions);
  Args evaluate_arguments(const Arguments& arguments);
  std::string call_macro(const Statement& s, const std::shared_ptr<Frame>& closure,
                         std::vector<std::pair<int, std::optional<Value>>> arguments);

  const Tree& tree_;
  const RenderOptions& options_;
  Meter meter_;
  std::vector<std::optional<Value>> outer_;  ///< by name: what the caller or jinja2 gives
  std::shared_ptr<Frame> frame_;
  std::string root_output_;
  std::string* output_ = &root_output_;
  std::vector<Span> generation_;
  int depth_ = 0;
  int line_ = 0;
  std::vector<std::shared_ptr<Frame>> captured_;  ///< frames that a macro holds: emptied at the end
  std::vector<std::shared_ptr<Namespace>> namespaces_;
};

}  // namespace hone::jinja
