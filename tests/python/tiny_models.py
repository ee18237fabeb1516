"""Tiny random checkpoints of every family, made by PyPI transformers. Weights are scaled so that logits are of size 1
to 10 and no tensor is left at a value that would hide it (norms are not 1, biases and the router's are not 0)."""

import json

import torch
import transformers

VOCAB = 96
YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=8.0, beta_fast=32.0, beta_slow=1.0, original_max_position_embeddings=16)
LLAMA3 = dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)
LINEAR = dict(rope_type="linear", rope_theta=10000.0, factor=4.0)
COMMON = dict(vocab_size=VOCAB, hidden_size=64, num_hidden_layers=3, num_attention_heads=4, max_position_embeddings=256,
              bos_token_id=None, eos_token_id=1, pad_token_id=0)


def deepseek(**options):
    sizes = dict(intermediate_size=112, moe_intermediate_size=24, num_key_value_heads=4, n_routed_experts=16, n_shared_experts=1,
                 num_experts_per_tok=4, n_group=4, topk_group=2, first_k_dense_replace=1, kv_lora_rank=24, q_lora_rank=40,
                 qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=16, tie_word_embeddings=False, num_mtp_layers=0)
    return transformers.DeepseekV3Config(**COMMON | sizes | options)


def dense(config_class, **options):
    return config_class(**COMMON | dict(intermediate_size=112, num_key_value_heads=2, tie_word_embeddings=False) | options)


def qwen3_moe(**options):
    return dense(transformers.Qwen3MoeConfig, head_dim=16, moe_intermediate_size=24, num_experts=8, num_experts_per_tok=3,
                 decoder_sparse_step=1, **options)


def configs():
    llama, qwen2, qwen3 = transformers.LlamaConfig, transformers.Qwen2Config, transformers.Qwen3Config
    return {
        "deepseek": deepseek(),
        "deepseek-yarn": deepseek(rope_parameters=YARN | dict(mscale=1.0, mscale_all_dim=1.0)),
        "deepseek-yarn-mscale": deepseek(q_lora_rank=None, rope_parameters=YARN | dict(mscale=1.0, mscale_all_dim=0.707)),
        "deepseek-no-q-lora": deepseek(q_lora_rank=None, n_group=1, topk_group=1, n_routed_experts=8, num_experts_per_tok=2,
                                       n_shared_experts=2, norm_topk_prob=False, routed_scaling_factor=1.0),
        "deepseek-half-split-tied": deepseek(rope_interleave=False, tie_word_embeddings=True, attention_bias=True),
        "deepseek-announced-mtp": deepseek(num_mtp_layers=1, v_head_dim=12),
        "llama": dense(llama),
        "llama-tied-llama3-rope": dense(llama, tie_word_embeddings=True, rope_parameters=LLAMA3),
        "llama-linear-biases": dense(llama, attention_bias=True, mlp_bias=True, rope_parameters=LINEAR, num_key_value_heads=4),
        "llama-yarn": dense(llama, rope_parameters=YARN, head_dim=24),
        "qwen2": dense(qwen2),
        "qwen2-tied": dense(qwen2, tie_word_embeddings=True, num_key_value_heads=1),
        "qwen3": dense(qwen3, head_dim=32),
        "qwen3-moe": qwen3_moe(norm_topk_prob=True),
        "qwen3-moe-mixed-layers": qwen3_moe(norm_topk_prob=False, mlp_only_layers=[0], tie_word_embeddings=True),
        "qwen3-tied": dense(qwen3, head_dim=16, tie_word_embeddings=True, rope_parameters=YARN),
    }


@torch.no_grad()
def randomise(model, seed):
    generator = torch.Generator().manual_seed(seed)
    tensors = dict(model.named_parameters()) | {n: b for n, b in model.named_buffers() if n.endswith("e_score_correction_bias")}
    for name, tensor in tensors.items():
        noise = torch.randn(tensor.shape, generator=generator)
        if "norm" in name:
            tensor.copy_(1 + 0.2 * noise)
        elif name.endswith("bias"):
            tensor.copy_(0.2 * noise)
        elif "embed_tokens" in name:
            tensor.copy_(noise * (0.3 if model.config.tie_word_embeddings else 1.0))
        else:
            tensor.copy_(noise * (2.0 if "lm_head" in name else 1.2) / tensor.shape[-1] ** 0.5)


def tokenizer_json():
    """One token a character: <pad>, <eos>, then VOCAB - 2 ideographs."""
    special = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    vocab = {"<pad>": 0, "<eos>": 1} | {chr(0x4E00 + i): i for i in range(2, VOCAB)}
    return {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "post_processor": None,
        "added_tokens": [{"id": i, "content": t} | special for i, t in enumerate(["<pad>", "<eos>"])],
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": r"[\s\S]"}, "behavior": "Isolated", "invert": False},
        "decoder": {"type": "Fuse"}, "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"},
    }


def make(config, folder, seed, **save_options):
    """Writes the folder and returns the model it holds, in float32 with eager attention."""
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32).eval()
    randomise(model, seed)
    model.save_pretrained(folder, **save_options)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json()))
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<eos>", "pad_token": "<pad>"}))
    return model
