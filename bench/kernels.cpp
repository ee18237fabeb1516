// Each kernel beside ATen's operation on the same tensors, in turn: the least of several times, two threads each.
//
//   build/release/bin/kernels_bench [--threads N] [--quick]
//
// Products: all linears of SmolLM2-135M once (211 weights, 531 MB, each read from memory) and those of the demo's dense
// policy (29, all in the cache), at the rows of decoding, of a small batch and of a training batch.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include "models/kernels/ops.h"
#include "models/kernels/reference.h"
#include "models/kernels/thread_pool.h"

using namespace hone;

namespace {

struct Shape {
  int64_t out, in;
};

std::vector<Shape> linears(int64_t layers, int64_t hidden, int64_t kv, int64_t ffn, int64_t vocabulary) {
  std::vector<Shape> shapes;
  for (int64_t i = 0; i < layers; ++i) {
    for (const Shape s : {Shape{hidden, hidden}, Shape{kv, hidden}, Shape{kv, hidden}, Shape{hidden, hidden},
                          Shape{ffn, hidden}, Shape{ffn, hidden}, Shape{hidden, ffn}}) {
      shapes.push_back(s);
    }
  }
  shapes.push_back({vocabulary, hidden});
  return shapes;
}

double seconds(const std::function<void()>& body) {
  const auto begin = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Least seconds of each, measured in turn.
std::pair<double, double> race(const std::function<void()>& ours, const std::function<void()>& theirs, double budget) {
  ours();
  theirs();
  std::pair<double, double> least{1e9, 1e9};
  double spent = 0;
  for (int i = 0; i < 3 || spent < budget; ++i) {
    const double a = seconds(ours), b = seconds(theirs);
    least = {std::min(least.first, a), std::min(least.second, b)};
    spent += a + b;
  }
  return least;
}

void line(const std::string& name, std::pair<double, double> t, double flop, double bytes) {
  std::printf("%-44s %11.1f %11.1f %7.2f", name.c_str(), t.first * 1e6, t.second * 1e6, t.second / t.first);
  if (flop > 0) std::printf(" %9.1f", flop / t.first * 1e-9);
  if (bytes > 0) std::printf(" %8.1f", bytes / t.first * 1e-9);
  std::printf("\n");
  std::fflush(stdout);
}

void products(const char* model, const std::vector<Shape>& shapes, std::initializer_list<int64_t> row_counts,
              double budget) {
  std::vector<Weight> weights, rounded;
  double size = 0;
  for (const Shape s : shapes) {
    weights.emplace_back(at::randn({s.out, s.in}));
    rounded.emplace_back(weights.back().tensor().to(at::kBFloat16).to(at::kFloat));
    size += static_cast<double>(s.out * s.in);
  }
  for (const int64_t rows : row_counts) {
    std::vector<at::Tensor> inputs;
    for (const Shape s : shapes) inputs.push_back(at::randn({rows, s.in}));
    const auto all = [&](const std::vector<Weight>& ws, auto&& product) {
      return [&, product] {
        for (size_t i = 0; i < ws.size(); ++i) product(inputs[i], ws[i]);
      };
    };
    const auto theirs = all(weights, [](const at::Tensor& x, const Weight& w) { at::linear(x, w.tensor()); });
    const auto ours = [](const at::Tensor& x, const Weight& w) { ops::linear(x, w); };
    const std::string name = std::string(model) + ", " + std::to_string(rows) + " rows";
    const double flop = 2 * size * static_cast<double>(rows);
    line(name, race(all(weights, ours), theirs, budget), flop, 4 * size);
    line(name + ", bfloat16 weights", race(all(rounded, ours), theirs, budget), flop, 2 * size);
  }
}

void rows_and_attention(double budget) {
  const int64_t n = 512, c = 576, f = 1536, heads = 9, kv = 3, dim = 64, v = 49152;
  const at::Tensor x = at::randn({n, c}), w = at::randn({c}), gate = at::randn({n, f}), up = at::randn({n, f});
  const auto ours_theirs = [&](const char* name, const auto& ours, const auto& theirs) {
    line(name, race(ours, theirs, budget), 0, 0);
  };
  ours_theirs(
      "rms_norm (512, 576)", [&] { ops::rms_norm(x, w, 1e-5); }, [&] { at::rms_norm(x, {c}, w, 1e-5); });
  ours_theirs(
      "swiglu (512, 1536)", [&] { ops::swiglu(gate, up); }, [&] { at::silu(gate) * up; });
  std::vector<double> frequencies;
  for (int64_t i = 0; i < dim / 2; ++i) frequencies.push_back(std::pow(1e4, -2.0 * static_cast<double>(i) / dim));
  const RopeTable table(frequencies, 1, false);
  const Rows one = pack_rows(std::vector<int64_t>{n});
  const at::Tensor q = at::randn({n, heads, dim}), k = at::randn({n, kv, dim}), value = at::randn({n, kv, dim});
  ours_theirs(
      "rope (512, 9, 64)", [&] { ops::rope(q, table, one); }, [&] { reference::rope(q, table, one); });
  const cpu::AttentionShape shape{.heads = heads, .kv_heads = kv, .key_dim = dim, .value_dim = dim, .scale = 0.125};
  const auto sdpa = [&](const at::Tensor& qs, const at::Tensor& ks, const at::Tensor& vs, bool causal) {
    at::scaled_dot_product_attention(qs, ks, vs, {}, 0, causal, 0.125, true);
  };
  const auto batched = [](const at::Tensor& t, int64_t sequences) {  // (B L, H, D) -> (B, H, L, D)
    return t.view({sequences, -1, t.size(1), t.size(2)}).transpose(1, 2);
  };
  ours_theirs(
      "attention, one sequence of 512", [&] { ops::attention(shape, q, k, value, one); },
      [&] { sdpa(batched(q, 1), batched(k, 1), batched(value, 1), true); });
  const Rows many = pack_rows(std::vector<int64_t>(8, 64));
  ours_theirs(
      "attention, 8 sequences of 64", [&] { ops::attention(shape, q, k, value, many); },
      [&] { sdpa(batched(q, 8), batched(k, 8), batched(value, 8), true); });

  constexpr int64_t kSequences = 64, kLength = 256;  // one new token of each
  LayerCache cache{at::randn({kSequences * kLength / 16, kv, dim, 16}),
                   at::randn({kSequences * kLength / 16, kv, dim, 16})};
  Rows decode;
  for (int64_t i = 0; i < kSequences; ++i) {
    decode.spans.push_back({.row = i, .count = 1, .position = kLength - 1, .first_block = i * kLength / 16});
    decode.positions.push_back(kLength - 1);
  }
  const at::Tensor q1 = at::randn({kSequences, heads, dim}), k1 = at::randn({kSequences, kv, dim}),
                   v1 = at::randn({kSequences, kv, dim});
  const at::Tensor keys = at::randn({kSequences, kv, kLength, dim}), values = at::randn({kSequences, kv, kLength, dim});
  ours_theirs(
      "attention, 64 sequences decode at 256", [&] { ops::attention(shape, q1, k1, v1, decode, &cache); },
      [&] { sdpa(q1.unsqueeze(2), keys, values, false); });

  const Weight head(at::randn({v, c}));
  const at::Tensor targets = at::randint(v, {64}), hidden = at::randn({64, c});
  ours_theirs(
      "token log-probs (64, 576), 49152 tokens", [&] { ops::token_logprobs(hidden, head, targets, {}, 1.0); },
      [&] { at::log_softmax(at::linear(hidden, head.tensor()), -1).gather(1, targets.unsqueeze(1)); });

  const int64_t experts = 16, width = 64, top_k = 4;
  const Weight eg(at::randn({experts, width, 128})), eu(at::randn({experts, width, 128})),
      ed(at::randn({experts, 128, width}));
  const at::Tensor ids = std::get<0>(std::get<1>(at::topk(at::rand({256, experts}), top_k)).sort(1)),
                   shares = at::rand({256, top_k});
  const at::Tensor routed = at::randn({256, 128});
  ours_theirs(
      "experts, 256 rows, 4 of 16, 128 x 64", [&] { ops::experts(routed, eg, eu, ed, ids, shares); },
      [&] { reference::experts(routed, eg.tensor(), eu.tensor(), ed.tensor(), ids, shares); });
}

}  // namespace

int main(int argc, char** argv) {
  int threads = 2;
  double budget = 1.5;
  for (int i = 1; i < argc; ++i) {
    if (!std::strcmp(argv[i], "--threads") && i + 1 < argc) threads = std::atoi(argv[++i]);
    else if (!std::strcmp(argv[i], "--quick")) budget = 0.1;
    else return std::fprintf(stderr, "usage: kernels_bench [--threads N] [--quick]\n"), 2;
  }
  at::set_num_threads(threads);
  set_kernel_threads(threads);
  const at::NoGradGuard no_grad;
  std::printf("%d threads, %s\n%-44s %11s %11s %7s %9s %8s\n", threads, std::string(cpu::instruction_set()).c_str(), "",
              "hone us", "ATen us", "times", "GFLOP/s", "GB/s");
  products("SmolLM2-135M", linears(30, 576, 192, 1536, 49152), {1, 8, 16, 64, 512}, budget);
  products("tiny policy", linears(4, 128, 128, 352, 64), {1, 16, 64, 256}, budget / 4);
  rows_and_attention(budget / 4);
}
