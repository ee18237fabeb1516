"""Writes, with PyPI `gguf`, what tests/models/gguf compares with:
  tests/golden/gguf_quants.json   random blocks of every type and the float32 weights they stand for; random weights and
                                  the blocks they become
  tests/golden/from_python.gguf   a small file with a value of every type

    python tests/reference/gguf_golden.py
"""

import json
import pathlib

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T

FOLDER = pathlib.Path(__file__).parent.parent / "golden"
# byte offsets of the half-precision scales of a block, which random bytes would make NaN or infinite
SCALES = {"F16": [0], "BF16": [], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82],
          "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}


def random_blocks(name, generator, count):
    _, size = gguf.GGML_QUANT_SIZES[T[name]]
    blocks = generator.integers(0, 256, (count, size), dtype=np.uint8)
    if name == "BF16":
        blocks[:, 1] = 0x40 | blocks[:, 1] & 0x80
    for offset in SCALES[name]:
        scale = generator.normal(size=count).astype(np.float16)
        scale[0] = np.float16(6e-8)  # a subnormal one
        blocks[:, offset : offset + 2] = scale.view(np.uint8).reshape(count, 2)
    return blocks


def read_rows(generator):
    rows = []
    for name in SCALES:
        block, _ = gguf.GGML_QUANT_SIZES[T[name]]
        blocks = random_blocks(name, generator, {1: 32, 32: 6, 256: 2}[block])
        weights = gguf.dequantize(blocks.reshape(-1), T[name]).astype("<f4")
        rows.append({"type": name, "blocks": blocks.tobytes().hex(), "weights": weights.tobytes().hex()})
    return rows


def written_rows(generator):
    weights = generator.normal(size=(10, 32)).astype(np.float32) * np.float32(0.05)
    weights[0] = 0
    weights[1] *= np.float32(1e-6)
    weights[2] *= np.float32(1e4)
    weights[3, 5] = weights[3].max() * 3  # one far from the rest
    weights[4] = np.abs(weights[4])
    weights[5] = -np.abs(weights[5])
    weights[6] = np.round(weights[6] * 64) / 64  # ties
    return [
        {"type": name, "weights": weights.astype("<f4").tobytes().hex(),
         "blocks": np.ascontiguousarray(gguf.quantize(weights, T[name])).tobytes().hex()}
        for name in ("F16", "BF16", "Q8_0", "Q4_0", "Q5_0")
    ]


def write_small_file(path):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint8("u8", 200)
    writer.add_int8("i8", -100)
    writer.add_uint16("u16", 60000)
    writer.add_int16("i16", -30000)
    writer.add_uint32("u32", 4000000000)
    writer.add_int32("i32", -2000000000)
    writer.add_float32("f32", 0.1)
    writer.add_bool("flag", True)
    writer.add_string("text", "größe\n")
    writer.add_uint64("u64", 2**63 + 1)
    writer.add_int64("i64", -(2**62))
    writer.add_float64("f64", 0.1)
    writer.add_array("words", ["a", "", "字"])
    writer.add_array("numbers", [1, -2, 3])
    writer.add_tensor("vector", np.arange(5, dtype=np.float32))
    writer.add_tensor("matrix", np.arange(6, dtype=np.float16).reshape(2, 3))
    blocks = gguf.quantize(np.arange(-64, 64, dtype=np.float32).reshape(2, 64), T.Q8_0)
    writer.add_tensor("blocks", blocks, raw_dtype=T.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


generator = np.random.default_rng(7)
rows = {"read": read_rows(generator), "written": written_rows(generator)}
lines = ",\n".join(f'"{key}": [\n' + ",\n".join(json.dumps(row) for row in value) + "\n]" for key, value in rows.items())
(FOLDER / "gguf_quants.json").write_text("{\n" + lines + "\n}\n")
write_small_file(FOLDER / "from_python.gguf")
