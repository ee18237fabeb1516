#include "rewards/rewards.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string_view>
#include <utility>

#include <fmt/core.h>
#include <fmt/ranges.h>

#include "rewards/choice.h"
#include "rewards/countdown.h"
#include "rewards/exact.h"
#include "rewards/format.h"

namespace hone {
namespace {

struct Entry {
  std::string_view name;
  RewardFn (*make)();
};

// To add a reward: its header above, its line here.
constexpr std::array kRewards{
    Entry{"choice", choice_reward},
    Entry{"countdown", countdown_reward},
    Entry{"exact", exact_reward},
    Entry{"format", format_reward},
};

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      diagonal = std::exchange(row[j + 1], std::min({diagonal + (a[i] != b[j]), row[j] + 1, row[j + 1] + 1}));
    }
  }
  return row.back();
}

[[noreturn]] void fail_unknown(const std::string& name) {
  const auto distance = [&](const Entry& e) { return edit_distance(name, e.name); };
  const auto nearest = std::ranges::min_element(kRewards, {}, distance);
  // a guess helps only where most letters agree
  const auto hint = distance(*nearest) <= 1 + name.size() / 3 ? fmt::format("did you mean '{}'? ", nearest->name) : "";
  throw std::invalid_argument(
      fmt::format("unknown reward '{}'; {}there are: {}", name, hint, fmt::join(reward_names(), ", ")));
}

}  // namespace

std::vector<std::string> reward_names() {
  std::vector<std::string> names;
  for (const auto& entry : kRewards) names.emplace_back(entry.name);
  return names;
}

RewardFn make_reward(const std::string& name) {
  const auto entry = std::ranges::find(kRewards, std::string_view(name), &Entry::name);
  if (entry == kRewards.end()) fail_unknown(name);
  return entry->make();
}

std::vector<NamedReward> make_rewards(const std::vector<std::string>& names, const std::vector<double>& weights) {
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
    if (std::ranges::find(rewards, names[i], &NamedReward::name) != rewards.end()) {
      throw std::invalid_argument(
          fmt::format("reward '{}' is named twice; once with a larger weight says the same", names[i]));
    }
    rewards.push_back({names[i], weight, make_reward(names[i])});
  }
  return rewards;
}

}  // namespace hone
