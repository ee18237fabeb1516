#include "models/text/jinja_parser.h"

#include <algorithm>
#include <initializer_list>
#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "models/text/jinja_lexer.h"
#include "models/text/jinja_scope.h"

namespace hone::jinja {
namespace {

using Kind = ExpressionKind;
using EndTags = std::vector<std::string>;

constexpr int kMaxExpressionDepth = 180, kMaxStatementDepth = 100;

bool is_one_of(const std::string& word, std::initializer_list<const char*> words) {
  return std::any_of(words.begin(), words.end(), [&](const char* w) { return word == w; });
}

class Parser {
 public:
  explicit Parser(std::string_view source) : lexer_(source) { advance(); }
  Tree run();

 private:
  // tokens
  void advance();
  const Token& look();
  bool skip_operator(std::string_view op);
  bool skip_name(std::string_view name);
  Token expect(TokenKind kind, const std::string& what);
  void expect_operator(const std::string& op);
  void expect_name(const std::string& name);
  [[noreturn]] void fail(const std::string& message, int line = 0) const;
  [[noreturn]] void fail_tag(const std::string* name, int line) const;

  // statements
  Body body_until(const EndTags* ends);
  Body block_body(const EndTags& ends, bool drops_end);
  void statement(Body& out);
  void statement_of(const std::string& tag, Body& out);
  Statement make(StatementKind kind) const { return Statement{.kind = kind, .line = token_.line}; }
  Statement set();
  Statement for_loop();
  Statement if_branches();
  Statement macro();
  Statement call_block();
  Statement filter_block();
  Statement with();
  Statement generation();
  void print(Body& out);
  void signature(Statement& out);

  // expressions, loosest first
  ExpressionPtr node(Kind kind, int line, std::vector<ExpressionPtr> children = {}) const;
  ExpressionPtr finish(ExpressionPtr e) const;
  ExpressionPtr expression(bool with_condition = true);
  ExpressionPtr conditional();
  ExpressionPtr chain(Kind kind, const char* word, ExpressionPtr (Parser::*operand)());
  ExpressionPtr disjunction() { return chain(Kind::kOr, "or", &Parser::conjunction); }
  ExpressionPtr conjunction() { return chain(Kind::kAnd, "and", &Parser::negation); }
  ExpressionPtr negation();
  ExpressionPtr comparison();
  ExpressionPtr sum();
  ExpressionPtr concatenation();
  ExpressionPtr product();
  ExpressionPtr power();
  ExpressionPtr unary(bool with_filters = true);
  ExpressionPtr primary(bool with_namespace = false);
  ExpressionPtr name(bool with_namespace);
  ExpressionPtr postfix(ExpressionPtr e);
  ExpressionPtr filters_and_tests(ExpressionPtr e);
  ExpressionPtr subscript(ExpressionPtr e);
  ExpressionPtr item(ExpressionPtr e, int line);
  ExpressionPtr call(ExpressionPtr e);
  ExpressionPtr filter(ExpressionPtr e, bool starts_inline = false);
  ExpressionPtr test(ExpressionPtr e);
  ExpressionPtr list();
  ExpressionPtr dict();
  struct TupleRules {
    bool simplified = false, with_condition = true, in_parentheses = false, with_namespace = false;
  };
  ExpressionPtr tuple(const TupleRules& rules);
  ExpressionPtr target(const TupleRules& rules);
  ExpressionPtr name_target();
  void check_assignable(const Expression& e) const;
  Arguments arguments();
  std::string dotted_name();
  int number_of(const std::string& name);

  Lexer lexer_;
  Token token_, next_;
  bool has_next_ = false;
  std::vector<std::string> tags_;  ///< open ones, for messages
  std::vector<EndTags> ends_;
  std::map<std::string, int> numbers_;
  std::vector<std::string> names_;
  int statement_depth_ = 0;
  mutable int open_ = 0;  ///< expressions being parsed inside each other
};

// ---- tokens ---------------------------------------------------------------------------------------------------------

void Parser::advance() {
  token_ = has_next_ ? std::move(next_) : lexer_.next();
  has_next_ = false;
}

const Token& Parser::look() {
  if (!has_next_) next_ = lexer_.next();
  has_next_ = true;
  return next_;
}

bool Parser::skip_operator(std::string_view op) {
  if (!token_.is_operator(op)) return false;
  advance();
  return true;
}

bool Parser::skip_name(std::string_view name) {
  if (!token_.is_name(name)) return false;
  advance();
  return true;
}

void Parser::fail(const std::string& message, int line) const {
  throw Error(Error::Kind::kSyntax, message, line > 0 ? line : token_.line);
}

Token Parser::expect(TokenKind kind, const std::string& what) {
  if (token_.kind != kind) {
    if (token_.kind == TokenKind::kEnd) fail(fmt::format("unexpected end of template, expected '{}'.", what));
    fail(fmt::format("expected token '{}', got {}", what, text_repr(token_.describe())));
  }
  Token token = token_;
  advance();
  return token;
}

void Parser::expect_operator(const std::string& op) {
  if (!token_.is_operator(op)) expect(TokenKind::kEnd == token_.kind ? TokenKind::kData : TokenKind::kEnd, op);
  advance();
}

void Parser::expect_name(const std::string& name) {
  if (!token_.is_name(name)) expect(TokenKind::kEnd == token_.kind ? TokenKind::kData : TokenKind::kEnd, name);
  advance();
}

void Parser::fail_tag(const std::string* name, int line) const {
  std::vector<std::string> looking;
  if (!ends_.empty()) {
    for (const std::string& end : ends_.back()) looking.push_back("'" + end + "'");
  }
  std::string message =
      name ? fmt::format("Encountered unknown tag {}.", text_repr(*name)) : "Unexpected end of template.";
  const bool is_expected = name && std::any_of(ends_.begin(), ends_.end(), [&](const EndTags& tags) {
                             return std::find(tags.begin(), tags.end(), *name) != tags.end();
                           });
  const std::string list = fmt::format("{}", fmt::join(looking, " or "));
  if (!looking.empty() && is_expected) {
    message += fmt::format(
        " You probably made a nesting mistake. Jinja is expecting this tag, but currently looking for {}.", list);
  } else if (!looking.empty()) {
    message += fmt::format(" Jinja was looking for the following tags: {}.", list);
  }
  if (!tags_.empty()) message += fmt::format(" The innermost block that needs to be closed is '{}'.", tags_.back());
  fail(message, line);
}

// ---- statements -----------------------------------------------------------------------------------------------------

Tree Parser::run() {
  Tree tree;
  tree.body = body_until(nullptr);
  tree.loop = number_of("loop");
  tree.caller = number_of("caller");
  tree.kwargs = number_of("kwargs");
  tree.varargs = number_of("varargs");
  tree.names = names_;
  return tree;
}

Body Parser::body_until(const EndTags* ends) {
  Body body;
  if (ends) ends_.push_back(*ends);
  bool at_end = false;
  while (!at_end && token_.kind != TokenKind::kEnd) {
    if (token_.kind == TokenKind::kData) {
      body.push_back(make(StatementKind::kData));
      body.back().text = token_.text;
      advance();
    } else if (token_.kind == TokenKind::kVariableBegin) {
      advance();
      Statement print = make(StatementKind::kPrint);
      print.expression = tuple({});
      expect(TokenKind::kVariableEnd, "end of print statement");
      body.push_back(std::move(print));
    } else {
      advance();
      at_end = ends && token_.kind == TokenKind::kName && std::count(ends->begin(), ends->end(), token_.text);
      if (at_end) break;
      statement(body);
      expect(TokenKind::kBlockEnd, "end of statement block");
    }
  }
  if (ends) ends_.pop_back();
  return body;
}

Body Parser::block_body(const EndTags& ends, bool drops_end) {
  skip_operator(":");
  expect(TokenKind::kBlockEnd, "end of statement block");
  if (++statement_depth_ > kMaxStatementDepth) {
    fail(fmt::format("blocks nested deeper than {} levels", kMaxStatementDepth));
  }
  Body body = body_until(&ends);
  --statement_depth_;
  if (token_.kind == TokenKind::kEnd) {
    ends_.push_back(ends);
    fail_tag(nullptr, token_.line);
  }
  if (drops_end) advance();
  return body;
}

void Parser::statement(Body& out) {
  if (token_.kind != TokenKind::kName) fail("tag name expected");
  const std::string tag = token_.text;
  if (is_one_of(tag, {"include", "import", "from", "extends", "block", "autoescape"})) {
    fail(fmt::format("the tag '{}' is not supported in chat templates", tag));
  }
  tags_.push_back(tag);
  statement_of(tag, out);
  tags_.pop_back();
}

void Parser::statement_of(const std::string& tag, Body& out) {
  if (tag == "print") return print(out);
  if (tag == "set") return out.push_back(set());
  if (tag == "for") return out.push_back(for_loop());
  if (tag == "if") return out.push_back(if_branches());
  if (tag == "macro") return out.push_back(macro());
  if (tag == "call") return out.push_back(call_block());
  if (tag == "filter") return out.push_back(filter_block());
  if (tag == "with") return out.push_back(with());
  if (tag == "generation") return out.push_back(generation());
  if (tag == "break" || tag == "continue") {
    out.push_back(make(tag == "break" ? StatementKind::kBreak : StatementKind::kContinue));
    return advance();
  }
  tags_.pop_back();
  fail_tag(&tag, token_.line);
}

Statement Parser::set() {
  Statement out = make(StatementKind::kSet);
  advance();
  out.target = target({.simplified = true, .with_namespace = true});
  if (skip_operator("=")) {
    out.expression = tuple({});
    return out;
  }
  out.kind = StatementKind::kSetBlock;
  out.expression = filter(nullptr);
  out.body = block_body({"endset"}, true);
  return out;
}

Statement Parser::for_loop() {
  Statement out = make(StatementKind::kFor);
  advance();
  out.target = target({.simplified = true});
  expect_name("in");
  out.expression = tuple({.with_condition = false});
  if (skip_name("if")) out.condition = expression();
  out.is_recursive = skip_name("recursive");
  out.body = block_body({"endfor", "else"}, false);
  const bool has_else = token_.text == "else";
  advance();
  if (has_else) out.else_body = block_body({"endfor"}, true);
  return out;
}

Statement Parser::if_branches() {
  Statement out = make(StatementKind::kIf);
  while (true) {
    advance();
    ExpressionPtr condition = tuple({.with_condition = false});
    Body body = block_body({"elif", "else", "endif"}, false);
    out.branches.emplace_back(std::move(condition), std::move(body));
    if (!token_.is_name("elif")) break;
  }
  const bool has_else = token_.text == "else";
  advance();
  if (has_else) out.else_body = block_body({"endif"}, true);
  return out;
}

void Parser::signature(Statement& out) {
  expect_operator("(");
  while (!token_.is_operator(")")) {
    if (!out.targets.empty()) expect_operator(",");
    out.targets.push_back(name_target());
    if (skip_operator("=")) {
      out.values.push_back(expression());
    } else if (!out.values.empty()) {
      fail("non-default argument follows default argument");
    }
  }
  expect_operator(")");
}

Statement Parser::macro() {
  Statement out = make(StatementKind::kMacro);
  advance();
  out.target = name_target();
  out.name = out.target->name;
  signature(out);
  out.body = block_body({"endmacro"}, true);
  return out;
}

Statement Parser::call_block() {
  Statement out = make(StatementKind::kCallBlock);
  advance();
  if (token_.is_operator("(")) signature(out);
  out.expression = expression();
  if (out.expression->kind != Kind::kCall) fail("expected call", out.line);
  out.body = block_body({"endcall"}, true);
  return out;
}

Statement Parser::filter_block() {
  Statement out = make(StatementKind::kFilterBlock);
  advance();
  out.expression = filter(nullptr, /*starts_inline=*/true);
  out.body = block_body({"endfilter"}, true);
  return out;
}

Statement Parser::with() {
  Statement out = make(StatementKind::kWith);
  advance();
  while (token_.kind != TokenKind::kBlockEnd) {
    if (!out.targets.empty()) expect_operator(",");
    out.targets.push_back(target({.simplified = true}));
    expect_operator("=");
    out.values.push_back(expression());
  }
  out.body = block_body({"endwith"}, true);
  return out;
}

Statement Parser::generation() {
  Statement out = make(StatementKind::kGeneration);
  advance();
  out.body = block_body({"endgeneration"}, true);
  return out;
}

void Parser::print(Body& out) {
  advance();
  for (bool is_first = true; token_.kind != TokenKind::kBlockEnd; is_first = false) {
    if (!is_first) expect_operator(",");
    Statement print = make(StatementKind::kPrint);
    print.expression = expression();
    out.push_back(std::move(print));
  }
}

// ---- targets --------------------------------------------------------------------------------------------------------

int Parser::number_of(const std::string& name) {
  const auto [found, is_new] = numbers_.emplace(name, static_cast<int>(names_.size()));
  if (is_new) names_.push_back(name);
  return found->second;
}

void Parser::check_assignable(const Expression& e) const {
  static const std::map<Kind, std::string> kNames{
      {Kind::kConstant, "const"}, {Kind::kList, "list"}, {Kind::kDict, "dict"}, {Kind::kIf, "condexpr"}};
  if (e.kind == Kind::kName || e.kind == Kind::kAttributeTarget) return;
  if (e.kind == Kind::kTuple) {
    for (const auto& child : e.children) {
      const bool is_tuple_ok = child->kind == Kind::kName || child->kind == Kind::kAttributeTarget;
      if (child->kind == Kind::kTuple) {
        check_assignable(*child);
      } else if (!is_tuple_ok) {
        fail("can't assign to 'tuple'", e.line);
      }
    }
    return;
  }
  const auto found = kNames.find(e.kind);
  fail(fmt::format("can't assign to '{}'", found == kNames.end() ? "expression" : found->second), e.line);
}

ExpressionPtr Parser::target(const TupleRules& rules) {
  ExpressionPtr out = tuple(rules);
  check_assignable(*out);
  return out;
}

ExpressionPtr Parser::name_target() {
  const Token token = expect(TokenKind::kName, "name");
  if (is_one_of(token.text, {"true", "false", "none", "True", "False", "None"})) {
    fail("can't assign to 'name'", token.line);
  }
  ExpressionPtr out = node(Kind::kName, token.line);
  out->name = number_of(token.text);
  return out;
}

// ---- expressions ----------------------------------------------------------------------------------------------------

ExpressionPtr Parser::node(Kind kind, int line, std::vector<ExpressionPtr> children) const {
  auto out = std::make_unique<Expression>();
  out->kind = kind;
  out->line = line;
  out->children = std::move(children);
  return finish(std::move(out));
}

// Sets the depth once all parts are in place.
ExpressionPtr Parser::finish(ExpressionPtr e) const {
  const auto deepen = [&](const ExpressionPtr& part) {
    if (part) e->depth = std::max(e->depth, part->depth + 1);
  };
  for (const auto& child : e->children) deepen(child);
  for (const auto& argument : e->arguments.positional) deepen(argument);
  for (const auto& [name, argument] : e->arguments.named) deepen(argument);
  deepen(e->arguments.star);
  deepen(e->arguments.double_star);
  if (e->depth > kMaxExpressionDepth) {
    fail(fmt::format("an expression nested deeper than {} levels", kMaxExpressionDepth), e->line);
  }
  return e;
}

std::vector<ExpressionPtr> both(ExpressionPtr a, ExpressionPtr b) {
  std::vector<ExpressionPtr> out;
  out.push_back(std::move(a));
  out.push_back(std::move(b));
  return out;
}

ExpressionPtr Parser::expression(bool with_condition) {
  if (++open_ > kMaxExpressionDepth)
    fail(fmt::format("an expression nested deeper than {} levels", kMaxExpressionDepth));
  ExpressionPtr out = with_condition ? conditional() : disjunction();
  --open_;
  return out;
}

ExpressionPtr Parser::conditional() {
  int line = token_.line;
  ExpressionPtr out = disjunction();
  while (skip_name("if")) {
    auto parts = both(std::move(out), disjunction());
    parts.push_back(skip_name("else") ? expression() : nullptr);
    out = node(Kind::kIf, line, std::move(parts));
    line = token_.line;
  }
  return out;
}

ExpressionPtr Parser::chain(Kind kind, const char* word, ExpressionPtr (Parser::*operand)()) {
  int line = token_.line;
  ExpressionPtr left = (this->*operand)();
  while (skip_name(word)) {
    left = node(kind, line, both(std::move(left), (this->*operand)()));
    line = token_.line;
  }
  return left;
}

ExpressionPtr Parser::negation() {
  std::vector<int> lines;
  while (token_.is_name("not")) {
    lines.push_back(token_.line);
    advance();
  }
  ExpressionPtr out = comparison();
  for (; !lines.empty(); lines.pop_back()) {
    std::vector<ExpressionPtr> child;
    child.push_back(std::move(out));
    out = node(Kind::kNot, lines.back(), std::move(child));
  }
  return out;
}

ExpressionPtr Parser::comparison() {
  static const std::map<std::string, Comparison> kOperators{
      {"==", Comparison::kEqual},     {"!=", Comparison::kNotEqual}, {"<", Comparison::kLess},
      {"<=", Comparison::kLessEqual}, {">", Comparison::kGreater},   {">=", Comparison::kGreaterEqual}};
  int line = token_.line;
  std::vector<ExpressionPtr> operands;
  std::vector<Comparison> comparisons;
  operands.push_back(sum());
  while (true) {
    const auto found = token_.kind == TokenKind::kOperator ? kOperators.find(token_.text) : kOperators.end();
    if (found != kOperators.end()) {
      comparisons.push_back(found->second);
    } else if (token_.is_name("in")) {
      comparisons.push_back(Comparison::kIn);
    } else if (token_.is_name("not") && look().is_name("in")) {
      advance();
      comparisons.push_back(Comparison::kNotIn);
    } else {
      break;
    }
    advance();
    operands.push_back(sum());
    line = token_.line;
  }
  if (comparisons.empty()) return std::move(operands[0]);
  ExpressionPtr out = node(Kind::kCompare, line, std::move(operands));
  out->comparisons = std::move(comparisons);
  return out;
}

ExpressionPtr Parser::sum() {
  int line = token_.line;
  ExpressionPtr left = concatenation();
  while (token_.is_operator("+") || token_.is_operator("-")) {
    const BinaryOp op = token_.text == "+" ? BinaryOp::kAdd : BinaryOp::kSub;
    advance();
    left = node(Kind::kBinary, line, both(std::move(left), concatenation()));
    left->operation = op;
    line = token_.line;
  }
  return left;
}

ExpressionPtr Parser::concatenation() {
  const int line = token_.line;
  std::vector<ExpressionPtr> parts;
  parts.push_back(product());
  while (skip_operator("~")) parts.push_back(product());
  if (parts.size() == 1) return std::move(parts[0]);
  return node(Kind::kConcat, line, std::move(parts));
}

ExpressionPtr Parser::product() {
  static const std::map<std::string, BinaryOp> kOperators{
      {"*", BinaryOp::kMul}, {"/", BinaryOp::kDiv}, {"//", BinaryOp::kFloorDiv}, {"%", BinaryOp::kMod}};
  int line = token_.line;
  ExpressionPtr left = power();
  while (token_.kind == TokenKind::kOperator) {
    const auto found = kOperators.find(token_.text);
    if (found == kOperators.end()) break;
    advance();
    left = node(Kind::kBinary, line, both(std::move(left), power()));
    left->operation = found->second;
    line = token_.line;
  }
  return left;
}

// Written out by jinja2 as (a ** b) one by one, so it is left-associative here too.
ExpressionPtr Parser::power() {
  int line = token_.line;
  ExpressionPtr left = unary();
  while (skip_operator("**")) {
    left = node(Kind::kBinary, line, both(std::move(left), unary()));
    left->operation = BinaryOp::kPow;
    line = token_.line;
  }
  return left;
}

ExpressionPtr Parser::unary(bool with_filters) {
  const int line = token_.line;
  ExpressionPtr out;
  if (token_.is_operator("-") || token_.is_operator("+")) {
    const Kind kind = token_.text == "-" ? Kind::kNegate : Kind::kPlus;
    advance();
    if (++open_ > kMaxExpressionDepth)
      fail(fmt::format("an expression nested deeper than {} levels", kMaxExpressionDepth));
    std::vector<ExpressionPtr> child;
    child.push_back(unary(false));
    --open_;
    out = node(kind, line, std::move(child));
  } else {
    out = primary();
  }
  out = postfix(std::move(out));
  return with_filters ? filters_and_tests(std::move(out)) : std::move(out);
}

ExpressionPtr Parser::name(bool with_namespace) {
  const Token token = token_;
  advance();
  if (is_one_of(token.text, {"true", "True", "false", "False", "none", "None"})) {
    ExpressionPtr out = node(Kind::kConstant, token.line);
    const char first = static_cast<char>(token.text[0] | 0x20);
    out->value = first == 'n' ? Value() : Value(first == 't');
    return out;
  }
  if (with_namespace && skip_operator(".")) {
    ExpressionPtr out = node(Kind::kAttributeTarget, token.line);
    out->name = number_of(token.text);
    out->text = expect(TokenKind::kName, "name").text;
    return out;
  }
  ExpressionPtr out = node(Kind::kName, token.line);
  out->name = number_of(token.text);
  return out;
}

ExpressionPtr Parser::primary(bool with_namespace) {
  const int line = token_.line;
  if (token_.kind == TokenKind::kName) return name(with_namespace);
  if (token_.kind == TokenKind::kText) {
    std::string text;
    for (; token_.kind == TokenKind::kText; advance()) text += token_.text;
    ExpressionPtr out = node(Kind::kConstant, line);
    out->value = Value(std::move(text));
    return out;
  }
  if (token_.kind == TokenKind::kInteger || token_.kind == TokenKind::kFloat) {
    ExpressionPtr out = node(Kind::kConstant, line);
    out->value = token_.number;
    advance();
    return out;
  }
  if (skip_operator("(")) {
    ExpressionPtr out = tuple({.in_parentheses = true});
    expect_operator(")");
    return out;
  }
  if (token_.is_operator("[")) return list();
  if (token_.is_operator("{")) return dict();
  fail(fmt::format("unexpected {}", text_repr(token_.describe())));
}

ExpressionPtr Parser::tuple(const TupleRules& rules) {
  int line = token_.line;
  std::vector<ExpressionPtr> items;
  bool is_tuple = false;
  while (true) {
    if (!items.empty()) expect_operator(",");
    const bool at_end =
        token_.kind == TokenKind::kVariableEnd || token_.kind == TokenKind::kBlockEnd || token_.is_operator(")");
    if (at_end) break;
    items.push_back(rules.simplified ? primary(rules.with_namespace) : expression(rules.with_condition));
    if (!token_.is_operator(",")) break;
    is_tuple = true;
    line = token_.line;
  }
  if (!is_tuple && !items.empty()) return std::move(items[0]);
  if (!is_tuple && !rules.in_parentheses) {
    fail(fmt::format("Expected an expression, got {}", text_repr(token_.describe())));
  }
  return node(Kind::kTuple, line, std::move(items));
}

ExpressionPtr Parser::list() {
  const int line = token_.line;
  advance();
  std::vector<ExpressionPtr> items;
  while (!token_.is_operator("]")) {
    if (!items.empty()) expect_operator(",");
    if (token_.is_operator("]")) break;
    items.push_back(expression());
  }
  advance();
  return node(Kind::kList, line, std::move(items));
}

ExpressionPtr Parser::dict() {
  const int line = token_.line;
  advance();
  std::vector<ExpressionPtr> items;
  while (!token_.is_operator("}")) {
    if (!items.empty()) expect_operator(",");
    if (token_.is_operator("}")) break;
    items.push_back(expression());
    expect_operator(":");
    items.push_back(expression());
  }
  advance();
  return node(Kind::kDict, line, std::move(items));
}

ExpressionPtr Parser::postfix(ExpressionPtr e) {
  while (true) {
    if (token_.is_operator(".") || token_.is_operator("[")) {
      e = subscript(std::move(e));
    } else if (token_.is_operator("(")) {
      e = call(std::move(e));
    } else {
      return e;
    }
  }
}

ExpressionPtr Parser::filters_and_tests(ExpressionPtr e) {
  while (true) {
    if (token_.is_operator("|")) {
      e = filter(std::move(e));
    } else if (token_.is_name("is")) {
      e = test(std::move(e));
    } else if (token_.is_operator("(")) {
      e = call(std::move(e));
    } else {
      return e;
    }
  }
}

ExpressionPtr Parser::subscript(ExpressionPtr e) {
  const int line = token_.line;
  if (skip_operator("[")) return item(std::move(e), line);
  advance();
  const Token token = token_;
  advance();
  if (token.kind == TokenKind::kName) {
    std::vector<ExpressionPtr> child;
    child.push_back(std::move(e));
    ExpressionPtr out = node(Kind::kAttribute, line, std::move(child));
    out->text = token.text;
    return out;
  }
  if (token.kind != TokenKind::kInteger) fail("expected name or number", token.line);
  ExpressionPtr index = node(Kind::kConstant, token.line);
  index->value = token.number;
  return node(Kind::kItem, line, both(std::move(e), std::move(index)));
}

// Behind the bracket: an index, a slice, or several indices, which make a tuple.
ExpressionPtr Parser::item(ExpressionPtr e, int line) {
  std::vector<ExpressionPtr> indices;
  std::vector<ExpressionPtr> slice;
  const auto at_part_end = [&] {
    return token_.is_operator(":") || token_.is_operator("]") || token_.is_operator(",");
  };
  while (!token_.is_operator("]")) {
    if (!indices.empty()) expect_operator(",");
    ExpressionPtr first = token_.is_operator(":") ? nullptr : expression();
    if (first && !token_.is_operator(":")) {
      indices.push_back(std::move(first));
      continue;
    }
    slice.push_back(std::move(first));
    for (int i = 0; i < 2; ++i) slice.push_back(skip_operator(":") && !at_part_end() ? expression() : nullptr);
    if (!indices.empty() || !token_.is_operator("]")) fail("a tuple of slices in a subscript is not supported");
  }
  advance();
  if (!slice.empty()) {
    slice.insert(slice.begin(), std::move(e));
    return node(Kind::kSlice, line, std::move(slice));
  }
  ExpressionPtr index = indices.size() == 1 ? std::move(indices[0]) : node(Kind::kTuple, line, std::move(indices));
  return node(Kind::kItem, line, both(std::move(e), std::move(index)));
}

Arguments Parser::arguments() {
  const int line = token_.line;
  expect_operator("(");
  Arguments out;
  const auto ensure = [&](bool is_valid) {
    if (!is_valid) fail("invalid syntax for function call expression", line);
  };
  for (bool is_first = true; !token_.is_operator(")"); is_first = false) {
    if (!is_first) expect_operator(",");
    if (token_.is_operator(")")) break;
    if (token_.is_operator("*")) {
      ensure(!out.star && !out.double_star);
      advance();
      out.star = expression();
    } else if (token_.is_operator("**")) {
      ensure(!out.double_star);
      advance();
      out.double_star = expression();
    } else if (token_.kind == TokenKind::kName && look().is_operator("=")) {
      ensure(!out.double_star);
      const std::string name = token_.text;
      advance();
      advance();
      out.named.emplace_back(name, expression());
    } else {
      ensure(!out.star && !out.double_star && out.named.empty());
      out.positional.push_back(expression());
    }
  }
  expect_operator(")");
  return out;
}

ExpressionPtr Parser::call(ExpressionPtr e) {
  const int line = token_.line;
  std::vector<ExpressionPtr> child;
  child.push_back(std::move(e));
  ExpressionPtr out = node(Kind::kCall, line, std::move(child));
  out->arguments = arguments();
  return finish(std::move(out));
}

std::string Parser::dotted_name() {
  std::string name = expect(TokenKind::kName, "name").text;
  while (skip_operator(".")) name += "." + expect(TokenKind::kName, "name").text;
  return name;
}

ExpressionPtr Parser::filter(ExpressionPtr e, bool starts_inline) {
  while (token_.is_operator("|") || starts_inline) {
    if (!starts_inline) advance();
    const int line = token_.line;
    std::vector<ExpressionPtr> child;
    child.push_back(std::move(e));
    e = node(Kind::kFilter, line, std::move(child));
    e->text = dotted_name();
    if (token_.is_operator("(")) e->arguments = arguments();
    e = finish(std::move(e));
    starts_inline = false;
  }
  return e;
}

ExpressionPtr Parser::test(ExpressionPtr e) {
  const int line = token_.line;
  advance();
  const bool is_negated = skip_name("not");
  std::vector<ExpressionPtr> child;
  child.push_back(std::move(e));
  ExpressionPtr out = node(Kind::kTest, line, std::move(child));
  out->text = dotted_name();
  const bool takes_argument = token_.kind == TokenKind::kName || token_.kind == TokenKind::kText ||
                              token_.kind == TokenKind::kInteger || token_.kind == TokenKind::kFloat ||
                              token_.is_operator("[") || token_.is_operator("{");
  if (token_.is_operator("(")) {
    out->arguments = arguments();
  } else if (takes_argument && !token_.is_name("else") && !token_.is_name("or") && !token_.is_name("and")) {
    if (token_.is_name("is")) fail("You cannot chain multiple tests with is");
    out->arguments.positional.push_back(postfix(primary()));
  }
  out = finish(std::move(out));
  if (!is_negated) return out;
  child.clear();
  child.push_back(std::move(out));
  return node(Kind::kNot, line, std::move(child));
}

}  // namespace

Tree parse(std::string_view source) {
  Tree tree = Parser(source).run();
  resolve_scopes(tree);
  return tree;
}

}  // namespace hone::jinja
