// LaTeX and plain formulas as tokens. What only decorates is gone (\left, \!, \displaystyle, dollar signs, quotes), and
// what can be written in several ways has one token: "\text{ and }" and "or" are commas, "≤" is \le, "\mathrm{x}" text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hone {

enum class Tok : unsigned char {
  kEnd,
  kNumber,   ///< 12, 1.5, .5
  kLetter,   ///< one ASCII letter
  kCommand,  ///< \frac; text is "frac". Greek letters and signs beyond ASCII are commands, too
  kText,     ///< \text{..}, \mathrm{..}: text is the content
  kAccent,   ///< \vec{v}, \overline{AB}: text is "vec{v}"
  kBegin,    ///< \begin{pmatrix}
  kFinish,   ///< \end{pmatrix}
  kNewRow,   ///< \\ in an environment
  kSign,     ///< any other character; sign. Visual braces \{ \} are 'L' 'R', \| is 'N'
};

struct Token {
  Tok kind = Tok::kEnd;
  char sign = 0;
  bool space_before = false;  ///< white space, or a command that makes some
  bool thin_before = false;   ///< that space was \,
  std::string_view text;

  bool is(char c) const { return kind == Tok::kSign && sign == c; }
  bool is_command(std::string_view name) const { return kind == Tok::kCommand && text == name; }
};

/// Tokens with kEnd last; empty where a byte cannot begin a token. `source` must outlive them. With `quirks`, plain
/// words (sin, pi) are products of letters, as Math-Verify reads them.
std::vector<Token> lex(std::string_view source, bool quirks);

/// Drops a unit at the end ("5 miles", "5\text{ cm}^2") unless nothing else is there. Returns it as text: "cm^2".
std::string drop_units(std::vector<Token>& tokens, bool quirks);

/// The tokens as text; with spaces between words only.
std::string join(const std::vector<Token>& tokens);

}  // namespace hone
