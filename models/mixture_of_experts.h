// The feed-forward part of a mixture-of-experts layer, for every family that has one:
//
//   y = SwiGLU_shared(x) + sum over the k experts with the largest s_i + b_i of g_i SwiGLU_i(x)
//
//   DeepSeek-V3 (report eq. 12-16)   s = sigmoid(router x), group-limited, g = scale * s / (sum of the chosen s)
//   Qwen3-MoE (transformers)         s = softmax(router x), no bias, no shared expert, g = s or s / (sum of the chosen)
//
// The bias b steers the selection only; it has no gradient.
#pragma once

#include <optional>
#include <string>

#include "models/layers.h"

namespace hone {

class MixtureOfExperts {
 public:
  /// Names {prefix}gate.weight, {prefix}experts.{e}.gate_proj.weight ...
  MixtureOfExperts(const ModelConfig& config, const std::string& prefix, ParameterList& parameters);

  /// x (N, C) -> (N, C); context.router learns how many rows went to each expert.
  at::Tensor operator()(const at::Tensor& x, const ForwardContext& context) const;

  /// b (E); undefined in a family without one.
  const at::Tensor& selection_bias() const { return bias_; }

 private:
  at::Tensor scores(const at::Tensor& x) const;
  void report(const at::Tensor& scores, const at::Tensor& ids, const ForwardContext& context) const;
  at::Tensor balance_loss(const at::Tensor& scores, const Rows& rows) const;

  RoutingRule rule_;
  bool softmax_;
  Weight router_, gate_, up_, down_;
  at::Tensor bias_;
  std::optional<FeedForward> shared_;
};

}  // namespace hone
