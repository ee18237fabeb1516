// What a completion commits to: rules about the text around an answer, for training, where whatever earns a reward will
// be learnt. They hold only with upstream_quirks off; Math-Verify has none of them.
//
//   "<think>It is 7.</think>Unclear."               no answer: the thoughts do not count
//   "The answer is not $72$, it is $71$"            72 is denied, 71 counts
//   "\boxed{5} or maybe \boxed{6}"                  alternatives, no answer
//   "The answer is 1, 2, 3, 4 or 5"                 a list, no answer
//   "x > 5", "\boxed{}", "What is $2+2$?"           a bound, an empty box, the question: no answers
#pragma once

#include <string>
#include <string_view>

#include "rewards/math/extract.h"

namespace hone {

/// What more a task demands. All off by default.
struct TaskFlags {
  bool require_box = false;        ///< exactly one answer in \boxed, in the answer part
  bool closed_form = false;        ///< no sums, products, powers or quotients left to work out, no \sum, \int, ..
  bool box_after_think = false;    ///< a </think>, and the box after it
  bool stop_at_answer_end = true;  ///< nothing after the first </answer> counts
};

/// The part of a completion in which an answer counts: after the last </think>, up to an end-of-turn marker, within the
/// first <answer>..</answer>. A completion that never leaves its <think> has no such part.
struct AnswerPart {
  std::string_view text;
  std::string problem;  ///< a sentence, when there is no part
};
AnswerPart answer_part(std::string_view completion, const TaskFlags& flags);

/// Why the boxes of an answer part are no commitment: the last one is empty, or one is demanded and there is none, or
/// (require_box) there are several that differ. Empty when they are fine.
std::string box_problem(std::string_view part, const TaskFlags& flags);

/// "5,6" when the last boxes, {5} and {6}, are offered as alternatives: side by side, or with "or", "and" between.
/// Together they are the answer, right where the gold answer is that set. Empty when the last box stands alone.
std::string joined_alternatives(std::string_view part);

/// Why a candidate of an answer part is no commitment (see above); empty when it is one.
struct Objection {
  std::string reason;
  bool denied = false;   ///< "not 5": the text goes on to say what it is, so later candidates may count
  bool several = false;  ///< "5 and 6": together they may be the answer
};
Objection objection(std::string_view part, const Candidate& candidate);

}  // namespace hone
