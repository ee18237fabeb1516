"""One process of llama.cpp (PyPI llama-cpp-python) for smollm2_vs_transformers.py: its speed on a GGUF file as a JSON line.

    python bench/llama_cpp_worker.py FILE.gguf THREADS BATCH [BATCH ..]     # needs llama-cpp-python==0.3.36 alone

prefill: 512 tokens of one sequence. decode: BATCH sequences, 64 tokens each after a prompt of 32, without sampling.
Tokens a second, the best of three.
"""

import json
import sys
import time

from llama_cpp import llama_cpp as low

PREFILL, PROMPT, NEW = 512, 32, 64


def open_model(path):
    low.llama_backend_init()
    params = low.llama_model_default_params()
    params.use_extra_bufts = False  # repacked weights need AMX tile state, which some virtual machines announce and then forbid
    model = low.llama_model_load_from_file(path.encode(), params)
    if not model:
        sys.exit(f"llama.cpp does not load {path}")
    return model


def open_context(model, threads, sequences, tokens):
    params = low.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch, params.n_seq_max = sequences * tokens, 2048, 512, sequences
    params.n_threads = params.n_threads_batch = threads
    return low.llama_init_from_model(model, params)


def decode(context, batch, rows):
    """rows of (token, position, sequence, whether logits are wanted)"""
    batch.n_tokens = len(rows)
    for i, (token, position, sequence, wanted) in enumerate(rows):
        batch.token[i], batch.pos[i], batch.logits[i] = token, position, wanted
        batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
    if low.llama_decode(context, batch) != 0:
        sys.exit("llama_decode failed")


def best(action, repeats=3):
    seconds = []
    for _ in range(repeats):
        seconds.append(action())
    return min(seconds)


def prefill_s(context, batch):
    low.llama_memory_clear(low.llama_get_memory(context), True)
    begin = time.perf_counter()
    decode(context, batch, [(100 + i, i, 0, i == PREFILL - 1) for i in range(PREFILL)])
    return time.perf_counter() - begin


def decode_s(context, batch, sequences):
    low.llama_memory_clear(low.llama_get_memory(context), True)
    for s in range(sequences):
        decode(context, batch, [(100 + i, i, s, 0) for i in range(PROMPT)])
    begin = time.perf_counter()
    for i in range(NEW):
        decode(context, batch, [(200 + i, PROMPT + i, s, 1) for s in range(sequences)])
    return time.perf_counter() - begin


def main():
    path, threads, batches = sys.argv[1], int(sys.argv[2]), [int(b) for b in sys.argv[3:]]
    model = open_model(path)
    batch = low.llama_batch_init(2048, 0, 1)
    context = open_context(model, threads, 1, PREFILL)
    speeds = {"prefill": PREFILL / best(lambda: prefill_s(context, batch)), "decode": {}}
    low.llama_free(context)
    for sequences in batches:
        context = open_context(model, threads, sequences, PROMPT + NEW)
        speeds["decode"][sequences] = sequences * NEW / best(lambda: decode_s(context, batch, sequences))
        low.llama_free(context)
    print(json.dumps(speeds))


if __name__ == "__main__":
    main()
