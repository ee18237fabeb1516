// Tiny policies for the tests of the update.
#pragma once

#include <vector>

#include <ATen/ATen.h>

#include "models/policy.h"

namespace hone {

inline at::Tensor random(at::IntArrayRef shape, uint64_t seed, double scale = 1) {
  auto g = at::detail::createCPUGenerator(seed);
  return at::empty(shape, at::kDouble).normal_(0, scale, g);
}

/// A few thousand weights of the family.
inline ModelConfig small(Architecture architecture) {
  ModelConfig c;
  c.architecture = architecture;
  c.vocab_size = 30;
  c.hidden_size = 16;
  c.intermediate_size = 24;
  c.num_hidden_layers = 2;
  c.num_attention_heads = c.num_key_value_heads = 2;
  c.head_dim = 8;
  c.eos_token_id = {1};
  if (architecture == Architecture::kDeepseekV3) {
    c.kv_lora_rank = 8, c.qk_nope_head_dim = 4, c.qk_rope_head_dim = 4, c.v_head_dim = 6, c.head_dim = 4;
    c.n_routed_experts = 4, c.num_experts_per_tok = 2, c.n_shared_experts = 1, c.moe_intermediate_size = 12;
    c.first_k_dense_replace = 1;
  }
  return c;
}

/// All gradients behind one another.
inline at::Tensor flat_gradient(const Policy& policy) {
  std::vector<at::Tensor> all;
  for (const Parameter& p : policy.parameters().all()) {
    if (p.trainable()) all.push_back(p.tensor.grad().flatten());
  }
  return at::cat(all);
}

}  // namespace hone
