#include "rewards/math/parse.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

#include "rewards/math/scan.h"

namespace hone {
namespace {

struct NamedFunction {
  std::string_view name;
  Function function;
};
constexpr std::array<NamedFunction, 24> kFunctions{{
    {"sin", Function::kSin},        {"cos", Function::kCos},        {"tan", Function::kTan},
    {"cot", Function::kCot},        {"sec", Function::kSec},        {"csc", Function::kCsc},
    {"arcsin", Function::kArcsin},  {"arccos", Function::kArccos},  {"arctan", Function::kArctan},
    {"arccot", Function::kArccot},  {"arcsec", Function::kArcsec},  {"arccsc", Function::kArccsc},
    {"sinh", Function::kSinh},      {"cosh", Function::kCosh},      {"tanh", Function::kTanh},
    {"arsinh", Function::kArsinh},  {"arcosh", Function::kArcosh},  {"artanh", Function::kArtanh},
    {"arcsinh", Function::kArsinh}, {"arccosh", Function::kArcosh}, {"arctanh", Function::kArtanh},
    {"floor", Function::kFloor},    {"ceil", Function::kCeil},      {"det", Function::kDet},
}};
constexpr std::array<NamedFunction, 5> kListFunctions{{{"gcd", Function::kGcd},
                                                       {"lcm", Function::kLcm},
                                                       {"max", Function::kMax},
                                                       {"min", Function::kMin},
                                                       {"binomial", Function::kBinomial}}};
constexpr std::array<NamedFunction, 4> kOtherFunctions{
    {{"Re", Function::kRe}, {"Im", Function::kIm}, {"arg", Function::kArg}, {"Gamma", Function::kGamma}}};

template <size_t N>
std::optional<Function> find_function(std::string_view name, const std::array<NamedFunction, N>& functions) {
  const auto* found = std::ranges::find(functions, name, &NamedFunction::name);
  return found == functions.end() ? std::nullopt : std::optional(found->function);
}

constexpr std::array<std::string_view, 52> kSymbols{
    "alpha", "beta",     "delta",  "epsilon", "varepsilon", "zeta",    "eta",      "theta", "vartheta",
    "iota",  "kappa",    "lambda", "mu",      "nu",         "xi",      "omicron",  "rho",   "varrho",
    "sigma", "varsigma", "tau",    "upsilon", "phi",        "varphi",  "chi",      "psi",   "omega",
    "Delta", "Theta",    "Lambda", "Xi",      "Pi",         "Sigma",   "Phi",      "Psi",   "Omega",
    "gamma", "Gamma",    "ell",    "hbar",    "nabla",      "angle",   "triangle", "imath", "jmath",
    "varpi", "wp",       "aleph",  "square",  "Upsilon",    "partial", "star"};

bool is_symbol_command(std::string_view name) { return std::ranges::find(kSymbols, name) != kSymbols.end(); }

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(), ascii_lower);
  return result;
}

class Parser {
 public:
  Parser(std::vector<Token>& tokens, Arena& arena, bool quirks, Budget& budget)
      : tokens_(tokens), arena_(arena), quirks_(quirks), budget_(budget) {}

  Expr run() {
    if (!quirks_) skip_introduction();
    Lists lists;
    if (!parse_lists(lists) || peek().kind != Tok::kEnd) return nullptr;
    if (auto* assigned = assigned_list(lists)) return assigned;
    return set_or_tuple(lists);
  }

 private:
  using Lists = std::vector<Exprs>;  // parts between semicolons, of elements between commas

  // Tokens.
  const Token& peek(size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  bool take(char sign) {
    if (!peek().is(sign)) return false;
    ++at_;
    return true;
  }
  bool take_command(std::string_view name) {
    if (!peek().is_command(name)) return false;
    ++at_;
    return true;
  }

  /// Counts a level of nesting while it lives.
  class Level {
   public:
    explicit Level(Parser& parser) : parser_(parser) { ++parser_.depth_; }
    ~Level() { --parser_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;
    bool fits() const {
      auto& budget = parser_.budget_;
      if (parser_.depth_ > budget.limits().depth) budget.reach("nesting");
      if (parser_.arena_.size() > budget.limits().nodes) budget.reach("formula size");
      return parser_.depth_ <= budget.limits().depth && parser_.arena_.size() <= budget.limits().nodes &&
             budget.spend(2);
    }

   private:
    Parser& parser_;
  };

  Expr number(const Rational& value) { return arena_.number(value); }

  /// "= 5" and "\\approx 5" say 5.
  void skip_introduction() {
    while (take('=') || take_command("approx") || take_command("therefore")) continue;
  }

  // Lists.
  bool parse_lists(Lists& lists) {
    lists.emplace_back();
    for (;;) {
      if (!parse_element(lists.back())) return false;
      if (take(';')) {
        lists.emplace_back();
      } else if (!take(',')) {
        return true;
      }
      const size_t limit = budget_.limits().set_elements;
      if (lists.size() > limit || lists.back().size() > limit) {
        budget_.reach("elements of a set");
        return false;
      }
      if (ends_list()) return lists.back().size() > 0;  // a comma at the end
    }
  }

  bool ends_list() const {
    return !quirks_ && (peek().kind == Tok::kEnd || (peek().is('.') && peek(1).kind == Tok::kEnd));
  }

  /// One element, or two where it holds \pm.
  bool parse_element(Exprs& elements) {
    const bool outer_seen = seen_plus_minus_;
    const int outer_sign = sign_;
    const size_t begin = at_;
    seen_plus_minus_ = false;
    sign_ = 1;
    const auto* first = parse_relation();
    bool fine = first != nullptr;
    if (fine) elements.push_back(first);
    if (fine && seen_plus_minus_) {
      at_ = begin;
      sign_ = -1;
      const auto* second = parse_relation();
      fine = second != nullptr;
      if (fine) add_second(elements, second);
    }
    seen_plus_minus_ = outer_seen;
    sign_ = outer_sign;
    if (fine && !quirks_ && peek().is('.') && peek(1).kind == Tok::kEnd) ++at_;  // the end of a sentence
    return fine;
  }

  /// x = \pm 2 is x = {2, -2}; any other pair is two elements.
  void add_second(Exprs& elements, Expr second) {
    const auto* first = elements.back();
    const auto assigns = [](Expr e) {
      return e->is(Op::kRelation) && e->code == static_cast<uint32_t>(Relation::kEqual) && is_name((*e)[0]);
    };
    if (assigns(first) && assigns(second) && (*first)[0] == (*second)[0]) {
      const auto* values = arena_.make(Op::kSet, {(*first)[1], (*second)[1]});
      elements.back() = arena_.relation(Relation::kEqual, (*first)[0], values);
    } else {
      elements.push_back(second);
    }
  }

  Expr set_or_tuple(const Lists& lists) {
    if (lists.size() == 1) return lists[0].size() == 1 ? lists[0][0] : arena_.make(Op::kSet, lists[0]);
    Exprs elements;
    const bool flat = std::ranges::all_of(lists, [](const Exprs& list) { return list.size() == 1; });
    for (const auto& list : lists) {
      elements.push_back(flat ? list[0] : list.size() == 1 ? list[0] : arena_.make(Op::kTuple, list));
    }
    return arena_.make(Op::kSet, elements);
  }

  /// x = 1, 2 and (x,y) = (1,2), (3,4): the first side equals the set of all that follows; null for other lists.
  Expr assigned_list(const Lists& lists) {
    const auto* first = lists[0][0];
    if (lists.size() == 1 && lists[0].size() == 1) return nullptr;
    if (!first->is(Op::kRelation) || first->code != static_cast<uint32_t>(Relation::kEqual)) return nullptr;
    if (!is_name((*first)[0])) return nullptr;
    Lists values = lists;
    values[0][0] = (*first)[1];
    for (const auto& list : values) {
      if (std::ranges::any_of(list, [](Expr e) { return is_relation(e->op); })) return nullptr;
    }
    return arena_.relation(Relation::kEqual, (*first)[0], set_or_tuple(values));
  }

  static bool is_name(Expr value) {
    if (value->is(Op::kTuple) || value->is(Op::kInterval)) {
      return std::ranges::all_of(value->args, [](Expr e) { return e->is(Op::kSymbol); });
    }
    return value->is(Op::kSymbol) || (value->is(Op::kPower) && (*value)[0]->is(Op::kSymbol));
  }

  // Relations.
  struct Link {
    Relation relation = Relation::kEqual;
    bool approximate = false, in = false;
  };
  std::optional<Link> take_relation() {
    struct Named {
      std::string_view name;
      Link link;
    };
    static constexpr std::array<Named, 10> kCommands{{{"le", {Relation::kLessEqual}},
                                                      {"ge", {Relation::kGreaterEqual}},
                                                      {"ne", {Relation::kNotEqual}},
                                                      {"equiv", {Relation::kEqual}},
                                                      {"approx", {Relation::kEqual, true}},
                                                      {"in", {Relation::kEqual, false, true}},
                                                      {"notin", {Relation::kNotEqual, false, true}},
                                                      {"subseteq", {Relation::kLessEqual, false, true}},
                                                      {"subset", {Relation::kLess, false, true}},
                                                      {"cong", {Relation::kEqual, true}}}};
    if (take('=')) return Link{};
    if (take('<')) return Link{Relation::kLess};
    if (take('>')) return Link{Relation::kGreater};
    if (peek().kind != Tok::kCommand) return {};
    const auto* found = std::ranges::find(kCommands, peek().text, &Named::name);
    if (found == kCommands.end()) return {};
    ++at_;
    return found->link;
  }

  Expr parse_relation() {
    const auto* left = parse_difference();
    if (!left) return nullptr;
    Exprs links;
    const auto* first = left;
    while (const auto link = take_relation()) {
      const auto* right = parse_difference();
      if (!right) return nullptr;
      if (link->approximate) {
        // an approximation of a name is its value; of a value, superfluous
        if (links.empty() && first->is(Op::kSymbol)) return right;
        continue;
      }
      links.push_back(arena_.relation(link->relation, left, right));
      left = right;
    }
    if (links.empty()) return first;
    return links.size() == 1 ? links[0] : arena_.make(Op::kChain, links);
  }

  // Sets.
  Expr parse_difference() {
    auto* left = parse_union();
    while (left && take_command("setminus")) left = combined(Op::kDifference, left, parse_union());
    return left;
  }
  Expr parse_union() {
    auto* left = parse_intersection();
    while (left && take_command("cup")) left = combined(Op::kUnion, left, parse_intersection());
    return left;
  }
  Expr parse_intersection() {
    auto* left = parse_sum();
    while (left && take_command("cap")) left = combined(Op::kIntersection, left, parse_sum());
    return left;
  }
  Expr combined(Op op, Expr left, Expr right) {
    if (!right) return nullptr;
    const auto as_set = [&](Expr e) { return e->is(Op::kTuple) ? arena_.make(Op::kSet, e->args) : e; };
    return arena_.make(op, {as_set(left), as_set(right)});
  }

  // Arithmetic. Null stands for failure; what is no scalar may pass through but not be computed with.
  static bool scalar(Expr e) { return e && is_scalar(e->op); }

  /// +1 or -1 where a sign of a sum stands.
  int take_sum_sign() {
    if (take('+')) return 1;
    if (take('-')) return -1;
    if (take_command("pm")) {
      seen_plus_minus_ = true;
      return sign_;
    }
    if (take_command("mp")) {
      seen_plus_minus_ = true;
      return -sign_;
    }
    return 0;
  }

  Expr parse_sum() {
    const auto* first = parse_product();
    if (!first || !is_scalar(first->op)) return first;
    Exprs terms{first};
    while (const int sign = take_sum_sign()) {
      const auto* term = parse_product();
      if (!scalar(term)) return nullptr;
      terms.push_back(sign < 0 ? negated(arena_, term) : term);
    }
    return terms.size() == 1 ? first : arena_.make(Op::kSum, terms);
  }

  enum class Times { kNone, kTimes, kDivide, kRatio, kModulo };
  Times take_times() {
    if (take('*') || take_command("times")) return Times::kTimes;
    if (take('/') || take_command("div") || take_command("over")) return Times::kDivide;
    if (take(':')) return quirks_ ? Times::kDivide : Times::kRatio;
    if (take_command("bmod") || take_command("mod")) return Times::kModulo;
    return Times::kNone;
  }

  Expr parse_product() {
    const auto* left = parse_signed();
    if (!left || !is_scalar(left->op)) return left;
    return with_factors(left, [this] { return parse_signed(); });
  }

  /// left times, over or modulo what follows; factors in a row are one product.
  template <class Next>
  Expr with_factors(Expr left, const Next& next) {
    Exprs factors{left};
    const auto append = [&](Expr value) {
      const auto parts = value->is(Op::kProduct) ? value->args : std::span<const Expr>(&value, 1);
      factors.insert(factors.end(), parts.begin(), parts.end());
    };
    const auto product = [&] { return factors.size() == 1 ? factors[0] : arena_.make(Op::kProduct, factors); };
    for (Times times = take_times(); times != Times::kNone; times = take_times()) {
      const auto* right = next();
      if (!scalar(right)) return nullptr;
      if (times == Times::kTimes) {
        if (factors.size() == 1) append(std::exchange(factors, {})[0]);
        append(right);
      } else {
        const auto* top = product();
        factors = {times == Times::kModulo ? arena_.function(Function::kMod, {top, right})
                                           : quotient(arena_, top, right)};
        const bool ratio = times == Times::kRatio && factors[0]->is_number();
        if (ratio) factors = {arena_.number(*factors[0]->value, kRatio)};
      }
    }
    return product();
  }

  Expr parse_signed() {
    bool negative = false, any = false;
    while (const int sign = take_sum_sign()) {
      negative ^= sign < 0;
      any = true;
    }
    const auto* value = parse_juxtaposed();
    if (!any || !value) return value;
    if (!is_scalar(value->op)) return nullptr;
    return negative ? negated(arena_, value) : value;
  }

  /// True where a factor without a sign of multiplication may begin.
  bool starts_factor() const {
    const auto& next = peek();
    switch (next.kind) {
      case Tok::kNumber:
      case Tok::kLetter:
      case Tok::kText:
      case Tok::kAccent:
      case Tok::kBegin:
        return true;
      case Tok::kSign:
        return next.is('(') || next.is('{') || next.is('[') || next.is('L') || (next.is('|') && bars_ == 0);
      case Tok::kCommand:
        return starts_factor(next.text);
      default:
        return false;
    }
  }
  static bool starts_factor(std::string_view command) {
    static constexpr std::array<std::string_view, 14> kOthers{"frac", "sqrt", "binom", "pi", "infty", "lfloor", "lceil",
                                                              "sum",  "prod", "log",   "ln", "exp",   "lim",    "int"};
    return std::ranges::find(kOthers, command) != kOthers.end() || is_symbol_command(command) ||
           find_function(command, kFunctions) || find_function(command, kListFunctions) ||
           find_function(command, kOtherFunctions);
  }

  /// 2x, 2\frac12, 2 1/2, ab(c+d).
  Expr parse_juxtaposed() {
    size_t begin = at_;
    const auto* first = parse_postfix();
    if (!first || !is_scalar(first->op) || !starts_factor()) return first;
    Exprs factors{first};
    bool after_number = tokens_[at_ - 1].kind == Tok::kNumber;
    if (const auto* mixed = slashed_mixed_number(begin, first)) return mixed;
    while (starts_factor()) {
      const bool fraction = peek().is_command("frac");
      const bool after_digits = tokens_[begin].kind == Tok::kNumber && factors.back()->is_number();
      if (!quirks_ && peek().kind == Tok::kNumber && after_digits) return numbers_in_a_row(begin);
      begin = at_;
      const auto* next = parse_postfix();
      if (!scalar(next)) return nullptr;
      if (after_number && factors.size() == 1 && fraction && !quirks_ && !starts_factor()) {
        if (const auto* mixed = mixed_number(first, next)) return mixed;
      }
      factors.push_back(next);
      after_number = false;
    }
    if (quirks_ && factors.size() == 2) {
      if (const auto* mixed = mixed_number(factors[0], factors[1])) return mixed;
    }
    return arena_.make(Op::kProduct, factors);
  }

  /// Whether the tokens read since `begin` are a number as written.
  bool only_numbers(size_t begin) const {
    const auto read = std::span(tokens_).subspan(begin, at_ - begin);
    return std::ranges::all_of(read, [](const Token& token) { return token.kind == Tok::kNumber; });
  }

  /// 1 5 is no product, as Math-Verify has it, but a name that equals what is written alike.
  Expr numbers_in_a_row(size_t begin) {
    std::string name;
    for (at_ = begin; peek().kind == Tok::kNumber; ++at_) name.append(name.empty() ? "" : " ").append(peek().text);
    return arena_.make(Op::kOpaque, {}, 0, name);
  }

  /// 2 1/2, where 2 was read since `begin`; null when what follows is no such part.
  Expr slashed_mixed_number(size_t begin, Expr whole) {
    const auto &top = peek(), &bottom = peek(2);
    const bool slashed = top.kind == Tok::kNumber && peek(1).is('/') && bottom.kind == Tok::kNumber;
    if (quirks_ || !slashed || !top.space_before || !only_numbers(begin)) return nullptr;
    const size_t outer = at_;
    const auto *over = parse_number(), *under = take('/') ? parse_number() : nullptr;
    const bool goes_on = starts_factor() || peek().is('/') || peek().is('^') || peek().is('!') || peek().is('_');
    const bool proper = over && under && over->is_integer() && under->is_integer() && *over->value < *under->value;
    const auto* mixed = proper && !goes_on ? mixed_number(whole, quotient(arena_, over, under)) : nullptr;
    if (!mixed) at_ = outer;
    return mixed && take('%') ? arena_.make(Op::kPercent, {mixed}) : mixed;
  }

  /// 2\frac12 is 5/2, 2\frac12\% a percentage; null when these two are no mixed number.
  Expr mixed_number(Expr whole, Expr part) {
    if (part->is(Op::kPercent) && !quirks_) {
      const auto* mixed = mixed_number(whole, (*part)[0]);
      return mixed ? arena_.make(Op::kPercent, {mixed}) : nullptr;
    }
    if (!whole->is_integer() || !part->is_number() || (whole->flags | part->flags) & kDecimal) return nullptr;
    if (part->value->sign() <= 0) return nullptr;
    const bool negative = whole->value->sign() < 0;
    return number(negative ? *whole->value - *part->value : *whole->value + *part->value);
  }

  Expr parse_postfix() {
    auto* value = parse_power();
    while (value) {
      if (peek().is('!') && is_scalar(value->op)) {
        ++at_;
        value = arena_.function(Function::kFactorial, {value});
      } else if (peek().is('%') && is_scalar(value->op) && (value->is_number() || !quirks_)) {
        ++at_;
        value = arena_.make(Op::kPercent, {value});
      } else if (peek().is_command("degree")) {
        ++at_;
        value = in_degrees(value);
      } else {
        return value;
      }
    }
    return value;
  }

  Expr parse_power() {
    if (!budget_.spend(4)) return nullptr;
    return raised(parse_atom());
  }

  /// base with the exponents and subscripts that follow it.
  Expr raised(Expr base) {
    if (!base) return nullptr;
    while (peek().is('^') || (peek().is('_') && base->is_number())) {
      if (take('_')) {
        if (subscript().empty()) return nullptr;  // the base of a numeral
        continue;
      }
      ++at_;
      if (skip_degree()) {
        base = in_degrees(base);
        continue;
      }
      if (base->is(Op::kMatrix) && skip_transpose()) {
        base = arena_.function(Function::kTranspose, {base});
        continue;
      }
      const auto* exponent = parse_exponent();
      if (!scalar(exponent) || !is_scalar(base->op)) return nullptr;
      base = arena_.make(Op::kPower, {base, exponent});
      if (!quirks_) break;  // what follows was the exponent's own
    }
    return base;
  }

  /// Degrees are numbers, but the sine of 30 degrees is not that of 30.
  Expr in_degrees(Expr value) {
    if (trigonometric_ == 0 || quirks_ || !is_scalar(value->op)) return value;
    return arena_.make(Op::kProduct, {value, arena_.atom(Op::kPi), number(Rational(1, 180))});
  }
  bool skip_degree() {
    static constexpr std::array<std::string_view, 3> kDegrees{"circ", "degree", "circle"};
    const bool braced = peek().is('{');
    const auto& token = peek(braced);
    if (token.kind != Tok::kCommand || std::ranges::find(kDegrees, token.text) == kDegrees.end()) return false;
    if (braced && !peek(2).is('}')) return false;
    at_ += braced ? 3 : 1;
    return true;
  }
  bool skip_transpose() {
    const bool braced = peek().is('{');
    const auto& token = peek(braced);
    if (token.text != "T" && token.text != "top" && token.text != "t") return false;
    if (braced && !peek(2).is('}')) return false;
    at_ += braced ? 3 : 1;
    return true;
  }

  Expr parse_exponent() {
    const Level level(*this);
    if (!level.fits()) return nullptr;
    if (peek().is('{')) return braced();
    if (!quirks_ && take('-')) {
      const auto* value = parse_exponent();
      return scalar(value) ? negated(arena_, value) : nullptr;
    }
    auto* value = parse_atom();
    if (!quirks_ && value && peek().is('^')) return raised(value);
    return value;
  }

  /// {sum}
  Expr braced() {
    if (!take('{')) return nullptr;
    const auto* value = parse_sum();
    return scalar(value) && take('}') ? value : nullptr;
  }

  /// {sum}, or the one character that TeX takes.
  Expr argument() {
    const Level level(*this);
    if (!level.fits()) return nullptr;
    if (peek().is('{')) return braced();
    if (peek().kind == Tok::kNumber && peek().text.size() > 1) split_number();
    if (peek().kind == Tok::kEnd) return nullptr;
    return parse_atom();
  }

  void split_number() {
    auto rest = tokens_[at_];
    if (rest.text[0] == '.') return;
    budget_.spend(static_cast<int64_t>(tokens_.size() - at_) / 12);
    rest.text.remove_prefix(1);
    rest.space_before = false;
    tokens_[at_].text = tokens_[at_].text.substr(0, 1);
    tokens_.insert(tokens_.begin() + static_cast<ptrdiff_t>(at_) + 1, rest);
  }

  // Atoms.
  Expr parse_atom() {
    const auto token = peek();
    switch (token.kind) {
      case Tok::kNumber:
        return parse_number();
      case Tok::kLetter:
        ++at_;
        return letter(token.text);
      case Tok::kText:
        ++at_;
        return text(token.text);
      case Tok::kAccent:
        ++at_;
        return symbol(accent_name(token.text));
      case Tok::kCommand:
        ++at_;
        return command(token.text);
      case Tok::kBegin:
        return parse_matrix();
      case Tok::kSign:
        return parse_group();
      default:
        return nullptr;
    }
  }

  Expr parse_number() {
    std::string digits(tokens_[at_++].text);
    while (!quirks_ && peek().kind == Tok::kNumber && peek().thin_before && peek().text.size() == 3) {
      digits += tokens_[at_++].text;  // 1\,000
    }
    if (digits.size() > budget_.limits().digits) {
      budget_.reach("digits of a number");
      return nullptr;
    }
    if (const auto period = take_period(digits)) return repeating(digits, *period);
    const bool decimal = digits.find('.') != std::string::npos;
    auto value = Rational::from_decimal(digits);
    if (const auto exponent = take_power_of_ten()) value = value * power(Rational(10), *exponent);
    return arena_.number(value, decimal ? kDecimal : 0);
  }

  /// The 3 of 6.02e3, written without spaces, where the formula or its part ends. 2e-3 is a difference.
  std::optional<int> take_power_of_ten() {
    const auto &e = peek(), &digits = peek(1), &next = peek(2);
    const bool written = e.kind == Tok::kLetter && lower(e.text) == "e" && digits.kind == Tok::kNumber;
    const bool ends = next.kind == Tok::kEnd || next.is(',') || next.is(')') || next.is('}') || next.is('=');
    if (quirks_ || !written || !ends || e.space_before || digits.space_before || digits.text.size() > 3) return {};
    int exponent = 0;
    const auto* end = digits.text.data() + digits.text.size();
    if (std::from_chars(digits.text.data(), end, exponent).ptr != end) return {};
    at_ += 2;
    return exponent;
  }

  /// The 3 of 0.\\overline{3}, after digits with a point.
  std::optional<std::string_view> take_period(std::string& digits) {
    const bool point = peek().is('.');
    const auto& bar = peek(point);
    if (bar.kind != Tok::kAccent || (!point && digits.find('.') == std::string::npos)) return {};
    const bool repeats =
        bar.text.starts_with("overline{") || bar.text.starts_with("bar{") || (!quirks_ && bar.text.starts_with("dot{"));
    if (!repeats) return {};
    const size_t open = bar.text.find('{');
    const auto period = bar.text.substr(open + 1, bar.text.size() - open - 2);
    if (period.empty() || period.size() > 64 || !std::ranges::all_of(period, is_ascii_digit)) return {};
    at_ += point ? 2 : 1;
    if (point) digits += '.';
    return period;
  }
  Expr repeating(const std::string& digits, std::string_view period) {
    const auto places = static_cast<int64_t>(digits.size() - digits.find('.') - 1);
    const Rational nines = power(Rational(10), static_cast<int64_t>(period.size())) - 1;
    const Rational tail = Rational::from_decimal(period) / nines / power(Rational(10), places);
    return number(Rational::from_decimal(digits) + tail);
  }

  Expr letter(std::string_view name) {
    if (name == "e") return arena_.atom(Op::kE);
    if (name == "I" && quirks_) return arena_.atom(Op::kI);
    return symbol(lower(name));
  }

  /// \text{(C)} is C; \mathrm{e}, where a formula goes on, the number.
  Expr text(std::string_view content) {
    std::string name;
    for (const char c : content) {
      if (c != ' ' && c != '(' && c != ')') name += ascii_lower(c);
    }
    if (name.empty()) return nullptr;
    const bool in_formula = peek().kind != Tok::kEnd || at_ > 1;
    if (!quirks_ && name == "e" && in_formula) return arena_.atom(Op::kE);
    return symbol(name);
  }

  static std::string accent_name(std::string_view written) {
    std::string name;
    for (const char c : written) {
      if (c != ' ') name += ascii_lower(c);
    }
    const auto replace_front = [&](std::string_view from, std::string_view to) {
      if (name.starts_with(from)) name.replace(0, from.size(), to);
    };
    replace_front("overline", "bar");
    replace_front("overrightarrow", "vec");
    replace_front("widetilde", "tilde");
    replace_front("widehat", "hat");
    if (name.find('{') == std::string::npos) name.insert(name.size() - 1, "{").append("}");  // \vec a
    return name;
  }

  /// A symbol with its primes and subscript; a call when arguments follow.
  Expr symbol(std::string name) {
    while (take('\'')) name += '\'';
    if (take('_')) {
      const auto index = subscript();
      if (index.empty()) return nullptr;
      name += index.size() > 1 ? "_{" + index + "}" : "_" + index;
    }
    if (peek().is('(') && is_call()) return call(name);
    return arena_.symbol(name);
  }

  /// The text of a subscript, in lower case: one token or {..}; empty when there is none.
  std::string subscript() {
    std::string name;
    if (!take('{')) {
      if (peek().kind == Tok::kEnd) return name;
      return lower(tokens_[at_++].text);
    }
    for (size_t depth = 1; peek().kind != Tok::kEnd; ++at_) {
      if (peek().is('{')) ++depth;
      if (peek().is('}') && --depth == 0) break;
      name += lower(peek().text);
    }
    return take('}') ? name : std::string();
  }

  /// Whether ( begins arguments: one symbol or number, or several parts with commas. a(b+c) is a product.
  bool is_call() {
    size_t depth = 0, i = at_, inside = 0;
    bool comma = false, sums = false;
    for (; tokens_[i].kind != Tok::kEnd; ++i) {
      const auto& token = tokens_[i];
      const bool opens = token.is('(') || token.is('{') || token.is('[') || token.is('L');
      const bool closes = token.is(')') || token.is('}') || token.is(']') || token.is('R');
      if (opens) ++depth;
      if (closes && --depth == 0) break;
      if (i == at_) continue;
      if (depth == 1 && token.is(',')) comma = true;
      const bool script = depth == 1 && (token.is('^') || token.is('_'));
      if (depth == 1 && !script && !closes) {
        const bool atom = token.kind == Tok::kNumber || token.kind == Tok::kLetter || token.kind == Tok::kText ||
                          token.kind == Tok::kAccent || token.kind == Tok::kCommand;
        const bool exponent = tokens_[i - 1].is('^') || tokens_[i - 1].is('_');
        if (!atom) sums = true;
        if (!exponent) ++inside;
      }
    }
    if (!budget_.spend(static_cast<int64_t>(i - at_) / 8) || tokens_[i].kind == Tok::kEnd) return false;
    return comma || (!sums && inside == 1);
  }

  Expr call(const std::string& name) {
    ++at_;
    Lists lists;
    if (!parse_lists(lists) || !take(')')) return nullptr;
    Exprs args;
    for (const auto& list : lists) args.insert(args.end(), list.begin(), list.end());
    return arena_.make(Op::kCall, args, 0, name);
  }

  Expr command(std::string_view name) {
    if (name == "frac") return fraction();
    if (name == "sqrt") return root();
    if (name == "binom") return binomial();
    if (name == "pi") return arena_.atom(Op::kPi);
    if (name == "infty") return arena_.atom(Op::kInfinity);
    if (name == "emptyset") return arena_.make(Op::kNamedSet, {}, static_cast<uint32_t>(NamedSet::kEmpty));
    if (name == "log" || name == "ln" || name == "lg") return logarithm(name);
    if (name == "exp" || name == "exponentialE") return exponential(name == "exp");
    if (name == "lfloor") return enclosed(Function::kFloor, "rfloor");
    if (name == "lceil") return enclosed(Function::kCeil, "rceil");
    if (name == "langle") return angle();
    if (name == "sum" || name == "prod") return big_operator(name == "prod");
    if (name == "int" || name == "lim") return opaque(name);
    if (const auto set = named_set(name)) return arena_.make(Op::kNamedSet, {}, static_cast<uint32_t>(*set));
    if (const auto function = find_function(name, kFunctions)) return applied(*function);
    if (const auto function = find_function(name, kListFunctions)) return applied_to_list(*function);
    const bool called = peek().is('(') || peek().is('{');
    if (const auto function = find_function(name, kOtherFunctions); function && called) return applied(*function);
    return is_symbol_command(name) ? symbol(lower(name)) : nullptr;
  }

  static std::optional<NamedSet> named_set(std::string_view name) {
    static constexpr std::string_view kNames = "NZQRCP";
    static constexpr std::array kSets{NamedSet::kNaturals, NamedSet::kIntegers,  NamedSet::kRationals,
                                      NamedSet::kReals,    NamedSet::kComplexes, NamedSet::kPrimes};
    const size_t found = name.size() == 1 ? kNames.find(name) : std::string_view::npos;
    return found == std::string_view::npos ? std::nullopt : std::optional(kSets[found]);
  }

  Expr fraction() {
    const size_t begin = at_;
    const auto* top = argument();
    if (!scalar(top)) return nullptr;
    const size_t middle = at_;
    const auto* bottom = argument();
    if (!scalar(bottom)) return nullptr;
    if (is_differential(begin) && is_differential(middle))
      return arena_.make(Op::kOpaque, {top, bottom}, 0, "derivative");
    return quotient(arena_, top, bottom);
  }
  /// {d.., as in \frac{dy}{dx}
  bool is_differential(size_t at) const {
    return tokens_[at].is('{') && tokens_[at + 1].kind == Tok::kLetter && tokens_[at + 1].text == "d";
  }

  Expr root() {
    const Level level(*this);
    if (!level.fits()) return nullptr;
    const auto* degree = number(2);
    if (take('[')) {
      degree = parse_sum();
      if (!scalar(degree) || !take(']')) return nullptr;
    }
    const auto* base = argument();
    if (!scalar(base)) return nullptr;
    if (degree->is_number() && degree->value->as_int() == 2) {
      return arena_.make(Op::kPower, {base, number(Rational(1, 2))});
    }
    if (!quirks_) return arena_.function(Function::kRoot, {base, degree});
    return arena_.make(Op::kPower, {base, quotient(arena_, number(1), degree)});
  }

  Expr binomial() {
    const auto* upper = argument();
    const auto* lower_part = scalar(upper) ? argument() : nullptr;
    return scalar(lower_part) ? arena_.function(Function::kBinomial, {upper, lower_part}) : nullptr;
  }

  Expr enclosed(Function function, std::string_view close) {
    const Level level(*this);
    if (!level.fits()) return nullptr;
    const auto* value = parse_sum();
    return scalar(value) && take_command(close) ? arena_.function(function, {value}) : nullptr;
  }

  /// \langle 1,2\rangle. Math-Verify has no such tuples.
  Expr angle() {
    const Level level(*this);
    if (!level.fits()) return nullptr;
    Lists lists;
    if (!parse_lists(lists) || !take_command("rangle") || lists.size() > 1) return nullptr;
    return quirks_ ? nullptr : arena_.make(Op::kTuple, lists[0], /*code=*/1);
  }

  struct Scripts {
    Expr power = nullptr, base = nullptr;
  };
  /// ^n and _b after a function's name.
  bool scripts(Scripts& found) {
    for (;;) {
      if (peek().is('^') && !found.power) {
        ++at_;
        if (!scalar(found.power = parse_exponent())) return false;
      } else if (peek().is('_') && !found.base) {
        ++at_;
        if (!scalar(found.base = argument())) return false;
      } else {
        return true;
      }
    }
  }

  /// (sum), or the factors that follow, up to the next function.
  Expr function_argument() {
    if (peek().is('(')) return parse_group();
    const auto* first = parse_signed_factor();
    if (!scalar(first)) return nullptr;
    Exprs factors{first};
    while (starts_factor() && !starts_function()) {
      factors.push_back(parse_postfix());
      if (!scalar(factors.back())) return nullptr;
    }
    auto* value = factors.size() == 1 ? first : arena_.make(Op::kProduct, factors);
    return quirks_ ? longer_argument(value) : value;
  }
  Expr parse_signed_factor() {
    if (take('-')) {
      const auto* value = parse_postfix();
      return scalar(value) ? negated(arena_, value) : nullptr;
    }
    return parse_postfix();
  }
  /// Math-Verify's \sin x/2 is the sine of x/2.
  Expr longer_argument(Expr value) {
    return with_factors(value, [this] { return parse_juxtaposed(); });
  }
  bool starts_function() const {
    if (peek().kind != Tok::kCommand) return false;
    static constexpr std::array<std::string_view, 8> kOthers{"log", "ln", "lg", "exp", "sum", "prod", "int", "lim"};
    return find_function(peek().text, kFunctions) || std::ranges::find(kOthers, peek().text) != kOthers.end();
  }

  Expr powered(Expr value, Expr exponent) {
    return value && exponent ? arena_.make(Op::kPower, {value, exponent}) : value;
  }

  Expr applied(Function function) {
    const Level level(*this);
    Scripts found;
    if (!level.fits() || !scripts(found)) return nullptr;
    const bool of_angle = function <= Function::kCsc;
    trigonometric_ += of_angle;
    const auto* value = function_argument();
    trigonometric_ -= of_angle;
    if (!scalar(value)) return nullptr;
    const bool inverse = found.power && found.power->is_number() && found.power->value->as_int() == -1;
    if (inverse) {
      if (function >= Function::kSin && function <= Function::kCsc) {
        return arena_.function(arc(function), {value});
      }
      if (function >= Function::kSinh && function <= Function::kTanh) {
        return arena_.function(static_cast<Function>(static_cast<int>(function) + 3), {value});
      }
    }
    return powered(arena_.function(function, {value}), found.power);
  }
  static Function arc(Function function) {
    static constexpr std::array kArcs{Function::kArcsin, Function::kArccos, Function::kArctan,
                                      Function::kArccot, Function::kArcsec, Function::kArccsc};
    return kArcs[static_cast<size_t>(function)];
  }

  Expr applied_to_list(Function function) {
    const Level level(*this);
    Scripts found;
    if (!level.fits() || !scripts(found) || found.base) return nullptr;
    Lists lists;
    const bool braces = peek().is('L') || peek().is('{');
    if (!take('(') && !take('L') && !take('{')) return nullptr;
    if (!parse_lists(lists) || lists.size() > 1 || !(braces ? take('R') || take('}') : take(')'))) return nullptr;
    if (!std::ranges::all_of(lists[0], scalar)) return nullptr;
    return powered(arena_.function(function, lists[0]), found.power);
  }

  /// \log_b x is kept as a function of x and b.
  Expr logarithm(std::string_view name) {
    const Level level(*this);
    Scripts found;
    if (!level.fits() || !scripts(found)) return nullptr;
    const auto* value = function_argument();
    if (!scalar(value)) return nullptr;
    const auto* base = found.base ? found.base : name == "ln" ? arena_.atom(Op::kE) : number(10);
    return powered(arena_.function(Function::kLog, {value, base}), found.power);
  }

  Expr exponential(bool has_argument) {
    if (!has_argument) return arena_.atom(Op::kE);
    const Level level(*this);
    Scripts found;
    if (!level.fits() || !scripts(found) || found.base) return nullptr;
    const auto* value = function_argument();
    if (!scalar(value)) return nullptr;
    return powered(arena_.make(Op::kPower, {arena_.atom(Op::kE), value}), found.power);
  }

  /// \sum_{k=1}^{n} body
  Expr big_operator(bool is_product) {
    const Level level(*this);
    if (!level.fits()) return nullptr;
    Expr variable = nullptr, first = nullptr, last = nullptr;
    for (int part = 0; part < 2; ++part) {
      if (take('_')) {
        if (!take('{')) return nullptr;
        variable = parse_atom();
        if (!variable || !variable->is(Op::kSymbol) || !take('=')) return nullptr;
        first = parse_sum();
        if (!scalar(first) || !take('}')) return nullptr;
      } else if (take('^')) {
        last = parse_exponent();
        if (!scalar(last)) return nullptr;
      }
    }
    if (!variable || !last) return nullptr;
    const auto* body = parse_product();
    return scalar(body) ? arena_.make(Op::kBigSum, {body, variable, first, last}, is_product) : nullptr;
  }

  /// Integrals and limits are names that hold the rest of the formula.
  Expr opaque(std::string_view name) {
    std::string whole(name);
    for (; peek().kind != Tok::kEnd && !peek().is('=') && !peek().is(',') && !peek().is(';'); ++at_) {
      whole += peek().kind == Tok::kCommand ? "\\" + std::string(peek().text) : std::string(peek().text);
    }
    return arena_.make(Op::kOpaque, {}, 0, whole);
  }

  // Groups.
  Expr parse_group() {
    const Level level(*this);
    if (!level.fits()) return nullptr;
    const char open = peek().sign;
    ++at_;
    if (open == '|') return bars();
    if (open != '(' && open != '[' && open != '{' && open != 'L') return nullptr;
    const bool braces = open == '{' || open == 'L';
    if (braces && (take('}') || take('R'))) return empty_braces();
    if (open == '{') {
      if (const auto* chosen = chosen_binomial()) return chosen;
    }
    const int outer_bars = bars_;
    bars_ = 0;
    Lists lists;
    const bool fine = parse_lists(lists);
    bars_ = outer_bars;
    if (!fine) return nullptr;
    const char close = peek().sign;
    if (peek().kind != Tok::kSign || (close != ')' && close != ']' && close != '}' && close != 'R')) return nullptr;
    ++at_;
    if (braces != (close == '}' || close == 'R')) return nullptr;
    return braces ? set_of(lists, open == 'L') : interval_or_tuple(lists, open, close);
  }

  Expr empty_braces() {
    const bool decoration = tokens_[at_ - 1].is('}') && (peek().is('_') || peek().is('^'));
    return decoration ? nullptr : arena_.make(Op::kNamedSet, {}, static_cast<uint32_t>(NamedSet::kEmpty));
  }

  /// \{a\} is a; but \{\emptyset\}, with braces that are `visible`, is not empty.
  Expr set_of(const Lists& lists, bool visible) {
    const auto* first = lists[0][0];
    const bool is_empty_set = first->is(Op::kNamedSet) && first->code == static_cast<uint32_t>(NamedSet::kEmpty);
    const bool single = lists.size() == 1 && lists[0].size() == 1;
    if (single && !(visible && is_empty_set)) return first;
    Exprs elements;
    for (const auto& list : lists) elements.insert(elements.end(), list.begin(), list.end());
    return arena_.make(Op::kSet, elements, 0, {}, visible && !quirks_ ? kBraces : 0);
  }

  Expr interval_or_tuple(const Lists& lists, char open, char close) {
    const bool matched = (open == '(') == (close == ')');
    if (lists.size() == 1) {
      const auto& elements = lists[0];
      if (elements.size() == 1) return matched ? elements[0] : nullptr;
      if (elements.size() == 2 && scalar(elements[0]) && scalar(elements[1])) {
        const uint32_t openness = (open == '(' ? kLeftOpen : 0) | (close == ')' ? kRightOpen : 0);
        return arena_.make(Op::kInterval, elements, openness);
      }
    }
    if (!matched) return nullptr;
    Exprs elements;
    for (const auto& list : lists) elements.insert(elements.end(), list.begin(), list.end());
    return arena_.make(Op::kTuple, elements);
  }

  /// {n \choose k}
  Expr chosen_binomial() {
    size_t i = at_;
    for (size_t depth = 1; tokens_[i].kind != Tok::kEnd && depth > 0; ++i) {
      if (tokens_[i].is('{')) ++depth;
      if (tokens_[i].is('}')) --depth;
      if (depth == 1 && tokens_[i].is_command("choose")) break;
    }
    if (!budget_.spend(static_cast<int64_t>(i - at_) / 8) || !tokens_[i].is_command("choose")) return nullptr;
    const auto* upper = parse_sum();
    if (!scalar(upper) || !take_command("choose")) return nullptr;
    const auto* lower_part = parse_sum();
    if (!scalar(lower_part) || !take('}')) return nullptr;
    return arena_.function(Function::kBinomial, {upper, lower_part});
  }

  Expr bars() {
    ++bars_;
    const auto* value = parse_sum();
    --bars_;
    return scalar(value) && take('|') ? arena_.function(Function::kAbs, {value}) : nullptr;
  }

  Expr parse_matrix() {
    const auto name = peek().text;
    static constexpr std::array<std::string_view, 7> kMatrices{"matrix",  "pmatrix", "bmatrix",    "Bmatrix",
                                                               "vmatrix", "array",   "smallmatrix"};
    if (std::ranges::find(kMatrices, name) == kMatrices.end()) return nullptr;
    const Level level(*this);
    if (!level.fits()) return nullptr;
    ++at_;
    Exprs entries;
    size_t columns = 0, row = 0;
    const size_t side = budget_.limits().matrix_side;
    for (;;) {
      const auto* entry = parse_sum();
      if (!scalar(entry)) return nullptr;
      entries.push_back(entry);
      if (++row > side || entries.size() > side * side) {
        budget_.reach("size of a matrix");
        return nullptr;
      }
      if (take('&')) continue;
      if (columns != 0 && row != columns) return nullptr;
      columns = std::exchange(row, 0);
      if (peek().kind == Tok::kNewRow) ++at_;
      if (peek().kind == Tok::kFinish) break;
      if (tokens_[at_ - 1].kind != Tok::kNewRow) return nullptr;
    }
    ++at_;
    auto* matrix = arena_.make(Op::kMatrix, entries, static_cast<uint32_t>(columns));
    return name == "vmatrix" ? arena_.function(Function::kDet, {matrix}) : matrix;
  }

  std::vector<Token>& tokens_;
  Arena& arena_;
  bool quirks_;
  Budget& budget_;
  size_t at_ = 0;
  int depth_ = 0;
  int bars_ = 0;                  // | | that are open
  int trigonometric_ = 0;         // sines and the like whose argument is being read
  bool seen_plus_minus_ = false;  // in the element being read
  int sign_ = 1;                  // what \pm means
};

}  // namespace

Expr parse(std::vector<Token>& tokens, Arena& arena, bool quirks, Budget& budget) {
  if (tokens.size() < 2) return nullptr;
  return Parser(tokens, arena, quirks, budget).run();
}

Expr negated(Arena& arena, Expr value) {
  if (value->is_number()) return arena.number(-*value->value, value->flags);
  Exprs factors{arena.number(-1)};
  if (value->is(Op::kProduct)) {
    factors.insert(factors.end(), value->args.begin(), value->args.end());
  } else {
    factors.push_back(value);
  }
  return arena.make(Op::kProduct, factors);
}

Expr quotient(Arena& arena, Expr top, Expr bottom) {
  const bool integers = top->is_integer() && bottom->is_integer() && !((top->flags | bottom->flags) & kDecimal);
  if (integers && bottom->value->is_zero()) return arena.make(Op::kUndefined, {}, 0, top->value->to_string() + "/0");
  if (integers) return arena.number(*top->value / *bottom->value);
  return arena.make(Op::kProduct, {top, arena.make(Op::kPower, {bottom, arena.number(-1)})});
}

}  // namespace hone
