// Mathematical values written as LaTeX or plain text, read into exact form and compared.
//
//   read_answer  \frac12, 0.5, 50\%, (1,2], x=3 or 4, \begin{pmatrix}..   spans of text -> Answer
//   compare      gold \sqrt{8}, prediction 2\sqrt2                        kEqual, with the reason
//
// Equal is said only on proof: the same canonical form, the same polynomial or rational function, or (where those do
// not decide) a difference whose rigorous enclosure at two precisions is too small for anything but 0; doubles only
// reject. A decimal is equal to a number that rounds to it (float_rounding), element by element in containers.
// Work is counted, not timed: the same input ends with the same verdict on any machine and in any thread. Nothing here
// throws for what a text holds, recurses without a bound or keeps state between calls.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "rewards/math/budget.h"
#include "rewards/math/extract.h"
#include "rewards/math/units.h"

namespace hone {

/// How values are compared; names and defaults are Math-Verify's.
struct CompareConfig {
  int float_rounding = 6;                ///< decimals kept where a decimal meets a number
  int numeric_precision = 15;            ///< with upstream_quirks: digits of its numeric comparison
  bool strict = true;                    ///< false: variables are matched by position, sets equal tuples
  bool allow_set_relation_comp = false;  ///< a predicted inequality may equal a gold interval
  bool upstream_quirks = false;          ///< Math-Verify's verdict where it is a matter of policy
};

struct AnswerData;

/// A value that was read. Immutable and cheap to copy; any number of threads may compare it.
class Answer {
 public:
  explicit Answer(std::shared_ptr<const AnswerData> data) : data_(std::move(data)) {}
  const AnswerData& data() const { return *data_; }

 private:
  std::shared_ptr<const AnswerData> data_;
};

/// What spans of text were read as.
struct Reading {
  std::optional<Answer> answer;  ///< absent when the text is no formula, or a limit was reached (see the budget)
  std::string text;          ///< the text without decoration (\left, \!, \text{and}, quotes ..), for comparing texts
  std::optional<Unit> unit;  ///< that stood behind the value, if it is one that is known
};

/// Reads the spans of one candidate (kString excepted); several together are a set. Boxes in them are opened.
Reading read_answer(std::span<const Span> spans, const CompareConfig& config, Budget& budget);

/// A number times a factor, a decimal still one; absent for sets, relations and the like.
std::optional<Answer> scaled(const Answer& answer, const Rational& factor);

/// 12 and m of "12 m", which was read as 12 times m; absent for what is no number times the name of a unit.
struct Quantity {
  Answer size;
  Unit unit;
};
std::optional<Quantity> as_quantity(const Answer& answer);

/// The value as a person would write it on one line: 1/2, {1, 2}, x = 3, [0, oo).
std::string to_string(const Answer& answer);

/// True when arithmetic is left to do in it, as in 2+3, 2^10, \sum_{k=1}^{10} k (but not in 1/2, 2\sqrt{3}, x+1).
bool is_unevaluated(const Answer& answer);

enum class Outcome { kEqual, kDifferent, kUndecided };

struct Comparison {
  Outcome outcome = Outcome::kDifferent;
  std::string reason;  ///< a few words for a person: "same canonical form", "limit reached: work units (100000)"
};

/// Not symmetric where the gold answer's form says what is asked for: gold 3 takes "x=3", gold x>2 takes (2, oo).
Comparison compare(const Answer& gold, const Answer& prediction, const CompareConfig& config, Budget& budget);

}  // namespace hone
