// Reward models: a score head on a policy, trained on pairs of completions of which one is preferred, and the reward
// that asks it (DeepSeek-R1 2.3.4: a preference reward for data that no rule can judge).
//
//   loss = - mean over pairs of log sigmoid(r(x, chosen) - r(x, rejected))
//
// (Bradley and Terry 1952; Ouyang et al. 2022, "InstructGPT", eq. 1 with one pair a prompt). r is the head's number at
// the last token of prompt and completion. Left out: InstructGPT's shift of r to a mean of 0, since a pair cannot see
// it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "rewards/reward.h"
#include "rl/stage.h"

namespace hone {

/// Token ids of prompt, completion and end token.
struct PreferencePair {
  std::vector<int32_t> chosen, rejected;
};

/// Rows {"prompt": text or messages, "chosen": text, "rejected": text}. Throws std::runtime_error naming file and line
/// for a broken row or one beyond max_length.
std::vector<PreferencePair> load_pairs(const std::filesystem::path& file, const Model& model, int64_t max_length);

struct PairLoss {
  double loss = 0;
  double accuracy = 0;         ///< share of pairs whose chosen completion has the larger score
  double margin = 0;           ///< mean difference of the scores
  std::vector<float> weights;  ///< (2 P) of each score: the loss's derivative
};
/// scores (2 P): the chosen and the rejected completion of each pair in turn.
PairLoss pair_loss(const std::vector<float>& scores);

/// Every step takes the next pairs of a permutation an epoch. Leaves final/, a model folder with score.weight in it,
/// which transformers' AutoModelForSequenceClassification loads, too.
Metrics train_reward_model(const RewardModelConfig& config, const StageContext& stage, Model start,
                           const std::vector<PreferencePair>& pairs);

/// The reward `reward_model`: sigmoid(r), correct above one half. A score that is not finite throws
/// std::runtime_error. Throws std::invalid_argument for a folder without a head and for one with another tokenizer
/// than the policy's, since it reads the policy's tokens.
NamedReward model_reward(const std::filesystem::path& folder, const Tokenizer& policy_tokenizer);

}  // namespace hone
