"""How speed grows: tokens/s of sampling against batch, length and threads, and what a process beside it costs.

    .venv-peers/bin/python bench/growth.py build/release/hone [--gguf SmolLM2-135M-Instruct.Q4_1.gguf]

Prints tables for the policy of grpo_vs_trl.py (0.8M, dense) and, with --gguf, for SmolLM2-135M; "slope" is the exponent
between a row and the one before: log(tokens/s ratio) / log(size ratio). Speeds are differences of two lengths, so that
prefill does not count. Needs `make python` beside the program. Let nothing else run.
"""

import argparse
import json
import math
import pathlib
import subprocess
import sys
import tempfile
import time

import tiny_policy

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
LENGTHS = (64, 128, 256, 512, 1024, 2048, 4096)


class Sampler:
    """hone.Model.generate in this process, so that neither starting nor loading counts."""

    def __init__(self, hone, model, prompt):
        self.hone, self.model, self.prompt = hone, hone.Model.load(model), prompt

    def seconds(self, batch, tokens, threads=2):
        """The least of at least 3 calls, and of as many as begin within 1.5 seconds."""
        self.hone.set_threads(threads)
        begin, calls = time.monotonic(), []
        while len(calls) < 3 or time.monotonic() - begin < 1.5:
            start = time.monotonic()
            self.model.generate([self.prompt], n=batch, min_completion_length=tokens, max_completion_length=tokens)
            calls.append(time.monotonic() - start)
        return min(calls)

    def speed(self, batch, first, last, threads=2):
        """Tokens/s of the tokens from `first` to `last` of every completion."""
        return batch * (last - first) / (self.seconds(batch, last, threads) - self.seconds(batch, first, threads))


def table(title, sizes, speeds):
    print(title, flush=True)
    before = None
    for size, speed in zip(sizes, speeds):
        slope = "" if before is None else f"   slope {math.log(speed / before[1]) / math.log(size / before[0]):+.2f}"
        print(f"  {size:6}  {speed:10.0f} tokens/s{slope}", flush=True)
        before = size, speed


def grow(name, sampler, batches, lengths, tokens):
    table(f"{name}: batch (2 threads, {tokens} tokens)", batches,
          [sampler.speed(b, 8, 8 + tokens) for b in batches])
    table(f"{name}: length so far (2 threads, batch 8; the last quarter of it)", lengths,
          [sampler.speed(8, n * 3 // 4, n) for n in lengths])
    table(f"{name}: threads (batch 64)", (1, 2), [sampler.speed(64, 8, 8 + tokens, threads) for threads in (1, 2)])


RECIPE = """
name: beside
seed: 1
stages:
  - {{name: rl, kind: rl, model: "{model}", data: "{data}", reward_funcs: [choice], prompts_per_step: 16, num_generations: 16,
     max_completion_length: 240, learning_rate: 1.0e-5, max_steps: 5}}
"""


def beside(hone, folder, work):
    """Seconds of a GRPO step alone and with a process that keeps one of two cores busy."""
    recipe = work / "recipe.yaml"
    recipe.write_text(RECIPE.format(model=folder / "model", data=folder / "prompts.jsonl"))
    import grpo_vs_trl

    def step(name):
        subprocess.run([hone, "train", recipe, "--run-dir", work / name, "--threads", "2"], check=True, stdout=subprocess.DEVNULL)
        return sorted(s.seconds["step"] for s in grpo_vs_trl.read_run(work / name / "run.db"))[1]

    alone = step("alone")
    spinner = subprocess.Popen(["taskset", "-c", "1", sys.executable, "-c", "while True: pass"])
    try:
        together = step("together")
    finally:
        spinner.kill()
        spinner.wait()
    print(f"GRPO step, 16 x 16, natural lengths: {alone:.2f} s alone, {together:.2f} s beside a process that takes a core: "
          f"{together / alone:.2f} x", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hone")
    parser.add_argument("--gguf")
    args = parser.parse_args()
    hone = pathlib.Path(args.hone).resolve()
    sys.path.insert(0, str(hone.parent / "python"))
    import hone as package
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        tiny = work / "tiny"
        tiny.mkdir()
        tiny_policy.write_policy(tiny / "model")
        tiny_policy.write_prompts(tiny / "prompts.jsonl")
        beside(hone, tiny, work)
        config = json.loads((tiny / "model" / "config.json").read_text())
        config["max_position_embeddings"] = 8192
        (tiny / "model" / "config.json").write_text(json.dumps(config))
        prompt = json.loads((tiny / "prompts.jsonl").read_text().splitlines()[0])["prompt"]
        grow("dense 0.8M", Sampler(package, tiny / "model", prompt), BATCHES, LENGTHS, 256)
        if args.gguf:
            subprocess.run([hone, "import", "--gguf", args.gguf, "--out", work / "smollm2"], check=True, stdout=subprocess.DEVNULL)
            grow("SmolLM2-135M", Sampler(package, work / "smollm2", "Once upon a time"), BATCHES[:8], LENGTHS[:6], 16)


if __name__ == "__main__":
    main()
