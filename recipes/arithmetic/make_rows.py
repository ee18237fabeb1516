"""Questions of mental arithmetic as chat messages, for the smollm2 recipes: one digit plus, minus or times one digit, and two
digits plus one digit. A third of the operand pairs is held out.

    python3 recipes/arithmetic/make_rows.py DIR

DIR/train.jsonl and heldout.jsonl: {"prompt": [message], "answer": "7", "id": n}, for the `math` reward. Sums of two two-digit
numbers likewise in sums.jsonl and sums_heldout.jsonl, and in traces.jsonl with a worked `completion` in place of the answer.
"""

import argparse
import json
import pathlib
import random

SIGNS = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b}


def asked(a, sign, b):
    return [{"role": "user", "content": f"What is {a} {sign} {b}?"}]


def questions():
    for sign in SIGNS:
        yield from ((a, sign, b) for a in range(10) for b in range(10))
    yield from ((a, "+", b) for a in range(11, 100, 2) for b in range(2, 10, 3))


def split(items, rng):
    """Two thirds and one third."""
    rng.shuffle(items)
    third = len(items) // 3
    return items[third:], items[:third]


def worked(a, b):
    """47 + 38 -> "7 + 8 = 15. 40 + 30 = 70. 70 + 15 = 85. The answer is 85." """
    units, tens = a % 10 + b % 10, a - a % 10 + b - b % 10
    return f"{a % 10} + {b % 10} = {units}. {a - a % 10} + {b - b % 10} = {tens}. {tens} + {units} = {a + b}. The answer is {a + b}."


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=pathlib.Path)
    out = parser.parse_args().directory
    out.mkdir(parents=True, exist_ok=True)
    rng = random.Random(1)
    train, heldout = split(list(questions()), rng)
    for name, items in (("train", train), ("heldout", heldout)):
        write(out / f"{name}.jsonl", [{"prompt": asked(a, sign, b), "answer": str(SIGNS[sign](a, b)), "id": number} for number, (a, sign, b) in enumerate(items)])
    sums, sums_heldout = split([(a, b) for a in range(11, 100) for b in range(11, 100)], rng)
    write(out / "traces.jsonl", [{"prompt": asked(a, "+", b), "completion": worked(a, b)} for a, b in sums[:600]])
    write(out / "sums.jsonl", [{"prompt": asked(a, "+", b), "answer": str(a + b), "id": number} for number, (a, b) in enumerate(sums[600:])])
    write(out / "sums_heldout.jsonl", [{"prompt": asked(a, "+", b), "answer": str(a + b), "id": number} for number, (a, b) in enumerate(sums_heldout[:200])])


if __name__ == "__main__":
    main()
