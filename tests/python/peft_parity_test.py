"""PyPI peft loads the adapters that hone trains, and the model it makes of the base and the adapter has the logits of
hone's merged folder. Another base must be told apart.

    .venv-peers/bin/python tests/python/peft_parity_test.py build/release/hone
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import peft
import torch
import transformers

import tiny_models

RECIPE = """
name: adapters
stages:
  - {name: sft, kind: sft, model: BASE, data: ROWS, tokens_per_step: 200, learning_rate: 2.0e-2, max_steps: 8, OPTIONS}
"""
FAMILIES = {"llama": "lora_r: 4, lora_alpha: 16", "qwen2": "lora_r: 2, lora_target_modules: [q_proj, v_proj, down_proj]",
            "deepseek": "lora_r: 4", "qwen3-moe-mixed-layers": "lora_r: 4",
            "deepseek-no-q-lora": "lora_r: 4, lora_target_modules: [q_proj, kv_a_proj_with_mqa, o_proj]"}
TOLERANCE = 2e-5  # times max(1, largest |logit|)


def train(work, base, options):
    generator = torch.Generator().manual_seed(3)
    rows = [torch.randint(2, tiny_models.VOCAB, (20,), generator=generator).tolist() for _ in range(30)]
    (work / "rows.jsonl").write_text("".join(json.dumps({"prompt_ids": r[:5], "completion_ids": r[5:]}) + "\n" for r in rows))
    (work / "recipe.yaml").write_text(
        RECIPE.replace("BASE", str(base)).replace("ROWS", str(work / "rows.jsonl")).replace("OPTIONS", options))
    subprocess.run([HONE, "train", work / "recipe.yaml", "--run-dir", work / "run"], check=True, stdout=subprocess.DEVNULL)
    return work / "run" / "stages" / "sft" / "final"


@torch.no_grad()
def logits(model):
    return model(torch.arange(2, 90)[None]).logits[0]


def load(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()


def check(name, options):
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        tiny_models.make(tiny_models.configs()[name], work / "base", seed=1)
        tiny_models.make(tiny_models.configs()[name], work / "other", seed=2)
        final = train(work, work / "base", options)
        merged, start = logits(load(final)), logits(load(work / "base"))
        adapted = logits(peft.PeftModel.from_pretrained(load(work / "base"), final / "adapter").eval())
        other = logits(peft.PeftModel.from_pretrained(load(work / "other"), final / "adapter").eval())
    allowed = TOLERANCE * max(1.0, merged.abs().max().item())
    gap, moved, control = ((a - merged).abs().max().item() for a in (adapted, start, other))
    print(f"{name}: peft's logits differ by {gap / allowed:.2f} of the tolerance, training moved them by {moved:.2g}")
    return gap <= allowed and moved > 0.05 and control > 0.05


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    HONE = sys.argv[1]
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    sys.exit(not all([check(name, options) for name, options in FAMILIES.items()]))
