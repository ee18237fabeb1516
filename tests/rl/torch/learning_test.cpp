// Loss and gradient against slow, obvious versions; micro-batches; optimizers; checkpoints.
#include <algorithm>
#include <cmath>
#include <filesystem>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/kernels/thread_pool.h"
#include "rl/checkpoint.h"
#include "rl/loss.h"
#include "rl/optimizer.h"
#include "rl/update.h"
#include "tests/rl/torch/toy.h"

namespace hone {
namespace {

// P prompts with G completions of many lengths; log-probs as a stale policy would have recorded them.
std::vector<Group> toy_groups(int64_t prompts, int64_t samples) {
  std::vector<Group> out;
  for (int64_t p = 0; p < prompts; ++p) {
    Group g{{p, "", {2, 3, static_cast<int32_t>(4 + p)}, "{}"}, {}, {}};
    for (int64_t s = 0; s < samples; ++s) {
      Rollout r{.prompt_id = p, .sample = static_cast<int32_t>(s)};
      for (int64_t t = 0; t < 1 + (p * 7 + s * 5) % 11; ++t) {
        r.token_ids.push_back(static_cast<int32_t>((p * 13 + s * 5 + t * 3) % 30));
        r.logprobs.push_back(-3.4f + 0.1f * static_cast<float>((t + s) % 5));
      }
      r.finish_reason = s % 3 == 0 ? FinishReason::kLength : FinishReason::kEos;
      g.rollouts.push_back(std::move(r));
    }
    out.push_back(std::move(g));
  }
  return out;
}

std::vector<std::vector<double>> toy_advantages(int64_t prompts, int64_t samples) {
  std::vector<std::vector<double>> a;
  for (int64_t p = 0; p < prompts; ++p) {
    a.emplace_back();
    for (int64_t s = 0; s < samples; ++s) a.back().push_back(std::sin(static_cast<double>(p * 5 + s * 3 + 1)));
  }
  return a;
}

// --- batch ------------------------------------------------------------------------------------------------------

TEST(Batch, ShiftsByOneAndWeighsEachLossToken) {
  Group g{{0, "", {5, 6}, "{}"},
          {{.token_ids = {7, 8, 1}, .logprobs = {-1, -2, -3}}, {.token_ids = {9}, .logprobs = {-4}}},
          {}};
  g.rollouts[0].finish_reason = FinishReason::kEos;
  const Batch b = make_batch({g}, {{1.5, -1.5}},
                             {.normaliser = Normaliser::kSequenceMean, .min_completion_length = 3, .end_token = 1});
  EXPECT_EQ(b.lengths, (std::vector<int64_t>{4, 2}));
  EXPECT_EQ(b.inputs, (std::vector<int64_t>{5, 6, 7, 8, 5, 6}));
  EXPECT_EQ(b.rows, (std::vector<int64_t>{1, 2, 3, 5}));
  EXPECT_EQ(b.targets, (std::vector<int64_t>{7, 8, 1, 9}));
  EXPECT_EQ(b.forbidden, (std::vector<int64_t>{1, 1, -1, 1}));
  EXPECT_EQ(b.advantages, (std::vector<float>{1.5f, 1.5f, 1.5f, -1.5f}));
  EXPECT_EQ(b.weights, (std::vector<float>{1.f / 6, 1.f / 6, 1.f / 6, 0.5f}));
  EXPECT_EQ(make_batch({g}, {{1, 1}}, {.normaliser = Normaliser::kTokenMean}).weights, std::vector<float>(4, 0.25f));
  EXPECT_EQ(make_batch({g}, {{1, 1}}, {.normaliser = Normaliser::kMaxLength, .max_completion_length = 10}).weights,
            std::vector<float>(4, 0.05f));
  const Batch masked = make_batch({g}, {{1, 1}}, {.mask_truncated = true});
  EXPECT_EQ(masked.num_loss_tokens(), 3);
  EXPECT_EQ(masked.weights[0], 1.f / 3);
  EXPECT_EQ(make_batch({g}, {{1, 1}}, {.normaliser = Normaliser::kSequenceMean, .mask_truncated = true}).weights[0],
            1.f / 6)
      << "the masked completion still counts among the sequences";
  EXPECT_THROW(make_batch({g}, {{1}}, {}), std::invalid_argument);
}

TEST(Batch, PartsCoverEverySequenceOnce) {
  const Batch b = make_batch(toy_groups(4, 3), toy_advantages(4, 3), {});
  const int64_t longest = *std::max_element(b.lengths.begin(), b.lengths.end());
  const auto total = static_cast<int64_t>(b.inputs.size());
  for (const int64_t parts : {1, 2, 5, 1000}) {
    int64_t next = 0, tokens = 0;
    for (const auto& [begin, end] : split_evenly(b, parts)) {
      EXPECT_EQ(begin, next);
      const Batch part = slice(b, begin, end);
      EXPECT_LT(static_cast<int64_t>(part.inputs.size()), total / parts + longest + 1);
      for (int64_t m = 0; m < part.num_loss_tokens(); ++m) {
        EXPECT_EQ(part.targets[static_cast<size_t>(m)], b.targets[static_cast<size_t>(tokens + m)]);
        EXPECT_EQ(part.weights[static_cast<size_t>(m)], b.weights[static_cast<size_t>(tokens + m)]);
      }
      tokens += part.num_loss_tokens();
      next = end;
    }
    EXPECT_EQ(next, b.num_sequences());
    EXPECT_EQ(tokens, b.num_loss_tokens());
  }
}

// --- loss -------------------------------------------------------------------------------------------------------

struct Case {
  const char* loss_type;
  const char* kl;
  double beta;
  bool kl_has_ratio = false;
  double delta = 0;
};

// The formulas of loss.h with a loop over tokens; d loss / d policy log-prob by hand, without autograd.
struct SlowLoss {
  double loss = 0;
  std::vector<double> gradient;
};
[[gnu::noinline]] SlowLoss slow_loss(const RlConfig& c, const Batch& b, const std::vector<double>& policy,
                                     const std::vector<double>& ref) {
  const size_t m = policy.size();
  SlowLoss out{0, std::vector<double>(m, 0)};
  std::vector<double> sum(static_cast<size_t>(b.num_sequences()), 0), count(sum.size(), 0);
  for (size_t t = 0; t < m; ++t) {
    sum[static_cast<size_t>(b.sequence[t])] += policy[t] - static_cast<double>(b.sampler_logprobs[t]);
    count[static_cast<size_t>(b.sequence[t])] += 1;
  }
  for (size_t t = 0; t < m; ++t) {
    const auto s = static_cast<size_t>(b.sequence[t]);
    const bool gspo = std::string(c.loss_type) == "gspo", cispo = std::string(c.loss_type) == "cispo";
    const double ratio = std::exp(gspo ? sum[s] / count[s] : policy[t] - static_cast<double>(b.sampler_logprobs[t]));
    const double a = b.advantages[t], w = b.weights[t];
    const double clipped = std::min(std::max(ratio, 1 - c.epsilon), 1 + c.epsilon_high);
    const auto through_ratio = [&](double slope) {  // d ratio / d policy[u] is ratio, or its share of the sequence
      if (!gspo) out.gradient[t] += slope;
      for (size_t u = 0; gspo && u < m; ++u) out.gradient[u] += b.sequence[u] == b.sequence[t] ? slope / count[s] : 0;
    };
    if (cispo) {
      out.loss += w * -clipped * a * policy[t];
      out.gradient[t] += w * -clipped * a;
    } else if (std::string(c.loss_type) == "sapo") {
      const double tau = a > 0 ? c.sapo_temperature_pos : c.sapo_temperature_neg,
                   gate = 1 / (1 + std::exp(-tau * (ratio - 1)));
      out.loss += w * -gate * 4 / tau * a;
      through_ratio(w * -4 * gate * (1 - gate) * ratio * a);
    } else {
      const bool too_large = c.delta > 0 && ratio > c.delta;
      const double plain = (too_large ? c.delta : ratio) * a;
      const bool active =
          plain <= clipped * a && !too_large;  // the branch that depends on the ratio is the smaller one
      out.loss += w * -std::min(plain, clipped * a);
      if (active) through_ratio(w * -ratio * a);
    }
    if (c.beta > 0) {
      const double d = ref[t] - policy[t], r = c.use_bias_correction_kl ? ratio : 1;
      const double kl = c.kl_estimator == "k1" ? -d : c.kl_estimator == "k2" ? d * d / 2 : std::exp(d) - d - 1;
      out.loss += w * c.beta * r * kl;
      out.gradient[t] += w * c.beta * r * (c.kl_estimator == "k1" ? 1 : c.kl_estimator == "k2" ? -d : 1 - std::exp(d));
      if (c.use_bias_correction_kl) through_ratio(w * c.beta * kl * ratio);
    }
  }
  return out;
}

class LossTest : public ::testing::TestWithParam<Case> {};

TEST_P(LossTest, LossAndGradientAreThoseOfTheFormula) {
  RlConfig c;
  c.loss_type = GetParam().loss_type;
  c.kl_estimator = GetParam().kl;
  c.beta = GetParam().beta;
  c.use_bias_correction_kl = GetParam().kl_has_ratio;
  c.epsilon_high = 0.28;
  c.delta = GetParam().delta;
  const LossSpec spec = loss_spec(c);
  const Batch b =
      make_batch(toy_groups(5, 4), toy_advantages(5, 4), {.normaliser = spec.normaliser, .max_completion_length = 12});
  const at::Tensor policy =
      (at::tensor(b.sampler_logprobs).to(at::kDouble) + random({b.num_loss_tokens()}, 3, 0.3)).requires_grad_();
  const at::Tensor ref = policy.detach() + random({b.num_loss_tokens()}, 4, 0.2);
  auto values = [](const at::Tensor& t) {
    return std::vector<double>(t.const_data_ptr<double>(), t.const_data_ptr<double>() + t.numel());
  };
  const SlowLoss slow = slow_loss(c, b, values(policy.detach()), values(ref));
  const LossOutput fast = policy_loss(spec, {.policy_logprobs = policy,
                                             .sampler_logprobs = at::tensor(b.sampler_logprobs).to(at::kDouble),
                                             .advantages = at::tensor(b.advantages).to(at::kDouble),
                                             .weights = at::tensor(b.weights).to(at::kDouble),
                                             .sequence = at::tensor(b.sequence),
                                             .num_sequences = b.num_sequences(),
                                             .ref_logprobs = c.beta > 0 ? ref : at::Tensor()});
  EXPECT_NEAR(fast.loss.item<double>(), slow.loss, 1e-12);
  EXPECT_EQ(fast.clipped > 0, c.loss_type != "sapo") << "the clip must be met";
  fast.loss.backward();
  const auto gradient = values(policy.grad());
  for (size_t t = 0; t < gradient.size(); ++t) EXPECT_NEAR(gradient[t], slow.gradient[t], 1e-12) << t;
}

INSTANTIATE_TEST_SUITE_P(All, LossTest,
                         ::testing::Values(Case{"grpo", "k3", 0}, Case{"grpo", "k3", 0.1}, Case{"dapo", "k3", 0},
                                           Case{"dapo", "k1", 0.1}, Case{"dapo", "k2", 0.1}, Case{"dr_grpo", "k3", 0},
                                           Case{"gspo", "k3", 0}, Case{"gspo", "k3", 0.1}, Case{"cispo", "k3", 0},
                                           Case{"cispo", "k3", 0.1}, Case{"dapo", "k3", 0.1, true},
                                           Case{"gspo", "k3", 0.1, true}, Case{"grpo", "k1", 0.1, true},
                                           Case{"sapo", "k3", 0}, Case{"sapo", "k3", 0.1},
                                           Case{"dapo", "k3", 0, false, 1.3}, Case{"bnpo", "k3", 0}));

TEST(Loss, BnpoIsTheMeanOfItsMicroBatches) {
  const BatchOptions options{.normaliser = Normaliser::kMicroBatchTokenMean, .micro_batch_sequences = 2};
  const std::vector<double> weights = sequence_weights({3, 1, 2, 2, 6}, options);
  const std::vector<double> expected{1 / 12., 1 / 12., 1 / 12., 1 / 12., 1 / 18.};
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_DOUBLE_EQ(weights[i], expected[i]) << i;
}

TEST(Loss, AtRatioOneTheGradientIsTheAdvantageOverTheNormaliser) {
  const Batch b = make_batch(toy_groups(3, 4), toy_advantages(3, 4), {.normaliser = Normaliser::kSequenceMean});
  const at::Tensor policy = at::tensor(b.sampler_logprobs).to(at::kDouble).requires_grad_();
  policy_loss({.normaliser = Normaliser::kSequenceMean}, {.policy_logprobs = policy,
                                                          .sampler_logprobs = policy.detach(),
                                                          .advantages = at::tensor(b.advantages).to(at::kDouble),
                                                          .weights = at::tensor(b.weights).to(at::kDouble),
                                                          .sequence = at::tensor(b.sequence),
                                                          .num_sequences = b.num_sequences()})
      .loss.backward();
  for (size_t t = 0; t < b.advantages.size(); ++t) {
    EXPECT_NEAR(policy.grad()[static_cast<int64_t>(t)].item<double>(),
                -static_cast<double>(b.advantages[t]) * b.weights[t], 1e-12);
  }
}

TEST(Loss, EpsilonTenCutsOnlyRatiosBeyondElevenWithPositiveAdvantage) {  // DeepSeek-R1's setting
  const at::Tensor logp =
      at::tensor({std::log(0.01), std::log(10.9), std::log(12.0), std::log(12.0)}, at::kDouble).requires_grad_();
  const at::Tensor zero = at::zeros({4}, at::kDouble), one = at::ones({4}, at::kDouble);
  policy_loss({.epsilon = 10, .epsilon_high = 10}, {.policy_logprobs = logp,
                                                    .sampler_logprobs = zero,
                                                    .advantages = at::tensor({1.0, 1.0, 1.0, -1.0}, at::kDouble),
                                                    .weights = one,
                                                    .sequence = at::zeros({4}, at::kLong),
                                                    .num_sequences = 1})
      .loss.backward();
  EXPECT_NE(logp.grad()[0].item<double>(), 0);
  EXPECT_NE(logp.grad()[1].item<double>(), 0);
  EXPECT_EQ(logp.grad()[2].item<double>(), 0);
  EXPECT_NE(logp.grad()[3].item<double>(), 0);
}

// --- micro-batches ----------------------------------------------------------------------------------------------

class PartsTest : public ::testing::TestWithParam<std::tuple<Architecture, const char*>> {};

TEST_P(PartsTest, KPartsEqualOneInFloat64) {
  const auto& [architecture, loss_type] = GetParam();
  RlConfig c;
  c.loss_type = loss_type;
  c.beta = 0.05;
  const LossSpec spec = loss_spec(c);
  const Batch b =
      make_batch(toy_groups(4, 4), toy_advantages(4, 4), {.normaliser = spec.normaliser, .max_completion_length = 12});
  const std::vector<float> ref(b.sampler_logprobs.begin(), b.sampler_logprobs.end());
  double loss = 0;
  at::Tensor expected;
  for (const int64_t tokens : {100000, 40, 13, 1}) {
    auto policy = Policy::random(small(architecture), 0.2, 3);
    policy->to(at::kDouble);
    policy->set_requires_grad(true);
    const UpdateStats stats =
        accumulate_policy_gradient(*policy, b, spec, ref, {.part_tokens = tokens, .router_aux_loss_alpha = 0.01});
    const at::Tensor gradient = flat_gradient(*policy);
    if (!expected.defined()) {
      expected = gradient;
      loss = stats.loss;
      EXPECT_GT(gradient.norm().item<double>(), 1e-3);
    }
    EXPECT_NEAR(stats.loss, loss, 1e-12);
    EXPECT_LT((gradient - expected).abs().max().item<double>(), 1e-12) << tokens;
  }
}

// Parts are summed in one order, so neither threads nor tokens in flight change a bit.
TEST_P(PartsTest, MicroBatchesAndThreadsChangeNoBit) {
  const auto& [architecture, loss_type] = GetParam();
  RlConfig c;
  c.loss_type = loss_type;
  const LossSpec spec = loss_spec(c);
  const Batch b =
      make_batch(toy_groups(6, 4), toy_advantages(6, 4), {.normaliser = spec.normaliser, .max_completion_length = 12});
  at::Tensor expected;
  for (const auto& [threads, tokens] : {std::pair{1, 10}, {1, 1000}, {2, 20}, {3, 1000}}) {
    set_kernel_threads(threads);
    auto policy = Policy::random(small(architecture), 0.2, 3);
    policy->set_requires_grad(true);
    std::vector<float> seen;
    accumulate_policy_gradient(*policy, b, spec, {},
                               {.micro_batch_tokens = tokens, .part_tokens = 10, .router_aux_loss_alpha = 0.01},
                               [&](std::span<const float> own, int64_t first) {
                                 EXPECT_EQ(static_cast<int64_t>(seen.size()), first);
                                 seen.insert(seen.end(), own.begin(), own.end());
                               });
    EXPECT_EQ(static_cast<int64_t>(seen.size()), b.num_loss_tokens());
    const at::Tensor gradient = flat_gradient(*policy);
    if (!expected.defined()) expected = gradient;
    EXPECT_TRUE(at::equal(gradient, expected)) << threads << " threads, " << tokens << " tokens";
  }
  set_kernel_threads(1);
}

TEST(Update, MemoryThatIsTooLittleIsRefusedByItsKey) {
  auto policy = Policy::random(small(Architecture::kLlama), 0.2, 3);
  policy->set_requires_grad(true);
  const Batch b = make_batch(toy_groups(4, 4), toy_advantages(4, 4), {});
  UpdateOptions options{.micro_batch_tokens = 10, .part_tokens = 10, .max_memory_bytes = 1 << 20};
  try {
    accumulate_policy_gradient(*policy, b, loss_spec(RlConfig{}), {}, options);
    FAIL() << "a process takes more than a MiB";
  } catch (const std::runtime_error& e) {
    EXPECT_THAT(e.what(), ::testing::HasSubstr("max_memory_gb: 0.00 is too little"));
  }
  options.max_memory_bytes = int64_t{1} << 40;
  accumulate_policy_gradient(*policy, b, loss_spec(RlConfig{}), {}, options);
}

// The kernels' float32 gradient of the whole policy against the reference path in float64.
TEST_P(PartsTest, KernelGradientMatchesReferenceGradient) {
  const auto& [architecture, loss_type] = GetParam();
  RlConfig c;
  c.loss_type = loss_type;
  const LossSpec spec = loss_spec(c);
  const Batch b =
      make_batch(toy_groups(4, 4), toy_advantages(4, 4), {.normaliser = spec.normaliser, .max_completion_length = 12});
  std::vector<at::Tensor> gradients;
  for (const auto dtype : {at::kFloat, at::kDouble}) {
    auto policy = Policy::random(small(architecture), 0.2, 3);
    policy->to(dtype);
    policy->set_requires_grad(true);
    accumulate_policy_gradient(*policy, b, spec, {}, {.part_tokens = 50, .router_aux_loss_alpha = 0.01});
    gradients.push_back(flat_gradient(*policy).to(at::kDouble));
  }
  const double scale = gradients[1].abs().max().item<double>();
  EXPECT_LT((gradients[0] - gradients[1]).abs().max().item<double>(), 2e-5 * scale);
}

INSTANTIATE_TEST_SUITE_P(All, PartsTest,
                         ::testing::Combine(::testing::Values(Architecture::kLlama, Architecture::kQwen3,
                                                              Architecture::kDeepseekV3),
                                            ::testing::Values("grpo", "dapo", "dr_grpo", "gspo", "cispo")));

// --- router -----------------------------------------------------------------------------------------------------

TEST(Router, BiasUpdateFollowsTheSignOfTheLoad) {
  auto policy = Policy::random(small(Architecture::kDeepseekV3), 0.2, 3);
  update_router_biases(*policy, {{10, 2, 6, 6}}, 0.001);
  const at::Tensor bias = policy->router_biases().at(0);
  EXPECT_FLOAT_EQ(bias[0].item<float>(), -0.001f);
  EXPECT_FLOAT_EQ(bias[1].item<float>(), 0.001f);
  EXPECT_EQ(bias[2].item<float>(), 0);
  EXPECT_DOUBLE_EQ(max_violation({{10, 2, 6, 6}}), 4.0 / 6);
}

TEST(Router, SkewedLoadIsBalancedByTheBias) {  // acceptance check R2: 300 steps, gamma 1e-3
  ModelConfig c = small(Architecture::kDeepseekV3);
  c.n_routed_experts = 16, c.n_group = 4, c.topk_group = 2, c.num_experts_per_tok = 4;
  auto policy = Policy::random(c, 0.3, 3);
  std::vector<TokenDocument> documents;
  for (int64_t i = 0; i < 64; ++i) {
    documents.push_back({{}, 1});
    for (int64_t t = 0; t < 33; ++t) documents.back().tokens.push_back(static_cast<int32_t>((i * 7 + t * t) % 30));
  }
  const Batch b = make_batch(documents);
  policy->set_requires_grad(true);
  double first = 0, last = 0;
  for (int step = 0; step < 300; ++step) {
    last = accumulate_cross_entropy_gradient(*policy, b, {.router_bias_update_rate = 1e-3}).max_vio;
    if (step == 0) first = last;
  }
  EXPECT_GT(first, 0.5);
  EXPECT_LT(last, first / 4);
  EXPECT_FALSE(policy->router_biases()[0].requires_grad()) << "the bias gets no gradient";
}

TEST(Router, SequenceLossIsAlphaAtUniformLoad) {  // acceptance check R3
  auto policy = Policy::random(small(Architecture::kDeepseekV3), 0.2, 3);
  at::NoGradGuard no_grad;
  for (const Parameter& p : policy->parameters().all()) {
    if (p.names[0].ends_with("mlp.gate.weight")) p.tensor.zero_();  // all affinities equal: P_i = 1 / E
  }
  const std::vector<int64_t> lengths{8, 8};
  RouterLoad load;
  policy->forward(at::arange(16, at::kLong), {.rows = pack_rows(lengths), .router = &load, .balance_loss = true});
  EXPECT_NEAR(load.balance_losses.at(0).item<double>(), 1.0, 1e-6);
}

// --- optimizer --------------------------------------------------------------------------------------------------

TEST(Optimizer, AdamWMatchesTheAlgorithm) {
  auto policy = Policy::random(small(Architecture::kLlama), 0.2, 3);
  const OptimConfig config{.learning_rate = 0.01, .weight_decay = 0.1, .max_grad_norm = 0};
  Optimizer optimizer(policy->parameters(), config);
  const at::Tensor w = policy->parameters().all()[0].tensor;
  at::Tensor expected = w.to(at::kDouble).clone(), m = at::zeros_like(expected), v = at::zeros_like(expected);
  for (int t = 1; t <= 5; ++t) {
    for (const Parameter& p : policy->parameters().all())
      p.tensor.mutable_grad() = random(p.tensor.sizes(), static_cast<uint64_t>(t)).to(at::kFloat);
    const at::Tensor g = w.grad().to(at::kDouble);
    m = 0.9 * m + 0.1 * g;
    v = 0.95 * v + 0.05 * g * g;
    expected = expected - 0.01 * 0.1 * expected -
               0.01 * (m / (1 - std::pow(0.9, t))) / ((v / (1 - std::pow(0.95, t))).sqrt() + 1e-8);
    optimizer.step(1.0);
  }
  EXPECT_LT((w.to(at::kDouble) - expected).abs().max().item<double>(), 1e-6);
}

TEST(Optimizer, ClipsTheGlobalNormAndRefusesGradientsThatAreNotFinite) {
  auto policy = Policy::random(small(Architecture::kLlama), 0.2, 3);
  Optimizer optimizer(policy->parameters(), {.learning_rate = 0.01, .max_grad_norm = 1.0});
  const auto& all = policy->parameters().all();
  all[0].tensor.mutable_grad() = at::full_like(all[0].tensor, 2.0);
  EXPECT_NEAR(optimizer.step(1.0), 2.0 * std::sqrt(static_cast<double>(all[0].tensor.numel())), 1e-3);
  EXPECT_FALSE(all[0].tensor.grad().defined());
  const at::Tensor before = all[0].tensor.clone();
  all[0].tensor.mutable_grad() = at::full_like(all[0].tensor, NAN);
  EXPECT_THROW(optimizer.step(1.0), std::runtime_error);
  EXPECT_TRUE(at::equal(before, all[0].tensor));
}

TEST(Optimizer, MuonOrthogonalises) {
  for (const auto& [r, c] : {std::pair{16, 48}, {48, 16}, {32, 32}}) {
    at::Tensor x = random({3, r, c}, 8).to(at::kFloat);
    const auto before = at::linalg_svd(x[1].to(at::kDouble), false);
    for (int64_t i = 0; i < 3; ++i) orthogonalise(x.mutable_data_ptr<float>() + i * r * c, r, c);
    const auto singular = std::get<1>(at::linalg_svd(x.to(at::kDouble), false));
    EXPECT_GT(singular.min().item<double>(), 0.3) << "the quintic maps singular values near 1, not onto it";
    EXPECT_LT(singular.max().item<double>(), 1.3);
    const at::Tensor nearest = at::matmul(std::get<0>(before), std::get<2>(before));
    EXPECT_GT((x[1].to(at::kDouble) * nearest).sum().item<double>() /
                  (x[1].norm().item<double>() * nearest.norm().item<double>()),
              0.95);
  }
}

TEST(Optimizer, StateSurvivesSavingAndLoading) {
  for (const auto& [kind, dtype] : {std::pair{"adamw", "float32"}, {"muon", "float32"}, {"adamw", "bfloat16"}}) {
    const std::filesystem::path file =
        std::filesystem::temp_directory_path() / ("hone_optimizer_test_" + std::to_string(getpid()));
    auto a = Policy::random(small(Architecture::kDeepseekV3), 0.2, 3),
         b = Policy::random(small(Architecture::kDeepseekV3), 0.2, 3);
    OptimConfig config{.learning_rate = 0.01};
    config.optimizer = kind;
    config.dtype = dtype;
    Optimizer first(a->parameters(), config), second(b->parameters(), config);
    auto step = [](Policy& policy, Optimizer& o, uint64_t seed) {
      for (const Parameter& p : policy.parameters().all()) {
        if (p.trainable()) p.tensor.mutable_grad() = random(p.tensor.sizes(), seed).to(at::kFloat);
      }
      o.step(1.0);
    };
    step(*a, first, 1);
    first.save(file);
    b->copy_from(*a);
    second.load(file);
    step(*a, first, 2);
    step(*b, second, 2);
    for (size_t i = 0; i < a->parameters().all().size(); ++i) {
      EXPECT_TRUE(at::equal(a->parameters().all()[i].tensor, b->parameters().all()[i].tensor)) << kind;
    }
    std::filesystem::remove(file);
  }
}

// Steps far below half a unit in the last place of a bfloat16 weight add up in its float32 master.
TEST(Optimizer, Bfloat16WeightsFollowTheirMasters) {
  const auto narrow = Policy::random(small(Architecture::kLlama), 0.2, 3);
  narrow->to_bfloat16();
  const auto wide = narrow->clone(), before = narrow->clone();
  OptimConfig config{.learning_rate = 1e-5, .max_grad_norm = 0};
  Optimizer exact(wide->parameters(), config);
  config.dtype = "bfloat16";
  Optimizer rounding(narrow->parameters(), config);
  const auto weight = [](const std::unique_ptr<Policy>& policy, size_t i) {
    return policy->parameters().all()[i].tensor;
  };
  const auto share_moved = [&] {
    return (weight(narrow, 0) != weight(before, 0)).to(at::kFloat).mean().item<double>();
  };
  for (int t = 0; t < 100; ++t) {
    for (const auto& [policy, optimizer] : {std::pair{&narrow, &rounding}, {&wide, &exact}}) {
      for (const Parameter& p : (*policy)->parameters().all()) p.tensor.mutable_grad() = at::ones_like(p.tensor);
      optimizer->step(1.0);
    }
    for (size_t i = 0; i < wide->parameters().all().size(); ++i) {
      ASSERT_TRUE(at::equal(weight(narrow, i), weight(wide, i).to(at::kBFloat16).to(at::kFloat))) << t;
    }
    if (t == 0) {
      EXPECT_LT(share_moved(), 0.2);
    }
  }
  EXPECT_GT(share_moved(), 0.5);
}

}  // namespace
}  // namespace hone
