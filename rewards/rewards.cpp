#include "rewards/rewards.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string_view>

#include <fmt/core.h>
#include <fmt/ranges.h>

#include "rewards/accuracy.h"
#include "rewards/choice.h"
#include "rewards/code.h"
#include "rewards/countdown.h"
#include "rewards/exact.h"
#include "rewards/format.h"
#include "rewards/language.h"
#include "rewards/lengths.h"
#include "rewards/math_reward.h"
#include "rewards/options.h"
#include "rewards/repetition.h"

namespace hone {
namespace {

struct Entry {
  std::string_view name;
  RewardFn (*make)(const RewardName& text);
};

/// A maker that takes no options, or one struct of them.
template <RewardFn (*kMake)()>
RewardFn plain(const RewardName& text) {
  read_options<NoOptions>(text);
  return kMake();
}
template <class Options, RewardFn (*kMake)(const Options&)>
RewardFn with(const RewardName& text) {
  return kMake(read_options<Options>(text));
}

RewardFn cosine_of_accuracy(const CosineOptions& options) { return cosine_reward(options, accuracy_reward()); }
RewardFn length_of_accuracy() { return length_reward(accuracy_reward()); }
RewardFn code(const CodeOptions& options) { return code_reward(options); }
RewardFn boxed_math() { return math_reward({.require_box = true}); }

// To add a reward: its header above, its line here. Names with _reward are those of TRL and open-r1.
constexpr Entry kRewards[]{
    {"accuracy", plain<accuracy_reward>},
    {"accuracy_reward", plain<accuracy_reward>},
    {"boxed", plain<boxed_math>},
    {"choice", plain<choice_reward>},
    {"code", with<CodeOptions, code>},
    {"cosine", with<CosineOptions, cosine_of_accuracy>},
    {"countdown", plain<countdown_reward>},
    {"exact", plain<exact_reward>},
    {"format", plain<format_reward>},
    {"language_consistency", with<LanguageOptions, language_consistency>},
    {"length", plain<length_of_accuracy>},
    {"math", with<MathRewardOptions, math_reward>},
    {"repetition_penalty", with<RepetitionOptions, repetition_penalty>},
    {"soft_overlong_punishment", with<OverlongOptions, soft_overlong_punishment>},
    {"think_format", plain<think_format_reward>},
    {"think_format_reward", plain<think_format_reward>},
};

[[noreturn]] void fail_unknown(const std::string& name) {
  const auto near = nearest_name(name, reward_names());
  throw std::invalid_argument(fmt::format("unknown reward '{}'; {}there are: {}", name,
                                          near.empty() ? "" : fmt::format("did you mean '{}'? ", near),
                                          fmt::join(reward_names(), ", ")));
}

}  // namespace

std::vector<std::string> reward_names() {
  std::vector<std::string> names;
  for (const auto& entry : kRewards) names.emplace_back(entry.name);
  return names;
}

RewardFn make_reward(const std::string& text) {
  const auto parsed = parse_reward_name(text);
  const auto* entry = std::ranges::find(kRewards, std::string_view(parsed.name), &Entry::name);
  if (entry == std::end(kRewards)) fail_unknown(parsed.name);
  return entry->make(parsed);
}

std::optional<std::string> reward_model_of(const std::string& reward) {
  constexpr std::string_view kModel = "reward_model:";
  if (!reward.starts_with(kModel)) return {};
  return reward.substr(kModel.size());
}

namespace {

NamedReward named_reward(const std::string& text, const OutsideRewards& outside) {
  constexpr std::string_view kPython = "python:";
  if (text.starts_with(kPython)) {
    if (outside.python) return outside.python(text.substr(kPython.size()));
    throw std::invalid_argument(fmt::format(
        "reward '{}' is a Python function, and this program has no Python; use `python -m hone` in place of `hone`",
        text));
  }
  if (const auto folder = reward_model_of(text)) {
    if (outside.reward_model) return outside.reward_model(*folder);
    throw std::invalid_argument(
        fmt::format("reward '{}' is a reward model, which scores the rollouts of a run or of `hone eval` alone", text));
  }
  return {parse_reward_name(text).name, 1.0, make_reward(text)};
}

}  // namespace

std::vector<NamedReward> make_rewards(const std::vector<std::string>& names, const std::vector<double>& weights,
                                      const OutsideRewards& outside) {
  if (!weights.empty() && weights.size() != names.size()) {
    throw std::invalid_argument(
        fmt::format("{} reward weights for {} rewards; give one per reward, or none", weights.size(), names.size()));
  }
  std::vector<NamedReward> rewards;
  for (size_t i = 0; i < names.size(); ++i) {
    const double weight = weights.empty() ? 1.0 : weights[i];
    if (!std::isfinite(weight)) {
      throw std::invalid_argument(
          fmt::format("the weight of reward '{}' is {}; give a finite number", names[i], weight));
    }
    NamedReward reward = named_reward(names[i], outside);
    if (std::ranges::find(rewards, reward.name, &NamedReward::name) != rewards.end()) {
      throw std::invalid_argument(
          fmt::format("reward '{}' is named twice; once with a larger weight says the same", reward.name));
    }
    reward.weight = weight;
    rewards.push_back(std::move(reward));
  }
  return rewards;
}

}  // namespace hone
