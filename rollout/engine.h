// The sampler: prompts in, G completions each, with the log-prob of every token under the distribution drawn from.
//
//   A prompt passes through the policy once; its G completions share its keys and values, and copy only the block that
//   they go on writing.
//   Places in the batch are taken by the next completion as soon as one ends: finished rows cost nothing.
//   A policy small enough to sit in a core's cache runs one stream of completions a thread, without any meeting point;
//   a larger one runs a single stream whose products all threads share.
//   With `speculate` the model's multi-token-prediction module drafts one token ahead: a step passes the newest token
//   and the draft through the policy, and gives two tokens where the draft is accepted. What is drawn has the same
//   distribution, greedy completions are the same tokens, and the recorded log-prob is the policy's.
//   A completion depends on (weights, prompt, seed, purpose, step, slot, sample) alone: not on its neighbours, the
//   batch size, the order, or the number of threads. tests/rollout/torch/engine_test.cpp holds it to that.
//
// Memory: of the policy's cache what the longest completions that were in flight at once took, freed when generate()
// returns.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "models/policy.h"
#include "models/tokenizer.h"
#include "rollout/interrupted.h"
#include "rollout/random.h"
#include "rollout/sampler.h"
#include "rollout/types.h"

namespace hone {

/// The part of the random key that is common to one call.
struct DrawKey {
  uint64_t seed = 0;
  Purpose purpose = Purpose::kRollout;
  uint64_t step = 0;
};

/// How far drafts got; counted by all streams together.
struct DraftCounts {
  std::atomic<int64_t> drafted{0}, accepted{0};
  /// Tokens that a pass of the policy gives a completion, 1 + the share of drafts that are accepted.
  double tokens_per_forward() const {
    return 1 + (drafted ? static_cast<double>(accepted) / static_cast<double>(drafted) : 0);
  }
};

struct GenerateOptions {
  SamplingOptions sampling;
  int64_t samples = 1;  ///< completions of each prompt, G
  DrawKey key;
  std::vector<int64_t> slots;  ///< (P) the prompts' places in the random key; empty: 0, 1, 2 ..
  int64_t policy_version = 0;
  /// Called as soon as all completions of a prompt are there, from any thread, one prompt at a time a thread.
  std::function<void(int64_t prompt, std::span<const Rollout> completions)> on_group;
  bool speculate = false;         ///< needs a policy with a predictor
  DraftCounts* drafts = nullptr;  ///< added to when not null
  int64_t max_batch = 0;          ///< completions in flight in a stream; 0: as many as pay (see completions_in_flight)
  std::stop_token stop = {};      ///< asked before every token; then Interrupted is thrown
};

/// Ends a completion: the ids of config.json, else <eos>. Throws std::runtime_error when the model names none.
std::vector<int32_t> end_tokens(const ModelConfig& config);

/// P * G rollouts, prompt by prompt. Throws std::invalid_argument for an empty prompt, a prompt that leaves no room in
/// max_position_embeddings, or `speculate` without a predictor.
std::vector<Rollout> generate(const Policy& policy, const Tokenizer& tokenizer, std::span<const Prompt> prompts,
                              const GenerateOptions& options);

}  // namespace hone
