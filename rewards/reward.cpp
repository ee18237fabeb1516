#include "rewards/reward.h"

namespace hone {

const char* to_string(Verdict v) {
  switch (v) {
    case Verdict::kCorrect:
      return "correct";
    case Verdict::kWrong:
      return "wrong";
    case Verdict::kNotApplicable:
      return "not_applicable";
    case Verdict::kUndecided:
      return "undecided";
  }
  return "undecided";
}

}  // namespace hone
