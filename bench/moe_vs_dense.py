"""A GRPO step of the demo's mixture of experts beside one of a dense policy with as many active parameters (0.68M).

    python3 bench/moe_vs_dense.py build/release/hone

Random weights, 16 prompts x 16 samples x 120 forced tokens, alternating runs; prints both steps and their ratio.
"""

import pathlib
import sqlite3
import statistics
import subprocess
import sys
import tempfile

RECIPE = """
name: bench
seed: 1
stages:
  - {name: base, kind: base, task: countdown, max_steps: 1, model_config: %s}
  - {name: rl, kind: rl, model: "${base}", data: "${base}/train.jsonl", reward_funcs: [repetition_penalty], prompts_per_step: 16,
     num_generations: 16, max_completion_length: 120, min_completion_length: 120, learning_rate: 1.0e-5, max_steps: 5}
"""
MODELS = {
    "mixture of experts": """{model_type: deepseek_v3, hidden_size: 128, num_hidden_layers: 4, num_attention_heads: 4,
      num_key_value_heads: 4, kv_lora_rank: 32, qk_nope_head_dim: 16, qk_rope_head_dim: 16, v_head_dim: 32, q_lora_rank: null,
      first_k_dense_replace: 1, intermediate_size: 384, n_routed_experts: 8, num_experts_per_tok: 2, n_shared_experts: 1,
      moe_intermediate_size: 96, max_position_embeddings: 320, tie_word_embeddings: true}""",
    "dense": """{model_type: llama, hidden_size: 128, num_hidden_layers: 4, num_attention_heads: 4, num_key_value_heads: 4,
      intermediate_size: 256, max_position_embeddings: 320, tie_word_embeddings: true}""",
}


def steps(hone, config, folder):
    """Seconds of each step but the first: whole, rollout, update."""
    folder.mkdir()
    (folder / "recipe.yaml").write_text(RECIPE % config)
    subprocess.run([hone, "train", folder / "recipe.yaml", "--run-dir", folder / "run", "--threads", "2"], check=True,
                   stdout=subprocess.DEVNULL)
    with sqlite3.connect(folder / "run" / "run.db") as db:
        rows = db.execute("select step, name, value from steps where stage = 'rl' and name in "
                          "('step_time', 'time/rollout', 'time/update') order by step").fetchall()
    first = rows[0][0]
    return {name: [v for s, n, v in rows if n == name and s > first] for name in ("step_time", "time/rollout", "time/update")}


def main():
    hone = pathlib.Path(sys.argv[1]).resolve()
    found = {model: {} for model in MODELS}
    with tempfile.TemporaryDirectory() as root:
        for repetition in range(3):
            for model, config in MODELS.items():
                for name, values in steps(hone, config, pathlib.Path(root) / f"{model[:5]}-{repetition}").items():
                    found[model].setdefault(name, []).extend(values)
    medians = {model: {name: statistics.median(v) for name, v in parts.items()} for model, parts in found.items()}
    for model, m in medians.items():
        print(f"{model:20} step {m['step_time']:.2f} s   rollout {m['time/rollout']:.2f} s   update {m['time/update']:.2f} s")
    moe, dense = (medians[m]["step_time"] for m in MODELS)
    print(f"mixture of experts / dense: {moe / dense:.2f} x")


if __name__ == "__main__":
    main()
