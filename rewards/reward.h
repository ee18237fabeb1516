// A reward looks at one prompt and its completions and returns one Score each. No torch; pure functions of text.
// To add one: write rewards/<name>.{h,cpp}, then name it in rewards/rewards.cpp (the one place).
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rollout/types.h"

namespace hone {

/// kNotApplicable: the row cannot be scored (no gold answer, say). kUndecided: a limit was reached before a verdict.
/// Neither is ever turned into 0: such a rollout is left out of its group's baseline.
enum class Verdict { kCorrect, kWrong, kNotApplicable, kUndecided };

/// "correct" / "wrong" / "not_applicable" / "undecided".
const char* to_string(Verdict v);

/// One reward's opinion of one completion.
struct Score {
  std::optional<double> value;  ///< 0..1, penalties below 0; empty when not applicable or undecided
  Verdict verdict = Verdict::kNotApplicable;
  std::string reason;  ///< a sentence for a person

  static Score correct(std::string reason) { return {1.0, Verdict::kCorrect, std::move(reason)}; }
  static Score wrong(std::string reason) { return {0.0, Verdict::kWrong, std::move(reason)}; }
  static Score not_applicable(std::string reason) { return {{}, Verdict::kNotApplicable, std::move(reason)}; }
  static Score undecided(std::string reason) { return {{}, Verdict::kUndecided, std::move(reason)}; }
};

/// Scores the completions of one prompt, in order. Thread-safe. Never throws for what a model wrote; throws
/// std::runtime_error for a row whose columns have the wrong type (file and row are added by the caller).
using RewardFn = std::function<std::vector<Score>(const Prompt& prompt, std::span<const Rollout> rollouts)>;

struct Group;
/// Scores the completions of all prompts of a rollout whose rows ask for it in one call, for functions that want them
/// together: (P)(G), in order. Called by one thread.
using BatchRewardFn = std::function<std::vector<std::vector<Score>>(std::span<const Group> groups)>;

struct NamedReward {
  std::string name;
  double weight = 1.0;
  RewardFn fn;
  BatchRewardFn batch = {};  ///< in place of fn
};

/// What a rollout earned: the weighted sum of its applicable parts.
struct Reward {
  struct Part {
    std::string name;
    double weight;
    Score score;
  };
  std::optional<double> total;  ///< empty when no part was applicable
  std::vector<Part> parts;      ///< one per reward function, in recipe order
};

}  // namespace hone
