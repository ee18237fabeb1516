#include "rl/advantage.h"

#include <cmath>
#include <optional>
#include <stdexcept>

#include <fmt/core.h>

namespace hone {
namespace {

using Values = std::vector<double>;

Values scored_rewards(const Group& group) {
  if (group.rewards.size() != group.rollouts.size()) {
    throw std::invalid_argument(fmt::format("group_advantages: prompt {} has {} rollouts but {} rewards",
                                            group.prompt.id, group.rollouts.size(), group.rewards.size()));
  }
  Values out;
  for (const auto& reward : group.rewards) {
    if (reward.total) out.push_back(*reward.total);
  }
  return out;
}

double mean(const Values& values) {
  double sum = 0;
  for (double v : values) sum += v;
  return sum / double(values.size());
}

double deviation(const Values& values, bool sample) {
  if (values.size() < (sample ? 2 : 1)) return 0;
  const double m = mean(values);
  double sum = 0;
  for (double v : values) sum += (v - m) * (v - m);
  return std::sqrt(sum / double(values.size() - (sample ? 1 : 0)));
}

/// Compared as they are: the computed mean of equal numbers may differ from them by a rounding, which epsilon would
/// then blow up.
bool all_equal(const Values& values) {
  for (double v : values) {
    if (v != values.front()) return false;
  }
  return true;
}

RewardScale parse_scale(const std::string& word) {
  if (word == "none") return RewardScale::kNone;
  if (word == "group") return RewardScale::kGroup;
  if (word == "batch") return RewardScale::kBatch;
  throw std::invalid_argument(fmt::format("scale_rewards is '{}', allowed is one of none, group, batch", word));
}

/// Of the first reward's verdicts, those that are one.
bool verdicts_differ(const Group& group) {
  bool correct = false, wrong = false;
  for (const auto& reward : group.rewards) {
    if (reward.parts.empty()) continue;
    correct |= reward.parts[0].score.verdict == Verdict::kCorrect;
    wrong |= reward.parts[0].score.verdict == Verdict::kWrong;
  }
  return correct && wrong;
}

Values advantages_of(const Group& group, const Values& scored, double divisor) {
  Values out(group.rewards.size(), 0.0);
  if (all_equal(scored)) return out;
  const double baseline = mean(scored);
  for (size_t g = 0; g < out.size(); ++g) {
    if (group.rewards[g].total) out[g] = (*group.rewards[g].total - baseline) / divisor;
  }
  return out;
}

}  // namespace

AdvantageOptions advantage_options(const RlConfig& config) {
  return {
      .scale = parse_scale(config.scale_rewards), .sample_std = config.sample_std, .epsilon = config.advantage_epsilon};
}

std::vector<std::vector<double>> group_advantages(const std::vector<Group>& groups, const AdvantageOptions& options) {
  std::vector<Values> scored;
  Values all;
  for (const auto& group : groups) {
    scored.push_back(scored_rewards(group));
    all.insert(all.end(), scored.back().begin(), scored.back().end());
  }
  if (all.empty()) {
    throw std::runtime_error(
        "no rollout of this step could be scored: every reward answered not applicable or undecided; "
        "check that the data has the columns that reward_funcs need");
  }
  const double batch_std = deviation(all, options.sample_std);
  std::vector<Values> out;
  for (size_t p = 0; p < groups.size(); ++p) {
    const double std = options.scale == RewardScale::kBatch ? batch_std : deviation(scored[p], options.sample_std);
    out.push_back(
        advantages_of(groups[p], scored[p], options.scale == RewardScale::kNone ? 1.0 : std + options.epsilon));
  }
  return out;
}

DynamicSampling dynamic_sampling(const RlConfig& config) {
  const std::string& word = config.dynamic_sampling;
  if (word == "none") return DynamicSampling::kNone;
  if (word == "reward") return DynamicSampling::kReward;
  if (word == "accuracy") return DynamicSampling::kAccuracy;
  throw std::invalid_argument(fmt::format("dynamic_sampling is '{}', allowed is one of none, reward, accuracy", word));
}

bool teaches(const Group& group, DynamicSampling rule) {
  if (rule == DynamicSampling::kNone) return true;
  return rule == DynamicSampling::kReward ? !all_equal(scored_rewards(group)) : verdicts_differ(group);
}

double frac_reward_zero_std(const std::vector<Group>& groups) {
  size_t flat = 0;
  for (const auto& group : groups) flat += all_equal(scored_rewards(group));
  return groups.empty() ? 0 : double(flat) / double(groups.size());
}

}  // namespace hone
