"""The policy and prompts that both systems of grpo_vs_trl.py start from: 0.8M random weights, made without a training run.

Two things are arranged. (1) Lengths: the end token must come with probability p at every position, so that lengths
are geometric (mean of min(length, 240) about 100 for p = .0088) as those of a trained demo policy are. A Llama has no
bias in its head, so one channel of the residual stream is made constant: every embedding holds the same number there
and no layer writes to it. The head row of a token then acts as a bias through that channel, and the two rows that
matter are set by bisection on the measured probability. (2) Rewards: completions must differ in reward, or there is
no gradient; the token "<answer>A</answer>" has probability .004 everywhere, and a completion that holds it is correct.
"""

import json
import math
import pathlib

import torch
import transformers

PAD, EOS, ANSWER = 0, 1, 2
LETTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[:61]
VOCABULARY = ["<pad>", "<eos>", "<answer>A</answer>", *LETTERS]
WANTED = {EOS: 0.0088, ANSWER: 0.004}
CONSTANT_CHANNEL = 0
PROMPT_TOKENS = 8


def tokenizer_json():
    special = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": VOCABULARY[i], **special} for i in (PAD, EOS)],
        "normalizer": None,
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": r"<answer>A</answer>|[\s\S]"}, "behavior": "Isolated",
                          "invert": False},
        "post_processor": None, "decoder": {"type": "Fuse"},
        "model": {"type": "WordLevel", "vocab": {t: i for i, t in enumerate(VOCABULARY)}, "unk_token": "<unk>"},
    }


def dense_model(generator):
    config = transformers.LlamaConfig(
        vocab_size=len(VOCABULARY), hidden_size=128, intermediate_size=352, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=4, head_dim=32, max_position_embeddings=1024, tie_word_embeddings=False,
        bos_token_id=None, eos_token_id=EOS, pad_token_id=PAD)
    model = transformers.LlamaForCausalLM(config).float()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" not in name:
                weight.copy_(torch.randn(weight.shape, generator=generator) * (1.0 if "embed" in name else 0.06))
    return model


def add_constant_channel(model):
    with torch.no_grad():
        model.model.embed_tokens.weight[:, CONSTANT_CHANNEL] = 4 * math.sqrt(128)
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight[CONSTANT_CHANNEL] = 0
            layer.mlp.down_proj.weight[CONSTANT_CHANNEL] = 0
        model.lm_head.weight[:, CONSTANT_CHANNEL] = 0
        for token in (PAD, *WANTED):
            model.lm_head.weight[token] = 0


@torch.no_grad()
def calibrate(model, generator):
    """Sets the constant-channel weight of the end and answer tokens so that their mean probability is WANTED."""
    tokens = torch.randint(3, len(VOCABULARY), (16, 128), generator=generator)
    hidden = model.model(tokens).last_hidden_state
    row = model.lm_head.weight
    row[PAD, CONSTANT_CHANNEL] = -100 / hidden[..., CONSTANT_CHANNEL].mean()
    for _ in range(8):  # the two probabilities depend on each other a little
        for token, wanted in WANTED.items():
            low, high = -20.0, 20.0
            for _ in range(40):
                row[token, CONSTANT_CHANNEL] = (low + high) / 2
                p = (hidden @ row.T).softmax(-1)[..., token].mean().item()
                low, high = (low, (low + high) / 2) if p > wanted else ((low + high) / 2, high)


def write_policy(folder: pathlib.Path, seed=1):
    generator = torch.Generator().manual_seed(seed)
    model = dense_model(generator)
    add_constant_channel(model)
    calibrate(model, generator)
    model.generation_config = transformers.GenerationConfig(eos_token_id=EOS, pad_token_id=PAD)
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json()))
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<eos>", "pad_token": "<pad>",
        "clean_up_tokenization_spaces": False}))


def write_prompts(path: pathlib.Path, count=256, seed=2):
    generator = torch.Generator().manual_seed(seed)
    with path.open("w") as out:
        for _ in range(count):
            letters = torch.randint(0, len(LETTERS), (PROMPT_TOKENS,), generator=generator)
            out.write(json.dumps({"prompt": "".join(LETTERS[i] for i in letters), "answer": "A"}) + "\n")


def write_texts(path: pathlib.Path, count=64):
    """English prompts of about 60 tokens for a real model."""
    things = ["river", "clock", "garden", "engine", "letter", "island", "market", "winter", "piano", "bridge", "lantern",
              "forest", "kitchen", "mountain", "library", "harbour"]
    with path.open("w") as out:
        for i in range(count):
            a, b, c = things[i % 16], things[(i // 16 + 5 * i + 3) % 16], things[(7 * i + i // 16 + 9) % 16]
            out.write(json.dumps({"answer": "A", "prompt": (
                f"Once there was a {a} that nobody had looked at for many years. One day a child came by, found a {b} lying next "
                f"to it, and asked the old people of the village what the two had to do with each other. They said that "
                f"it was a long story, which began with a {c}, and that")}) + "\n")
