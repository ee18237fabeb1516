#include "rewards/countdown.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <utility>

#include <fmt/core.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "rewards/format.h"

namespace hone {
namespace {

__extension__ using int128 = __int128;
using nlohmann::json;

// ---- text to postfix ------------------------------------------------------------------------------------------------

/// An operand (op == 0, `digits` a view into the answer) or an operator.
struct Item {
  char op = 0;
  std::string_view digits;
};

struct Postfix {
  std::vector<Item> items;
  std::string problem;  ///< a sentence, when the text is not an expression
};

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_operator(char c) { return c == '+' || c == '-' || c == '*' || c == '/'; }
int precedence(char op) { return op == '*' || op == '/' ? 2 : op == '(' ? 0 : 1; }

/// Dijkstra's shunting yard: one pass, an explicit stack, so that `((((..` cannot exhaust the real one.
class ShuntingYard {
 public:
  explicit ShuntingYard(std::string_view text) : text_(text) {}

  Postfix run() {
    while (at_ < text_.size() && problem_.empty()) step();
    if (problem_.empty() && operand_next_) problem_ = "ends where a number is expected";
    if (problem_.empty()) pop_while([](char) { return true; });
    if (problem_.empty() && open_ > 0) problem_ = "has a parenthesis that is not closed";
    return {std::move(items_), std::move(problem_)};
  }

 private:
  void step() {
    const char c = text_[at_];
    if (is_digit(c) && operand_next_) return number();
    if (c == '(' && operand_next_) return open();
    if (c == ')' && !operand_next_) return close();
    if (is_operator(c) && !operand_next_) return binary(c);
    problem_ = fmt::format("has '{}' at character {}, where {} is expected", excerpt(text_.substr(at_, 1)), at_ + 1,
                           operand_next_ ? "a number or '('" : "an operator or ')'");
  }

  void number() {
    const size_t start = at_;
    while (at_ < text_.size() && is_digit(text_[at_])) ++at_;
    const auto digits = text_.substr(start, at_ - start);
    if (digits.size() > 1 && digits[0] == '0') {
      problem_ = fmt::format("has the number {} with a leading zero", excerpt(digits));
    }
    items_.push_back({0, digits});
    operand_next_ = false;
  }

  void open() {
    stack_.push_back('(');
    ++open_;
    ++at_;
  }

  void close() {
    if (open_ == 0) {
      problem_ = fmt::format("closes a parenthesis at character {} that was never opened", at_ + 1);
      return;
    }
    pop_while([](char op) { return op != '('; });
    stack_.pop_back();
    --open_;
    ++at_;
  }

  void binary(char op) {
    pop_while([op](char top) { return precedence(top) >= precedence(op); });
    stack_.push_back(op);
    operand_next_ = true;
    ++at_;
  }

  template <class Condition>
  void pop_while(Condition condition) {
    for (; !stack_.empty() && condition(stack_.back()); stack_.pop_back()) {
      if (stack_.back() != '(') items_.push_back({stack_.back(), {}});
    }
  }

  std::string_view text_;
  size_t at_ = 0;
  bool operand_next_ = true;
  int64_t open_ = 0;
  std::vector<char> stack_;
  std::vector<Item> items_;
  std::string problem_;
};

// ---- each number once -----------------------------------------------------------------------------------------------

/// The value of an integer literal; empty when it is larger than any given number can be.
std::optional<int64_t> literal(std::string_view digits) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc{} || end != digits.data() + digits.size()) return {};
  return value;
}

/// "" when the operands are the given numbers, each once; else the sentence that says which is not.
std::string check_numbers(const std::vector<Item>& items, const std::vector<int64_t>& numbers) {
  auto left = numbers;
  for (const auto& item : items) {
    if (item.op != 0) continue;
    const auto value = literal(item.digits);
    const auto found = value ? std::ranges::find(left, *value) : left.end();
    if (found != left.end()) {
      left.erase(found);
    } else if (value && std::ranges::count(numbers, *value) > 0) {
      return fmt::format("uses {} more often than it is given in {}", *value, fmt::join(numbers, " "));
    } else {
      return fmt::format("uses {}, which is not among {}", excerpt(item.digits), fmt::join(numbers, " "));
    }
  }
  return left.empty() ? "" : fmt::format("does not use {}", fmt::join(left, " "));
}

// ---- exact value ----------------------------------------------------------------------------------------------------

/// A reduced fraction with a positive denominator; never the smallest int128, whose absolute value does not exist.
struct Fraction {
  int128 num = 0, den = 1;
};

enum class Arithmetic { kOk, kDivisionByZero, kOverflow };

struct Value {
  Arithmetic status = Arithmetic::kOk;
  Fraction fraction;
};

int128 gcd(int128 a, int128 b) {
  if (a < 0) a = -a;
  if (b < 0) b = -b;
  while (b != 0) a = std::exchange(b, a % b);
  return a;
}

bool product(int128 a, int128 b, int128& out) {
  return !__builtin_mul_overflow(a, b, &out) && out != std::numeric_limits<int128>::min();
}

Value multiply(const Fraction& a, const Fraction& b) {
  // cancel crosswise first: then the product is reduced, and overflows only where the result itself does
  const int128 g = std::max<int128>(gcd(a.num, b.den), 1), h = std::max<int128>(gcd(b.num, a.den), 1);
  Fraction result;
  if (!product(a.num / g, b.num / h, result.num) || !product(a.den / h, b.den / g, result.den)) {
    return {Arithmetic::kOverflow, {}};
  }
  return {Arithmetic::kOk, result};
}

Value divide(const Fraction& a, const Fraction& b) {
  if (b.num == 0) return {Arithmetic::kDivisionByZero, {}};
  return multiply(a, b.num < 0 ? Fraction{-b.den, -b.num} : Fraction{b.den, b.num});
}

Value add(const Fraction& a, const Fraction& b) {
  const int128 common = gcd(a.den, b.den);
  int128 left, right, sum, den;
  if (!product(a.num, b.den / common, left) || !product(b.num, a.den / common, right) ||
      __builtin_add_overflow(left, right, &sum) || sum == std::numeric_limits<int128>::min() ||
      !product(a.den, b.den / common, den)) {
    return {Arithmetic::kOverflow, {}};
  }
  const int128 factor = gcd(sum, den);
  return {Arithmetic::kOk, {sum / factor, den / factor}};
}

Value apply(char op, const Fraction& a, const Fraction& b) {
  switch (op) {
    case '+':
      return add(a, b);
    case '-':
      return add(a, {-b.num, b.den});
    case '*':
      return multiply(a, b);
    default:
      return divide(a, b);
  }
}

/// REQUIRES: items come from a ShuntingYard without a problem and their numbers passed check_numbers.
Value evaluate(const std::vector<Item>& items) {
  std::vector<Fraction> stack;
  for (const auto& item : items) {
    if (item.op == 0) {
      stack.push_back({literal(item.digits).value(), 1});
      continue;
    }
    const Fraction right = stack.back();
    stack.pop_back();
    const Value value = apply(item.op, stack.back(), right);
    if (value.status != Arithmetic::kOk) return value;
    stack.back() = value.fraction;
  }
  return {Arithmetic::kOk, stack.back()};
}

std::string to_text(const Fraction& f) {
  return f.den == 1 ? fmt::format("{}", f.num) : fmt::format("{}/{}", f.num, f.den);
}

// ---- columns --------------------------------------------------------------------------------------------------------

[[noreturn]] void bad_column(const char* name, const json& found, const char* wanted) {
  throw std::runtime_error(fmt::format("column '{}' is {}; it must be {}", name,
                                       excerpt(found.dump(-1, ' ', true, json::error_handler_t::replace)), wanted));
}

bool fits_int64(const json& value) {
  constexpr auto kMax = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  return value.is_number_integer() && !(value.is_number_unsigned() && value.get<uint64_t>() > kMax);
}

}  // namespace

std::optional<CountdownProblem> read_countdown(const std::string& columns) {
  const json row = json::parse(columns);
  const json numbers = row.value("numbers", json()), target = row.value("target", json());
  if (numbers.is_null() || target.is_null()) return {};
  if (!fits_int64(target)) bad_column("target", target, "an integer of at most 18 digits");
  CountdownProblem problem{{}, target.get<int64_t>()};
  if (!numbers.is_array() || numbers.empty()) bad_column("numbers", numbers, "a list of integers");
  for (const json& number : numbers) {
    if (!fits_int64(number) || number.get<int64_t>() < 0) {
      bad_column("numbers", numbers, "a list of integers from 0, of at most 18 digits");
    }
    problem.numbers.push_back(number.get<int64_t>());
  }
  return problem;
}

Score score_countdown(const CountdownProblem& problem, std::string_view completion, FinishReason reason) {
  const auto match = match_format(completion, reason);
  if (!match.ok) return Score::wrong(match.problem);
  if (match.think.find('\n') != std::string_view::npos) return Score::wrong("has a line break in the thoughts");

  const auto answer = excerpt(match.answer);
  const auto postfix = ShuntingYard(match.answer).run();
  if (!postfix.problem.empty()) return Score::wrong(fmt::format("{} {}", answer, postfix.problem));
  const auto misuse = check_numbers(postfix.items, problem.numbers);
  if (!misuse.empty()) return Score::wrong(fmt::format("{} {}", answer, misuse));

  const auto [status, value] = evaluate(postfix.items);
  if (status == Arithmetic::kDivisionByZero) return Score::wrong(answer + " divides by zero");
  if (status == Arithmetic::kOverflow) return Score::undecided(answer + " has a value beyond 128-bit fractions");
  if (value.den == 1 && value.num == problem.target)
    return Score::correct(fmt::format("{} is {}", answer, problem.target));
  return Score::wrong(fmt::format("{} is {}, not {}", answer, to_text(value), problem.target));
}

RewardFn countdown_reward() {
  return [](const Prompt& prompt, std::span<const Rollout> rollouts) {
    const auto problem = read_countdown(prompt.columns);
    std::vector<Score> scores;
    for (const auto& rollout : rollouts) {
      scores.push_back(problem ? score_countdown(*problem, rollout.text, rollout.finish_reason)
                               : Score::not_applicable("the row has no column 'numbers' or no column 'target'"));
    }
    return scores;
  };
}

}  // namespace hone
