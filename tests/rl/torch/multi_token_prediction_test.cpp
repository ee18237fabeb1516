// The loss of the multi-token-prediction module, its gradient, and what training makes of its drafts.
#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "rl/optimizer.h"
#include "rl/update.h"
#include "tests/rl/torch/toy.h"

namespace hone {
namespace {

ModelConfig with_predictor() {
  ModelConfig c = small(Architecture::kDeepseekV3);
  c.num_nextn_predict_layers = 1;
  return c;
}

std::vector<TokenDocument> toy_documents() {
  std::vector<TokenDocument> documents;
  for (int64_t i = 0; i < 9; ++i) {
    documents.push_back({{}, 1 + i % 4});
    for (int64_t t = 0; t < 2 + i; ++t) documents.back().tokens.push_back(static_cast<int32_t>((i * 7 + t * t) % 30));
    documents.back().loss_from = std::min<int64_t>(documents.back().loss_from, 1 + i);
  }
  return documents;
}

// A document at a time, a token at a time: log P(t_j) from h_{j-2} and Emb(t_{j-1}), over the step's number of tokens.
double slow_prediction_loss(const Policy& policy, const std::vector<TokenDocument>& documents) {
  double sum = 0, tokens = 0;
  for (const TokenDocument& d : documents) {
    const int64_t n = std::ssize(d.tokens) - 1;  // input rows
    tokens += static_cast<double>(n + 1 - d.loss_from);
    if (n < 2) continue;
    const at::Tensor ids = at::tensor(std::vector<int64_t>(d.tokens.begin(), d.tokens.end() - 1), at::kLong);
    const int64_t rows[]{n}, fewer[]{n - 1};
    const at::Tensor hidden = policy.forward(ids, {.rows = pack_rows(rows)});
    const Rows shorter = pack_rows(fewer);
    const at::Tensor logprobs =
        policy.logits(policy.predict(hidden.narrow(0, 0, n - 1), ids.narrow(0, 1, n - 1), {.rows = shorter}))
            .log_softmax(1);
    for (int64_t j = std::max<int64_t>(2, d.loss_from); j <= n; ++j) {
      sum -= logprobs[j - 2][d.tokens[static_cast<size_t>(j)]].item<double>();
    }
  }
  return sum / tokens;
}

TEST(MultiTokenPrediction, LossIsThatOfTheFormulaAndItsPartsAddUpInFloat64) {
  const auto documents = toy_documents();
  const Batch b = make_batch(documents);
  at::Tensor expected;
  for (const int64_t tokens : {100000, 13, 1}) {
    auto policy = Policy::random(with_predictor(), 0.2, 3);
    policy->to(at::kDouble);
    policy->set_requires_grad(true);
    const UpdateStats stats = accumulate_cross_entropy_gradient(
        *policy, b, {.part_tokens = tokens, .router_aux_loss_alpha = 0.01, .mtp_loss_weight = 0.3});
    EXPECT_NEAR(stats.mtp_loss, slow_prediction_loss(*policy, documents), 1e-6) << "weights are stored as float";
    const at::Tensor gradient = flat_gradient(*policy);
    if (!expected.defined()) expected = gradient;
    EXPECT_LT((gradient - expected).abs().max().item<double>(), 1e-12) << tokens;
  }
}

TEST(MultiTokenPrediction, TheGradientIsTheDifferenceQuotientOfBothLosses) {
  const auto documents = toy_documents();
  const Batch b = make_batch(documents);
  const auto total = [&](const Policy& policy) {
    const UpdateStats s = accumulate_cross_entropy_gradient(policy, b, {.mtp_loss_weight = 0.3});
    return s.loss + 0.3 * s.mtp_loss;
  };
  auto policy = Policy::random(with_predictor(), 0.2, 3);
  policy->to(at::kDouble);
  policy->set_requires_grad(true);
  total(*policy);
  std::vector<at::Tensor> gradients;  // before later calls add to them
  for (const Parameter& p : policy->parameters().all())
    gradients.push_back(p.tensor.grad().defined() ? p.tensor.grad().clone() : at::Tensor());
  for (size_t i = 0; i < gradients.size(); ++i) {
    const Parameter& p = policy->parameters().all()[i];
    if (!p.trainable()) continue;
    const at::Tensor &gradient = gradients[i], direction = random(p.tensor.sizes(), 17);
    const double step = 1e-6, slope = (gradient * direction).sum().item<double>();
    std::array<double, 2> losses{};
    for (const int side : {0, 1}) {
      at::NoGradGuard no_grad;
      p.tensor.add_(direction, side ? -2 * step : step);
      at::AutoGradMode grad(true);
      losses[static_cast<size_t>(side)] = total(*policy);
    }
    at::NoGradGuard no_grad;
    p.tensor.add_(direction, step);
    EXPECT_NEAR((losses[0] - losses[1]) / (2 * step), slope, 1e-5 * std::max(1.0, std::abs(slope))) << p.names[0];
  }
}

// Sums a+b=c: 0-9 digits, 10 +, 11 =, 1 of the vocabulary's ids stands for the end, so digits are shifted by 2.
struct Sum {
  std::vector<int32_t> prompt, answer;
};
Sum sum_of(int64_t a, int64_t b) {
  Sum s;
  const auto write = [](std::vector<int32_t>& out, int64_t n) {
    for (const char c : std::to_string(n)) out.push_back(c - '0' + 2);
  };
  write(s.prompt, a);
  s.prompt.push_back(12);
  write(s.prompt, b);
  s.prompt.push_back(13);
  write(s.answer, a + b);
  s.answer.push_back(1);
  return s;
}

// The share of tokens that the predictor's largest logit names, where the policy itself is greedy.
double greedy_acceptance(const Policy& policy) {
  at::NoGradGuard no_grad;
  double accepted = 0, drafted = 0;
  for (int64_t i = 0; i < 200; ++i) {
    const Sum s = sum_of(100 + i * 37 % 900, 100 + i * 53 % 900);
    std::vector<int64_t> ids(s.prompt.begin(), s.prompt.end());
    for (int64_t t = 0; t < 5 && ids.back() != 1; ++t) {
      const int64_t n = std::ssize(ids), rows[]{n}, fewer[]{n - 1};
      const at::Tensor all = at::tensor(ids, at::kLong), hidden = policy.forward(all, {.rows = pack_rows(rows)});
      const int64_t next = policy.logits(hidden.narrow(0, n - 1, 1)).argmax().item<int64_t>();
      if (t > 0) {
        const at::Tensor drafts = policy.logits(
            policy.predict(hidden.narrow(0, 0, n - 1), all.narrow(0, 1, n - 1), {.rows = pack_rows(fewer)}));
        accepted += drafts[n - 2].argmax().item<int64_t>() == next;
        ++drafted;
      }
      ids.push_back(next);
    }
  }
  return accepted / drafted;
}

TEST(MultiTokenPrediction, TrainedOnSumsItDraftsWhatThePolicySays) {  // acceptance check M3
  ModelConfig c = with_predictor();
  c.hidden_size = 64, c.intermediate_size = 128, c.moe_intermediate_size = 32, c.num_attention_heads = 4;
  c.num_key_value_heads = 4, c.kv_lora_rank = 16, c.qk_nope_head_dim = 16, c.qk_rope_head_dim = 8, c.v_head_dim = 16;
  auto policy = Policy::random(c, 0.05, 3);
  EXPECT_LT(greedy_acceptance(*policy), 0.2);
  policy->set_requires_grad(true);
  const OptimConfig config{.optimizer = "muon", .learning_rate = 3e-3, .muon_learning_rate = 0.02};
  Optimizer optimizer(policy->parameters(), config);
  constexpr int64_t kSteps = 3000;
  for (int64_t step = 0; step < kSteps; ++step) {
    std::vector<TokenDocument> documents;
    for (int64_t i = 0; i < 64; ++i) {
      const uint64_t draw = static_cast<uint64_t>(step * 64 + i) * 0x9E3779B97F4A7C15u;
      const Sum s =
          sum_of(100 + static_cast<int64_t>(draw >> 40) % 900, 100 + static_cast<int64_t>(draw >> 12 & 0xFFFFFF) % 900);
      documents.push_back({s.prompt, std::ssize(s.prompt)});
      documents.back().tokens.insert(documents.back().tokens.end(), s.answer.begin(), s.answer.end());
    }
    const UpdateOptions options{.rate_factor = 1 - static_cast<double>(step) / kSteps, .mtp_loss_weight = 0.3};
    UpdateStats stats = accumulate_cross_entropy_gradient(*policy, make_batch(documents), options);
    apply_gradient(optimizer, options, stats);
  }
  const double acceptance = greedy_acceptance(*policy);
  RecordProperty("greedy_acceptance", std::to_string(acceptance));
  EXPECT_GT(acceptance, 0.7);
}

}  // namespace
}  // namespace hone
