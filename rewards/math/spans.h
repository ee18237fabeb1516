// The two kinds of stretches an answer can be: mathematics in a LaTeX environment, and plain numbers and arithmetic.
// Each scanner says what begins at one place; rewards/math/extract.cpp decides where to ask.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

#include "rewards/math/extract.h"
#include "rewards/math/scan.h"

namespace hone {

/// Math environments: $$..$$ and \[..\] over several lines, $..$, \(..\) and white space [..] white space within one
/// (without quirks the first two may break lines inside \begin..\end), and (unless a box is asked for) a bare \frac of
/// two numbers.
class LatexScanner {
 public:
  static constexpr int kMaxEnvironments = 6;
  LatexScanner(std::string_view text, bool quirks) : text_(text), quirks_(quirks) {}

  /// Up to kMaxEnvironments environments joined by and / or / comma, the first beginning at `at`; appends their
  /// contents. With `boxed` each must hold a \boxed that is not empty. Returns where the match ends (white space and a
  /// percent sign after it included), or npos.
  size_t match_at(size_t at, bool boxed, std::vector<Span>& spans);
  /// The same with any white space before.
  size_t match_after_space(size_t at, bool boxed, std::vector<Span>& spans);

 private:
  struct Environment {
    Span span;
    size_t end;
  };
  using Found = std::optional<Environment>;
  Found environment_at(size_t at, bool boxed);
  Found environment_after_space(size_t at, bool boxed);
  Found delimited_at(size_t at);
  Found dollars_at(size_t at);
  Found display_bracket_at(size_t at);
  Found parenthesis_at(size_t at);
  Found square_bracket_at(size_t at);
  Found fraction_at(size_t at);
  Found content(size_t begin, size_t end, size_t delimiter_bytes);
  bool is_on_a_line(size_t begin, size_t end);
  size_t next_outer_line(size_t at);
  bool holds_box(std::string_view content);
  Found with_percent(Environment found);

  std::string_view text_;
  bool quirks_;
  NextFinder close_bracket_{text_, "\\]"}, close_parenthesis_{text_, "\\)"}, line_{text_, "\n"}, dollars_{text_, "$$"},
      box_{text_, "\\boxed{"}, brace_{text_, "}"}, begin_{text_, "\\begin{"};
  size_t outer_from_ = 1, outer_line_ = 0;  // no line break outside of environments in [from, line)
};

/// Numbers (1,234.5  1 234  0,5  .5  -7, after a currency sign, before a percent sign) and arithmetic of digits and
/// + - * x / ^ ( ). Both begin after white space, = or the start of the text, and perhaps **. Without quirks the end of
/// a line or sentence ends arithmetic: "48.\n- 5" is no difference.
class PlainScanner {
 public:
  /// What must hold right after a match.
  enum class Then { kAnything, kNoEqualsSign, kIHope };
  struct Match {
    Span span;
    size_t end;
  };
  PlainScanner(std::string_view text, bool quirks) : text_(text), quirks_(quirks) {}

  std::optional<Match> expression_at(size_t at, Then then);
  std::optional<Match> number_at(size_t at, Then then);
  /// An expression, else a number.
  std::optional<Match> either_at(size_t at, Then then);
  /// Where white space ends that begins at `at`.
  size_t skip_space(size_t at);

 private:
  struct Starts {
    size_t at[2];
    int count = 0;
  };
  Starts after_prefix(size_t at) const;
  std::optional<Match> bare_expression_at(size_t at, Then then);
  std::optional<Match> bare_number_at(size_t at, Then then);
  std::optional<Match> grouped_number_at(size_t begin, size_t digits, Then then);
  std::optional<Match> fraction_digits(size_t begin, size_t point, Then then);
  std::optional<Match> number_to(size_t begin, size_t end, Then then);
  size_t expression_char_at(size_t at) const;
  size_t next_operator(size_t at);
  void load_run(size_t at, Then then);
  bool holds(Then then, size_t at);

  std::string_view text_;
  bool quirks_;
  size_t space_from_ = 1, space_to_ = 0;  // [from, to) is white space, to is not
  size_t plain_from_ = 1, plain_to_ = 0;  // [from, to) are digits, points and spaces, to is not
  // the run of expression characters last looked at, and the last place in it where an expression may end
  size_t run_from_ = 1, run_to_ = 0, run_last_ = 0, run_last_end_ = 0;
  Then run_then_ = Then::kAnything;
};

/// True when ". I hope" (with or without the point and the space) stands at `at`.
bool i_hope_at(std::string_view text, size_t at);

}  // namespace hone
