#include "rewards/accuracy.h"

#include <nlohmann/json.hpp>

#include "rewards/choice.h"
#include "rewards/math_reward.h"

namespace hone {
namespace {

enum class Rule { kCode, kChoice, kMath };

bool is_code(const nlohmann::json& row) {
  for (const char* column : {"test_cases", "tests", "test", "entry_point"}) {
    if (row.contains(column) && !row[column].is_null()) return true;
  }
  return false;
}

bool is_choice(const nlohmann::json& row) {
  for (const char* column : {"answer", "solution"}) {
    const auto gold = row.find(column);
    if (gold != row.end() && gold->is_string()) return is_option_letter(gold->get_ref<const std::string&>());
  }
  return false;
}

Rule rule_of(const std::string& columns) {
  const auto row = nlohmann::json::parse(columns);
  return is_code(row) ? Rule::kCode : is_choice(row) ? Rule::kChoice : Rule::kMath;
}

}  // namespace

RewardFn accuracy_reward() {
  return [math = math_reward(MathRewardOptions()), choice = choice_reward()](const Prompt& prompt,
                                                                             std::span<const Rollout> rollouts) {
    switch (rule_of(prompt.columns)) {
      case Rule::kCode:  // the code reward goes here once rewards/code.h is there
        return std::vector<Score>(rollouts.size(), Score::not_applicable("programs are not run by this build"));
      case Rule::kChoice:
        return choice(prompt, rollouts);
      case Rule::kMath:
        break;
    }
    return math(prompt, rollouts);
  };
}

}  // namespace hone
