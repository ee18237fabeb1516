// Rounding: no kernel is further from float64 than twice ATen's float32, in the largest error and in the mean one, at
// the shapes of a real model (bench/smollm2_bits.py: whole models).
#include <cmath>
#include <functional>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "models/kernels/reference.h"

namespace hone {
namespace {

using Tensors = std::vector<at::Tensor>;
using Operation = std::function<at::Tensor(const Tensors&)>;

at::Tensor random(at::IntArrayRef shape, uint64_t seed, double scale = 1) {
  auto g = at::detail::createCPUGenerator(seed);
  return at::empty(shape, at::kFloat).normal_(0, scale, g);
}

struct Error {
  double largest, mean;
};
Error error(const at::Tensor& low, const at::Tensor& high) {
  const at::Tensor difference = (low.to(at::kDouble) - high).abs();
  return {difference.max().item<double>(), difference.mean().item<double>()};
}

void expect_as_good(const char* name, const at::Tensor& ours, const at::Tensor& atens, const at::Tensor& exact) {
  const Error a = error(ours, exact), b = error(atens, exact);
  EXPECT_LE(a.largest, 2 * b.largest) << name;
  EXPECT_LE(a.mean, 2 * b.mean) << name;
  EXPECT_GT(b.largest, 0) << name << ": a comparison with nothing";
}

void compare(const char* name, const Tensors& inputs, const Operation& ours, const Operation& reference) {
  at::NoGradGuard no_grad;
  Tensors high;
  for (const at::Tensor& t : inputs) high.push_back(t.is_floating_point() ? t.to(at::kDouble) : t);
  expect_as_good(name, ours(inputs), reference(inputs), reference(high));
}

TEST(Precision, NoKernelIsFurtherFromFloat64ThanTwiceAten) {
  const int64_t n = 160, c = 576, f = 1536, v = 5000;
  const std::vector<int64_t> lengths{100, 60};
  const Rows rows = pack_rows(lengths);
  for (const auto& [in, out] : {std::pair{c, c}, {c, f}, {f, c}, {int64_t{64}, int64_t{256}}}) {
    compare(
        "linear", {random({n, in}, 1), random({out, in}, 2, 0.05)},
        [](const Tensors& t) { return ops::linear(t[0], Weight(t[1])); },
        [](const Tensors& t) { return reference::linear(t[0], t[1], {}); });
  }
  compare(
      "rms_norm", {random({n, c}, 1), random({c}, 2)}, [](const Tensors& t) { return ops::rms_norm(t[0], t[1], 1e-6); },
      [](const Tensors& t) { return reference::rms_norm(t[0], t[1], 1e-6); });
  compare(
      "swiglu", {random({n, f}, 1, 3), random({n, f}, 2)}, [](const Tensors& t) { return ops::swiglu(t[0], t[1]); },
      [](const Tensors& t) { return reference::swiglu(t[0], t[1]); });
  compare(
      "sigmoid", {random({n, f}, 1, 3)}, [](const Tensors& t) { return ops::sigmoid(t[0]); },
      [](const Tensors& t) { return t[0].sigmoid(); });
  compare(
      "softmax", {random({n, v}, 1, 3)}, [](const Tensors& t) { return ops::softmax(t[0]); },
      [](const Tensors& t) { return t[0].softmax(-1); });
  std::vector<double> frequencies;
  // angles that float32 holds: the kernel computes them in float32 as published code does, the reference in float64
  for (int i = 0; i < 32; ++i) frequencies.push_back(std::ldexp(1.0, -i / 2));
  for (const bool adjacent : {true, false}) {
    const RopeTable table(frequencies, 1, adjacent);
    compare(
        "rope", {random({n, 9, 64}, 1)}, [&](const Tensors& t) { return ops::rope(t[0], table, rows); },
        [&](const Tensors& t) { return reference::rope(t[0], table, rows); });
  }
  const cpu::AttentionShape shape{.heads = 9, .kv_heads = 3, .key_dim = 64, .value_dim = 64, .scale = 0.125};
  compare(
      "attention", {random({n, 9, 64}, 1), random({n, 3, 64}, 2), random({n, 3, 64}, 3)},
      [&](const Tensors& t) { return ops::attention(shape, t[0], t[1], t[2], rows); },
      [&](const Tensors& t) { return reference::attention(shape, t[0], t[1], t[2], rows); });
  const LatentShape s{.heads = 4, .nope_dim = 64, .rope_dim = 32, .value_dim = 64, .rank = 128};
  const RopeTable table(std::vector<double>(frequencies.begin(), frequencies.begin() + 16), 1, true);
  const at::Tensor kv_b = random({4 * 128, 128}, 2, 0.1);
  compare(
      "latent_query", {random({n, 4, 96}, 1), kv_b},
      [&](const Tensors& t) { return ops::latent_query(s, t[0], Weight(t[1]), table, rows); },
      [&](const Tensors& t) { return reference::latent_query(s, t[0], t[1], table, rows); });
  compare(
      "latent_key", {random({n, 160}, 1), random({128}, 2)},
      [&](const Tensors& t) { return ops::latent_key(s, t[0], t[1], 1e-6, table, rows); },
      [&](const Tensors& t) { return reference::latent_key(s, t[0], t[1], 1e-6, table, rows); });
  compare(
      "latent_value", {random({n, 4, 128}, 1), kv_b},
      [&](const Tensors& t) { return ops::latent_value(s, t[0], Weight(t[1])); },
      [&](const Tensors& t) { return reference::latent_value(s, t[0], t[1]); });
  const RoutingRule rule{.experts = 8, .top_k = 2, .groups = 2, .kept_groups = 1, .normalise = true, .scale = 2.5};
  const at::Tensor scores = random({n, 8}, 1).sigmoid(), ids = ops::select_experts(rule, scores, random({8}, 2));
  compare(
      "expert_weights", {scores}, [&](const Tensors& t) { return ops::expert_weights(rule, t[0], ids); },
      [&](const Tensors& t) { return reference::expert_weights(rule, t[0], ids); });
  compare(
      "experts",
      {random({n, 128}, 3), random({8, 96, 128}, 4, 0.1), random({8, 96, 128}, 5, 0.1), random({8, 128, 96}, 6, 0.1),
       random({n, 2}, 7)},
      [&](const Tensors& t) { return ops::experts(t[0], Weight(t[1]), Weight(t[2]), Weight(t[3]), ids, t[4]); },
      [&](const Tensors& t) { return reference::experts(t[0], t[1], t[2], t[3], ids, t[4]); });
  const at::Tensor targets = at::arange(n, at::kLong);
  compare(
      "token_logprobs", {random({n, c}, 1), random({v, c}, 2, 0.1)},
      [&](const Tensors& t) { return ops::token_logprobs(t[0], Weight(t[1]), targets, {}, 1).logprobs; },
      [&](const Tensors& t) { return reference::token_logprobs(t[0], t[1], targets, {}, 1).logprobs; });
}

}  // namespace
}  // namespace hone
