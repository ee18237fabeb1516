"""Sampler and trainer are one function, shown on a real model: SmolLM2-135M, its own weights and random ones.

    .venv-peers/bin/python bench/smollm2_bits.py build/release/hone SmolLM2-135M-Instruct.Q4_1.gguf

Prints a line a check; every difference that is not stated must be 0.0:
  alone       a completion sampled alone against the same one among 63 others
  threads     1, 2 and 4 threads; AVX-512, AVX2 and plain C++
  prefill     the sampler's log-prob of every token against one forward pass over the whole sequence (`hone logprobs`)
  float64     the logits' error against float64 beside that of transformers' float32: at most twice
  training    two GRPO steps with assert_gap, float32 and bfloat16: the largest gap that was logged
"""

import argparse
import pathlib
import sqlite3
import subprocess
import sys
import tempfile

import torch
import transformers
from real_model import Checks, Program, jsonl, settle_mkl

check = Checks()
TOKENS = 48
QUESTIONS = ["The capital of France is", "def fibonacci(n):\n", "Once upon a time there was a small robot that", "1, 1, 2, 3, 5, 8,"]


def random_copy(folder, out):
    """The same shape with random weights."""
    torch.manual_seed(5)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" not in name:
                weight.normal_(0, 0.05)
    model.save_pretrained(out)
    transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(out)
    return out


def generated(folder, data, *flags):
    # no least length: forbidding the end token would change the distribution that `hone logprobs` knows nothing of
    rows = hone("generate", "--model", folder, "--data", data, "--max-new-tokens", TOKENS, "--temperature", 1, "--top-k", 0, "--top-p", 1,
                "--repetition-penalty", 1, "--jsonl", *flags)
    return {(r["prompt_index"], r["sample"]): (r["prompt_ids"], r["token_ids"], r["logprobs"]) for r in rows}


def difference(a, b):
    assert a[:2] == b[:2], "other tokens"
    return max(abs(x - y) for x, y in zip(a[2], b[2], strict=True))


def supported():
    sets = ("avx512bf16", "avx512", "avx2", "generic")
    return [s for s in sets if subprocess.run([hone.path, "score", "--reward", "exact", "--instruction-set", s], input="",
                                              capture_output=True, text=True).returncode == 0]


def check_bits(name, folder, work):
    rows = [{"id": i, "prompt": q} for i, q in enumerate(QUESTIONS)]
    everyone = generated(folder, jsonl(work / "all.jsonl", rows), "--n", 16)
    assert len(everyone) == 64
    alone = {}
    for i, row in enumerate(rows):
        for (_, sample), value in generated(folder, jsonl(work / "one.jsonl", [row]), "--n", 1).items():
            alone[i, sample] = value
    check(all(difference(v, everyone[k]) == 0 for k, v in alone.items()), f"{name}: alone and among 63 others, the same bits")
    few = jsonl(work / "few.jsonl", rows[:2])
    expected = generated(folder, few, "--n", 2, "--threads", 1)
    ways = [("--threads", 2), ("--threads", 4), *(("--instruction-set", s) for s in supported())]
    for way in ways:
        got = generated(folder, few, "--n", 2, *way)
        check(all(difference(got[k], expected[k]) == 0 for k in expected), f"{name}: {way[0][2:]} {way[1]}, the same bits")
    some = list(everyone.values())[::5]
    passes = hone("logprobs", "--model", folder, "--data", jsonl(work / "ids.jsonl", [{"token_ids": p + t} for p, t, _ in some]))
    gap = max(abs(a - b) for (p, t, l), row in zip(some, passes, strict=True)
              for a, b in zip(l, row["logprobs"][len(p) - 1:], strict=True))
    check(gap == 0, f"{name}: prefill against decode over {sum(len(t) for _, t, _ in some)} tokens, largest difference {gap}")
    return [p + t for p, t, _ in some[:3]]


@torch.no_grad()
def check_rounding(name, folder, work, sequences):
    ours = hone("logprobs", "--model", folder, "--data", jsonl(work / "ids.jsonl", [{"token_ids": s} for s in sequences]), "--logits")
    errors = {"hone": [], "transformers": []}
    low = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    theirs = [low(torch.tensor([s])).logits[0] for s in sequences]
    high = low.double()
    for s, row, logits in zip(sequences, ours, theirs, strict=True):
        exact = high(torch.tensor([s])).logits[0]
        errors["hone"].append((torch.tensor(row["logits"], dtype=torch.float64) - exact).abs())
        errors["transformers"].append((logits.double() - exact).abs())
    for what, size in (("largest", lambda e: max(x.max().item() for x in e)), ("mean", lambda e: sum(x.mean().item() for x in e) / len(e))):
        a, b = size(errors["hone"]), size(errors["transformers"])
        check(a <= 2 * b, f"{name}: {what} error of the logits against float64 {a:.2e}, transformers' float32 {b:.2e}: {a / b:.2f} x")


RECIPE = """
name: bits
seed: 1
stages:
  - {{name: rl, kind: rl, model: "{model}", data: "{data}", reward_funcs: ["repetition_penalty:ngram_size=1"], prompts_per_step: 2,
     num_generations: 4, max_completion_length: 32, dtype: {dtype}, learning_rate: 1.0e-5, max_steps: 2}}
"""


def check_training(name, folder, work, dtype):
    run = work / f"run-{name.replace(' ', '-')}-{dtype}"
    data = jsonl(work / "prompts.jsonl", [{"prompt": q} for q in QUESTIONS])
    recipe = work / "recipe.yaml"
    recipe.write_text(RECIPE.format(model=folder, data=data, dtype=dtype))
    hone("train", recipe, "--run-dir", run)
    with sqlite3.connect(run / "run.db") as db:
        gap, = db.execute("select max(value) from steps where name = 'sampling/sampling_logp_difference/max'").fetchone()
        norm, = db.execute("select min(value) from steps where name = 'grad_norm'").fetchone()
    check(gap == 0 and norm > 0, f"{name}: GRPO in {dtype}, largest gap {gap} (gradient norm {norm:.3g})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hone")
    parser.add_argument("gguf")
    args = parser.parse_args()
    global hone
    hone = Program(args.hone)
    transformers.logging.set_verbosity_error()
    settle_mkl()
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        real = work / "smollm2"
        hone("import", "--gguf", args.gguf, "--out", real)
        for kind, folder in (("real weights", real), ("random weights", random_copy(real, work / "random"))):
            sequences = check_bits(kind, folder, work)
            check_rounding(kind, folder, work, sequences)
            for dtype in ("float32", "bfloat16"):
                check_training(kind, folder, work, dtype)
    return check.exit_status()


if __name__ == "__main__":
    sys.exit(main())
