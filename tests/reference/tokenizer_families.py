"""Tokenizers of the families that hone loads, with small vocabularies trained here by PyPI `tokenizers` and the real
pre-tokenizer patterns, and texts that bring out their differences. Nothing is downloaded: the corpus is Python's own
standard library and what is generated below.
"""

import json
import pathlib
import random
import sysconfig

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
DEEPSEEK_V3 = [
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+",
]
SCRIPTS = [(0x20, 0x7E)] * 8 + [
    (0xA0, 0x24F), (0x370, 0x3FF), (0x400, 0x4FF), (0x590, 0x5F4), (0x600, 0x6FF), (0x900, 0x97F), (0xE00, 0xE5B),
    (0x1100, 0x11FF), (0x1E00, 0x1EFF), (0x2000, 0x206F), (0x3040, 0x30FF), (0x4E00, 0x9FA5), (0xAC00, 0xD7A3),
    (0xFB00, 0xFB4F), (0xFE00, 0xFE0F), (0x1F300, 0x1F64F), (0x1F1E6, 0x1F1FF), (0x20000, 0x2A6DF), (0x300, 0x36F),
]
DENSE = [(0x3400, 0x9FFF), (0xAC00, 0xD7A3), (0xE000, 0xF8FF), (0x17000, 0x18D08), (0x20000, 0x10FFFF)]
EMOJI = ["👩\u200d👩\u200d👧", "🏳️\u200d🌈", "👍🏽", "🇩🇪", "1️⃣", "❤️", "🧑🏿\u200d🚀", "🏴\U000e0067\U000e0062\U000e007f"]
CODE = ["def f(x):\n\treturn x**2", "for(;;){}", "a->b", "\r\n    if x != y:", '{"k": [1, 2.5e-3]}', "</div>\n", "#include <a.h>",
        "x\u00a0=\u00a01", "it's we'LL I'd 'Twas", "3.14159265", "0xDEADBEEF", "1234567890123", "C:\\dir\\file"]


def script_text(rng, size):
    low, high = rng.choice(SCRIPTS)
    return "".join(chr(rng.randint(low, high)) for _ in range(size))


def corpus(size=1 << 20):
    """Code and English of the standard library, with a tenth of other scripts in it."""
    rng = random.Random(3)
    parts, total = [], 0
    library = pathlib.Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(library.glob("*.py")) + sorted(library.glob("[a-r]*/*.py")):
        text = path.read_text(encoding="utf-8", errors="replace")
        parts += [text, " ".join(script_text(rng, rng.randint(1, 12)) for _ in range(len(text) // 120)) + "\n", rng.choice(EMOJI)]
        total += len(text)
        if total > size:
            break
    return parts


def bpe(normalizer, pre_tokenizer, decoder, vocab_size, texts, alphabet=True, specials=(), **options):
    tokenizer = Tokenizer(models.BPE(**options))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoder
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocab_size,
            show_progress=False,
            special_tokens=list(specials),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if alphabet else [],
            limit_alphabet=1000,
        ),
    )
    return tokenizer


def isolated(*patterns):
    return [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]


def byte_level(regex=False, prefix=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=regex)


def gpt2(texts, size):
    tokenizer = bpe(None, byte_level(True), decoders.ByteLevel(), size, texts, specials=["<|endoftext|>"])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def smollm2(texts, size):
    pre = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level(True)])
    tokenizer = bpe(None, pre, decoders.ByteLevel(), size, texts, specials=["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    return tokenizer


def qwen2(texts, size):
    pre = pre_tokenizers.Sequence([*isolated(QWEN2), byte_level()])
    tokenizer = bpe(normalizers.NFC(), pre, decoders.ByteLevel(), size, texts)
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]])
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t in ["<think>", "</think>", "<tool_call>"]])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def llama3(texts, size):
    pre = pre_tokenizers.Sequence([*isolated(LLAMA3), byte_level()])
    tokenizer = bpe(None, pre, decoders.ByteLevel(), size, texts, ignore_merges=True)
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in ["<|begin_of_text|>", "<|eot_id|>"]])
    start = tokenizer.token_to_id("<|begin_of_text|>")
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", start)]),
    ])
    return with_extra_words(tokenizer)


def with_extra_words(tokenizer):
    """Whole words that no merge makes, so that ignore_merges shows."""
    spec = json.loads(tokenizer.to_str())
    vocab, size = spec["model"]["vocab"], len(spec["model"]["vocab"])
    shift = 0
    for word in ["Ġxylophones", "Ġqzx", "Zürich", "ĠĠĠĠĠĠĠĠĠĠĠĠĠĠĠĠĠ"]:
        if word not in vocab:
            vocab[word] = size + shift
            shift += 1
    for token in spec["added_tokens"]:
        token["id"] += shift
    for part in spec["post_processor"]["processors"]:
        for token in part.get("special_tokens", {}).values():
            token["ids"] = [i + shift for i in token["ids"]]
    return Tokenizer.from_str(json.dumps(spec))


def deepseek_v3(texts, size):
    pre = pre_tokenizers.Sequence([*isolated(*DEEPSEEK_V3), byte_level()])
    tokenizer = bpe(normalizers.Sequence([]), pre, decoders.ByteLevel(), size, texts,
                    specials=["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"])
    tokenizer.add_tokens([AddedToken(t, normalized=True) for t in ["<｜User｜>", "<｜Assistant｜>", "<think>", "</think>"]])
    start = tokenizer.token_to_id("<｜begin▁of▁sentence｜>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<｜begin▁of▁sentence｜> $A", special_tokens=[("<｜begin▁of▁sentence｜>", start)])
    return tokenizer


def llama2_decoder():
    return decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])


def llama2(texts, size):
    """SentencePiece's ways: no pre-tokenizer, byte fallback, an unknown token."""
    normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = bpe(normalizer, pre_tokenizers.Metaspace(), llama2_decoder(), size, texts, alphabet=False,
                    specials=["<unk>", "<s>", "</s>", *fallback], unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    spec = json.loads(tokenizer.to_str())
    spec["pre_tokenizer"] = None
    spec["added_tokens"] = spec["added_tokens"][:3]
    return Tokenizer.from_str(json.dumps(spec))


def metaspace(texts, size):
    """Mistral's ways, without bytes: unknown characters are not fused."""
    tokenizer = bpe(normalizers.NFKC(), pre_tokenizers.Metaspace(prepend_scheme="first"), decoders.Metaspace(prepend_scheme="first"),
                    size, texts, alphabet=False, specials=["<unk>", "<s>"], unk_token="<unk>")
    return tokenizer


FAMILIES = {
    f.__name__: f for f in (gpt2, smollm2, qwen2, llama3, deepseek_v3, llama2, metaspace)
}


def pieces(rng, specials):
    """One random piece of text."""
    kind = rng.randrange(10)
    if kind == 0:
        return bytes(rng.randrange(256) for _ in range(rng.randint(1, 12))).decode("utf-8", "replace")
    if kind == 1:
        return rng.choice([" ", "\n", "\t", "\r\n", "\u00a0", "\u3000", "\u2028", "\u180e", "\x85", "\x1c"]) * rng.choice([1, 2, 3, 8, 40])
    if kind == 2:
        return rng.choice(EMOJI)
    if kind == 3:
        return rng.choice(CODE)
    if kind == 4 and specials:
        return rng.choice(specials)
    if kind == 5:
        return str(rng.randrange(10 ** rng.randint(1, 12)))
    if kind == 6:
        return chr(rng.choice([rng.randrange(0xD800), rng.randrange(0xE000, 0x110000)]))
    return script_text(rng, rng.randint(1, 8))


def random_texts(count, seed, tokenizer):
    rng = random.Random(seed)
    specials = [t.content for t in tokenizer.get_added_tokens_decoder().values()][:20]
    return ["".join(pieces(rng, specials) + rng.choice(["", "", " "]) for _ in range(rng.randint(1, 9))) for _ in range(count)]


def code_point_texts(together, sampled=False):
    """Every code point beside letters, digits, blanks and itself, `together` of them in one text. `sampled`: of the
    long blocks whose characters are alike (ideographs, Hangul, Tangut, private use, what is unassigned) one in 61."""
    points = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    if sampled:
        points = [c for c in points if c % 61 == 0 or not any(first <= c <= last for first, last in DENSE)]
    context = lambda c: f"a{c}b {c}1{c}{c} {c}\u0301e"
    return ["".join(context(chr(c)) for c in points[i : i + together]) for i in range(0, len(points), together)]


def long_texts(rng_seed=11):
    rng = random.Random(rng_seed)
    yield from (" " * 5000, "\n" * 3000 + "x", "a" * 20000, "ab" * 9000 + " ", "1" * 7000, "漢字" * 4000, "é" * 3000, "e\u0301" * 3000, "👍🏽" * 2000)
    yield "".join(rng.choice("abc") for _ in range(30000))
    yield "a" + "".join(rng.choice("\u0301\u0323\u0334\u0345\u05b0") for _ in range(4000))


__all__ = ["FAMILIES", "corpus", "random_texts", "code_point_texts", "long_texts", "tokenizers"]
