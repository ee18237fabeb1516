// What a template says, as a tree. Made by the parser, read by the runtime; never changed afterwards.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "models/text/jinja_value.h"

namespace hone::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

enum class ExpressionKind {
  kConstant,         ///< value
  kName,             ///< name
  kAttributeTarget,  ///< name.text, in `set` only
  kTuple,
  kList,       ///< children
  kDict,       ///< children: key, value, key, value ..
  kAttribute,  ///< children[0].text
  kItem,       ///< children[0][children[1]]
  kSlice,      ///< children[0][children[1] : children[2] : children[3]], any of the three null
  kCall,       ///< children[0](arguments)
  kFilter,     ///< children[0]|text(arguments); children[0] null in a filter block
  kTest,       ///< children[0] is text(arguments)
  kNot,
  kNegate,
  kPlus,
  kBinary,  ///< operation
  kConcat,  ///< children[0] ~ children[1] ~ ..
  kAnd,
  kOr,
  kCompare,  ///< children[0] comparisons[0] children[1] comparisons[1] ..
  kIf        ///< children[0] if children[1] else children[2], the last null for none
};

enum class Comparison { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual, kIn, kNotIn };

struct Arguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  ExpressionPtr star, double_star;
};

struct Expression {
  ExpressionKind kind;
  int line = 0;
  int depth = 1;  ///< expressions inside each other
  Value value;
  int name = -1;  ///< number of a variable's name
  std::string text;
  BinaryOp operation = BinaryOp::kAdd;
  std::vector<Comparison> comparisons;
  std::vector<ExpressionPtr> children;
  Arguments arguments;
};

enum class StatementKind {
  kData,         ///< text
  kPrint,        ///< expression
  kSet,          ///< target = expression
  kSetBlock,     ///< target = body|filters
  kFor,          ///< for target in expression if condition: body, else_body
  kIf,           ///< branches: expression and body each, then else_body
  kMacro,        ///< name(parameters): body
  kCallBlock,    ///< call(parameters) expression: body
  kFilterBlock,  ///< expression is a chain of filters over the body
  kWith,         ///< targets = values: body
  kGeneration,   ///< body: what the assistant says
  kBreak,
  kContinue
};

struct Statement;
using Body = std::vector<Statement>;

struct Statement {
  StatementKind kind;
  int line = 0;
  std::string text;
  ExpressionPtr target, expression, condition;
  std::vector<ExpressionPtr> targets, values;  ///< of kWith; of macros and call blocks: parameters and their defaults
  int name = -1;
  std::vector<std::pair<ExpressionPtr, Body>> branches;
  Body body, else_body;
  bool is_recursive = false;
  bool uses_loop = false;  ///< the body of the `for` reads `loop`
  bool catches_caller = false, catches_kwargs = false, catches_varargs = false;
  std::vector<int> unset_names, unset_else_names;  ///< set in the body's frame before anything else gives them a value
};

struct Tree {
  Body body;
  std::vector<int> unset_names;
  std::vector<std::string> names;                         ///< of variables, by number
  int loop = -1, caller = -1, kwargs = -1, varargs = -1;  ///< numbers of the names with a meaning of their own
};

}  // namespace hone::jinja
