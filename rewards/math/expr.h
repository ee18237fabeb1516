// Expression trees. Nodes are immutable, live in an arena and are shared: two equal trees of one arena are one pointer.
//
//   Arena arena;
//   Expr x = arena.symbol("x");
//   arena.make(Op::kPower, {x, arena.number(2)}) == arena.make(Op::kPower, {x, arena.number(2)})   // the same pointer
//
// What was read keeps its shape (2/4 is a number, 1+1 a sum of two numbers); rewards/math/canonical.h evaluates it.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <memory_resource>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rewards/math/number.h"

namespace hone {

enum class Op : uint8_t {
  kNumber,  ///< number; flags kDecimal: written with a point, kRatio: as 2:1
  kPi,
  kE,
  kI,  ///< the imaginary unit
  kInfinity,
  kUndefined,  ///< 1/0, oo - oo
  kSymbol,     ///< name; flag kText: written as text
  kSum,
  kProduct,
  kPower,     ///< base, exponent
  kFunction,  ///< code: Function; arguments
  kCall,      ///< name: an unknown function; arguments
  kPercent,   ///< a hundredth of its argument
  kBigSum,    ///< code 0: sum, 1: product; body, variable, first, last
  kOpaque,    ///< name: \int, \lim, ..: not worked out; parts. code kTooLarge: beyond the limits
  kTuple,
  kSet,       ///< elements as written; flag kBraces: in \{ \}
  kInterval,  ///< code: kLeftOpen | kRightOpen; two ends
  kUnion,
  kIntersection,
  kDifference,
  kNamedSet,  ///< code: NamedSet
  kMatrix,    ///< code: columns; entries row by row
  kRelation,  ///< code: Relation; two sides
  kChain,     ///< relations, each beginning with the end of the one before
};

enum class Function : uint8_t {
  kSin,
  kCos,
  kTan,
  kCot,
  kSec,
  kCsc,
  kArcsin,
  kArccos,
  kArctan,
  kArccot,
  kArcsec,
  kArccsc,
  kSinh,
  kCosh,
  kTanh,
  kArsinh,
  kArcosh,
  kArtanh,
  kLog,
  kAbs,
  kFloor,
  kCeil,
  kFactorial,
  kBinomial,
  kGcd,
  kLcm,
  kMax,
  kMin,
  kMod,
  kGamma,
  kRoot,
  kDet,
  kTranspose,
  kRe,
  kIm,
  kArg,
  kConjugate
};
enum class NamedSet : uint8_t { kEmpty, kNaturals, kIntegers, kRationals, kReals, kComplexes, kPrimes };
enum class Relation : uint8_t { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual };
constexpr uint32_t kLeftOpen = 1, kRightOpen = 2;
constexpr uint32_t kTooLarge = 1;
constexpr uint8_t kDecimal = 1, kText = 2, kRatio = 4, kBraces = 8;

struct Node {
  Op op = Op::kUndefined;
  uint8_t flags = 0;
  uint32_t code = 0;
  uint32_t id = 0;  ///< counts up in an arena: parts come before the whole
  uint32_t hash = 0;
  uint32_t ops = 0;  ///< a bit for each Op in the tree
  std::span<const Node* const> args;
  std::string_view name;
  const Rational* value = nullptr;

  const Node* operator[](size_t i) const { return args[i]; }
  bool is(Op o) const { return op == o; }
  bool is(Function f) const { return op == Op::kFunction && code == static_cast<uint32_t>(f); }
  bool is_number() const { return op == Op::kNumber; }
  bool is_integer() const { return op == Op::kNumber && value->is_integer(); }
};
using Expr = const Node*;
using Exprs = std::vector<Expr>;

/// Owns nodes. Not for several threads at once while nodes are made; reading needs no lock.
class Arena {
 public:
  Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  Expr number(const Rational& value, uint8_t flags = 0);
  Expr symbol(std::string_view name, uint8_t flags = 0);
  Expr atom(Op op) { return make(op, {}); }
  Expr make(Op op, std::span<const Expr> args, uint32_t code = 0, std::string_view name = {}, uint8_t flags = 0);
  Expr make(Op op, std::initializer_list<Expr> args, uint32_t code = 0, std::string_view name = {}) {
    return make(op, std::span(args.begin(), args.size()), code, name);
  }
  Expr function(Function f, std::span<const Expr> args) { return make(Op::kFunction, args, static_cast<uint32_t>(f)); }
  Expr function(Function f, std::initializer_list<Expr> args) {
    return make(Op::kFunction, args, static_cast<uint32_t>(f));
  }
  Expr relation(Relation r, Expr left, Expr right) {
    return make(Op::kRelation, {left, right}, static_cast<uint32_t>(r));
  }
  /// The tree of another arena, here.
  Expr import(Expr tree);
  size_t size() const { return count_; }
  /// Of memory, about.
  size_t bytes() const { return bytes_ + table_.size() * sizeof(Expr); }

 private:
  Expr intern(const Node& wanted);
  Expr insert(const Node& wanted, size_t slot);
  void grow();

  std::byte first_block_[1536];
  std::pmr::monotonic_buffer_resource memory_{first_block_, sizeof first_block_};
  std::vector<Expr> table_;  // open addressing; its size is a power of two
  uint32_t count_ = 0;
  size_t bytes_ = 0;
  std::vector<std::unique_ptr<const Rational>> numbers_;
};

/// Every node of `tree` once, parts before the whole.
Exprs nodes_of(Expr tree);
/// True when some node of `tree` is such.
bool contains(Expr tree, Op op);
/// The symbols of `tree`, each once, in order of their names.
Exprs symbols_of(Expr tree);

constexpr bool is_set(Op op) { return op >= Op::kSet && op <= Op::kNamedSet; }
constexpr bool is_set_or_tuple(Op op) { return op >= Op::kTuple && op <= Op::kNamedSet; }
constexpr bool is_relation(Op op) { return op == Op::kRelation || op == Op::kChain; }
/// True for what can stand in a sum: no set, tuple or relation.
constexpr bool is_scalar(Op op) { return op < Op::kTuple || op == Op::kMatrix; }

/// a < b for b > a, and so on.
Relation flipped(Relation relation);

/// One line of text: 1/2, {1, 2}, x = 3.
std::string print(Expr tree);

}  // namespace hone
