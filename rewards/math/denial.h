// What takes an answer back: words before or after it that deny it, doubt it, only suppose it, or say that others
// would give it. Rules for rewards/math/commitment.h.
//
//   "not [5]", "neither [5] nor ..", "I doubt that it is [5]"         denied
//   "Suppose that x = [5]", "If the answer were [5], .."              only supposed
//   "A common mistake is [5]", "an incorrect answer would be [5]"     said of a wrong answer
//   "[5] is wrong", "[5]? No.", "[5], no wait, 6"                     taken back
#pragma once

#include <string_view>

namespace hone {

/// `before` is the text before a value, without what dresses the value up. `is_set_apart`: the value is in a box or
/// behind "answer", so that only a clause that begins with "if" is a condition.
bool is_denied(std::string_view before, bool is_set_apart);

bool is_taken_back(std::string_view after, bool is_box);

}  // namespace hone
