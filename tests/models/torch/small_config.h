// The policy that tests of models and engine begin with: two layers, few of anything, sizes that fill no panel of 32.
#pragma once

#include "models/model_config.h"

namespace hone {

inline ModelConfig small_config(Architecture architecture, bool tied = false) {
  ModelConfig c;
  c.architecture = architecture;
  c.vocab_size = 75;
  c.hidden_size = 48, c.intermediate_size = 80, c.num_hidden_layers = 2;
  c.num_attention_heads = c.num_key_value_heads = 4, c.head_dim = 12;
  c.qkv_bias = architecture == Architecture::kQwen2;
  c.tie_word_embeddings = tied;
  c.eos_token_id = {1};
  if (architecture == Architecture::kDeepseekV3) {
    c.kv_lora_rank = 16, c.qk_nope_head_dim = 8, c.qk_rope_head_dim = 8, c.v_head_dim = 12, c.head_dim = 8;
    c.n_routed_experts = 8, c.num_experts_per_tok = 2, c.n_shared_experts = 1, c.moe_intermediate_size = 24;
    c.first_k_dense_replace = 1, c.num_nextn_predict_layers = 1;
  }
  return c;
}

}  // namespace hone
