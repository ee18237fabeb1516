"""What hone exports, run by llama.cpp (PyPI llama-cpp-python): logits and greedy text against PyPI transformers on the folder
that was exported, for a tiny random model of each architecture; with --smollm2 the real model too, and its perplexity in
Q8_0 against float32. Prints a line a check and the speed of both on the real model.

    pip install llama-cpp-python==0.3.36 gguf   # a source build: 5 to 15 minutes
    python bench/gguf_llama_cpp.py build/release/hone [--smollm2 FILE.gguf] [--text FILE]

Measured with llama-cpp-python 0.3.36 and transformers 5.23.0, on a busy machine, so without speeds:
  tiny models (llama, llama3 rope, biases, yarn; qwen2, qwen3, qwen3-moe, deepseek-v3, its yarn), F32 file and cache:
    logits differ by 1e-6 to 3e-6 of the largest, 40 greedy tokens and all token ids equal
  SmolLM2-135M-Instruct, first 400 tokens of the README: 64 greedy tokens equal in F32 and F16;
    perplexity f16 +0.03 %, q8_0 +0.25 %, q4_k_m +6 %, q4_0 +21 % (both out of the Q4_1 original)
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import llama_cpp
import numpy as np
import torch
import transformers
from llama_cpp import llama_cpp as low_level

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "python"))
import gguf_models  # noqa: E402
import tiny_models  # noqa: E402

F32 = 0  # ggml's number of the type
failures = []


def check(ok, line):
    print(("ok      " if ok else "FAILED  ") + line, flush=True)
    if not ok:
        failures.append(line)


def without_repacking():
    """llama.cpp's repacked weights need AMX tile state, which some virtual machines announce and then forbid."""
    defaults = low_level.llama_model_default_params

    def plain():
        params = defaults()
        params.use_extra_bufts = False
        return params

    low_level.llama_model_default_params = llama_cpp.llama_model_default_params = plain


def load(path, context=256, **options):
    return llama_cpp.Llama(str(path), n_ctx=context, n_threads=2, logits_all=True, verbose=False, flash_attn=False, **options)


def llama_logits(model, ids):
    model.reset()
    model.eval(ids)
    return np.array(model.scores[: len(ids)])


def llama_greedy(model, prompt, count):
    model.reset()
    out = []
    for token in model.generate(prompt, temp=0.0, top_k=1, repeat_penalty=1.0):
        out.append(token)
        if len(out) == count:
            return out


@torch.no_grad()
def reference(model, ids):
    return model(torch.tensor([ids])).logits[0].float().numpy()


def reference_greedy(model, prompt, count):
    mask = torch.ones(1, len(prompt), dtype=torch.long)  # without it, tokens of the prompt that are the padding token are hidden
    out = model.generate(torch.tensor([prompt]), attention_mask=mask, max_new_tokens=count, min_new_tokens=count, do_sample=False,
                         eos_token_id=None)
    return out[0].tolist()[len(prompt) :]


def perplexity(logits, ids):
    logp = torch.log_softmax(torch.from_numpy(logits[: len(ids) - 1]).double(), -1)
    return float(torch.exp(-logp[torch.arange(len(ids) - 1), torch.tensor(ids[1:])].mean()))


def check_tiny(hone, work, name, config, kind, seed):
    folder, path = work / name, work / f"{name}.gguf"
    folder.mkdir()
    model = tiny_models.make(config, folder, seed)
    tokenizer = gguf_models.save_tokenizer(kind, folder)
    hone("export", "--model", folder, "--format", "gguf", "--type", "f32", "--out", path)
    runner = load(path, type_k=F32, type_v=F32)
    ids = [3 + i * 7 % 400 for i in range(60)]
    ours = reference(model, ids)
    gap = np.abs(llama_logits(runner, ids) - ours).max() / max(1, np.abs(ours).max())
    check(gap < 1e-4, f"{name}: logits of llama.cpp differ by {gap:.1e} of the largest")
    same = llama_greedy(runner, ids[:8], 40) == reference_greedy(model, ids[:8], 40)
    check(same, f"{name}: greedy tokens are equal")
    texts = [t for t in gguf_models.TEXTS if t and "<" not in t]
    equal = [runner.tokenize(t.encode(), add_bos=True, special=True) == tokenizer.encode(t).ids for t in texts]
    check(all(equal), f"{name}: llama.cpp's token ids ({kind}) are equal on {sum(equal)} of {len(texts)} texts")


def check_smollm2(hone, work, gguf_path, text):
    folder = work / "smollm2"
    hone("import", "--gguf", gguf_path, "--out", folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    original = load(gguf_path, vocab_only=True)
    texts = [t for t in gguf_models.TEXTS if t]
    equal = [original.tokenize(t.encode(), add_bos=False, special=True) == tokenizer(t)["input_ids"] for t in texts]
    check(all(equal), f"SmolLM2: llama.cpp's ids out of the original file are equal on {sum(equal)} of {len(texts)} texts")
    question = [{"role": "user", "content": "Name three colours and say why you like them."}]
    prompt = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_dict=False)
    begin = time.time()
    expected = reference_greedy(model, prompt, 64)
    print(f"        transformers float32: {64 / (time.time() - begin):.1f} tokens/s")
    ids = tokenizer(text)["input_ids"][:400]
    plain = perplexity(reference(model, ids), ids)
    for kind in ("f32", "f16", "q8_0", "q4_0", "q4_k_m"):
        path = work / f"smollm2-{kind}.gguf"
        hone("export", "--model", folder, "--format", "gguf", "--type", kind, "--out", path)
        runner = load(path, context=512)
        begin = time.time()
        same = llama_greedy(runner, prompt, 64) == expected
        speed = 64 / (time.time() - begin)
        change = perplexity(llama_logits(runner, ids), ids) / plain - 1
        line = f"SmolLM2 {kind}: greedy {'equal' if same else 'differs'}, perplexity {change:+.2%}, llama.cpp {speed:.1f} tokens/s"
        check({"f32": same, "f16": same, "q8_0": abs(change) < 0.01}.get(kind, change < 0.5), line)
        del runner
        path.unlink()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("hone")
    parser.add_argument("--smollm2", type=pathlib.Path)
    parser.add_argument("--text", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[1] / "README.md")
    parser.add_argument("--only", help="of the tiny models those whose name holds this")
    options = parser.parse_args()

    def hone(*args):
        done = subprocess.run([options.hone, *map(str, args)], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"hone {' '.join(map(str, args))}: {done.stderr.strip()}")

    without_repacking()
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        for seed, (name, (config, kind)) in enumerate(gguf_models.model_configs().items()):
            if (options.only or "") in name:
                check_tiny(hone, work, name, config, kind, seed)
        if options.smollm2:
            check_smollm2(hone, work, options.smollm2, options.text.read_text())
    print(json.dumps({"failures": len(failures)}))
    sys.exit(1 if failures else 0)


main()
