"""Writes tests/golden/model_configs.json: config.json texts in both dialects of transformers, and the values that
PyPI `transformers` reads out of them; and checks tests/golden/model_configs_written.json, config.json texts that our
to_json writes (ModelConfig.WritesWhatTransformersReads compares them byte by byte), against the same library.

  python tests/reference/write_golden_model_config.py          writes the first, with transformers 5
  python tests/reference/write_golden_model_config.py --check  checks the second, with transformers 4.5x or 5
"""

import json
import pathlib
import sys
import tempfile

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

FOLDER = pathlib.Path(__file__).parent.parent / "golden"
COMMON = """vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads head_dim
max_position_embeddings rms_norm_eps tie_word_embeddings initializer_range bos_token_id eos_token_id
pad_token_id""".split()
DEEPSEEK = (
    """moe_intermediate_size first_k_dense_replace q_lora_rank kv_lora_rank qk_nope_head_dim qk_rope_head_dim v_head_dim
n_routed_experts n_shared_experts num_experts_per_tok n_group topk_group norm_topk_prob routed_scaling_factor
rope_interleave attention_bias""".split()
)
QWEN_EXPERTS = "moe_intermediate_size num_experts num_experts_per_tok norm_topk_prob decoder_sparse_step mlp_only_layers".split()
KEYS = {"deepseek_v3": DEEPSEEK, "qwen3_moe": QWEN_EXPERTS}
SIZES = dict(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)
MOE = SIZES | dict(
    model_type="deepseek_v3",
    moe_intermediate_size=16,
    n_routed_experts=8,
    n_shared_experts=1,
    num_experts_per_tok=2,
    kv_lora_rank=16,
    qk_nope_head_dim=8,
    qk_rope_head_dim=4,
    v_head_dim=8,
    num_key_value_heads=4,
    n_group=2,
    topk_group=1,
)
YARN = dict(
    type="yarn",
    factor=40,
    beta_fast=32,
    beta_slow=1,
    mscale=1.0,
    mscale_all_dim=1.0,
    original_max_position_embeddings=4096,
)
LLAMA3 = dict(
    rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192
)


def dense(model_type, **keys):
    return SIZES | dict(model_type=model_type) | keys


INPUTS = [
    dense("llama"),
    dense(
        "llama",
        num_key_value_heads=2,
        rope_theta=5e5,
        rope_scaling=LLAMA3,
        max_position_embeddings=131072,
        torch_dtype="bfloat16",
        rms_norm_eps=1e-5,
        eos_token_id=[5, 6],
        bos_token_id=4,
        tie_word_embeddings=True,
        attention_bias=True,
        mlp_bias=True,
        head_dim=16,
    ),
    dense(
        "llama",
        rope_parameters=LLAMA3 | {"rope_theta": 5e5},
        max_position_embeddings=131072,
        dtype="float16",
        eos_token_id=None,
        bos_token_id=None,
    ),
    dense("llama", rope_scaling=dict(type="linear", factor=2.0), rope_theta=1e4),
    dense("llama", rope_scaling=dict(LLAMA3, original_max_position_embeddings=512), rope_theta=3e4),
    dense(
        "qwen2",
        num_key_value_heads=2,
        rope_theta=1e6,
        use_sliding_window=False,
        sliding_window=4096,
        max_window_layers=21,
        bos_token_id=3,
        eos_token_id=7,
    ),
    dense(
        "qwen2",
        num_key_value_heads=4,
        rope_parameters=dict(rope_type="default", rope_theta=1e6),
        layer_types=["full_attention"] * 2,
        sliding_window=None,
    ),
    dense(
        "qwen2",
        num_key_value_heads=4,
        rope_theta=1e6,
        rope_scaling=dict(type="yarn", factor=4.0, original_max_position_embeddings=32768),
    ),
    dense("qwen3", num_key_value_heads=2, head_dim=16, rope_theta=1e6, attention_bias=False),
    dense("qwen3", num_key_value_heads=None, rope_theta=1e6),
    dense(
        "qwen3_moe",
        num_key_value_heads=2,
        head_dim=16,
        moe_intermediate_size=24,
        num_experts=8,
        num_experts_per_tok=2,
        norm_topk_prob=True,
        mlp_only_layers=[1],
        rope_theta=1e6,
    ),
    dense("qwen3_moe", num_key_value_heads=4, moe_intermediate_size=24, num_experts=6, num_experts_per_tok=2,
          decoder_sparse_step=2, use_sliding_window=False),
    MOE
    | dict(
        rope_theta=10000,
        rope_scaling=YARN,
        max_position_embeddings=163840,
        q_lora_rank=24,
        num_nextn_predict_layers=1,
        scoring_func="sigmoid",
        topk_method="noaux_tc",
        moe_layer_freq=1,
        torch_dtype="bfloat16",
    ),
    MOE
    | dict(
        rope_parameters={k: v for k, v in YARN.items() if k != "type"} | dict(rope_type="yarn", rope_theta=2e4),
        max_position_embeddings=163840,
        q_lora_rank=None,
        first_k_dense_replace=1,
        norm_topk_prob=False,
        routed_scaling_factor=1.0,
        dtype="float32",
        rope_interleave=False,
    ),
    {k: v for k, v in MOE.items() if k not in ("n_group", "topk_group")} | dict(n_routed_experts=16),
    MOE
    | dict(
        rope_theta=10000.0,
        rope_scaling=dict(YARN, factor=8.0, mscale=0.707, mscale_all_dim=0.707),
        max_position_embeddings=32768,
    ),
]


def rope_tables(config):
    """The frequencies and the factors on attention: what all those rope fields come to."""
    model = AutoModelForCausalLM.from_config(config)
    rotary = model.model.rotary_emb
    attention = model.model.layers[0].self_attn
    return {
        "inv_freq": [float(x) for x in rotary.inv_freq],
        "attention_scaling": float(rotary.attention_scaling),
        "softmax_scale": float(attention.scaling),
    }


def observe(config):
    values = {
        key: getattr(config, key, None) for key in COMMON + KEYS.get(config.model_type, [])
    }
    values["head_dim"] = values["head_dim"] or config.hidden_size // config.num_attention_heads
    values["dtype"] = str(config.dtype or torch.float32).removeprefix("torch.")
    for key in ("attention_bias", "mlp_bias"):
        values[key] = getattr(config, key, False)
    rope = getattr(config, "rope_parameters", None) or (config.rope_scaling or {})
    values["rope"] = {k: v for k, v in rope.items() if k != "type"}
    values["rope"].setdefault("rope_theta", getattr(config, "rope_theta", None))
    values["rope"].setdefault("rope_type", "default")
    return values


def read(config_json):
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "config.json").write_text(json.dumps(config_json))
        return AutoConfig.from_pretrained(folder)


def saved_form(config):
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        return json.loads(pathlib.Path(folder, "config.json").read_text())


def write():
    rows = []
    for source in INPUTS:
        config = read(source)
        rows.append(
            {
                "config": source,
                "saved": saved_form(config),
                "values": observe(config),
                "rope_tables": rope_tables(config),
            }
        )
    text = ",\n".join(json.dumps(row) for row in rows)
    (FOLDER / "model_configs.json").write_text(
        f'{{"library": "transformers {transformers.__version__}", "rows": [\n{text}\n]}}\n'
    )
    print(len(rows), "configs")


def check():
    golden = json.loads((FOLDER / "model_configs.json").read_text())["rows"]
    written = json.loads((FOLDER / "model_configs_written.json").read_text())
    assert len(golden) == len(written)
    for row, ours in zip(golden, written):
        config = read(ours)
        assert config.architectures[0] == type(AutoModelForCausalLM.from_config(config)).__name__, config.architectures
        seen, wanted = observe(config), dict(row["values"])
        seen.pop("rope"), wanted.pop("rope")
        assert seen == wanted, (ours, {k: (seen[k], wanted[k]) for k in wanted if seen[k] != wanted[k]})
        tables = rope_tables(config)
        assert tables == row["rope_tables"], (ours, tables, row["rope_tables"])
        again = config.to_dict()
        assert again.get("num_nextn_predict_layers", ours.get("num_nextn_predict_layers")) == ours.get(
            "num_nextn_predict_layers"
        ), again
    print(f"transformers {transformers.__version__} reads {len(written)} written configs as meant")


check() if "--check" in sys.argv else write()
