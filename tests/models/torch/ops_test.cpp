// Every kernel against the plain ATen version in float64: results, gradients, and the properties that the forward pass
// rests on (a row's bits depend on that row alone).
#include "models/kernels/ops.h"

#include <functional>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "models/kernels/reference.h"
#include "models/kernels/thread_pool.h"

namespace hone {
namespace {

at::Tensor random(at::IntArrayRef shape, uint64_t seed, double scale = 1) {
  auto g = at::detail::createCPUGenerator(seed);
  return at::empty(shape, at::kFloat).normal_(0, scale, g);
}

using Tensors = std::vector<at::Tensor>;
using Operation = std::function<at::Tensor(const Tensors&)>;

double largest(const at::Tensor& t) { return t.numel() ? t.abs().max().item<double>() : 0; }

// Runs both on the same numbers; compares results and the gradients of sum(result * fixed noise).
void expect_same(const Tensors& inputs, const Operation& native, const Operation& reference, double tolerance = 2e-5) {
  Tensors low, high;
  for (const auto& t : inputs) {
    const bool learns = t.is_floating_point();
    low.push_back(learns ? t.clone().requires_grad_() : t);
    high.push_back(learns ? t.to(at::kDouble).requires_grad_() : t);
  }
  const at::Tensor a = native(low), b = reference(high);
  ASSERT_EQ(a.sizes(), b.sizes());
  EXPECT_LT(largest(a.to(at::kDouble) - b), tolerance * std::max(1.0, largest(b)));
  const at::Tensor noise = random(a.sizes(), 99);
  (a * noise).sum().backward();
  (b * noise.to(at::kDouble)).sum().backward();
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].is_floating_point()) continue;
    const at::Tensor &x = low[i].grad(), &y = high[i].grad();
    ASSERT_TRUE(x.defined() && y.defined()) << "input " << i;
    EXPECT_LT(largest(x.to(at::kDouble) - y), tolerance * std::max(1.0, largest(y))) << "gradient of input " << i;
    EXPECT_GT(largest(y), 1e-6) << "a gradient of 0 proves nothing, input " << i;
  }
}

RopeTable table(int64_t dim, bool adjacent) {
  std::vector<double> f;
  for (int64_t i = 0; i < dim / 2; ++i)
    f.push_back(std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(dim)));
  return RopeTable(f, 1.1, adjacent);
}

TEST(Ops, LinearMatchesReference) {
  for (const auto& [n, in, out] : {std::tuple{1, 7, 5}, {13, 64, 121}, {300, 300, 33}, {17, 520, 64}}) {
    expect_same(
        {random({n, in}, 1), random({out, in}, 2), random({out}, 3)},
        [](const Tensors& t) { return ops::linear(t[0], Weight(t[1]), t[2]); },
        [](const Tensors& t) { return reference::linear(t[0], t[1], t[2]); });
  }
}

TEST(Ops, RowFunctionsMatchReference) {
  for (const int64_t c : {5, 16, 130}) {
    expect_same(
        {random({300, c}, 1), random({c}, 2)}, [](const Tensors& t) { return ops::rms_norm(t[0], t[1], 1e-6); },
        [](const Tensors& t) { return reference::rms_norm(t[0], t[1], 1e-6); });
    expect_same(
        {random({33, c}, 1, 4), random({33, c}, 2)}, [](const Tensors& t) { return ops::swiglu(t[0], t[1]); },
        [](const Tensors& t) { return reference::swiglu(t[0], t[1]); });
    expect_same(
        {random({33, c}, 1, 4)}, [](const Tensors& t) { return ops::sigmoid(t[0]); },
        [](const Tensors& t) { return t[0].sigmoid(); });
    expect_same(
        {random({33, c}, 1, 4)}, [](const Tensors& t) { return ops::softmax(t[0]); },
        [](const Tensors& t) { return t[0].softmax(-1); });
  }
}

TEST(Ops, EmbeddingMatchesReference) {
  const at::Tensor ids = at::randint(0, 11, {40}, at::kLong);
  expect_same(
      {random({11, 6}, 1)}, [&](const Tensors& t) { return ops::embedding(Weight(t[0]), ids); },
      [&](const Tensors& t) { return reference::embedding(t[0], ids); });
  EXPECT_THROW(ops::embedding(Weight(random({11, 6}, 1)), at::full({1}, 11, at::kLong)), c10::Error);
}

TEST(Ops, RopeMatchesReferenceAndTheLayoutsDiffer) {
  const std::vector<int64_t> lengths{9, 3};
  const Rows rows = pack_rows(lengths);
  for (const bool adjacent : {true, false}) {
    const RopeTable t8 = table(8, adjacent);
    expect_same(
        {random({12, 3, 14}, 1)}, [&](const Tensors& t) { return ops::rope(t[0], t8, rows); },
        [&](const Tensors& t) { return reference::rope(t[0], t8, rows); });
  }
  const at::Tensor x = random({12, 3, 8}, 1);
  EXPECT_GT(largest(ops::rope(x, table(8, true), rows) - ops::rope(x, table(8, false), rows)), 0.1);
}

TEST(Ops, AttentionMatchesReference) {
  const std::vector<int64_t> lengths{1, 40, 17, 5, 83};
  const Rows rows = pack_rows(lengths);
  const int64_t n = rows.count();
  for (const auto& [h, k] : {std::pair{4, 4}, {4, 2}, {6, 1}}) {
    const cpu::AttentionShape shape{.heads = h, .kv_heads = k, .key_dim = 24, .value_dim = 20, .scale = 0.2f};
    expect_same(
        {random({n, h, 24}, 1), random({n, k, 24}, 2), random({n, k, 20}, 3)},
        [&](const Tensors& t) { return ops::attention(shape, t[0], t[1], t[2], rows); },
        [&](const Tensors& t) { return reference::attention(shape, t[0], t[1], t[2], rows); });
  }
  const cpu::AttentionShape latent{
      .heads = 4, .kv_heads = 1, .key_dim = 40, .value_dim = 32, .scale = 0.2f, .value_in_key = true};
  expect_same(
      {random({n, 4, 40}, 1), random({n, 1, 40}, 2)},
      [&](const Tensors& t) { return ops::attention(latent, t[0], t[1], {}, rows); },
      [&](const Tensors& t) { return reference::attention(latent, t[0], t[1], {}, rows); });
}

TEST(Ops, LatentProjectionsMatchReference) {
  const LatentShape s{.heads = 3, .nope_dim = 6, .rope_dim = 8, .value_dim = 5, .rank = 12};
  const std::vector<int64_t> lengths{30, 7};
  const Rows rows = pack_rows(lengths);
  const RopeTable t8 = table(8, true);
  const at::Tensor kv_b = random({3 * 11, 12}, 2);
  expect_same(
      {random({37, 3, 14}, 1), kv_b},
      [&](const Tensors& t) { return ops::latent_query(s, t[0], Weight(t[1]), t8, rows); },
      [&](const Tensors& t) { return reference::latent_query(s, t[0], t[1], t8, rows); });
  expect_same(
      {random({37, 20}, 1), random({12}, 2)},
      [&](const Tensors& t) { return ops::latent_key(s, t[0], t[1], 1e-6, t8, rows); },
      [&](const Tensors& t) { return reference::latent_key(s, t[0], t[1], 1e-6, t8, rows); });
  expect_same(
      {random({37, 3, 12}, 1), kv_b}, [&](const Tensors& t) { return ops::latent_value(s, t[0], Weight(t[1])); },
      [&](const Tensors& t) { return reference::latent_value(s, t[0], t[1]); });
}

// DeepSeek-V2 §2.1: absorbing Wuk into the query and Wuv into the output changes nothing but the order of sums.
struct LatentInputs {
  LatentShape shape{.heads = 3, .nope_dim = 6, .rope_dim = 8, .value_dim = 5, .rank = 12};
  RopeTable rope = table(8, true);
  at::Tensor q, kv, norm, kv_b;
  explicit LatentInputs(at::ScalarType type)
      : q(random({37, 3, 14}, 1).to(type)),
        kv(random({37, 20}, 2).to(type)),
        norm(random({12}, 3).to(type)),
        kv_b(random({33, 12}, 4).to(type)) {}
};

// The rows of `rows`, which the cache, if any, knows the earlier positions of.
at::Tensor absorbed(const LatentInputs& in, const at::Tensor& q, const at::Tensor& kv, const Rows& rows,
                    LayerCache* cache) {
  const cpu::AttentionShape shape{
      .heads = 3, .kv_heads = 1, .key_dim = 20, .value_dim = 12, .scale = 0.25f, .value_in_key = true};
  const Weight kv_b(in.kv_b);
  const at::Tensor key = ops::latent_key(in.shape, kv, in.norm, 1e-6, in.rope, rows);
  const at::Tensor query = ops::latent_query(in.shape, q, kv_b, in.rope, rows);
  return ops::latent_value(in.shape, ops::attention(shape, query, key, {}, rows, cache), kv_b);
}

// Keys and values of every head, as multi-head attention has them.
at::Tensor expanded(const LatentInputs& in, const Rows& rows) {
  const cpu::AttentionShape shape{.heads = 3, .kv_heads = 3, .key_dim = 14, .value_dim = 5, .scale = 0.25f};
  const at::Tensor key = reference::latent_key(in.shape, in.kv, in.norm, 1e-6, in.rope, rows);
  const at::Tensor up = at::linear(key.squeeze(1).narrow(1, 0, 12), in.kv_b).view({37, 3, 11});
  const at::Tensor k = at::cat({up.narrow(2, 0, 6), key.narrow(2, 12, 8).expand({37, 3, 8})}, 2);
  const at::Tensor q = at::cat({in.q.narrow(2, 0, 6), reference::rope(in.q.narrow(2, 6, 8), in.rope, rows)}, 2);
  return reference::attention(shape, q, k, up.narrow(2, 6, 5), rows).flatten(1);
}

TEST(Ops, AbsorbedAttentionEqualsExpandedAttention) {  // acceptance check A2
  const std::vector<int64_t> lengths{30, 7};
  const Rows rows = pack_rows(lengths);
  const LatentInputs exact(at::kDouble), in(at::kFloat);
  const at::Tensor expected = expanded(exact, rows);
  EXPECT_LT(largest(absorbed(exact, exact.q, exact.kv, rows, nullptr) - expected), 1e-12);
  const at::Tensor prefill = absorbed(in, in.q, in.kv, rows, nullptr);
  EXPECT_LT(largest(prefill.to(at::kDouble) - expected), 5e-6);
  LayerCache cache{at::zeros({2, 1, 20, 16}), {}};
  for (int64_t t = 0; t < lengths[0]; ++t) {  // the first sequence token by token
    const Rows one{{{0, 1, t, 0}}, {static_cast<int32_t>(t)}, 0};
    const at::Tensor decoded =
        absorbed(in, in.q.narrow(0, t, 1).contiguous(), in.kv.narrow(0, t, 1).contiguous(), one, &cache);
    EXPECT_LT(largest(decoded.to(at::kDouble) - expected.narrow(0, t, 1)), 5e-6) << t;
  }
}

TEST(Ops, ExpertsMatchReference) {
  const RoutingRule rule{.experts = 8, .top_k = 3, .groups = 4, .kept_groups = 2, .normalise = true, .scale = 2.5};
  const at::Tensor scores = random({50, 8}, 1).sigmoid(), bias = random({8}, 2, 0.2);
  const at::Tensor ids = ops::select_experts(rule, scores, bias);
  expect_same(
      {scores}, [&](const Tensors& t) { return ops::expert_weights(rule, t[0], ids); },
      [&](const Tensors& t) { return reference::expert_weights(rule, t[0], ids); });
  expect_same(
      {random({50, 12}, 3), random({8, 9, 12}, 4), random({8, 9, 12}, 5), random({8, 12, 9}, 6), random({50, 3}, 7)},
      [&](const Tensors& t) { return ops::experts(t[0], Weight(t[1]), Weight(t[2]), Weight(t[3]), ids, t[4]); },
      [&](const Tensors& t) { return reference::experts(t[0], t[1], t[2], t[3], ids, t[4]); });
}

// Brute force over all pairs of groups: the kept groups maximise the sum of their two best entries.
TEST(Ops, SelectionIsGroupLimitedAndUsesTheBiasForSelectionOnly) {
  const RoutingRule rule{.experts = 12, .top_k = 4, .groups = 4, .kept_groups = 2};
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const bool all_negative = seed % 3 == 0;
    const at::Tensor scores = random({1, 12}, seed).sigmoid(),
                     bias = random({12}, seed + 1000) - (all_negative ? 5 : 0);
    const at::Tensor c = (scores[0] + bias).contiguous();
    double best = -1e30;
    std::vector<int64_t> expected;
    for (int64_t a = 0; a < 4; ++a) {
      for (int64_t b = a + 1; b < 4; ++b) {
        const auto two = [&](int64_t g) { return std::get<0>(c.narrow(0, g * 3, 3).topk(2)).sum().item<double>(); };
        if (two(a) + two(b) <= best) continue;
        best = two(a) + two(b);
        const at::Tensor kept = at::full({12}, -INFINITY);
        for (const int64_t g : {a, b}) kept.narrow(0, g * 3, 3).copy_(c.narrow(0, g * 3, 3));
        const at::Tensor top = std::get<0>(std::get<1>(kept.topk(4)).sort());
        expected.assign(top.const_data_ptr<int64_t>(), top.const_data_ptr<int64_t>() + 4);
      }
    }
    const at::Tensor ids = ops::select_experts(rule, scores, bias);
    EXPECT_EQ(std::vector<int64_t>(ids.const_data_ptr<int64_t>(), ids.const_data_ptr<int64_t>() + 4), expected) << seed;
  }
}

TEST(Ops, TokenLogprobsMatchReference) {
  const at::Tensor targets = at::randint(0, 121, {70}, at::kLong), forbidden = at::full({70}, -1, at::kLong);
  for (int64_t i = 0; i < 70; i += 3) forbidden[i] = (targets[i].item<int64_t>() + 1) % 121;
  for (const double t : {1.0, 0.7}) {
    expect_same(
        {random({70, 16}, 1), random({121, 16}, 2)},
        [&](const Tensors& x) { return ops::token_logprobs(x[0], Weight(x[1]), targets, forbidden, 1 / t).logprobs; },
        [&](const Tensors& x) { return reference::token_logprobs(x[0], x[1], targets, forbidden, 1 / t).logprobs; });
    const at::Tensor h = random({70, 16}, 1), w = random({121, 16}, 2);
    const at::Tensor a = ops::token_logprobs(h, Weight(w), targets, forbidden, 1 / t).entropy;
    const at::Tensor b =
        reference::token_logprobs(h.to(at::kDouble), w.to(at::kDouble), targets, forbidden, 1 / t).entropy;
    EXPECT_LT(largest(a.to(at::kDouble) - b), 2e-5);
  }
}

// --- bits -------------------------------------------------------------------------------------------------------

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return a.sizes() == b.sizes() &&
         std::memcmp(a.contiguous().const_data_ptr(), b.contiguous().const_data_ptr(), a.nbytes()) == 0;
}

TEST(Ops, ARowOfALinearDependsOnThatRowAlone) {
  const at::Tensor x = random({300, 520}, 1);
  const Weight w(random({121, 520}, 2));
  const at::Tensor all = ops::linear(x, w);
  for (const int64_t n : {1, 2, 3, 5, 8, 12, 13, 16, 31, 192, 193}) {
    EXPECT_TRUE(same_bits(ops::linear(x.narrow(0, 7, n), w), all.narrow(0, 7, n))) << n;
  }
  EXPECT_FALSE(same_bits(at::linear(x, w.tensor()), all)) << "the control must differ, or this test proves nothing";
}

TEST(Ops, ADecodeStepHasTheBitsOfThePrefill) {
  const cpu::AttentionShape shape{.heads = 4, .kv_heads = 2, .key_dim = 24, .value_dim = 20, .scale = 0.2f};
  const std::vector<int64_t> lengths{70};
  const at::Tensor q = random({70, 4, 24}, 1), k = random({70, 2, 24}, 2), v = random({70, 2, 20}, 3);
  const at::Tensor all = ops::attention(shape, q, k, v, pack_rows(lengths));
  LayerCache cache{at::zeros({5, 2, 24, 16}), at::zeros({5, 2, 20, 16})};
  for (int64_t t = 0; t < 70; ++t) {
    Rows rows{{{0, 1, t, 0}}, {static_cast<int32_t>(t)}, 0};
    auto at_t = [&](const at::Tensor& x) { return x.narrow(0, t, 1).contiguous(); };
    EXPECT_TRUE(same_bits(ops::attention(shape, at_t(q), at_t(k), at_t(v), rows, &cache), all.narrow(0, t, 1))) << t;
  }
}

// Everything at once under each instruction set and number of threads.
Tensors run_all() {
  const std::vector<int64_t> lengths{40, 17, 83};
  const Rows rows = pack_rows(lengths);
  Tensors leaves{random({140, 4, 24}, 1), random({140, 2, 24}, 2), random({140, 2, 20}, 3),
                 random({80, 80}, 4),     random({80}, 5),         random({121, 80}, 6)};
  for (auto& t : leaves) t.requires_grad_();
  const cpu::AttentionShape shape{.heads = 4, .kv_heads = 2, .key_dim = 24, .value_dim = 20, .scale = 0.2f};
  const at::Tensor a = ops::attention(shape, leaves[0], leaves[1], leaves[2], rows).view({140, 80});
  const at::Tensor b = ops::linear(ops::rms_norm(a, leaves[4], 1e-6), Weight(leaves[3]));
  const at::Tensor targets = at::arange(140, at::kLong).remainder(121);
  const at::Tensor logprobs = ops::token_logprobs(ops::swiglu(b, a), Weight(leaves[5]), targets, {}, 1.0).logprobs;
  logprobs.sum().backward();
  Tensors out{logprobs.detach()};
  for (auto& t : leaves) out.push_back(t.grad());
  return out;
}

TEST(Ops, InstructionSetsAndThreadsGiveTheSameBits) {
  const std::string best(cpu::instruction_set());
  const Tensors expected = run_all();
  for (const char* isa : {"avx512bf16", "avx512", "avx2", "generic"}) {
    if (!cpu::use_instruction_set(isa)) continue;
    for (const int threads : {1, 2, 3}) {
      set_kernel_threads(threads);
      const Tensors got = run_all();
      for (size_t i = 0; i < got.size(); ++i)
        EXPECT_TRUE(same_bits(got[i], expected[i])) << isa << ", threads " << threads << ", " << i;
    }
  }
  cpu::use_instruction_set(best);
  set_kernel_threads(1);
}

TEST(Ops, APackedWeightFollowsTheTensor) {
  at::Tensor w = random({8, 8}, 1);
  const Weight weight(w);
  const at::Tensor x = random({3, 8}, 2), before = ops::linear(x, weight);
  w.mul_(2);
  EXPECT_LT(largest(ops::linear(x, weight) - 2 * before), 1e-5);
}

}  // namespace
}  // namespace hone
