// Group: one prompt, its G rollouts and their G rewards, tied by position and by prompt id, never by text.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "rewards/reward.h"
#include "rollout/types.h"

namespace hone {

struct Group {
  Prompt prompt;
  std::vector<Rollout> rollouts;  ///< (G)
  std::vector<Reward> rewards;    ///< (G)
};

/// A row may name the rewards that are asked of it, by a column reward_funcs; of the others it is not applicable.
///
/// Scores rollouts[p * G + g] for prompts[p] with every reward, in order. Uses up to `threads` threads over prompts;
/// the result does not depend on it. A reward's std::runtime_error is nested in one with the prompt's id and the
/// reward's name in front, the first in prompt order; it also throws one for a row that asks for no reward at all.
/// Throws std::invalid_argument when rollouts.size() is not a multiple of prompts.size() or a prompt id does not match.
std::vector<Group> score(const std::vector<Prompt>& prompts, std::vector<Rollout> rollouts,
                         const std::vector<NamedReward>& rewards, int threads = 1);

/// Scores each group on threads of its own while others are still being sampled. The groups do not depend on the order
/// in which they come, nor on the number of threads.
class GroupScorer {
 public:
  /// Borrows both, which must outlive it.
  GroupScorer(const std::vector<Prompt>& prompts, const std::vector<NamedReward>& rewards, int threads);
  /// Drops what has not been scored yet.
  ~GroupScorer();
  GroupScorer(const GroupScorer&) = delete;
  GroupScorer& operator=(const GroupScorer&) = delete;

  /// The completions of prompts[index], once for each prompt. Thread-safe, returns at once.
  void add(size_t index, std::span<const Rollout> rollouts);

  /// Waits for all groups, in the order of the prompts, and asks the rewards that want them together. Throws as
  /// score() does. Call it once.
  std::vector<Group> finish();

  /// Seconds that the threads spent scoring, all together; after finish().
  double seconds() const { return seconds_; }

 private:
  void work();

  const std::vector<Prompt>& prompts_;
  const std::vector<NamedReward>& rewards_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<size_t> waiting_;
  std::vector<Group> groups_;
  std::vector<std::exception_ptr> failures_;  // one a prompt
  size_t left_;                               // groups not yet scored
  double seconds_ = 0;
  bool stop_ = false;
  std::vector<std::jthread> threads_;
};

}  // namespace hone
