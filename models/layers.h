// Pieces that families share: the dense feed-forward part and the rotary frequencies of a config.
#pragma once

#include "models/policy.h"

namespace hone {

/// down(silu(gate x) * up x), names {prefix}gate_proj.weight ...
struct FeedForward {
  Weight gate, up, down;
  FeedForward() = default;
  FeedForward(ParameterList& parameters, const std::string& prefix, int64_t hidden, int64_t width);
  at::Tensor operator()(const at::Tensor& x) const {
    return ops::linear(ops::swiglu(ops::linear(x, gate), ops::linear(x, up)), down);
  }
};

/// Rotary frequencies of `dim` dimensions under the config's scaling: none, linear, llama3 (transformers
/// modeling_rope_utils), YaRN (Peng et al. 2023; DeepSeek-V3 inference code).
RopeTable make_rope_table(const ModelConfig& config, int64_t dim, bool adjacent_pairs);

/// YaRN's 0.1 m ln(factor) + 1, 1 for factors up to 1.
double yarn_mscale(double factor, double m);

/// One file a family.
std::unique_ptr<Block> make_deepseek_v3_block(const ModelConfig& config, int64_t layer, ParameterList& parameters);
std::unique_ptr<Block> make_llama_block(const ModelConfig& config, int64_t layer, ParameterList& parameters);

}  // namespace hone
