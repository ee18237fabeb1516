"""Makes tests/golden/mtp: a tiny DeepSeek-V3 folder with a multi-token-prediction layer as it is released (embedding first in
eh_proj, copies of embedding and head), and the logits that PyPI transformers' layers give for it.

    .venv-peers/bin/python tests/reference/mtp_golden.py
"""

import json
import pathlib

import safetensors.torch
import torch
import transformers
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3DecoderLayer, DeepseekV3RMSNorm

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "golden" / "mtp"
TOKENS = [3, 17, 5, 5, 20, 1, 9, 14, 2, 23, 11]


@torch.no_grad()
def main():
    torch.manual_seed(1)
    config = transformers.DeepseekV3Config(
        vocab_size=24, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2, intermediate_size=24,
        moe_intermediate_size=8, n_routed_experts=4, n_shared_experts=1, num_experts_per_tok=2, n_group=2, topk_group=1,
        first_k_dense_replace=1, kv_lora_rank=8, q_lora_rank=12, qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=8,
        max_position_embeddings=64, tie_word_embeddings=False, bos_token_id=None, eos_token_id=1, pad_token_id=0)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32).eval()
    layer = DeepseekV3DecoderLayer(model.config, layer_idx=2).eval()
    norms = {name: DeepseekV3RMSNorm(16, config.rms_norm_eps) for name in ("enorm", "hnorm", "shared_head.norm")}
    join = torch.nn.Linear(32, 16, bias=False)
    named = dict(layer.named_parameters()) | {n: b for n, b in layer.named_buffers() if n.endswith("e_score_correction_bias")}
    named |= {f"{n}.weight": m.weight for n, m in norms.items()} | {"eh_proj.weight": join.weight}
    everything = dict(model.named_parameters()) | {n: b for n, b in model.named_buffers() if n.endswith("correction_bias")}
    for name, tensor in (everything | named).items():
        noise = torch.randn_like(tensor)
        tensor.copy_(1 + 0.2 * noise if "norm" in name else 0.2 * noise if name.endswith("bias") else
                     noise * 1.5 / tensor.shape[-1] ** 0.5)

    ids = torch.tensor([TOKENS])
    base = model.model(ids)[0]
    joined = torch.cat([norms["enorm"](model.model.embed_tokens(ids[:, 1:])), norms["hnorm"](base[:, :-1])], -1)
    positions = torch.arange(len(TOKENS) - 1)[None]
    length = len(TOKENS) - 1
    mask = torch.full((1, 1, length, length), torch.finfo(torch.float32).min).triu(1)
    out = layer(join(joined), attention_mask=mask, position_ids=positions,
                position_embeddings=model.model.rotary_emb(joined, positions))
    out = out[0] if isinstance(out, tuple) else out
    logits = model.lm_head(norms["shared_head.norm"](out))[0]

    FOLDER.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(FOLDER)
    tensors = safetensors.torch.load_file(FOLDER / "model.safetensors")
    prefix = "model.layers.2."
    for name, tensor in layer.state_dict().items():
        if "experts.gate_up_proj" in name:  # transformers stacks the experts; a checkpoint does not
            for e in range(4):
                gate, up = tensor[e].chunk(2)
                tensors[f"{prefix}mlp.experts.{e}.gate_proj.weight"] = gate.clone()
                tensors[f"{prefix}mlp.experts.{e}.up_proj.weight"] = up.clone()
        elif "experts.down_proj" in name and tensor.dim() == 3:
            for e in range(4):
                tensors[f"{prefix}mlp.experts.{e}.down_proj.weight"] = tensor[e].clone()
        else:
            tensors[prefix + name] = tensor.clone()
    tensors |= {f"{prefix}{n}.weight": m.weight.float().clone() for n, m in norms.items()}
    tensors[prefix + "eh_proj.weight"] = join.weight.float().clone()
    tensors[prefix + "embed_tokens.weight"] = model.model.embed_tokens.weight.clone()
    tensors[prefix + "shared_head.head.weight"] = model.lm_head.weight.clone()
    safetensors.torch.save_file({n: t.detach().float().contiguous() for n, t in tensors.items()}, FOLDER / "model.safetensors",
                                metadata={"format": "pt"})
    written = json.loads((FOLDER / "config.json").read_text())
    written["num_nextn_predict_layers"] = 1
    (FOLDER / "config.json").write_text(json.dumps(written, indent=1) + "\n")
    (FOLDER / "generation_config.json").unlink(missing_ok=True)
    (FOLDER / "expected.json").write_text(json.dumps({"token_ids": TOKENS, "logits": logits.tolist()}) + "\n")
    print(sorted(tensors), logits.abs().max())


if __name__ == "__main__":
    main()
