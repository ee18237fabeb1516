#include "rewards/accuracy.h"

#include <nlohmann/json.hpp>

#include "rewards/choice.h"
#include "rewards/code.h"
#include "rewards/code_tests.h"
#include "rewards/math_reward.h"

namespace hone {
namespace {

/// A row whose tests are empty is one of code all the same: its answer must not be taken for one in mathematics.
bool is_code(const Prompt& prompt) {
  const auto row = nlohmann::json::parse(prompt.columns);
  for (const char* column : {"test_cases", "tests", "test", "test_list", "entry_point", "verification_info"}) {
    if (row.contains(column) && !row[column].is_null()) return true;
  }
  return read_code_tests(prompt, Grouping::kTogether).has_value();
}

bool is_choice(const Prompt& prompt) {
  const auto row = nlohmann::json::parse(prompt.columns);
  for (const char* column : {"answer", "solution"}) {
    const auto gold = row.find(column);
    if (gold != row.end() && gold->is_string()) return is_option_letter(gold->get_ref<const std::string&>());
  }
  return false;
}

}  // namespace

RewardFn accuracy_reward() {
  return [code = code_reward(CodeOptions()), choice = choice_reward(), math = math_reward(MathRewardOptions())](
             const Prompt& prompt, std::span<const Rollout> rollouts) {
    if (is_code(prompt)) return code(prompt, rollouts);
    return is_choice(prompt) ? choice(prompt, rollouts) : math(prompt, rollouts);
  };
}

}  // namespace hone
