"""hone gives the ids and the text of PyPI `tokenizers`: for the families of tests/reference/tokenizer_families.py on
every code point, random bytes, code, white space, CJK and emoji, in both directions.

    .venv-peers/bin/python tests/python/tokenizers_parity_test.py build/release/hone [--strings N] [--all]
        [--configurations N] [--family NAME ..] [--folder DIR ..]

--strings N random strings a family; --all gives each code point a string of its own (1,112,064 a family; otherwise they
are sampled, many in one string); --folder adds folders with a tokenizer.json.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "reference"))
import tokenizer_configurations  # noqa: E402
import tokenizer_families  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

failures = []


def check(ok, line):
    print(("ok      " if ok else "FAILED  ") + line, flush=True)
    if not ok:
        failures.append(line)


def run_hone(hone, folder, rows, *flags):
    # ASCII only, so that every code point arrives as it was meant
    given = "".join(json.dumps(row) + "\n" for row in rows)
    done = subprocess.run([hone, "tokenize", "--model", str(folder), *flags], input=given, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"hone tokenize: exit {done.returncode}: {done.stderr.strip()[-1000:]}")
    return [json.loads(line) for line in done.stdout.split("\n")[:-1]]


def first_difference(texts, ours, theirs):
    for text, a, b in zip(texts, ours, theirs, strict=True):
        if a != b:
            return f"{json.dumps(text)[:200]}: {str(a)[:200]} instead of {str(b)[:200]}"
    return None


def compare(name, hone, folder, texts, special=True):
    """Ids, then the text that the ids give."""
    reference = Tokenizer.from_file(str(folder / "tokenizer.json"))
    encoded = [e.ids for e in reference.encode_batch_fast(texts, add_special_tokens=special)]
    ours = [row["token_ids"] for row in run_hone(hone, folder, ({"text": t} for t in texts), *([] if special else ["--no-special"]))]
    wrong = first_difference(texts, ours, encoded)
    check(wrong is None, f"{name}: ids of {len(texts)} texts, {sum(map(len, encoded))} tokens" + (f"; {wrong}" if wrong else ""))
    decoded = reference.decode_batch(encoded, skip_special_tokens=False)
    ours = [row["text"] for row in run_hone(hone, folder, ({"token_ids": ids} for ids in encoded), "--decode")]
    wrong = first_difference(texts, ours, decoded)
    check(wrong is None, f"{name}: text of the ids" + (f"; {wrong}" if wrong else ""))
    return encoded, decoded


def check_folder(name, hone, folder, strings, points):
    reference = Tokenizer.from_file(str(folder / "tokenizer.json"))
    compare(name + ", code points", hone, folder, points)
    compare(name + ", long", hone, folder, list(tokenizer_families.long_texts()))
    compare(name + ", random", hone, folder, tokenizer_families.random_texts(strings, 1, reference))
    compare(name + ", without special", hone, folder, tokenizer_families.random_texts(strings // 10, 2, reference), special=False)
    # ids as a model draws them: characters cut anywhere
    rows = [[(7919 * i + 104729 * j) % reference.get_vocab_size() for j in range(1 + i % 9)] for i in range(strings // 10)]
    ours = [row["text"] for row in run_hone(hone, folder, ({"token_ids": row} for row in rows), "--decode")]
    wrong = first_difference(rows, ours, reference.decode_batch(rows, skip_special_tokens=False))
    check(wrong is None, f"{name}: text of random ids" + (f"; {wrong}" if wrong else ""))


def check_round_trip(hone, folder):
    """Every byte has a token, so nothing is lost."""
    reference = Tokenizer.from_file(str(folder / "tokenizer.json"))
    texts = tokenizer_families.random_texts(500, 3, reference)
    ids = [row["token_ids"] for row in run_hone(hone, folder, ({"text": t} for t in texts), "--no-special")]
    back = [row["text"] for row in run_hone(hone, folder, ({"token_ids": row} for row in ids), "--decode")]
    check(back == texts, "gpt2: encoding and decoding gives the text back")


def check_control(hone, folder, work):
    """The comparison can fail: without the last merge some text gets other ids."""
    spec = json.loads((folder / "tokenizer.json").read_text())
    spec["model"]["merges"] = spec["model"]["merges"][: len(spec["model"]["merges"]) // 2]
    (work / "damaged").mkdir()
    (work / "damaged" / "tokenizer.json").write_text(json.dumps(spec))
    texts = tokenizer_families.random_texts(200, 1, Tokenizer.from_file(str(folder / "tokenizer.json")))
    whole = run_hone(hone, folder, ({"text": t} for t in texts))
    check(whole != run_hone(hone, work / "damaged", ({"text": t} for t in texts)), "control: other merges, other ids")


def answers(ask, items):
    """What the library answers, without the items at which it raises or panics (and then writes pages to stderr)."""
    asked, given = [], []
    stderr = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        for item in items:
            try:
                given.append(ask(item))
                asked.append(item)
            except BaseException as error:  # noqa: B036, a panic is no Exception
                if isinstance(error, KeyboardInterrupt):
                    raise
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
    return asked, given


def check_configurations(hone, folder, count):
    folder.mkdir()
    compared, texts_compared = 0, 0
    for seed in range(count):
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer_configurations.configuration(seed)))
        reference = Tokenizer.from_file(str(folder / "tokenizer.json"))
        if tokenizer_configurations.loses_a_token(reference):
            continue
        texts, encoded = answers(lambda text: reference.encode(text).ids, tokenizer_configurations.texts(seed, 25))
        ours = [row["token_ids"] for row in run_hone(hone, folder, ({"text": t} for t in texts))]
        wrong = first_difference(texts, ours, encoded)
        rows, decoded = answers(lambda ids: reference.decode(ids, skip_special_tokens=False), encoded)
        ours = [row["text"] for row in run_hone(hone, folder, ({"token_ids": row} for row in rows), "--decode")]
        wrong = wrong or first_difference(rows, ours, decoded)
        if wrong:
            check(False, f"configuration {seed}: {wrong}")
        compared, texts_compared = compared + 1, texts_compared + len(texts)
    check(compared > 0.9 * count, f"{compared} odd configurations on {texts_compared} texts")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("hone")
    parser.add_argument("--strings", type=int, default=3000)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--configurations", type=int, default=150)
    parser.add_argument("--vocab-size", type=int, default=3000)
    parser.add_argument("--family", action="append", choices=list(tokenizer_families.FAMILIES))
    parser.add_argument("--folder", action="append", default=[], type=pathlib.Path)
    args = parser.parse_args()
    texts = tokenizer_families.corpus()
    points = tokenizer_families.code_point_texts(1 if args.all else 16, sampled=not args.all)
    with tempfile.TemporaryDirectory() as temporary:
        work = pathlib.Path(temporary)
        for name in args.family or ([] if args.folder else tokenizer_families.FAMILIES):
            (work / name).mkdir()
            tokenizer_families.FAMILIES[name](texts, args.vocab_size).save(str(work / name / "tokenizer.json"))
            check_folder(name, args.hone, work / name, args.strings, points)
        for folder in args.folder:
            check_folder(folder.name, args.hone, folder, args.strings, points)
        if (work / "gpt2").exists():
            check_round_trip(args.hone, work / "gpt2")
            check_control(args.hone, work / "gpt2", work)
        check_configurations(args.hone, work / "odd", args.configurations)
    sys.exit(f"{len(failures)} of the checks failed" if failures else 0)


main()
