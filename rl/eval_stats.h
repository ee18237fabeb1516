// Majority voting over the samples of one problem (maj@k, also called cons@k). pass@k, its interval and the other
// numbers of an evaluation are in rl/metrics.h. Pure functions, no torch.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace hone {

/// One sample's vote.
struct Vote {
  std::string answer;  ///< empty: does not vote
  bool is_correct = false;
};

/// What a completion answers: the text inside its last <answer>..</answer>; where there is none, inside its last
/// \boxed{..} with balanced braces. Without outer white space; empty when there is neither.
std::string final_answer(const std::string& text);

/// Share of correct samples among those that gave the most frequent answer, of equally frequent ones the first given; 0
/// when nobody voted. One text can be judged both ways (a reward may also want the exact format): the share then stands
/// for the vote of a random one of them.
double majority(std::span<const Vote> votes);

/// maj@k of n >= k votes, unbiased: the mean of majority() over the n / k blocks of k votes in order (what is left over
/// is not used). Throws std::invalid_argument unless 1 <= k <= n.
double majority_at_k(std::span<const Vote> votes, int64_t k);

}  // namespace hone
