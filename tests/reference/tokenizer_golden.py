"""Writes tests/golden/tokenizer_wordlevel.json: tokenizers, texts, and what PyPI `tokenizers` makes of them.

Run it with a Python that has `tokenizers`:  python tests/reference/tokenizer_golden.py
"""

import json
import pathlib
import random

import tokenizers

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "tokenizer_wordlevel.json"
TASK_SPECIALS = ["<pad>", "<eos>", "<think>", "</think>", "<answer>", "</answer>"]
TASK_PIECES = [str(n) for n in range(100)] + list("+-*/()=,:. \n") + [" wait", " vs ", " yes", " no"]
TASK_PATTERN = r"[0-9]{1,2}| wait| vs | yes| no|[\s\S]"


def added(token_id, content, **flags):
    base = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    return dict(id=token_id, content=content) | base | flags


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def tokenizer(vocab, unk="<unk>", added_tokens=(), pre=None, post=None, decoder=None):
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": list(added_tokens),
        "normalizer": None,
        "pre_tokenizer": pre,
        "post_processor": post,
        "decoder": decoder,
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": unk},
    }


def task_tokenizer():
    words = TASK_SPECIALS + TASK_PIECES
    specials = [added(i, word) for i, word in enumerate(TASK_SPECIALS)]
    return tokenizer(
        {word: i for i, word in enumerate(words)}, "<none>", specials, split(TASK_PATTERN), None, {"type": "Fuse"}
    )


# every piece that the splits below can make of the alphabet has a chance to be in this vocabulary
ALPHABET = [
    "a",
    "b",
    "ab",
    " ",
    "  ",
    "\n",
    "\t",
    "\u00a0",
    "\u180e",
    "\u3000",
    "\x85",
    "1",
    "23",
    "é",
    "e\u0301",
    "猫",
    "😀",
    ".",
    "..",
    "x.y",
    "<s>",
    "<m>",
    "<mm>",
    "</s>",
    "\x1c",
]


def letters_vocabulary():
    rng = random.Random(5)
    pieces = [piece for piece in ALPHABET if piece not in ("<m>", "<mm>")]
    pieces += ["".join(rng.choices(ALPHABET[:14] + ["."], k=rng.choice([2, 2, 3]))) for _ in range(300)]
    return {"<unk>": 0} | {piece: i + 1 for i, piece in enumerate(dict.fromkeys(pieces))}


def other_tokenizers():
    vocab = letters_vocabulary()
    top = len(vocab)
    marks = [
        added(vocab["<s>"], "<s>"),
        added(top, "<m>", lstrip=True, special=False),
        added(top + 1, "<mm>", rstrip=True, normalized=True),
        added(vocab["</s>"], "</s>", lstrip=True, rstrip=True),
    ]
    post = {
        "type": "TemplateProcessing",
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "single": [
            {"SpecialToken": {"id": "<s>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "</s>", "type_id": 0}},
        ],
        "special_tokens": {t: {"id": t, "ids": [vocab[t]], "tokens": [t]} for t in ["<s>", "</s>"]},
    }
    fuse = {"type": "Fuse"}
    for behavior in ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]:
        for invert in [False, True]:
            yield tokenizer(vocab, pre=split(r"\s", behavior, invert), added_tokens=marks)
        yield tokenizer(vocab, pre=split(".", behavior, kind="String"), decoder=fuse)
    yield tokenizer(vocab, pre=split(r"\s+(?!\S)|[^\s.]+"), added_tokens=marks, post=post, decoder=fuse)
    yield tokenizer(
        vocab,
        pre=split(r"[^\S\n]+|\p{N}{1,3}|[^\r\n\p{L}\p{N}]?\p{L}+|(?i:X\.Y)"),
        decoder={"type": "Sequence", "decoders": [fuse]},
    )
    yield tokenizer(vocab, pre=split(r"x*", "Isolated"))
    yield tokenizer(vocab, pre=split(r"^a|b$", "Isolated"))
    yield tokenizer(
        vocab,
        pre={
            "type": "Sequence",
            "pretokenizers": [split(r"[\s]+", "MergedWithNext"), split("b", "Isolated", kind="String")],
        },
        added_tokens=marks[:1],
    )
    yield tokenizer(vocab, added_tokens=marks[:3])


def observe(spec, texts):
    reference = tokenizers.Tokenizer.from_str(json.dumps(spec))
    rows = []
    for text in texts:
        row = {"text": text}
        try:
            row["ids"] = reference.encode(text, add_special_tokens=True).ids
            row["plain_ids"] = reference.encode(text, add_special_tokens=False).ids
            row["decoded"] = reference.decode(row["ids"], skip_special_tokens=False)
            row["decoded_skip"] = reference.decode(row["ids"], skip_special_tokens=True)
        except Exception:  # the library raises a bare Exception for a missing unk token
            row["refused"] = True
        rows.append({k: v for k, v in row.items() if not (k == "plain_ids" and v == row.get("ids"))})
    return rows


def main():
    rng = random.Random(7)
    task_texts = [
        "7 3 12:33\n",
        "<think>7+3=10,10+12=22 vs 33 wait12-3=9,9*7=63 vs 33 no</think><answer>(12-3)*7</answer><eos>",
        "",
        "100",
        "x",
        "1 waiter",
    ]
    task_texts += [
        "".join(
            rng.choices(
                TASK_PIECES + 4 * TASK_SPECIALS + 4 * [" wait", " vs ", " yes", " no"] + ["wa", "<th"] * (i % 8 == 0),
                k=rng.randrange(1, 25),
            )
        )
        for i in range(150)
    ]
    cases = [{"tokenizer": task_tokenizer(), "rows": observe(task_tokenizer(), task_texts)}]
    vocab = letters_vocabulary()
    for spec in other_tokenizers():
        texts = ["".join(rng.choices(ALPHABET, k=rng.randrange(1, 9))) for _ in range(60)] + [""]
        rows = observe(spec, texts)
        spec["model"]["vocab"] = "letters"  # written once below
        cases.append({"tokenizer": spec, "rows": rows})
    GOLDEN.write_text(
        json.dumps(
            {"library": f"tokenizers {tokenizers.__version__}", "letters": vocab, "cases": cases},
            ensure_ascii=True,
            separators=(",", ":"),
        ).replace('{"tokenizer"', '\n{"tokenizer"')
        + "\n"
    )
    print(GOLDEN, GOLDEN.stat().st_size, "bytes,", len(cases), "tokenizers")


main()
