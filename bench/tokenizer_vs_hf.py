"""Encoding speed beside PyPI `tokenizers`, both with one thread, in one run, on the same 8 MiB: as one text, and in
documents of 4 KiB. The text is code and English of Python's standard library with a tenth of other scripts. The ids must
be equal. Each side's best round counts; loading the file does not.

    .venv-peers/bin/python bench/tokenizer_vs_hf.py build/release/bin/tokenizer_driver [--folder DIR ..] [--mib 8]

--folder: folders with a tokenizer.json beside the trained ones of tests/reference/tokenizer_families.py.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "reference"))
import numpy  # noqa: E402
import tokenizer_families  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402


def documents(text, size):
    """The text in parts of about `size` characters that end with a line."""
    parts, begin = [], 0
    while begin < len(text):
        end = text.find("\n", begin + size)
        end = len(text) if end < 0 else end + 1
        parts.append(text[begin:end])
        begin = end
    return parts


def time_peer(reference, texts, rounds):
    seconds, ids = [], []
    for _ in range(rounds):
        begin = time.perf_counter()
        encoded = [reference.encode_batch_fast([text], add_special_tokens=False)[0] for text in texts]
        seconds.append(time.perf_counter() - begin)
        ids = encoded
    return min(seconds), numpy.concatenate([numpy.array(e.ids, dtype=numpy.int32) for e in ids])


def time_hone(driver, folder, texts, work, rounds):
    (work / "texts").write_bytes(b"\0".join(text.encode() for text in texts))
    done = subprocess.run(
        [driver, "time", "--model", folder, "--text", work / "texts", "--out", work / "ids", "--rounds", str(rounds)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return min(json.loads(done.stdout)["seconds"]), numpy.fromfile(work / "ids", dtype=numpy.int32)


def compare(name, driver, folder, texts, work, rounds):
    reference = Tokenizer.from_file(str(folder / "tokenizer.json"))
    mib = sum(len(text.encode()) for text in texts) / 2**20
    ours, own_ids = time_hone(driver, folder, texts, work, rounds)
    theirs, ids = time_peer(reference, texts, rounds)
    same = "equal ids" if numpy.array_equal(own_ids, ids) else "DIFFERENT IDS"
    print(f"{name:24} {len(texts):5} texts  hone {mib / ours:6.1f} MiB/s  tokenizers {mib / theirs:6.1f} MiB/s  "
          f"{theirs / ours:5.1f} times  {len(ids)} {same}", flush=True)  # fmt: skip
    return same == "equal ids"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("driver")
    parser.add_argument("--folder", action="append", default=[], type=pathlib.Path)
    parser.add_argument("--mib", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--vocab-size", type=int, default=16000)
    parser.add_argument("--family", action="append", choices=list(tokenizer_families.FAMILIES))
    args = parser.parse_args()
    corpus = "".join(tokenizer_families.corpus(size=1 << 24)).replace("\0", "")
    text = corpus.encode()[: int(args.mib * 2**20)].decode("utf-8", "ignore")
    print(f"tokenizers {tokenizer_families.tokenizers.__version__}, {len(text.encode()) / 2**20:.1f} MiB")
    good = True
    with tempfile.TemporaryDirectory() as temporary:
        work = pathlib.Path(temporary)
        for name in args.family or ([] if args.folder else tokenizer_families.FAMILIES):
            (work / name).mkdir()
            tokenizer = tokenizer_families.FAMILIES[name](tokenizer_families.corpus(1 << 21), args.vocab_size)
            tokenizer.save(str(work / name / "tokenizer.json"))
            args.folder.append(work / name)
        for folder in args.folder:
            for texts in ([text], documents(text, 4096)):
                good &= compare(folder.name, args.driver, folder, texts, work, args.rounds)
    sys.exit(0 if good else "the ids differ")


main()
