"""What the machine allows, and what a GRPO step needs of it, as formulas. Run as a program: measures the two limits
with THREADS threads and prints them as a JSON line."""

import dataclasses
import json
import sys
import time


@dataclasses.dataclass
class Limits:
    gflops: float  # sgemm 2048^3
    gbytes: float  # read bandwidth, GB/s


def best_of(repeats, body):
    best = float("inf")
    for _ in range(repeats):
        begin = time.perf_counter()
        body()
        best = min(best, time.perf_counter() - begin)
    return best


def measure(threads):
    import torch

    torch.set_num_threads(threads)
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    out = torch.empty(2048, 2048)
    gemm_s = best_of(8, lambda: torch.mm(a, b, out=out))
    big = torch.ones(1 << 28)  # 1 GiB of float32, far beyond any cache
    read_s = best_of(5, big.sum)
    return Limits(gflops=2 * 2048**3 / gemm_s / 1e9, gbytes=big.numel() * 4 / read_s / 1e9)


@dataclasses.dataclass(frozen=True)
class Dense:
    """Sizes of a dense decoder; all weights float32."""
    hidden: int = 128
    layers: int = 4
    kv_width: int = 128  # kv heads x head width
    attention_width: int = 128  # heads x head width
    intermediate: int = 352
    vocab: int = 64

    def matrix_weights(self):
        attention = self.hidden * (2 * self.attention_width + 2 * self.kv_width)
        return self.layers * (attention + 3 * self.hidden * self.intermediate) + self.hidden * self.vocab

    def token_flop(self, position):
        """Forward pass of the token at `position`: products with the weights, scores and weighted sum of attention."""
        return 2 * self.matrix_weights() + self.layers * 4 * self.attention_width * (position + 1)

    def sequence_flop(self, tokens):
        return sum(self.token_flop(t) for t in range(tokens))

    def cache_bytes(self, position):
        return self.layers * 2 * self.kv_width * 4 * (position + 1)


SMOLLM2 = Dense(hidden=576, layers=30, kv_width=192, attention_width=576, intermediate=1536, vocab=49152)


def rollout_limit_s(model, limits, prompt, lengths, group):
    """Sampling completions of these lengths after prompts of `prompt` tokens, one prefill a group: the larger of the
    arithmetic and of reading weights (once a token step) and caches (once a token of every live sequence)."""
    flop = sum(model.sequence_flop(prompt + n) for n in lengths) - (len(lengths) - len(lengths) // group) * model.sequence_flop(prompt)
    cache = sum(model.cache_bytes(prompt + t) for n in lengths for t in range(n))
    weights = max(lengths) * 4 * model.matrix_weights()
    return max(flop / limits.gflops / 1e9, (cache + weights) / limits.gbytes / 1e9)


def forward_limit_s(model, limits, prompt, lengths):
    """One forward pass over every whole sequence; a forward and backward pass is three of it."""
    return sum(model.sequence_flop(prompt + n) for n in lengths) / limits.gflops / 1e9


if __name__ == "__main__":
    print(json.dumps(dataclasses.asdict(measure(int(sys.argv[1])))))
