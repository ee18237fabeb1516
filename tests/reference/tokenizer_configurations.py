"""Random tokenizer.json files: every part that hone loads, in odd combinations, over small vocabularies; and texts for
them. For comparing hone with PyPI `tokenizers` where the real families do not go.
"""

import random

LETTERS = list("abcxyzABCZ019._-<>'\n\t ") + ["é", "e\u0301", "İ", "ß", "ﬁ", "漢", "ー", "👍", "\u200d", "\u00a0", "\u3000", "½", "٣", "Ⅷ", "▁",
           "Ω", "\u0345", "\u0323", "가", "\u1100", "\u1161", "\u11a7", "\u11a8", "\x00", "\x1c", "\u0897", "\U00010d40", "\U000116d0", "_"]
TOKENS = ["<s>", "</s>", "<mask>", "abc", "AB", "a", " b", "x ", "é", "ﬁ", "<", "<<", "mask", "  ", "\n\n", "漢"]
PATTERNS = [r"\s+", r"\p{N}", r"\p{L}+", r"[^\s\p{L}]+", r"a|ab", r"x*", r"\s+(?!\S)", r"^a|b$", r"(?i:AB)", r" ?\p{L}+|\S"]
BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]


def text(rng, size=12):
    return "".join(rng.choice(LETTERS + TOKENS) for _ in range(rng.randrange(size)))


def pattern(rng):
    return {"Regex": rng.choice(PATTERNS)} if rng.random() < 0.6 else {"String": rng.choice(LETTERS + ["ab", ".."])}


def normalizer(rng, depth=0):
    kind = rng.choice(["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Strip", "Replace", "Prepend", "ByteLevel", "Sequence"])
    spec = {"type": kind}
    if kind == "Strip":
        spec |= {"strip_left": rng.random() < 0.5, "strip_right": rng.random() < 0.5}
    if kind == "Replace":
        spec |= {"pattern": pattern(rng), "content": rng.choice(["", "▁", "ab", " "])}
    if kind == "Prepend":
        spec |= {"prepend": rng.choice(["▁", "a ", " "])}
    if kind == "Sequence":
        spec |= {"normalizers": [normalizer(rng, depth + 1) for _ in range(rng.randrange(3))] if depth < 2 else []}
    return spec


def pre_tokenizer(rng, depth=0):
    kind = rng.choice(["Split", "Split", "ByteLevel", "ByteLevel", "Digits", "Metaspace", "Whitespace", "WhitespaceSplit",
                       "CharDelimiterSplit", "FixedLength", "Sequence", "Sequence"])  # fmt: skip
    spec = {"type": kind}
    flag = lambda: rng.random() < 0.5
    if kind == "Split":
        spec |= {"pattern": pattern(rng), "behavior": rng.choice(BEHAVIORS), "invert": flag()}
    if kind == "ByteLevel":
        spec |= {"add_prefix_space": flag(), "trim_offsets": flag(), "use_regex": flag()}
    if kind == "Digits":
        spec |= {"individual_digits": flag()}
    if kind == "Metaspace":
        spec |= {"replacement": rng.choice("▁_"), "prepend_scheme": rng.choice(["always", "first", "never"]), "split": flag()}
    if kind == "CharDelimiterSplit":
        spec |= {"delimiter": rng.choice(["a", "é", " "])}
    if kind == "FixedLength":
        spec |= {"length": rng.randint(1, 4)}
    if kind == "Sequence":
        spec |= {"pretokenizers": [pre_tokenizer(rng, depth + 1) for _ in range(rng.randrange(4))] if depth < 2 else []}
    return spec


def decoder(rng, depth=0):
    kind = rng.choice(["ByteLevel", "ByteFallback", "Fuse", "Metaspace", "Replace", "Strip", "Sequence", "Sequence"])
    spec = {"type": kind}
    if kind == "ByteLevel":
        spec |= {"add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    if kind == "Metaspace":
        spec |= {"replacement": rng.choice("▁_"), "prepend_scheme": rng.choice(["always", "first", "never"]), "split": True}
    if kind == "Replace":
        spec |= {"pattern": pattern(rng), "content": rng.choice(["", " ", "ab"])}
    if kind == "Strip":
        spec |= {"content": rng.choice(["a", " ", "é"]), "start": rng.randrange(3), "stop": rng.randrange(2)}
    if kind == "Sequence":
        spec |= {"decoders": [decoder(rng, depth + 1) for _ in range(rng.randrange(5))] if depth < 2 else []}
    return spec


def byte_alphabet():
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(rest)}


def bpe(rng, with_bytes):
    alphabet = byte_alphabet()
    mapped = lambda word: "".join(alphabet[byte] for byte in word.encode()) if with_bytes else word
    characters = list(alphabet.values()) if with_bytes else [c for c in LETTERS if len(c) == 1]
    characters = [c for c in characters if rng.random() < 0.9]
    prefix, suffix = rng.choice(["", "", "", "##"]), rng.choice(["", "", "", "</w>"])
    words = ["<unk>"] + [f"<0x{b:02X}>" for b in range(256) if rng.random() < 0.9] + characters
    words += [prefix + c for c in characters if prefix] + [c + suffix for c in characters if suffix] + [prefix + c + suffix for c in characters if prefix and suffix]
    words = list(dict.fromkeys(words))
    merges = []
    for _ in range(rng.randrange(60)):
        left, right = rng.choice(words), rng.choice(words)
        if right.startswith(prefix) and not (left.endswith(suffix) and suffix) and " " not in left + right and len(left + right) < 12:
            merges.append([left, right] if rng.random() < 0.5 else f"{left} {right}")
            words.append(left + right[len(prefix):])
    merges = merges if rng.random() < 0.5 else [m.split(" ") if isinstance(m, str) else m for m in merges]
    words = list(dict.fromkeys(words + [mapped(w) for w in ("abc", " b", "漢") if rng.random() < 0.3]))
    if all(isinstance(m, str) for m in merges) or all(isinstance(m, list) for m in merges):
        pass
    else:  # tokenizers reads one spelling in a file
        merges = [m.split(" ") if isinstance(m, str) else m for m in merges]
    return {"type": "BPE", "dropout": None, "unk_token": rng.choice([None, "<unk>"]), "continuing_subword_prefix": prefix or rng.choice([None, ""]),
            "end_of_word_suffix": suffix or rng.choice([None, ""]), "fuse_unk": rng.random() < 0.5, "byte_fallback": rng.random() < 0.5,
            "ignore_merges": rng.random() < 0.3, "vocab": {w: i for i, w in enumerate(words)}, "merges": merges}  # fmt: skip


def word_level(rng):
    words = ["<unk>"] + LETTERS + ["".join(rng.choice(LETTERS[:12]) for _ in range(2)) for _ in range(60)]
    return {"type": "WordLevel", "vocab": {w: i for i, w in enumerate(dict.fromkeys(words))}, "unk_token": "<unk>"}


def added_tokens(rng, vocab):
    contents = rng.sample(TOKENS, rng.randrange(6))
    contents.sort(key=lambda c: vocab.get(c, -1))
    tokens, next_id = [], len(vocab)
    for content in contents:
        new = content not in vocab
        flags = {f: rng.random() < 0.35 for f in ("single_word", "lstrip", "rstrip", "normalized", "special")}
        tokens.append({"id": next_id if new else vocab[content], "content": content} | flags)
        next_id += new
    return tokens


def post_processor(rng, vocab):
    if rng.random() < 0.5:
        return None
    name = rng.choice(list(vocab))
    template = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "S", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}] +
                [{"SpecialToken": {"id": "S", "type_id": 0}}] * rng.randrange(2), "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {"S": {"id": "S", "ids": [vocab[name]], "tokens": [name]}}}  # fmt: skip
    level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": rng.random() < 0.5, "use_regex": True}
    return rng.choice([template, level, {"type": "Sequence", "processors": [level, template, level][: rng.randrange(4)]}])


def configuration(seed):
    rng = random.Random(seed)
    maybe = lambda make: make(rng) if rng.random() < 0.7 else None
    pre = maybe(pre_tokenizer)
    model = word_level(rng) if rng.random() < 0.15 else bpe(rng, "ByteLevel" in str(pre))
    normal = maybe(normalizer)
    if "first" in str(pre) and ("Strip" in str(normal) or "Replace" in str(normal)):
        normal = None  # a known gap: text that a normalizer removes at the beginning leaves no first piece there
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added_tokens(rng, model["vocab"]),
            "normalizer": normal, "pre_tokenizer": pre, "post_processor": post_processor(rng, model["vocab"]),
            "decoder": maybe(decoder), "model": model}  # fmt: skip


def loses_a_token(tokenizer):
    """Whether the normalizer leaves nothing of an added token, which the library then finds between any two characters
    and hone refuses."""
    tokens = tokenizer.get_added_tokens_decoder().values()
    normalize = tokenizer.normalizer.normalize_str if tokenizer.normalizer else str
    return any(token.normalized and not normalize(token.content) for token in tokens)


def texts(seed, count):
    rng = random.Random(seed)
    return [""] + [text(rng) for _ in range(count)]
