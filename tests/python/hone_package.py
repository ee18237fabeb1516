"""Finds the package `hone` beside the program (build/PRESET/python), and what the tests of it share. Exit 77, which
ctest reports as skipped, where `make python` has not been run."""

import os
import pathlib
import sys

os.environ |= {"CI": "1", "TRL_EXPERIMENTAL_SILENCE": "1", "TOKENIZERS_PARALLELISM": "false"}
ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = pathlib.Path(sys.argv.pop(1) if len(sys.argv) > 1 else ROOT / "build/release/hone").resolve()
PACKAGE = PROGRAM.parent / "python"
sys.path.insert(0, str(PACKAGE))
os.environ["PYTHONPATH"] = str(PACKAGE)  # of the programs that the tests start
if not list((PACKAGE / "hone").glob("_C.*")):
    print(f"skipped: {PACKAGE}/hone holds no module; `make python` builds it")
    sys.exit(77)

import torch

torch.set_num_threads(1)


def tiny_model(folder, seed=3, family="llama"):
    """A random model of 100k parameters over ideographs, written by transformers."""
    import tiny_models
    import transformers
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    folder = pathlib.Path(folder)
    tiny_models.make(tiny_models.configs()[family], folder, seed)
    return folder
