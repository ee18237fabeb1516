#include "models/multi_token_prediction.h"

#include <ATen/ops/cat.h>

#include "models/layers.h"

namespace hone {

std::string predictor_prefix(const ModelConfig& config) {
  return "model.layers." + std::to_string(config.num_hidden_layers) + ".";
}

MultiTokenPredictor::MultiTokenPredictor(const ModelConfig& c, ParameterList& p) : eps_(c.rms_norm_eps) {
  const std::string prefix = predictor_prefix(c);
  embedding_norm_ = p.add(prefix + "enorm.weight", {c.hidden_size}, ParameterKind::kNorm);
  hidden_norm_ = p.add(prefix + "hnorm.weight", {c.hidden_size}, ParameterKind::kNorm);
  join_ = p.add_weight(prefix + "eh_proj.weight", {c.hidden_size, 2 * c.hidden_size});
  block_ = make_deepseek_v3_block(c, c.num_hidden_layers, p);
  norm_ = p.add(prefix + "shared_head.norm.weight", {c.hidden_size}, ParameterKind::kNorm);
}

at::Tensor MultiTokenPredictor::forward(const at::Tensor& hidden, const at::Tensor& next,
                                        const ForwardContext& context) const {
  const at::Tensor joined =
      at::cat({ops::rms_norm(next, embedding_norm_, eps_), ops::rms_norm(hidden, hidden_norm_, eps_)}, 1);
  return ops::rms_norm(block_->forward(ops::linear(joined, join_), context, /*layer=*/0), norm_, eps_);
}

}  // namespace hone
