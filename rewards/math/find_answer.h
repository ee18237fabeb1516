// The answer of a text: the first of its candidates (rewards/math/extract.h) that can be read, or, for training, that
// the text commits to (rewards/math/commitment.h). rewards/math/verify.h says which rule holds when.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "rewards/math/commitment.h"
#include "rewards/math/extract.h"
#include "rewards/math/math.h"

namespace hone {

struct MathConfig {
  ExtractConfig extract;
  bool first_match_only = false;  ///< extraction_mode first_match: what cannot be read ends the search
  bool text_fallback = true;      ///< fallback_mode first_match: texts are compared, too
  bool lowercase = true;          ///< strings of a list count without case
  CompareConfig compare;          ///< with upstream_quirks, which counts for extraction, too
  TaskFlags flags;                ///< without upstream_quirks
};

/// What a text was found to answer.
struct Found {
  std::optional<Answer> value;
  std::string choice;                       ///< a string of the list, when that is the answer
  std::string text;                         ///< of the first candidate, normalised
  std::string written;                      ///< of the candidate that was read, as it stands there
  bool is_number = false, percent = false;  ///< what that candidate is
  std::optional<Unit> unit;                 ///< of the value, when it is one that is known
  bool unit_in_formula = false;             ///< not only in the text that follows
  std::string problem;                      ///< why there is no value and no choice
  std::string trace;                        ///< lines for explain()

  bool has_answer() const { return value || !choice.empty(); }
};

/// Both are pure functions. With `explain` the trace is written.
Found find_gold(std::string_view text, const MathConfig& config, Budget& budget, bool explain);
Found find_prediction(std::string_view text, const MathConfig& config, Budget& budget, bool explain);

}  // namespace hone
