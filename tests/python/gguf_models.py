"""Tiny models and byte-level BPE tokenizers that can be GGUF files: one of each architecture and pre-tokenizer."""

import json
import pathlib

import tokenizers
import transformers

import tiny_models

QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
TEXTS = ["Hello world", "def f(x):\n    return x  # 12 345", "The year 2024!!  \n\n  x", "naïve café — 日本語 🙂", "a  1  22", "it's WE'LL",
         "\t\ttabs\r\n\r\nand   lines", "x" * 50, "<eos>", "a<eos>b <pad>", "1234567 89", "٣٤٥ ½ Ⅷ", ""]


def byte_alphabet():
    return list(tokenizers.pre_tokenizers.ByteLevel.alphabet())


def pre_tokenizer(kind):
    pre = tokenizers.pre_tokenizers
    split = lambda pattern: pre.Split(tokenizers.Regex(pattern), "isolated")  # noqa: E731
    last = pre.ByteLevel(add_prefix_space=False, use_regex=False)
    return {
        "gpt-2": pre.ByteLevel(add_prefix_space=False),
        "smollm": pre.Sequence([pre.Digits(individual_digits=True), pre.ByteLevel(add_prefix_space=False)]),
        "qwen2": pre.Sequence([split(QWEN2), last]),
        "llama-bpe": pre.Sequence([split(LLAMA3), last]),
        "deepseek-v3": pre.Sequence([split(r"\p{N}{1,3}"), split("[一-龥぀-ゟ゠-ヿ]+"), split(
            r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"""
            r"""|\s*[\r\n]+|\s+(?!\S)|\s+"""), last]),
    }[kind]


def train_tokenizer(kind, vocab_size=400):
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(ignore_merges=kind == "llama-bpe"))
    tokenizer.pre_tokenizer = pre_tokenizer(kind)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    if kind == "qwen2":
        tokenizer.normalizer = tokenizers.normalizers.NFC()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=["<pad>", "<eos>", "<bos>"], show_progress=False,
                                             initial_alphabet=byte_alphabet())
    corpus = pathlib.Path(__file__).read_text() + (pathlib.Path(__file__).parent / "tiny_models.py").read_text()
    tokenizer.train_from_iterator([*corpus.splitlines(keepends=True), *TEXTS], trainer)
    if kind == "llama-bpe":
        tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
            single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", 2)])
    return tokenizer


def save_tokenizer(kind, folder):
    tokenizer = train_tokenizer(kind)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"}))
    (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m['content'] }}{% endfor %}")
    return tokenizer


def model_configs():
    llama, qwen2, qwen3 = transformers.LlamaConfig, transformers.Qwen2Config, transformers.Qwen3Config
    sizes = dict(vocab_size=416, hidden_size=256, intermediate_size=512)
    yarn = tiny_models.YARN | dict(factor=4.0)
    return {
        "llama": (tiny_models.dense(llama, **sizes), "smollm"),
        "llama-llama3-rope": (tiny_models.dense(llama, **sizes, tie_word_embeddings=True, rope_parameters=tiny_models.LLAMA3), "llama-bpe"),
        "llama-biases": (tiny_models.dense(llama, **sizes, attention_bias=True, mlp_bias=True, rope_parameters=tiny_models.LINEAR), "gpt-2"),
        "qwen2": (tiny_models.dense(qwen2, **sizes, rope_parameters=yarn), "qwen2"),
        # transformers reads no head_dim out of a qwen3 file and takes 128
        "qwen3": (tiny_models.dense(qwen3, **sizes, head_dim=128, tie_word_embeddings=True), "qwen2"),
        "qwen3-moe": (tiny_models.dense(transformers.Qwen3MoeConfig, **sizes, head_dim=32, num_experts=8, num_experts_per_tok=2,
                                        moe_intermediate_size=64, norm_topk_prob=True), "qwen2"),
        "deepseek": (tiny_models.deepseek(vocab_size=416), "deepseek-v3"),
        "deepseek-yarn": (tiny_models.deepseek(vocab_size=416, rope_parameters=tiny_models.YARN
                                               | dict(mscale=0.707, mscale_all_dim=0.707)), "deepseek-v3"),
        "llama-yarn": (tiny_models.dense(llama, **sizes, rope_parameters=yarn | dict(attention_factor=1.3)), "gpt-2"),
    }
