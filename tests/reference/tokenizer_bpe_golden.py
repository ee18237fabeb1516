"""Writes tests/golden/tokenizer_bpe.json: small tokenizers of the families and odd ones, texts, and what PyPI
`tokenizers` makes of them.

Run it with a Python that has `tokenizers`:  python tests/reference/tokenizer_bpe_golden.py
"""

import json
import pathlib

import tokenizer_configurations
import tokenizer_families
from tokenizers import Tokenizer

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "tokenizer_bpe.json"


def observe(tokenizer, texts):
    rows = []
    for text in texts:
        try:
            ids = tokenizer.encode(text).ids
            rows.append({"text": text, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False)})
        except BaseException:  # noqa: B036, where the library panics there is nothing to compare
            continue
    return rows


def cases():
    corpus = tokenizer_families.corpus(1 << 18)
    for name, family in tokenizer_families.FAMILIES.items():
        tokenizer = family(corpus, 700)
        texts = [text[:200] for text in tokenizer_families.random_texts(60, 5, tokenizer)]
        yield {"name": name, "tokenizer": json.loads(tokenizer.to_str()), "rows": observe(tokenizer, texts)}
    for seed in range(1000, 1030):
        spec = tokenizer_configurations.configuration(seed)
        tokenizer = Tokenizer.from_str(json.dumps(spec))
        if tokenizer_configurations.loses_a_token(tokenizer):
            continue
        yield {"name": f"odd {seed}", "tokenizer": spec, "rows": observe(tokenizer, tokenizer_configurations.texts(seed, 15))}


def main():
    lines = [json.dumps(case, ensure_ascii=True, separators=(",", ":")) for case in cases()]
    GOLDEN.write_text('{"library":"tokenizers ' + tokenizer_families.tokenizers.__version__ + '","cases":[\n' + ",\n".join(lines) + "\n]}\n")
    print(GOLDEN, GOLDEN.stat().st_size, "bytes,", len(lines), "tokenizers")


main()
