#include "rl/metrics.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <stdexcept>

#include <fmt/core.h>

#include "rl/advantage.h"
#include "rl/eval_stats.h"

namespace hone {
namespace {

using Values = std::vector<double>;
using Metrics = std::map<std::string, double>;

double mean(const Values& values) {
  double sum = 0;
  for (double v : values) sum += v;
  return sum / double(values.size());
}

double variance(const Values& values) {
  const double m = mean(values);
  double sum = 0;
  for (double v : values) sum += (v - m) * (v - m);
  return sum / double(values.size());
}

void put_mean(Metrics& metrics, const std::string& name, const Values& values) {
  if (!values.empty()) metrics[name] = mean(values);
}

/// "completions/mean_" + suffix and so on.
void put_mean_min_max(Metrics& metrics, const std::string& suffix, const Values& values) {
  if (values.empty()) return;
  metrics["completions/mean_" + suffix] = mean(values);
  metrics["completions/min_" + suffix] = *std::min_element(values.begin(), values.end());
  metrics["completions/max_" + suffix] = *std::max_element(values.begin(), values.end());
}

/// fn of each rollout in order.
template <class Fn>
Values over_rollouts(const std::vector<Group>& groups, Fn fn) {
  Values out;
  for (const auto& group : groups) {
    for (const auto& rollout : group.rollouts) out.push_back(fn(rollout));
  }
  return out;
}

Values lengths(const std::vector<Group>& groups, bool terminated_only) {
  Values out;
  for (const auto& group : groups) {
    for (const auto& rollout : group.rollouts) {
      if (terminated_only && rollout.finish_reason == FinishReason::kLength) continue;
      out.push_back(double(rollout.token_ids.size()));
    }
  }
  return out;
}

void put_length_metrics(Metrics& metrics, const std::vector<Group>& groups) {
  put_mean_min_max(metrics, "length", lengths(groups, false));
  put_mean_min_max(metrics, "terminated_length", lengths(groups, true));
  put_mean(metrics, "completions/clipped_ratio", over_rollouts(groups, [](const Rollout& r) {
             return r.finish_reason == FinishReason::kLength ? 1.0 : 0.0;
           }));
}

void put_reflections(Metrics& metrics, const std::string& name, const std::vector<Group>& groups,
                     const std::vector<std::string>& words) {
  if (words.empty()) return;
  put_mean(metrics, name, over_rollouts(groups, [&](const Rollout& r) { return double(count_words(r.text, words)); }));
}

void put_total_metrics(Metrics& metrics, const std::vector<Group>& groups) {
  Values all, spreads, missing;
  for (const auto& group : groups) {
    Values scored;
    for (const auto& reward : group.rewards) {
      missing.push_back(reward.total ? 0 : 1);
      if (reward.total) scored.push_back(*reward.total);
    }
    if (!scored.empty()) spreads.push_back(std::sqrt(variance(scored)));
    all.insert(all.end(), scored.begin(), scored.end());
  }
  put_mean(metrics, "reward", all);
  put_mean(metrics, "reward_std", spreads);
  put_mean(metrics, "frac_reward_missing", missing);
  if (!groups.empty()) metrics["frac_reward_zero_std"] = frac_reward_zero_std(groups);
}

void put_part_metrics(Metrics& metrics, const std::vector<Group>& groups) {
  std::map<std::string, Values> parts;
  for (const auto& group : groups) {
    for (const auto& reward : group.rewards) {
      for (const auto& part : reward.parts) {
        if (part.score.value) parts[part.name].push_back(*part.score.value);
      }
    }
  }
  for (const auto& [name, values] : parts) {
    metrics["rewards/" + name + "/mean"] = mean(values);
    metrics["rewards/" + name + "/std"] = std::sqrt(variance(values));
  }
}

// ---- evaluation -----------------------------------------------------------------------------------------------------

/// One problem's scored samples: whether each was correct, and what it answered.
struct Problem {
  std::vector<Vote> samples;

  int64_t num_samples() const { return int64_t(samples.size()); }
  int64_t num_correct() const { return std::ranges::count(samples, true, &Vote::is_correct); }
};

bool is_scored(const Reward& reward) {
  if (reward.parts.empty()) return false;
  const Verdict verdict = reward.parts.front().score.verdict;
  return verdict == Verdict::kCorrect || verdict == Verdict::kWrong;
}

Problem make_problem(const Group& group) {
  Problem problem;
  for (size_t g = 0; g < group.rewards.size(); ++g) {
    if (!is_scored(group.rewards[g])) continue;
    problem.samples.push_back(
        {final_answer(group.rollouts.at(g).text), group.rewards[g].parts.front().score.verdict == Verdict::kCorrect});
  }
  return problem;
}

Values over_problems(const std::vector<Problem>& problems, const std::function<double(const Problem&)>& fn) {
  Values out;
  for (const auto& problem : problems) out.push_back(fn(problem));
  return out;
}

void put_pass_metrics(Metrics& metrics, const std::vector<Problem>& problems, int64_t num_samples) {
  const auto pass = [&](int64_t k) {
    return over_problems(problems, [k](const Problem& p) { return pass_at_k(p.num_samples(), p.num_correct(), k); });
  };
  const Values first = pass(1);
  const double n = double(first.size());
  const double half = n > 1 ? 1.96 * std::sqrt(variance(first) / (n - 1)) : 0;
  metrics["eval_pass@1"] = mean(first);
  metrics["eval_pass@1_low"] = std::max(0.0, mean(first) - half);
  metrics["eval_pass@1_high"] = std::min(1.0, mean(first) + half);
  for (int64_t k = 2; k <= num_samples; k *= 2) metrics[fmt::format("eval_pass@{}", k)] = mean(pass(k));
  metrics[fmt::format("eval_pass@{}", num_samples)] = mean(pass(num_samples));
}

}  // namespace

std::map<std::string, double> reward_metrics(const std::vector<Group>& groups,
                                             const std::vector<std::string>& reflection_words) {
  Metrics metrics;
  put_total_metrics(metrics, groups);
  put_part_metrics(metrics, groups);
  put_length_metrics(metrics, groups);
  put_reflections(metrics, "completions/reflections", groups, reflection_words);
  return metrics;
}

std::map<std::string, double> eval_metrics(const std::vector<Group>& groups,
                                           const std::vector<std::string>& reflection_words) {
  std::vector<Problem> problems;
  int64_t num_samples = 0, group_size = 0, num_scored = 0;
  for (const auto& group : groups) {
    Problem problem = make_problem(group);
    num_samples += int64_t(group.rollouts.size());
    group_size = std::max(group_size, int64_t(group.rollouts.size()));
    num_scored += problem.num_samples();
    if (problem.num_samples()) problems.push_back(std::move(problem));
  }
  if (problems.empty()) {
    throw std::runtime_error(
        "no completion of the evaluation could be scored: the first reward answered not applicable or undecided each "
        "time; check that the data has the columns that it needs");
  }
  Metrics metrics;
  put_pass_metrics(metrics, problems, group_size);
  metrics[fmt::format("eval_maj@{}", group_size)] =
      mean(over_problems(problems, [](const Problem& p) { return majority(p.samples); }));
  metrics["eval_num_problems"] = double(problems.size());
  metrics["eval_not_scored"] = double(num_samples - num_scored) / double(num_samples);
  put_mean(metrics, "eval_mean_length", lengths(groups, false));
  put_mean(metrics, "eval_truncated", over_rollouts(groups, [](const Rollout& r) {
             return r.finish_reason == FinishReason::kLength ? 1.0 : 0.0;
           }));
  put_reflections(metrics, "eval_reflections", groups, reflection_words);
  return metrics;
}

double pass_at_k(int64_t n, int64_t c, int64_t k) {
  k = std::min(k, n);
  if (n - c < k) return 1;
  if (k == 1) return double(c) / double(n);
  double none_correct = 1;  // prod over i of (1 - k/i), the stable form of C(n-c, k)/C(n, k)
  for (int64_t i = n - c + 1; i <= n; ++i) none_correct *= 1 - double(k) / double(i);
  return 1 - none_correct;
}

int64_t count_words(const std::string& text, const std::vector<std::string>& words) {
  int64_t count = 0;
  for (size_t at = 0; at < text.size();) {
    size_t longest = 0;
    for (const auto& word : words) {
      if (text.compare(at, word.size(), word) == 0) longest = std::max(longest, word.size());
    }
    count += longest > 0;
    at += std::max<size_t>(1, longest);
  }
  return count;
}

}  // namespace hone
