// A completion's signs as the scanner of answers knows them; rewards/math/find_answer.h, for training.
//
//   "\u22123", "2\u00bd", "x\u00b2", "\uff15", "\u201310"    -3, 2 1/2, x^{2}, 5, -10
//   "Answer:5", "*5*", "`5`", "\fbox{5}", "\boxed {5}"   with a space, without marks, in a \boxed
//   "\u7b54\u6848\u662f5\u3002" (the answer is 5)                        answer is 5.
#pragma once

#include <string>
#include <string_view>

namespace hone {

/// The text in those signs; empty where there is nothing to do.
std::string plain_text(std::string_view text);

/// "\$18" in a text without mathematics is 18 dollars: the backslashes as spaces. Empty where there is nothing to do.
std::string with_plain_dollars(std::string_view text);

/// "n = 1 234 567" with its thousands together.
std::string with_joined_thousands(std::string_view text);

}  // namespace hone
