"""hone and PyPI transformers give the same logits for the same folder, and send every token to the same experts, in both
directions: folders that transformers wrote (every family of tiny_models.py) and folders that hone wrote. Damaged copies
of a folder must be told apart.

    .venv-peers/bin/python tests/python/transformers_parity_test.py build/release/hone
"""

import contextlib
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import safetensors.torch
import torch
import transformers

import tiny_models

TOLERANCE = 2e-5  # times max(1, largest |logit|)
ROOT = pathlib.Path(__file__).resolve().parents[2]
failures = []


def check(ok, line):
    print(("ok      " if ok else "FAILED  ") + line, flush=True)
    if not ok:
        failures.append(line)


def run_hone(*args, stdin=None):
    done = subprocess.run([HONE, *map(str, args)], input=stdin, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"hone {' '.join(map(str, args))}: exit {done.returncode}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def sequences(vocab, lengths=(1, 2, 17, 64, 100)):
    generator = torch.Generator().manual_seed(7)
    return [torch.randint(0, vocab, (n,), generator=generator).tolist() for n in lengths]


@torch.no_grad()
def reference_logits(model, rows):
    return [model(torch.tensor([row])).logits[0].float() for row in rows]


@contextlib.contextmanager
def watched_routers(model):
    """Gathers the experts that the routers choose: (tokens)(k), ascending, a layer of a sequence after the other."""
    chosen = []
    routers = [m for m in model.modules() if type(m).__name__.lower().endswith("topkrouter")]
    hooks = [m.register_forward_hook(lambda _m, _in, out: chosen.append(out[-1].sort(-1).values.tolist())) for m in routers]
    try:
        yield chosen
    finally:
        for hook in hooks:
            hook.remove()


def own_choices(answers):
    return [layer for answer in answers for layer in answer["experts"]]


def with_experts(chosen):
    return ["--experts"] if chosen else []


def hone_rows(folder, rows, work, *options):
    data = work / "rows.jsonl"
    data.write_text("".join(json.dumps({"token_ids": row}) + "\n" for row in rows))
    out = run_hone("logprobs", "--model", folder, "--data", data, "--logits", *options)
    return [json.loads(line) for line in out.splitlines()]


def largest_gap(reference, rows, answers):
    """Largest difference of a logit or log-prob, in units of the tolerance (1 = just equal); inf for a wrong shape."""
    if len(answers) != len(rows):
        return float("inf")
    worst = 0.0
    for logits, row, answer in zip(reference, rows, answers):
        own, logprobs = torch.tensor(answer["logits"]), torch.tensor(answer["logprobs"], dtype=torch.float32)
        expected = logits.double().log_softmax(-1)[:-1].gather(1, torch.tensor(row[1:], dtype=torch.long)[:, None])[:, 0]
        if own.shape != logits.shape or logprobs.shape != expected.shape:
            return float("inf")
        allowed = TOLERANCE * max(1.0, logits.abs().max().item())
        gaps = [(own - logits).abs().max().item(), *(logprobs - expected).abs().tolist()]
        worst = max(worst, max(gaps) / allowed)
        if not all(g == g for g in gaps):
            return float("inf")
    return worst


# ---- folders that transformers wrote ---------------------------------------------------------------------------------

def check_family(name, config, seed, work):
    folder = work / name
    sharded = {"max_shard_size": "100KB"} if name == "deepseek" else {}
    model = tiny_models.make(config, folder, seed, **sharded)
    if sharded:
        assert (folder / "model.safetensors.index.json").exists(), "this case is meant to be sharded"
    rows = sequences(tiny_models.VOCAB)
    with watched_routers(model) as chosen:
        reference = reference_logits(model, rows)
    size = max(r.abs().max().item() for r in reference)
    assert 1 < size < 40, f"{name}: logits of size {size} make a poor test"
    assert bool(chosen) == ("deepseek" in name or "moe" in name), "the routers of this model were not found"
    try:
        answers = hone_rows(folder, rows, work, *with_experts(chosen))
        gap = largest_gap(reference, rows, answers)
        check(gap <= 1, f"{name}: largest |logit| {size:.1f}, largest difference {gap:.2f} of the tolerance")
        if chosen:
            check(own_choices(answers) == chosen, f"{name}: the same experts for {sum(map(len, chosen))} choices")
    except RuntimeError as error:
        check(False, f"{name}: {error}")
    return folder, reference, chosen


# ---- float64: every place where transformers goes down to float32 (norms, angles, softmax, router) is lifted ---------

class Float64Torch:
    """The module torch, with float64 where it says float32."""
    float = float32 = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


@contextlib.contextmanager
def everything_in_float64(model):
    modules = [sys.modules[type(model).__module__], transformers.modeling_rope_utils]
    real_float, real_softmax = torch.Tensor.float, torch.nn.functional.softmax
    torch.Tensor.float = torch.Tensor.double
    for module in modules:
        module.torch = Float64Torch()
    torch.nn.functional.softmax = lambda x, dim, dtype=None, **rest: real_softmax(x, dim=dim)
    try:
        yield
    finally:
        torch.Tensor.float, torch.nn.functional.softmax = real_float, real_softmax
        for module in modules:
            module.torch = torch


@torch.no_grad()
def check_float64(name, folder, work):
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float64, attn_implementation="eager", experts_implementation="eager").eval()
    rows = sequences(tiny_models.VOCAB)
    with everything_in_float64(model):
        model.model.rotary_emb.__init__(config=model.config)  # its angles, again
        with watched_routers(model) as chosen:
            reference = [model(torch.tensor([row])).logits[0] for row in rows]
    answers = hone_rows(folder, rows, work, "--dtype", "float64", *with_experts(chosen))
    if chosen:
        check(own_choices(answers) == chosen, f"{name} in float64: the same experts")
    gaps = [(torch.tensor(a["logits"], dtype=torch.float64) - r).abs().max().item() for a, r in zip(answers, reference)]
    check(reference[0].dtype == torch.float64 and max(gaps) <= 1e-9, f"{name} in float64: largest difference {max(gaps):.1e}")


# ---- controls: a damaged copy must not pass --------------------------------------------------------------------------

def change_config(folder, change):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def change_tensor(folder, name, change):
    path = folder / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    tensors[name] = change(tensors[name]).contiguous()
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})


def swap_keys_and_values(kv_b):  # 4 heads of 16 key rows, then 16 value rows
    return kv_b.view(4, 2, 16, -1).flip(1).reshape(kv_b.shape)


def drop_mscale(config):
    for key in ("mscale", "mscale_all_dim"):
        del config["rope_parameters"][key]


CONTROLS = {
    "rope theta": ("llama", lambda f: change_config(f, lambda c: c["rope_parameters"].update(rope_theta=20000.0))),
    "rope interleaving": ("deepseek-yarn", lambda f: change_config(f, lambda c: c.update(rope_interleave=False))),
    "yarn mscale": ("deepseek-yarn", lambda f: change_config(f, drop_mscale)),
    "norm epsilon": ("qwen2", lambda f: change_config(f, lambda c: c.update(rms_norm_eps=1e-3))),
    "routed scale": ("deepseek-yarn", lambda f: change_config(f, lambda c: c.update(routed_scaling_factor=2.4))),
    "expert groups": ("deepseek-yarn", lambda f: change_config(f, lambda c: c.update(topk_group=4))),
    "k and v swapped in kv_b_proj": ("deepseek-yarn", lambda f: change_tensor(
        f, "model.layers.1.self_attn.kv_b_proj.weight", swap_keys_and_values)),
    "router bias": ("deepseek-yarn", lambda f: change_tensor(
        f, "model.layers.2.mlp.gate.e_score_correction_bias", lambda t: t * 0)),
    "one expert": ("deepseek-yarn", lambda f: change_tensor(f, "model.layers.1.mlp.experts.3.down_proj.weight", lambda t: t * 1.01)),
    "o_proj transposed": ("llama", lambda f: change_tensor(f, "model.layers.0.self_attn.o_proj.weight", lambda t: t.T)),
    "one row of the head": ("llama", lambda f: change_tensor(
        f, "lm_head.weight", lambda t: t * torch.where(torch.arange(len(t)) == 5, 1.01, 1.0)[:, None])),
    "q bias": ("qwen2", lambda f: change_tensor(f, "model.layers.0.self_attn.q_proj.bias", lambda t: t * 0)),
    "softmax over the chosen": ("qwen3-moe", lambda f: change_config(f, lambda c: c.update(norm_topk_prob=False))),
    "experts in every layer": ("qwen3-moe", lambda f: change_tensor(
        f, "model.layers.0.mlp.gate.weight", lambda t: t.roll(1, 0))),
    "k norm": ("qwen3", lambda f: change_tensor(f, "model.layers.2.self_attn.k_norm.weight", lambda t: t * 0 + 1)),
}


def check_control(name, folder, reference, chosen, damage, work):
    copy = work / "damaged"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    damage(copy)
    rows = sequences(tiny_models.VOCAB)
    try:
        answers = hone_rows(copy, rows, work, *with_experts(chosen))
        gap = largest_gap(reference, rows, answers)
        check(10 < gap < float("inf"), f"control, {name}: told apart, {gap:.0f} times the tolerance")
        if name in ("expert groups", "router bias"):
            check(own_choices(answers) != chosen, f"control, {name}: other experts")
    except RuntimeError as error:
        check(False, f"control, {name}: {error}")


# ---- folders that hone wrote -----------------------------------------------------------------------------------------

def check_written(recipe, work):
    run = work / recipe
    run_hone("train", ROOT / "recipes" / f"{recipe}.yaml", "--run-dir", run, "--until", "base", "--set", "base.max_steps=2",
             "--set", "base.save_steps=0", "--set", "base.warmup_steps=0")
    folder = run / "stages" / "base" / "final"
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    left_out = {k: sorted(v) for k, v in info.items() if v}
    check(not left_out, f"{recipe}: transformers loads every tensor that hone wrote{f': {left_out}' if left_out else ''}")
    rows = sequences(model.config.vocab_size)
    reference = reference_logits(model.eval(), rows)
    gap = largest_gap(reference, rows, hone_rows(folder, rows, work))
    size = max(r.abs().max().item() for r in reference)
    check(gap <= 1, f"{recipe}: largest |logit| {size:.2f}, largest difference {gap:.2f} of the tolerance")
    check_tokenizer(recipe, folder)


def check_tokenizer(recipe, folder):
    texts = ["7 3 12:33\n", "<think>7+3=10,10+12=22 vs 33 wait12-3=9,9*7=63 no</think><answer>(12-3)*7</answer>", "100/07"]
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    out = run_hone("tokenize", "--model", folder, stdin="".join(json.dumps({"text": t}) + "\n" for t in texts))
    ours = [json.loads(line)["token_ids"] for line in out.splitlines()]
    expected = [theirs(t)["input_ids"] for t in texts]
    check(ours == expected, f"{recipe}: AutoTokenizer gives the ids of hone tokenize" + ("" if ours == expected else f": {expected} against {ours}"))
    back = [theirs.decode(ids) for ids in ours]
    check(back == texts, f"{recipe}: AutoTokenizer decodes them to the text again" + ("" if back == texts else f": {back}"))
    check(theirs.eos_token_id is not None, f"{recipe}: AutoTokenizer knows the end token ({theirs.eos_token!r})")


def main():
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        made = {name: check_family(name, config, seed, work)
                for seed, (name, config) in enumerate(tiny_models.configs().items(), start=1)}
        for name, (folder, *_) in made.items():
            check_float64(name, folder, work)
        for name, (family, damage) in CONTROLS.items():
            check_control(name, *made[family], damage, work)
        for recipe in ("r1_zero_countdown", "r1_zero_countdown_dense"):
            try:
                check_written(recipe, work)
            except RuntimeError as error:
                check(False, f"{recipe}: {error}")
    print(f"{len(failures)} of the checks failed" if failures else "all checks passed")
    return 1 if failures else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    HONE = sys.argv[1]
    sys.exit(main())
