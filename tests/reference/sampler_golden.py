"""Writes tests/golden/sampler_filters.json: what transformers' LogitsProcessors, in the order in which generate() applies
them, leave of rows of logits, and the log-probs of what is left.

    .venv-peers/bin/python tests/reference/sampler_golden.py
"""

import json
import pathlib

import torch
from transformers.generation import logits_process as lp

OUT = pathlib.Path(__file__).resolve().parents[1] / "golden" / "sampler_filters.json"
VOCABULARY = 40


def processors(o):
    if o.get("repetition_penalty"):
        yield lp.RepetitionPenaltyLogitsProcessor(o["repetition_penalty"])
    if o.get("temperature"):
        yield lp.TemperatureLogitsWarper(o["temperature"])
    if o.get("top_k"):
        yield lp.TopKLogitsWarper(o["top_k"])
    if o.get("top_p"):
        yield lp.TopPLogitsWarper(o["top_p"])
    if o.get("min_p"):
        yield lp.MinPLogitsWarper(o["min_p"])


def case(options, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = (torch.randn(1, VOCABULARY, generator=generator) * 3).float()
    if seed % 3 == 0 and "top_p" not in options:  # ties; at the border of top-p the order of a sort decides
        logits = logits.round()
    context = torch.randint(0, VOCABULARY, (1, 9), generator=generator)
    scores = logits.clone()
    for p in processors(options):
        scores = p(context, scores)
    kept = torch.isfinite(scores[0]).nonzero()[:, 0]
    logprobs = torch.log_softmax(scores[0].double(), 0)[kept]
    return {"options": options, "prompt": context[0, :5].tolist(), "completion": context[0, 5:].tolist(),
            "logits": logits[0].tolist(), "kept": kept.tolist(), "logprobs": logprobs.tolist()}


OPTIONS = [{}, {"temperature": 0.7}, {"top_k": 5}, {"top_k": 1}, {"top_k": 100}, {"top_p": 0.9}, {"top_p": 0.3}, {"min_p": 0.05},
           {"min_p": 1.0}, {"repetition_penalty": 1.3}, {"repetition_penalty": 0.8}, {"temperature": 1.5, "top_k": 12, "top_p": 0.8},
           {"temperature": 0.6, "top_p": 0.95, "min_p": 0.02}, {"repetition_penalty": 1.1, "temperature": 0.7, "top_k": 20, "top_p": 0.8},
           {"repetition_penalty": 1.2, "temperature": 1.3, "top_k": 15, "top_p": 0.9, "min_p": 0.1}]
rows = [case(options, 10 * i + seed) for i, options in enumerate(OPTIONS) for seed in range(6)]
OUT.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
print(f"{len(rows)} cases in {OUT}")
