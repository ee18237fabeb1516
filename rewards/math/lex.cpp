#include "rewards/math/lex.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "rewards/math/scan.h"
#include "rewards/math/units.h"

namespace hone {
namespace {

template <size_t N>
bool is_one_of(std::string_view word, const std::array<std::string_view, N>& words) {
  return std::ranges::find(words, word) != words.end();
}

constexpr std::array<std::string_view, 38> kDecorations{
    "left",   "right",    "mleft",     "mright", "middle", "big",   "Big",   "bigg",         "Bigg",      "bigl",
    "bigr",   "Bigl",     "Bigr",      "biggl",  "biggr",  "Biggl", "Biggr", "displaystyle", "textstyle", "scriptstyle",
    "limits", "nolimits", "mathstrut", "strut",  "hfill",  "hfil",  "vrule", "vskip",        "vspace",    "rm",
    "bf",     "it",       "boldmath",  "tiny",   "small",  "large", "Large", "normalsize"};
constexpr std::array<std::string_view, 12> kSpaces{"quad",       "qquad",        "thinspace",   "medspace",
                                                   "thickspace", "negthinspace", "negmedspace", "negthickspace",
                                                   "ldots",      "space",        "enspace",     "hspace"};
constexpr std::array<std::string_view, 14> kTexts{"text",   "textbf", "textit", "textrm", "textnormal",
                                                  "textsf", "texttt", "mathrm", "mathbf", "mathit",
                                                  "mbox",   "mathsf", "mathtt", "bm"};
constexpr std::array<std::string_view, 20> kAccents{
    "bar",       "overline", "vec",     "overrightarrow", "hat",    "widehat", "tilde",
    "widetilde", "dot",      "ddot",    "acute",          "grave",  "breve",   "check",
    "mathcal",   "mathfrak", "mathscr", "boldsymbol",     "mathbb", "mathring"};
constexpr std::array<std::string_view, 3> kColours{"color", "textcolor", "colorbox"};
constexpr std::array<std::string_view, 17> kWords{"sin",    "cos",    "tan",  "cot",  "sec", "csc",
                                                  "log",    "ln",     "exp",  "sqrt", "pi",  "arcsin",
                                                  "arccos", "arctan", "sinh", "cosh", "tanh"};

struct Synonym {
  std::string_view written;
  std::string_view means;  ///< a command, or one character
};
constexpr std::array<Synonym, 63> kSigns{{
    {"−", "-"},      {"×", "times"},  {"⋅", "times"},    {"·", "times"},   {"∗", "*"},      {"∙", "times"},
    {"÷", "div"},    {"∕", "/"},      {"≤", "le"},       {"≥", "ge"},      {"≠", "ne"},     {"≈", "approx"},
    {"∞", "infty"},  {"π", "pi"},     {"√", "sqrt"},     {"∪", "cup"},     {"∩", "cap"},    {"∖", "setminus"},
    {"±", "pm"},     {"∓", "mp"},     {"∅", "emptyset"}, {"ℝ", "R"},       {"ℕ", "N"},      {"ℤ", "Z"},
    {"ℚ", "Q"},      {"ℂ", "C"},      {"∈", "in"},       {"∉", "notin"},   {"°", "degree"}, {"α", "alpha"},
    {"β", "beta"},   {"γ", "gamma"},  {"δ", "delta"},    {"ε", "epsilon"}, {"ζ", "zeta"},   {"η", "eta"},
    {"θ", "theta"},  {"ι", "iota"},   {"κ", "kappa"},    {"λ", "lambda"},  {"μ", "mu"},     {"ν", "nu"},
    {"ξ", "xi"},     {"ρ", "rho"},    {"σ", "sigma"},    {"τ", "tau"},     {"φ", "phi"},    {"ϕ", "varphi"},
    {"χ", "chi"},    {"ψ", "psi"},    {"ω", "omega"},    {"Γ", "Gamma"},   {"Δ", "Delta"},  {"Θ", "Theta"},
    {"Λ", "Lambda"}, {"Ξ", "Xi"},     {"Π", "Pi"},       {"Σ", "Sigma"},   {"Φ", "Phi"},    {"Ψ", "Psi"},
    {"Ω", "Omega"},  {"⟨", "langle"}, {"⟩", "rangle"},
}};
constexpr std::array<Synonym, 27> kCommandNames{{
    {"textdegree", "degree"},
    {"dfrac", "frac"},
    {"tfrac", "frac"},
    {"cfrac", "frac"},
    {"leq", "le"},
    {"leqslant", "le"},
    {"geq", "ge"},
    {"geqslant", "ge"},
    {"neq", "ne"},
    {"dbinom", "binom"},
    {"tbinom", "binom"},
    {"cdot", "times"},
    {"ast", "times"},
    {"varnothing", "emptyset"},
    {"lbrack", "["},
    {"rbrack", "]"},
    {"lgroup", "("},
    {"rgroup", ")"},
    {"lbrace", "L"},
    {"rbrace", "R"},
    {"lvert", "|"},
    {"rvert", "|"},
    {"vert", "|"},
    {"lt", "<"},
    {"gt", ">"},
    {"colon", ":"},
    {"dotsb", "dots"},
}};

class Lexer {
 public:
  Lexer(std::string_view source, bool quirks)
      : source_(source), quirks_(quirks), in_environment_(source.find("\\begin{") != std::string_view::npos) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) {
      if (!step()) return {};
    }
    add(Tok::kEnd, {});
    return std::move(tokens_);
  }

 private:
  char peek(size_t ahead = 0) const { return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0'; }

  void add(Tok kind, std::string_view text, char sign = 0) {
    tokens_.push_back({kind, sign, space_, thin_, text});
    space_ = thin_ = false;
  }
  void add_space(size_t bytes, bool thin = false) {
    at_ += bytes;
    thin_ = thin && !space_;
    space_ = true;
  }
  void add_sign(char sign, size_t bytes) {
    add(Tok::kSign, source_.substr(at_, bytes), sign);
    at_ += bytes;
  }
  /// A command by its name, or the character that a name of one character stands for.
  void add_meaning(std::string_view means) {
    static constexpr std::string_view kSets = "RNZQC";
    if (means.size() == 1 && kSets.find(means) == std::string_view::npos) {
      add(Tok::kSign, means, means[0]);
    } else {
      add(Tok::kCommand, means);
    }
  }

  bool step() {
    if (const size_t bytes = space_at(source_, at_)) {
      add_space(bytes);
      return true;
    }
    const char c = peek();
    if (c == '\\') return command();
    if (is_ascii_digit(c) || (c == '.' && is_ascii_digit(peek(1)))) return number();
    if (is_letter(c)) return letters();
    if (static_cast<unsigned char>(c) >= 0x80) return beyond_ascii();
    return sign(c);
  }

  bool number() {
    size_t end = at_;
    while (end < source_.size() && is_ascii_digit(source_[end])) ++end;
    if (end + 1 < source_.size() && source_[end] == '.' && is_ascii_digit(source_[end + 1])) {
      do ++end;
      while (end < source_.size() && is_ascii_digit(source_[end]));
    }
    add(Tok::kNumber, source_.substr(at_, end - at_));
    at_ = end;
    return true;
  }

  bool sign(char c) {
    static constexpr std::string_view kKnown = "+-*/^_=<>!|()[]{},;:%&.~";
    const bool prime = c == '\'' && !quirks_ && !space_ && !tokens_.empty() && tokens_.back().kind == Tok::kLetter;
    if (prime) {
      add_sign(c, 1);
      return true;
    }
    if (c == '$' || c == '"' || c == '\'') {
      ++at_;
      return true;
    }
    if (kKnown.find(c) == std::string_view::npos) return false;
    if (c == '{' && braced_comma()) return true;
    if (!quirks_ && source_.substr(at_).starts_with("+/-")) {
      add_meaning("pm");
      at_ += 3;
      return true;
    }
    for (const auto& [written, means] : kTwoSigns) {
      const bool factorial = c == '!' && !quirks_ && !space_ && !tokens_.empty() && tokens_.back().kind == Tok::kNumber;
      if (!factorial && source_.substr(at_).starts_with(written)) {  // 5!=120
        add_meaning(means);
        at_ += written.size();
        return true;
      }
    }
    if (c == '~') {
      add_space(1);
    } else {
      add_sign(c, 1);
    }
    return true;
  }
  static constexpr std::array<Synonym, 6> kTwoSigns{
      {{"<=", "le"}, {">=", "ge"}, {"!==", "ne"}, {"!=", "ne"}, {"==", "="}, {"~=", "approx"}}};

  /// {,} is a comma that makes no space.
  bool braced_comma() {
    const size_t comma = skip_space(source_, at_ + 1);
    if (comma >= source_.size() || source_[comma] != ',') return false;
    const size_t close = skip_space(source_, comma + 1);
    if (close >= source_.size() || source_[close] != '}') return false;
    space_ = false;
    add(Tok::kSign, ",", ',');
    at_ = close + 1;
    return true;
  }

  bool beyond_ascii() {
    static constexpr std::array<std::string_view, 5> kNothing{"\u200B", "\u200C", "\u200D", "\u2060", "\uFEFF"};
    if (const size_t bytes = quirks_ ? 0 : currency_sign_at(source_, at_)) {  // dropped like \$
      at_ += bytes;
      return true;
    }
    for (const auto nothing : kNothing) {
      if (!source_.substr(at_).starts_with(nothing)) continue;
      at_ += nothing.size();
      return true;
    }
    for (const auto& [written, means] : kSigns) {
      if (!source_.substr(at_).starts_with(written)) continue;
      add_meaning(means);
      at_ += written.size();
      return true;
    }
    return false;
  }

  /// A run of letters: a word that means something, or one token per letter.
  bool letters() {
    size_t end = at_;
    while (end < source_.size() && is_letter(source_[end])) ++end;
    const auto run = source_.substr(at_, end - at_);
    if (word(run)) {
      at_ = end;
      if (run == "log") base_of_log();
      return true;
    }
    if (run == "C" && combinations()) return true;
    if (run.ends_with("sqrt") && run.size() > 4) end -= 4;
    for (; at_ < end; ++at_) add(Tok::kLetter, source_.substr(at_, 1));
    return true;
  }

  bool word(std::string_view run) {
    if (run == "and" || run == "or") return comma();
    if (run == "percent" || run == "percentage" || run == "pct") {
      add(Tok::kSign, "%", '%');
    } else if (run == "infinity" || run == "inf") {
      add(Tok::kCommand, "infty");
    } else if (run == "sqrt" || (!quirks_ && is_one_of(run, kWords))) {
      add(Tok::kCommand, run);
    } else {
      return false;
    }
    return true;
  }

  /// log2(8), log10(100).
  void base_of_log() {
    const auto base = digits_at(at_);
    if (base.empty() || peek(base.size()) != '(') return;
    add(Tok::kSign, "_", '_');
    add_braced(base);
    at_ += base.size();
  }

  /// 10C3 as \binom{10}{3}.
  bool combinations() {
    const auto lower_part = digits_at(at_ + 1);
    const bool after_number = !space_ && !tokens_.empty() && tokens_.back().kind == Tok::kNumber;
    if (quirks_ || !after_number || lower_part.empty()) return false;
    auto& number = tokens_.back();
    const auto upper = std::exchange(number.text, "binom");
    number.kind = Tok::kCommand;
    add_braced(upper);
    add_braced(lower_part);
    at_ += 1 + lower_part.size();
    return true;
  }

  std::string_view digits_at(size_t at) const {
    size_t end = at;
    while (end < source_.size() && is_ascii_digit(source_[end])) ++end;
    return source_.substr(at, end - at);
  }
  void add_braced(std::string_view digits) {
    add(Tok::kSign, "{", '{');
    add(Tok::kNumber, digits);
    add(Tok::kSign, "}", '}');
  }

  /// A word that separates; one comma where a comma stands before it.
  bool comma() {
    if (tokens_.empty() || !tokens_.back().is(',')) add(Tok::kSign, ",", ',');
    space_ = true;
    return true;
  }

  bool command() {
    const char next = peek(1);
    if (next == '\\') return double_backslash();
    if (!is_letter(next)) return sign_command(next);
    size_t end = at_ + 1;
    while (end < source_.size() && is_letter(source_[end])) ++end;
    const auto name = known_part(source_.substr(at_ + 1, end - at_ - 1));
    at_ += 1 + name.size();
    if (is_one_of(name, kDecorations)) return decoration(name);
    if (is_one_of(name, kSpaces)) return space_command(name);
    if (is_one_of(name, kTexts)) return text_command();
    if (is_one_of(name, kAccents)) return accent(name);
    if (!quirks_ && is_one_of(name, kColours)) return braced().has_value();  // what is coloured goes on
    if (!quirks_ && name == "underline") return true;
    if (!quirks_ && (name == "sfrac" || name == "nicefrac")) {
      add(Tok::kCommand, "frac");
      return true;
    }
    if (name == "begin" || name == "end") return environment(name == "begin");
    if (name == "operatorname") return operator_name();
    for (const auto& [written, means] : kCommandNames) {
      if (name != written) continue;
      add_meaning(means);
      return true;
    }
    add(Tok::kCommand, name);
    return true;
  }

  /// \quadx is \quad x.
  static std::string_view known_part(std::string_view name) {
    static constexpr std::array<std::string_view, 8> kGlued{"qquad", "quad",  "cdot", "times",
                                                            "pi",    "infty", "cup",  "cap"};
    const auto* glued = std::ranges::find_if(kGlued, [&](std::string_view g) { return name.starts_with(g); });
    return glued == kGlued.end() ? name : *glued;
  }

  bool decoration(std::string_view name) {
    const bool delimiter = name == "left" || name == "right";
    if (delimiter && peek() == '.') ++at_;  // \left. shows nothing
    return true;
  }

  bool space_command(std::string_view name) {
    if (name == "ldots" && !tokens_.empty() && tokens_.back().is(',')) {
      if (!quirks_) return false;  // says that more elements follow
      tokens_.pop_back();
    }
    add_space(0);
    if (!quirks_ && name == "hspace") braced();
    return true;
  }

  bool double_backslash() {
    const bool command_follows = is_letter(peek(2));
    if (in_environment_) {
      add(Tok::kNewRow, source_.substr(at_, 2));
      at_ += 2;
    } else if (command_follows || peek(2) == '\\') {
      ++at_;  // \\frac, escaped twice
    } else if (std::string_view("{}()[],;:!%$|").find(peek(2)) != std::string_view::npos && peek(2) != '\0') {
      ++at_;
    } else {
      add_space(2);
    }
    return true;
  }

  bool sign_command(char c) {
    switch (c) {
      case '{':
        add_sign('L', 2);
        return true;
      case '}':
        add_sign('R', 2);
        return true;
      case '|':
        add_sign('N', 2);
        return true;
      case '(':
      case ')':
      case '[':
      case ']':
      case '%':
        add_sign(c, 2);
        return true;
      case '!':
        at_ += 2;
        space_ = false;
        at_ = skip_space(source_, at_);
        return true;
      case ',':
        add_space(2, true);
        return true;
      case '$':
        at_ += 2;
        return true;
      case ';':
      case ':':
      case ' ':
      case '\n':
      case '\0':
        add_space(std::min<size_t>(2, source_.size() - at_));
        return true;
      default:
        return false;
    }
  }

  /// The content of {..} after white space; none when no brace opens here.
  std::optional<std::string_view> braced() {
    const size_t open = skip_space(source_, at_);
    if (open >= source_.size() || source_[open] != '{') return {};
    size_t depth = 0;
    for (size_t i = open; i < source_.size(); ++i) {
      if (source_[i] == '{') ++depth;
      if (source_[i] == '}' && --depth == 0) {
        at_ = i + 1;
        return source_.substr(open + 1, i - open - 1);
      }
    }
    return {};
  }

  /// The letter after white space, as in \vec a.
  std::optional<std::string_view> one_letter() {
    const size_t letter = skip_space(source_, at_);
    if (letter == at_ || letter >= source_.size() || !is_letter(source_[letter])) return {};
    at_ = letter + 1;
    return source_.substr(letter, 1);
  }

  static std::string_view trimmed(std::string_view text) {
    while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
    while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
    return text;
  }

  bool text_command() {
    const auto content = braced();
    if (!content) return false;
    const auto text = trimmed(*content);
    if (text.empty()) {
      space_ = true;
    } else if (text == "and" || text == "or" || text == ",and" || text == ", and" || text == ", or" || text == ",") {
      return comma();
    } else if (text == "percent" || text == "percentage" || text == "pct" || text == "\\%" || text == "%") {
      add(Tok::kSign, "%", '%');
    } else if (text.size() == 1 && is_letter(text[0]) && (!quirks_ || text == "T" || text == "d")) {
      add(Tok::kText, text);
    } else if (text == "th") {
      space_ = true;
    } else {
      add(Tok::kText, text);
    }
    return true;
  }

  bool accent(std::string_view name) {
    auto content = braced();
    if (!content && !quirks_) content = one_letter();
    if (!content) return false;
    if (name == "mathbb" && content->size() == 1 &&
        std::string_view("RNZQCP").find(*content) != std::string_view::npos) {
      add(Tok::kCommand, *content);
    } else {
      add(Tok::kAccent, source_.substr(static_cast<size_t>(name.data() - source_.data()),
                                       static_cast<size_t>(source_.data() + at_ - name.data())));
    }
    return true;
  }

  bool environment(bool begins) {
    const auto name = braced();
    if (!name) return false;
    if (begins && *name == "array") braced();  // the alignment of its columns
    add(begins ? Tok::kBegin : Tok::kFinish, *name);
    return true;
  }

  bool operator_name() {
    const auto name = braced();
    if (!name) return false;
    add(Tok::kCommand, trimmed(*name));
    return true;
  }

  std::string_view source_;
  bool quirks_, in_environment_;
  size_t at_ = 0;
  bool space_ = false, thin_ = false;
  std::vector<Token> tokens_;
};

// Units, by what they measure; each may take -s or -es.
constexpr std::array<std::string_view, 104> kUnits{
    "mm",     "cm",      "dm",      "km",        "meter",    "metre",    "inch",
    "foot",   "feet",    "ft",      "yard",      "mile",     "edge",     "mtr",
    "rd",     "sq m",    "sq cm",   "sq inch",   "sq",       "acre",     "hectare",
    "square", "cubic",   "cube",    "cc",        "cu cm",    "liter",    "litre",
    "gallon", "gal",     "gm",      "kg",        "lb",       "pound",    "mt",
    "second", "sec",     "minute",  "min",       "hour",     "hr",       "day",
    "noon",   "am",      "pm",      "week",      "month",    "year",     "yr",
    "mph",    "kmph",    "kmh",     "degree",    "deg",      "ohm",      "cent",
    "dollar", "rupee",   "rs",      "coin",      "mark",     "unit",     "digit",
    "point",  "number",  "integer", "multiple",  "ratio",    "way",      "step",
    "round",  "rounds",  "tile",    "toy",       "apple",    "meal",     "pie",
    "monkey", "student", "soldier", "person",    "people",   "children", "children ticket",
    "man",    "men",     "woman",   "women",     "east",     "west",     "rise",
    "gain",   "loss",    "profit",  "increase",  "decrease", "excess",   "more",
    "less",   "per",     "by",      "no change", "prime",    "pure"};
constexpr std::array<std::string_view, 16> kShortUnits{"m", "g",  "s",  "h",  "l",  "c",  "d",  "t",
                                                       "o", "st", "th", "ab", "bc", "lt", "mp", "are"};

/// Letters of the longest unit with its plural.
constexpr size_t kLongestUnit = std::ranges::max(kUnits, {}, &std::string_view::size).size() + 2;

bool is_unit(std::string_view word, bool quirks) {
  const auto known = [&](std::string_view w) { return is_one_of(w, kUnits) || (quirks && is_one_of(w, kShortUnits)); };
  if (known(word)) return true;
  if (word.ends_with("s") && known(word.substr(0, word.size() - 1))) return true;
  return word.ends_with("es") && known(word.substr(0, word.size() - 2));
}

/// Takes the tokens from `first` on off the end and returns them as text.
std::string take_from(std::vector<Token>& tokens, size_t first) {
  const auto begin = tokens.begin() + static_cast<ptrdiff_t>(first);
  auto text = join({begin, tokens.end() - 1});
  tokens.erase(begin, tokens.end() - 1);
  return text;
}

/// Drops a plain unit word at the end, if there is one.
std::string drop_unit_word(std::vector<Token>& tokens, bool quirks) {
  size_t begin = tokens.size() - 1;
  while (begin > 0 && tokens[begin - 1].kind == Tok::kLetter && tokens.size() - begin <= kLongestUnit) --begin;
  std::string word;
  for (size_t first = begin; first + 1 < tokens.size(); ++first) {
    const bool starts = tokens[first].space_before ||
                        (first > 0 && (tokens[first - 1].kind == Tok::kNumber || tokens[first - 1].is('}')));
    if (!starts || first == 0) continue;
    word.clear();
    for (size_t i = first; i + 1 < tokens.size(); ++i) {
      if (i > first && tokens[i].space_before) word += ' ';
      word += tokens[i].text;
    }
    if (is_unit(word, quirks)) return take_from(tokens, first);
  }
  return {};
}

/// Where the power of a unit begins that ends the tokens: ^2 or {^2}; the end when there is none.
size_t before_unit_power(const std::vector<Token>& tokens) {
  const size_t end = tokens.size() - 1;
  const auto one_digit = [&](size_t i) { return tokens[i].kind == Tok::kNumber && tokens[i].text.size() == 1; };
  if (end >= 2 && tokens[end - 2].is('^') && one_digit(end - 1)) return end - 2;
  if (end < 4 || !tokens[end - 1].is('}') || !one_digit(end - 2)) return end;
  const bool inside = tokens[end - 4].is('{') && tokens[end - 3].is('^');
  const bool outside = tokens[end - 4].is('^') && tokens[end - 3].is('{');
  return inside || outside ? end - 4 : end;
}

/// Whether a unit may stand behind this token: it ends a quantity.
bool ends_quantity(const Token& token) {
  const bool closes = token.is('}') || token.is(')') || token.is(']') || token.is('R') || token.is('%');
  return closes || token.kind == Tok::kNumber || token.kind == Tok::kLetter || token.kind == Tok::kCommand ||
         token.kind == Tok::kFinish;
}

/// Words that make a quantity another one, or none: "5 or so", "5 and a half", "5 is wrong".
bool says_more_than_a_unit(std::string_view text) {
  static constexpr std::array<std::string_view, 20> kTelling{
      "or",   "and",   "to", "not", "than",  "is",    "isn't", "half",    "maybe", "least",
      "most", "about", "if", "but", "wrong", "times", "plus",  "through", "then",  "minus"};
  while (!text.empty()) {
    const size_t begin = std::min(text.find_first_not_of(" ,;~"), text.size());
    const size_t end = std::min(text.find_first_of(" ,;~", begin), text.size());
    if (is_one_of(text.substr(begin, end - begin), kTelling)) return true;
    text.remove_prefix(end);
  }
  return false;
}

/// Drops \text{..} with its power behind a quantity. Math-Verify's pattern reaches from the first \text to the last
/// brace.
std::string drop_unit_text(std::vector<Token>& tokens, bool quirks) {
  const size_t end = before_unit_power(tokens);
  size_t first = end;
  const auto is_unit_text = [&](size_t i) {
    return quirks || (ends_quantity(tokens[i - 1]) && !says_more_than_a_unit(tokens[i].text));
  };
  if (end > 1 && tokens[end - 1].kind == Tok::kText && is_unit_text(end - 1)) first = end - 1;
  if (quirks && end > 0 && (first < end || tokens[end - 1].is('}'))) {
    const auto text = std::ranges::find(tokens, Tok::kText, &Token::kind);
    if (text != tokens.end()) first = static_cast<size_t>(text - tokens.begin());
  }
  return first == 0 || first == end ? std::string() : take_from(tokens, first);
}

}  // namespace

std::vector<Token> lex(std::string_view source, bool quirks) { return Lexer(source, quirks).run(); }

std::string drop_units(std::vector<Token>& tokens, bool quirks) {
  std::string unit;
  if (tokens.size() < 3) return unit;
  const Token last = tokens[tokens.size() - 2];
  const bool may_be_text = last.kind == Tok::kNumber || last.kind == Tok::kText || last.is('}');
  const bool white_at_end = tokens.back().space_before;  // keeps Math-Verify's pattern from matching
  if (may_be_text && !(quirks && white_at_end)) unit = drop_unit_text(tokens, quirks);
  if (tokens[tokens.size() - 2].kind != Tok::kLetter) return unit;
  for (int words = 0; words < 2; ++words) {
    const auto word = drop_unit_word(tokens, quirks);
    if (word.empty()) break;
    unit = unit.empty() ? word : word + " " + unit;
  }
  return unit;
}

std::string join(const std::vector<Token>& tokens) {
  const auto is_word = [](const Token& token) { return token.kind == Tok::kNumber || token.kind == Tok::kLetter; };
  std::string joined;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0 && tokens[i].space_before && is_word(tokens[i]) && is_word(tokens[i - 1])) joined += ' ';
    if (tokens[i].kind == Tok::kCommand) joined += '\\';
    joined += tokens[i].text;
  }
  return joined;
}

}  // namespace hone
