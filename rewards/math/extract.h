// Where in a text the answer may stand. Nothing is parsed here: the scanner hands out stretches of text in the order in
// which they are to be tried, and whoever can read the first one has the answer.
//
//   "so $x=3$. The answer is $\frac12$."   1. \frac12 (after "answer")   2. \frac12 (anywhere)   3. x=3   4. 3
//
// The rule is Math-Verify's (0.8.0): candidates have a priority, and within one priority the one that ends last comes
// first, then the one that begins first. Priorities: 0 "final answer is X. I hope"; 50 "final answer .. is X"; the
// boxed priority (50, or as configured) a \boxed, in a math environment or bare; 100 "answer: .. X"; 200 "answer .. X";
// 250 a string at the very beginning; 300 any X. X is
//   latex   up to 6 math environments joined by and / or / comma, or a bare \frac{1}{2};
//   expr    a number, or arithmetic of digits and + - * / ^ ( ) that begins with a digit;
//   string  one of a given list.
// A byte scanner without regular expressions: time is linear in the text, whatever it holds.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hone {

enum class MatchType { kLatex, kExpr, kString };

struct ExtractConfig {
  std::vector<MatchType> match_types{MatchType::kLatex, MatchType::kExpr};
  std::vector<std::string> strings{"A", "B", "C", "D"};  ///< for kString; case counts
  int boxed_match_priority = 50;                         ///< 0: a box before all else; -1: boxes are not looked for
  bool without_anchor = true;                            ///< false: no candidates of priority 250 and 300
};

/// How a candidate's text is to be read.
enum class SpanKind {
  kLatex,       ///< what stands inside a math environment; of its boxes, if any, all count
  kLastBoxes,   ///< from a bare \boxed to the last brace of the text; only the last boxes count
  kFraction,    ///< a bare \frac{1}{2}
  kNumber,      ///< 1,234.5 or 0,5: thousands separators and decimal comma as written
  kExpression,  ///< 3*(4+5)
  kString
};

/// "math environment" and so on, for a person.
const char* to_string(SpanKind kind);

struct Span {
  SpanKind kind = SpanKind::kLatex;
  std::string_view text;  ///< a view into the text that was scanned
  bool percent = false;   ///< a percent sign or word follows
};

/// One or more spans that were found together. More than one: together they are a set.
struct Candidate {
  int priority = 300;
  std::span<const Span> spans;  ///< valid until the next call of Candidates::next
};

/// Texts are scanned from here on: their last 64 KiB, from the beginning of a character.
constexpr size_t kMaxScannedBytes = 64 << 10;
std::string_view scanned_part(std::string_view text);

/// Hands out the candidates of a text one after the other; those of a priority are looked for when it is reached.
/// `quirks`: environments are Math-Verify's to the letter. Keeps views of `text` and `config`, which must outlive it.
class Candidates {
 public:
  Candidates(std::string_view text, const ExtractConfig& config, bool quirks);
  ~Candidates();
  /// The next one; empty when there are no more.
  std::optional<Candidate> next();

 private:
  class Search;
  std::unique_ptr<Search> search_;
};

/// The contents of the boxes (\boxed, \fbox) of a text joined by commas, in order, consecutive equal ones once; the
/// text itself when it has none. `all`: every box. Otherwise the last one, and those before it that stand less than 10
/// characters apart, or less than 70 with "and", "or", a comma or a semicolon between and other content.
std::string unbox(std::string_view text, bool all);

}  // namespace hone
