// Batch: rollouts (or documents) as packed tokens, without padding. The shift by one between a token and the row that
// predicts it happens here, once.
//
//   sequence 0: 7 3 12:33\n | <think> 7 + ... <eos>        inputs: every token but the last
//   row          0 1 2 ... 7   8  9                        a loss token stands at `rows` = the row before it
//
// B sequences, N input rows, M loss tokens.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "rewards/group.h"
#include "rl/config.h"

namespace hone {

struct Batch {
  std::vector<int64_t> lengths;         ///< (B) input rows of each sequence
  std::vector<int64_t> inputs;          ///< (N) token ids
  std::vector<int64_t> rows;            ///< (M) the input row whose output predicts the loss token
  std::vector<int64_t> targets;         ///< (M) the loss token
  std::vector<int64_t> sequence;        ///< (M) its sequence, 0 .. B-1, ascending
  std::vector<int64_t> forbidden;       ///< (M) a token that could not be drawn there, -1 for none
  std::vector<float> sampler_logprobs;  ///< (M) under the distribution it was drawn from; empty for documents
  std::vector<float> advantages;        ///< (M) empty for documents
  std::vector<float> weights;           ///< (M) share of this token in the loss of the whole optimizer step
  int64_t num_sequences() const { return static_cast<int64_t>(lengths.size()); }
  int64_t num_loss_tokens() const { return static_cast<int64_t>(rows.size()); }
};

/// How tokens are weighed: w of token t of completion i, S completions, T_i tokens, all of the optimizer step. With
/// mask_truncated S still counts every completion, as in TRL; sums of T count only those with loss.
enum class Normaliser {
  kSequenceMean,         ///< 1 / (S T_i): grpo (DeepSeekMath eq. 3), gspo
  kTokenMean,            ///< 1 / sum of T: dapo (Yu et al. 2025 eq. 8), cispo
  kMicroBatchTokenMean,  ///< 1 / (micro-batches x sum of T of the micro-batch): bnpo, TRL's micro-batches
  kMaxLength,            ///< 1 / (S max_completion_length): dr_grpo (Liu et al. 2025)
};

struct BatchOptions {
  Normaliser normaliser = Normaliser::kTokenMean;
  int64_t max_completion_length = 0;  ///< for kMaxLength
  int64_t micro_batch_sequences = 0;  ///< for kMicroBatchTokenMean; 0: all
  bool mask_truncated = false;        ///< completions cut at the limit carry no loss
  int64_t min_completion_length = 0;  ///< before it `end_token` could not be drawn
  int32_t end_token = -1;
};

/// The weight of a loss token of each of B sequences, which have so many loss tokens (B).
std::vector<double> sequence_weights(const std::vector<int64_t>& loss_tokens, const BatchOptions& options);

/// All rollouts of an optimizer step, in order. Throws std::invalid_argument when advantages do not fit.
Batch make_batch(const std::vector<Group>& groups, const std::vector<std::vector<double>>& advantages,
                 const BatchOptions& options);

/// Tokens and where the loss starts.
struct TokenDocument {
  std::vector<int32_t> tokens;
  int64_t loss_from = 1;  ///< index of the first token that carries loss, >= 1
};
/// Documents with weight 1/M each: cross-entropy per token.
Batch make_batch(const std::vector<TokenDocument>& documents);

/// Sequences [begin, end) with their weights as they are.
Batch slice(const Batch& batch, int64_t begin, int64_t end);

/// At most `parts` runs of consecutive sequences, of as many input rows each as whole sequences allow: [begin, end).
std::vector<std::pair<int64_t, int64_t>> split_evenly(const Batch& batch, int64_t parts);

}  // namespace hone
