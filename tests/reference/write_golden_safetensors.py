"""Writes tests/golden/from_python.safetensors with PyPI `safetensors`; and checks that it reads
tests/golden/from_hone.safetensors, whose bytes our writer makes (Safetensors.WritesTheGoldenBytes), as the
same tensors.

  python tests/reference/write_golden_safetensors.py           writes the first
  python tests/reference/write_golden_safetensors.py --check   checks the second
"""

import json
import pathlib
import sys

import torch
from safetensors import safe_open
from safetensors.torch import save_file

FOLDER = pathlib.Path(__file__).parent.parent / "golden"


def tensors():
    """Element i of each tensor is i - 3 (as far as its type can say that)."""
    shapes = {
        "float": ((2, 3), torch.float32),
        "half": ((5,), torch.bfloat16),
        "small": ((3, 1), torch.float16),
        "long": ((2, 2), torch.int64),
        "byte": ((7,), torch.uint8),
        "flag": ((3,), torch.bool),
        "scalar": ((), torch.float64),
        "empty": ((0, 4), torch.float32),
        "tiny": ((4,), torch.float8_e4m3fn),
        'näme/with "quotes"': ((1,), torch.int32),
    }
    return {
        name: (torch.arange(max(1, torch.Size(shape).numel())) - 3)[: torch.Size(shape).numel()]
        .reshape(shape)
        .to(dtype)
        for name, (shape, dtype) in shapes.items()
    }


def write():
    save_file(tensors(), FOLDER / "from_python.safetensors", metadata={"format": "pt", "note": "größer"})


def check():
    expected = tensors()
    with safe_open(FOLDER / "from_hone.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt", "note": "größer"}, file.metadata()
        assert set(file.keys()) == set(expected), file.keys()
        for name, tensor in expected.items():
            ours = file.get_tensor(name)
            assert ours.dtype == tensor.dtype and ours.shape == tensor.shape, (name, ours)
            assert torch.equal(
                ours.view(torch.uint8) if ours.numel() and ours.dim() else ours,
                tensor.view(torch.uint8) if ours.numel() and ours.dim() else tensor,
            ), (name, ours)
    with open(FOLDER / "from_hone.safetensors", "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        assert length % 8 == 0 and json.loads(file.read(length))["__metadata__"]["format"] == "pt"
    print("PyPI safetensors reads what hone wrote")


check() if "--check" in sys.argv else write()
