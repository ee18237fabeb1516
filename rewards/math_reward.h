// `math`: the answer has the value of the row's gold answer, column `answer`, `solution` or `gold` (a string or a
// number). How both are read and compared: rewards/math/verify.h.
//
//   gold "1/2":        ".. so the answer is \boxed{0.5}"                     correct
//                      "\boxed{0.5} or \boxed{2}"                            wrong: alternatives
//   gold "$x=3$":      "</think>Thus $x = 3$."                               correct
//   gold "\text{C}"    "#### 18"                                             wrong
//
// A row may carry `config`, an object with Math-Verify's settings (match_types, strings, lowercase,
// try_extract_without_anchor, boxed_match_priority, float_rounding, numeric_precision, strict, allow_set_relation_comp,
// extraction_mode, fallback_mode) and ours (upstream_quirks, require_box, closed_form, box_after_think,
// stop_at_answer_end).
//
// `boxed` is `math` with require_box: only an answer in one \boxed counts (boxed_reward_fn of understand-r1-zero).
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "rewards/math/verify.h"
#include "rewards/reward.h"

namespace hone {

struct MathRewardOptions {
  bool upstream_quirks = false;
  bool require_box = false, closed_form = false, box_after_think = false, stop_at_answer_end = true;
  bool explain = false;

  template <class Visitor>
  void visit(Visitor& v) {
    v("upstream_quirks", upstream_quirks);
    v("require_box", require_box);
    v("closed_form", closed_form);
    v("box_after_think", box_after_think);
    v("stop_at_answer_end", stop_at_answer_end);
    v("explain", explain);
  }
};

/// Not applicable where the gold answer is missing or cannot be read; undecided where a limit was reached.
RewardFn math_reward(const MathRewardOptions& options);

/// The settings of a row's `config` on top of `base`. Throws std::runtime_error naming the key for an unknown key or a
/// value of the wrong type.
MathConfig read_math_config(const nlohmann::json& config, MathConfig base);

}  // namespace hone
