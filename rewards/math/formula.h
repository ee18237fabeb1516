// Mathematics in plain prose, without an environment; for training (rewards/math/find_answer.h).
//
//   "The range is [-2, 7]."          formula_around "7": [-2, 7]
//   "So it is 3\u221a13 units"            around "3": 3\u221a13
//   "the line 5x + 3y = 12"          around "12": 5x + 3y = 12
//   "f(3) = 14", "2 + 3 = 5"         around "14", "5": themselves, for the left side only names or works out the right
//   "the roots are 1 and -2"         around "-2", with `lists`: 1 and -2
//   "The answer is Evelyn."          answer_phrase: Evelyn
#pragma once

#include <string_view>

namespace hone {

/// The longest stretch of mathematics around `part`, a view into `text`; words end it, and so do commas outside of
/// parentheses, unless `lists`. Looks at some 200 bytes on either side, on one line.
std::string_view formula_around(std::string_view text, std::string_view part, bool lists);

/// What a last line "Answer: even" says, without digits or mathematics; else empty.
std::string_view closing_words(std::string_view text);

/// What stands behind the last "answer is" or "answer:", or without those the bold words that end the text or what is
/// behind the last "is" or "=" of the last line, to the end of the sentence; empty when there is none.
std::string_view answer_phrase(std::string_view text);

}  // namespace hone
