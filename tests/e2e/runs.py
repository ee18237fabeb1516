"""What the tests beside this file share: a small policy of every part that a run can have, and which metrics are times."""

MIXTURE_OF_EXPERTS = """{model_type: deepseek_v3, hidden_size: 48, num_hidden_layers: 2, num_attention_heads: 4, kv_lora_rank: 16,
                   qk_nope_head_dim: 8, qk_rope_head_dim: 8, v_head_dim: 12, first_k_dense_replace: 1, intermediate_size: 96,
                   n_routed_experts: 8, num_experts_per_tok: 2, n_shared_experts: 1, moe_intermediate_size: 32,
                   max_position_embeddings: 320, tie_word_embeddings: true}"""
NOT_TIMED = "name not like 'time/%' and name not like 'perf/%' and name <> 'step_time'"
