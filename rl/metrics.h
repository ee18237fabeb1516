// What a step's groups say about it, under TRL's metric names. Pure functions; a mean over nothing is left out.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "rewards/group.h"

namespace hone {

/// For a training step, over its scored rollouts unless said otherwise:
///   reward, reward_std (mean of the groups' population std), frac_reward_zero_std, frac_reward_missing (share of
///   rollouts without a reward), rewards/NAME/{mean,std}, completions/{mean,min,max}_length (all rollouts),
///   completions/{mean,min,max}_terminated_length (those not cut), completions/clipped_ratio, and
///   completions/reflections (mean count of any of the words in a completion; only when words are given).
std::map<std::string, double> reward_metrics(const std::vector<Group>& groups,
                                             const std::vector<std::string>& reflection_words);

/// For an evaluation with n samples of each problem. A sample is correct when the first reward's verdict is kCorrect;
/// one that this reward did not score is left out, and so is a problem without scored samples (eval_not_scored: share
/// of samples). Names:
///   eval_pass@1 and its 95 % interval eval_pass@1_low/_high: mean over problems of c/n, +- 1.96 standard errors
///   eval_pass@k for k = 2, 4, .. < n and n: mean of 1 - C(n-c, k)/C(n, k), unbiased (arXiv:2107.03374)
///   eval_maj@n: the most frequent final_answer() (rl/eval_stats.h), the first of equals; its share of correct samples
///   eval_mean_length, eval_truncated (share cut at the limit), eval_reflections, eval_num_problems
/// Throws std::runtime_error when nothing could be scored.
std::map<std::string, double> eval_metrics(const std::vector<Group>& groups,
                                           const std::vector<std::string>& reflection_words);

/// 1 - C(n-c, k)/C(n, k): the chance that k of n samples, c of them correct, hold a correct one. k > n counts as n.
double pass_at_k(int64_t n, int64_t c, int64_t k);

/// Occurrences of any of the words in text, none counted twice.
int64_t count_words(const std::string& text, const std::vector<std::string>& words);

}  // namespace hone
