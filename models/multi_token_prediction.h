// DeepSeek-V3's module that predicts the token after the next one (report §2.2, eq. 21-23, depth 1):
//
//   h'_i = Block(eh_proj [enorm(Emb(t_{i+1})) ; hnorm(h_i)]),   P(t_{i+2}) = softmax(head(shared_head.norm(h'_i)))
//
// h_i is the policy's output after its last norm. The embedding stands first, as the released weights have it (the
// report's eq. 21 writes it second). Embedding and head are the policy's own; a checkpoint holds copies of both, which
// are written and not read. Trained, it drafts tokens for speculative decoding (rollout/engine.h).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/policy.h"

namespace hone {

class MultiTokenPredictor {
 public:
  /// Adds model.layers.{num_hidden_layers}.* to the parameters.
  MultiTokenPredictor(const ModelConfig& config, ParameterList& parameters);

  /// hidden (N, C) at positions i, next (N, C) embeddings of the tokens at i + 1 -> (N, C) for the policy's head. The
  /// cache, when there is one, holds this module's layer alone.
  at::Tensor forward(const at::Tensor& hidden, const at::Tensor& next, const ForwardContext& context) const;

  const Block& block() const { return *block_; }

 private:
  double eps_;
  Weight join_;
  at::Tensor embedding_norm_, hidden_norm_, norm_;
  std::unique_ptr<Block> block_;
};

/// "model.layers.{num_hidden_layers}.".
std::string predictor_prefix(const ModelConfig& config);

}  // namespace hone
