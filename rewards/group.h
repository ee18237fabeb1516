// Group: one prompt, its G rollouts and their G rewards, tied by position and by prompt id, never by text.
#pragma once

#include <vector>

#include "rewards/reward.h"
#include "rollout/types.h"

namespace hone {

struct Group {
  Prompt prompt;
  std::vector<Rollout> rollouts;  ///< (G)
  std::vector<Reward> rewards;    ///< (G)
};

/// Scores rollouts[p * G + g] for prompts[p] with every reward, in order. Uses up to `threads` threads over prompts;
/// the result does not depend on it. A reward's std::runtime_error is rethrown with the prompt's id and the reward's
/// name in front, the first in prompt order. Throws std::invalid_argument when rollouts.size() is not a multiple of
/// prompts.size() or a prompt id does not match.
std::vector<Group> score(const std::vector<Prompt>& prompts, std::vector<Rollout> rollouts,
                         const std::vector<NamedReward>& rewards, int threads = 1);

}  // namespace hone
