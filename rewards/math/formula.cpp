#include "rewards/math/formula.h"

#include <algorithm>

#include "rewards/math/words.h"

namespace hone {
namespace {

constexpr size_t kNone = std::string_view::npos;

constexpr std::string_view kFunctions[]{"arccos", "arcsin", "arctan", "cos", "cosh", "cot",  "csc", "exp", "ln",
                                        "log",    "pi",     "sec",    "sin", "sinh", "sqrt", "tan", "tanh"};
constexpr std::string_view kDigits = "0123456789";

/// What stands right behind a number and multiplies it: 5x, but neither 5 m nor 5 h.
constexpr std::string_view kFactors = "abceijknpqrtuvwxyz";

class Reader {
 public:
  Reader(std::string_view text, std::string_view part, bool lists)
      : text_(text),
        lists_(lists),
        part_begin_(static_cast<size_t>(part.data() - text.data())),
        part_end_(part_begin_ + std::min(part.find_last_of(kDigits), part.size() - 1) + 1) {}

  std::string_view run() {
    constexpr size_t kAround = 200;
    size_t at = part_begin_ - std::min(part_begin_, kAround);
    const size_t line = text_.substr(at, part_begin_ - at).rfind('\n');
    if (line != kNone) at += line + 1;
    else if (at > 0) at = text_.find(' ', at);
    const size_t limit = std::min(text_.size(), part_end_ + kAround);
    begin_ = at;
    size_t end = kNone;
    while (at < limit && end == kNone) {
      const size_t next = at + piece(at);
      const size_t size = next - at;
      if (size > 0) {
        at = next;
      } else if (at < part_begin_) {
        begin_ = at += std::max<size_t>(stop_size(at), 1);
        depth_ = 0;
      } else {
        end = at;
      }
    }
    return begin_ > part_begin_ ? std::string_view() : trimmed(begin_, std::min(end, limit));
  }

 private:
  char peek(size_t at) const { return at < text_.size() ? text_[at] : '\0'; }
  char before(size_t at) const { return at > begin_ ? text_[at - 1] : '\0'; }
  char last_before(size_t at) const {
    while (before(at) == ' ') --at;
    return before(at);
  }
  char next_after(size_t at) const {
    while (peek(at) == ' ' && peek(at + 1) == ' ') ++at;
    return peek(at) == ' ' ? peek(at + 1) : peek(at);
  }
  static bool is_operator(char c) { return c != '\0' && std::string_view("+-*/^=<>").find(c) != kNone; }
  size_t letters_end(size_t at) const {
    while (is_letter(peek(at))) ++at;
    return at;
  }

  /// Bytes of mathematics at `at`; 0 when there is none.
  size_t piece(size_t at) {
    const char c = text_[at];
    if (c == ' ' || is_ascii_digit(c)) return 1;
    if (is_letter(c)) return word(at);
    if (static_cast<unsigned char>(c) >= 0x80) return beyond_ascii(text_.substr(at));
    switch (c) {
      case '(':
        if (is_option_label(at)) return 0;
        [[fallthrough]];
      case '[':
      case '{':
        ++depth_;
        return 1;
      case ')':
      case ']':
      case '}':
        if (depth_ == 0) return 0;
        --depth_;
        return 1;
      case ',':
        return depth_ > 0 || lists_ || (is_ascii_digit(before(at)) && is_ascii_digit(peek(at + 1))) ? 1 : 0;
      case '.':
        return is_ascii_digit(peek(at + 1)) ? 1 : 0;
      case ':':
        return is_ascii_digit(before(at)) && is_ascii_digit(peek(at + 1)) ? 1 : 0;
      case '*':
        return peek(at + 1) == '*' || before(at) == '*' ? 0 : 1;
      case '-':
      case '=':
      case '>':
        return peek(at + 1) == '>' || before(at) == '>' ? 0 : 1;
      case '<':
        return is_letter(peek(at + 1)) || peek(at + 1) == '/' || peek(at + 1) == '<' || before(at) == '<' ? 0 : 1;
      case '!':
        return factorial(at) ? 1 : 0;
      case '\\':
        return command(at);
      default:
        return std::string_view("+/^|%_").find(c) != kNone ? 1 : 0;
    }
  }

  /// "(B) 12"
  bool is_option_label(size_t at) const {
    return is_letter(peek(at + 1)) && peek(at + 1) <= 'Z' && peek(at + 2) == ')' && peek(at + 3) == ' ';
  }

  /// "4! = 24", "5! ways", but no exclamation at the end of a sentence.
  bool factorial(size_t at) const {
    const char next = next_after(at + 1);
    const bool goes_on = peek(at + 1) == ' ' && is_letter(next) && next >= 'a';
    return is_word(before(at)) && (is_operator(next) || next == ')' || goes_on);
  }
  static bool is_word(char c) { return is_ascii_digit(c) || is_letter(c) || c == ')'; }

  size_t command(size_t at) const {
    const size_t end = letters_end(at + 1);
    const auto name = text_.substr(at + 1, end - at - 1);
    return name.empty() || name == "boxed" || name == "text" ? 0 : end - at;
  }

  size_t word(size_t at) const {
    const size_t end = letters_end(at), size = end - at;
    const auto letters = text_.substr(at, size);
    if (std::ranges::find(kFunctions, letters) != std::end(kFunctions)) return size;
    if (lists_ && (letters == "and" || letters == "or")) return size;
    if (size > 3) return 0;
    const char left = before(at), right = peek(end), after = next_after(end);
    const bool glued_left = left != '\0' && left != ' ';
    const bool is_factor = std::ranges::all_of(letters, [](char c) { return kFactors.find(c) != kNone; });
    if (left == ' ' && is_ascii_digit(last_before(at)) && !(size == 1 && is_factor)) return 0;  // 11 cm^2
    if (left == '\xB0') return 0;                                                               // degrees of something
    if (is_ascii_digit(left)) {
      return is_factor || (size == 1 && (right == '^' || is_operator(after))) ? size : 0;
    }
    if (size > 1) return (glued_left && left != '\'') || std::string_view("^_(=").find(right) != kNone ? size : 0;
    if (glued_left || right == '(' || right == '_') return 1;
    return is_operator(after) || right == '|' || is_operator(last_before(at)) ? 1 : 0;
  }

  /// Greek letters, operators and signs of mathematics.
  static size_t beyond_ascii(std::string_view rest) {
    const auto starts = [&](std::string_view bytes) { return rest.starts_with(bytes); };
    if (starts("\xCE") || starts("\xCF") || starts("\xC3\x97") || starts("\xC3\xB7")) return 2;
    if (starts("\xC2\xB0") || starts("\xC2\xB1") || starts("\xC2\xB7")) return 2;
    const bool signs = starts("\xE2\x88") || starts("\xE2\x89") || starts("\xE2\x8B") || starts("\xE2\x84");
    return signs && rest.size() > 2 ? 3 : 0;
  }

  /// What ends a formula: a word as a whole, so that its last letter begins none.
  size_t stop_size(size_t at) const { return is_letter(text_[at]) ? letters_end(at) - at : next_char(text_, at) - at; }

  std::string_view trimmed(size_t begin, size_t end) const {
    auto run = without_open_parenthesis(text_.substr(begin, end - begin));
    if (!lists_) run = without_left_side(run);
    run = without_loose_operators(run);
    if (run.ends_with('=') || begin_of(run) > part_begin_ || begin_of(run) + run.size() < part_end_) return {};
    return run;
  }

  /// A parenthesis that is not closed before the end is none of the formula's.
  std::string_view without_open_parenthesis(std::string_view run) const {
    int depth = 0;
    for (size_t i = run.size(); i-- > 0;) {
      const char c = run[i];
      if (std::string_view(")]}").find(c) != kNone) --depth;
      if (std::string_view("([{").find(c) == kNone || ++depth <= 0) continue;
      depth = 0;
      if (begin_of(run) + i < part_begin_) return run.substr(i + 1);
      run = run.substr(0, i);
    }
    return run;
  }

  /// Without signs and joints that have nothing on their other side.
  std::string_view without_loose_operators(std::string_view run) const {
    constexpr std::string_view kNoBegin = " =*/^,.:_%>", kNoEnd = " */^,.:_+-<>";
    const bool list_item = run.starts_with("- ");
    run.remove_prefix(std::min(run.find_first_not_of(kNoBegin, list_item ? 2 : 0), run.size()));
    for (;;) {
      run = run.substr(0, run.find_last_not_of(kNoEnd) + 1);
      if (lists_ && ends_with_word(run, "and")) run.remove_suffix(3);
      else if (lists_ && ends_with_word(run, "or")) run.remove_suffix(2);
      else return run;
    }
  }
  size_t begin_of(std::string_view run) const { return static_cast<size_t>(run.data() - text_.data()); }

  /// Of "f(3) = [14]" and "2 + 3 = [5]" the right side; of "5x + 3y = [12]" the whole.
  std::string_view without_left_side(std::string_view run) const {
    const size_t offset = part_begin_ - begin_of(run);
    const size_t equals = run.substr(0, offset).rfind('=');
    if (equals == kNone || equals == 0 || (is_operator(run[equals - 1]) && run[equals - 1] != '=')) return run;
    const auto left = run.substr(0, equals);
    return says_more_than_a_name(left) ? run : run.substr(equals + 1);
  }

  /// Letters with an operator or a factor: 2x, x + y, but not AB, f(3), a_5, 2 + 3.
  static bool says_more_than_a_name(std::string_view left) {
    bool letters = false, operators = false;
    int depth = 0;
    for (size_t i = 0; i < left.size(); ++i) {
      const char c = left[i];
      if (c == '(') ++depth;
      if (c == ')') --depth;
      if (depth > 0) continue;
      if (is_letter(c)) {
        size_t end = i;
        while (end < left.size() && is_letter(left[end])) ++end;
        const bool is_function = std::ranges::find(kFunctions, left.substr(i, end - i)) != std::end(kFunctions);
        letters = letters || !is_function;
        operators = operators || (!is_function && i > 0 && is_ascii_digit(left[i - 1]));
        i = end - 1;
      }
      operators = operators || std::string_view("+-*/^").find(c) != kNone;
    }
    return letters && operators;
  }

  std::string_view text_;
  bool lists_;
  size_t part_begin_, part_end_, begin_ = 0;
  int depth_ = 0;
};

/// Without marks around and the full stop.
std::string_view first_sentence(std::string_view text) {
  constexpr std::string_view kMarks = " \t\r*_";
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r*_:"), text.size()));
  text = text.substr(0, std::min({text.find('\n'), text.find(". "), text.find("; ")}));
  for (size_t size = 0; size != text.size();) {
    size = text.size();
    text = text.substr(0, text.find_last_not_of(kMarks) + 1);
    if (text.ends_with('.') || text.ends_with('!')) text.remove_suffix(1);
  }
  return text;
}

/// Of "so it is a **Tuesday**." the bold words.
std::string_view bold_end(std::string_view line) {
  if (line.ends_with('.')) line.remove_suffix(1);
  if (!line.ends_with("**")) return {};
  line.remove_suffix(2);
  const size_t begin = line.rfind("**");
  return begin == kNone ? std::string_view() : first_sentence(line.substr(begin + 2));
}

}  // namespace

std::string_view formula_around(std::string_view text, std::string_view part, bool lists) {
  return Reader(text, part, lists).run();
}

std::string_view closing_words(std::string_view text) {
  constexpr std::string_view kAnchors[]{"final answer:", "answer:"};
  constexpr size_t kLongest = 40;
  text = text.substr(0, text.find_last_not_of(" \t\r\n") + 1);
  const auto line = undressed_begin(text.substr(text.rfind('\n') + 1));
  const auto* anchor = std::ranges::find_if(kAnchors, [&](auto words) { return starts_with_word(line, words); });
  if (anchor == std::end(kAnchors)) return {};
  const auto words = first_sentence(line.substr(anchor->size()));
  const bool is_text = words.size() <= kLongest && words.find_first_of("0123456789$\\=<>") == kNone;
  return is_text && !words.empty() && is_letter(words[0]) ? words : std::string_view();
}

std::string_view answer_phrase(std::string_view text) {
  constexpr std::string_view kIs = "answer is", kColon = "answer:";
  for (size_t at = text.size(); at-- > 0;) {
    if (ascii_lower(text[at]) != 'a') continue;
    const bool is = word_at(text, at, kIs), colon = word_at(text, at, kColon);
    if (is || colon) return first_sentence(text.substr(at + (is ? kIs.size() : kColon.size())));
  }
  text = text.substr(0, text.find_last_not_of(" \t\r\n") + 1);
  const auto line = text.substr(text.rfind('\n') + 1);
  if (const auto bold = bold_end(line); !bold.empty()) return bold;
  for (const std::string_view verb : {" = ", " is ", " are "}) {
    const size_t at = line.rfind(verb);
    if (at != kNone) return first_sentence(line.substr(at + verb.size()));
  }
  return {};
}

}  // namespace hone
