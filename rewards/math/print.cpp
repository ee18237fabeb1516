#include <algorithm>
#include <array>
#include <string>

#include "rewards/math/answer_data.h"
#include "rewards/math/math.h"

namespace hone {
namespace {

constexpr size_t kMaxPrinted = 400;

const char* name_of(Function function) {
  static constexpr std::array kNames{
      "sin",    "cos",    "tan",       "cot",      "sec",  "csc",    "arcsin",   "arccos", "arctan", "arccot",
      "arcsec", "arccsc", "sinh",      "cosh",     "tanh", "arsinh", "arcosh",   "artanh", "log",    "abs",
      "floor",  "ceil",   "factorial", "binomial", "gcd",  "lcm",    "max",      "min",    "mod",    "gamma",
      "root",   "det",    "transpose", "re",       "im",   "arg",    "conjugate"};
  return kNames[static_cast<size_t>(function)];
}

const char* sign_of(Relation relation) {
  static constexpr std::array kSigns{" = ", " != ", " < ", " <= ", " > ", " >= "};
  return kSigns[static_cast<size_t>(relation)];
}

const char* name_of(NamedSet set) {
  static constexpr std::array kNames{"{}", "Naturals", "Integers", "Rationals", "Reals", "Complexes", "Primes"};
  return kNames[static_cast<size_t>(set)];
}

/// How tightly an operation binds.
int binding(Expr e) {
  switch (e->op) {
    case Op::kSum:
      return 1;
    case Op::kProduct:
      return 2;
    case Op::kPower:
      return 3;
    case Op::kNumber:
      return e->value->sign() < 0 ? 1 : e->value->is_integer() ? 4 : 2;
    default:
      return 4;
  }
}

class Printer {
 public:
  std::string run(Expr tree) {
    print(tree);
    if (text_.size() > kMaxPrinted) text_ = text_.substr(0, kMaxPrinted) + "..";
    return std::move(text_);
  }

 private:
  void list(const char* open, std::span<const Expr> parts, const char* between, const char* close) {
    text_ += open;
    for (size_t i = 0; i < parts.size() && text_.size() <= kMaxPrinted; ++i) {
      if (i > 0) text_ += between;
      print(parts[i]);
    }
    text_ += close;
  }
  void inner(Expr part, int around) {
    const bool brackets = binding(part) < around;
    if (brackets) text_ += '(';
    print(part);
    if (brackets) text_ += ')';
  }
  void joined(Expr e, const char* between) {
    for (size_t i = 0; i < e->args.size() && text_.size() <= kMaxPrinted; ++i) {
      if (i > 0) text_ += between;
      inner((*e)[i], binding(e));
    }
  }

  void print(Expr e) {
    if (text_.size() > kMaxPrinted) return;
    switch (e->op) {
      case Op::kNumber:
        text_ += e->value->bits() > 2048 ? "(a number of many digits)" : decimal(e);
        return;
      case Op::kPi:
        text_ += "pi";
        return;
      case Op::kE:
        text_ += 'E';
        return;
      case Op::kI:
        text_ += 'I';
        return;
      case Op::kInfinity:
        text_ += "oo";
        return;
      case Op::kUndefined:
        text_ += "undefined";
        return;
      case Op::kSymbol:
      case Op::kOpaque:
        text_ += e->name;
        return;
      case Op::kSum:
        return joined(e, " + ");
      case Op::kProduct:
        if (e->args.size() == 2 && (*e)[0]->is_number() && (-*(*e)[0]->value).is_one()) {
          text_ += '-';
          return inner((*e)[1], 3);
        }
        return joined(e, "*");
      case Op::kPower:
        inner((*e)[0], 4);
        text_ += "**";
        return inner((*e)[1], 4);
      case Op::kPercent:
        inner((*e)[0], 3);
        text_ += '%';
        return;
      case Op::kFunction:
        text_ += name_of(static_cast<Function>(e->code));
        return list("(", e->args, ", ", ")");
      case Op::kCall:
        text_ += e->name;
        return list("(", e->args, ", ", ")");
      case Op::kBigSum:
        text_ += e->code == 1 ? "product" : "sum";
        return list("(", e->args, ", ", ")");
      case Op::kMatrix:
        return matrix(e);
      default:
        return container(e);
    }
  }

  /// Decimals with their point: 0.25.
  static std::string decimal(Expr e) {
    if (!(e->flags & kDecimal)) return e->value->to_string();
    Rational scaled = *e->value;
    size_t places = 0;
    for (; !scaled.is_integer() && places < 64; ++places) scaled = scaled * 10;
    if (!scaled.is_integer()) return e->value->to_string();
    if (places == 0) return scaled.to_string() + ".0";
    auto digits = scaled.abs().to_string();
    if (digits.size() <= places) digits.insert(0, places + 1 - digits.size(), '0');
    digits.insert(digits.size() - places, ".");
    return e->value->sign() < 0 ? "-" + digits : digits;
  }

  void matrix(Expr e) {
    text_ += '[';
    for (size_t i = 0; i < e->args.size(); i += e->code)
      list(i > 0 ? ", [" : "[", e->args.subspan(i, e->code), ", ", "]");
    text_ += ']';
  }

  void container(Expr e) {
    switch (e->op) {
      case Op::kTuple:
        return list("(", e->args, ", ", ")");
      case Op::kSet:
        return list("{", e->args, ", ", "}");
      case Op::kInterval:
        return list(e->code & kLeftOpen ? "(" : "[", e->args, ", ", e->code & kRightOpen ? ")" : "]");
      case Op::kUnion:
        return list("", e->args, " U ", "");
      case Op::kIntersection:
        return list("", e->args, " & ", "");
      case Op::kDifference:
        return list("", e->args, " \\ ", "");
      case Op::kNamedSet:
        text_ += name_of(static_cast<NamedSet>(e->code));
        return;
      case Op::kRelation:
        return list("", e->args, sign_of(static_cast<Relation>(e->code)), "");
      case Op::kChain:
        return list("", e->args, " and ", "");
      default:
        return;
    }
  }

  std::string text_;
};

/// A rational number, written with numbers alone.
bool is_arithmetic(Expr e) {
  if (e->is(Op::kPower)) return is_arithmetic((*e)[0]) && (*e)[1]->is_integer();
  const bool combines = e->is(Op::kSum) || e->is(Op::kProduct) || e->is(Op::kPercent);
  return e->is_number() || (combines && std::ranges::all_of(e->args, is_arithmetic));
}

bool leaves_work(Expr e) {
  const auto numbers = std::ranges::count_if(e->args, is_arithmetic);
  switch (e->op) {
    case Op::kBigSum:
    case Op::kOpaque:
      return true;
    case Op::kSum:
    case Op::kProduct:
      return numbers > 1;
    case Op::kPower:
      return is_arithmetic(e);
    case Op::kFunction:
      return static_cast<size_t>(numbers) == e->args.size() && e->code >= static_cast<uint32_t>(Function::kAbs) &&
             e->code <= static_cast<uint32_t>(Function::kMod);
    default:
      return false;
  }
}

}  // namespace

std::string print(Expr tree) { return Printer().run(tree); }

std::string to_string(const Answer& answer) { return print(answer.data().root); }

bool is_unevaluated(const Answer& answer) { return std::ranges::any_of(nodes_of(answer.data().root), leaves_work); }

}  // namespace hone
