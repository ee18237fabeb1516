// What a policy keeps of its weights, and what its cache takes.
#include "models/policy.h"

#include <filesystem>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <unistd.h>

#include "models/multi_token_prediction.h"
#include "tests/models/torch/small_config.h"

namespace hone {
namespace {

namespace fs = std::filesystem;

class KeepTest : public ::testing::Test {
 protected:
  fs::path folder_ = fs::temp_directory_path() / ("policy_test_" + std::to_string(getpid()));
  void SetUp() override { fs::create_directories(folder_); }
  void TearDown() override { fs::remove_all(folder_); }
};

// The logits of the policy and, where it has one, of its predictor.
at::Tensor logits_of(const Policy& policy) {
  at::NoGradGuard no_grad;
  const at::Tensor ids = at::arange(20, at::kLong) * 7 % policy.config().vocab_size;
  const int64_t lengths[]{20};
  const Rows rows = pack_rows(lengths);
  const at::Tensor hidden = policy.forward(ids, {.rows = rows}), logits = policy.logits(hidden);
  if (!policy.predictor()) return logits;
  return at::cat({logits, policy.logits(policy.predict(hidden, ids.roll(-1), {.rows = rows}))});
}

TEST_F(KeepTest, WhatSamplesHasTheBitsOfWhatTrains) {
  for (const Architecture architecture : {Architecture::kLlama, Architecture::kDeepseekV3}) {
    for (const bool tied : {true, false}) {
      for (const bool narrow : {true, false}) {
        const auto made = Policy::random(small_config(architecture, tied), 0.2, 3);
        if (narrow) made->to_bfloat16();
        made->save(folder_);
        const auto sampling = Policy::load(folder_, {.keep = Keep::kForSampling});
        EXPECT_TRUE(at::equal(logits_of(*sampling), logits_of(*Policy::load(folder_))));
      }
    }
  }
}

TEST_F(KeepTest, RoundingWhileLoadingIsRoundingAfterwards) {
  Policy::random(small_config(Architecture::kDeepseekV3, false), 0.2, 3)->save(folder_);
  const auto after = Policy::load(folder_);
  const at::Tensor exact = logits_of(*after);
  after->to_bfloat16();
  const auto meanwhile = Policy::load(folder_, {.keep = Keep::kForSampling, .bfloat16 = true});
  EXPECT_TRUE(at::equal(logits_of(*meanwhile), logits_of(*after)));
  EXPECT_FALSE(at::equal(exact, logits_of(*after)));
}

TEST_F(KeepTest, ProductsWeightsHaveNoMemoryBesideThePackedCopy) {
  Policy::random(small_config(Architecture::kDeepseekV3, true), 0.2, 3)->save(folder_);
  const auto sampling = Policy::load(folder_, {.keep = Keep::kForSampling});
  int64_t kept = 0, all = 0;
  for (const Parameter& p : sampling->parameters().all()) {
    all += p.tensor.numel();
    kept += p.tensor.is_meta() ? 0 : p.tensor.numel();
  }
  EXPECT_LT(kept, all / 20) << "norms, biases and the up-projection of keys and values are read as they are";
  EXPECT_THROW(sampling->save(folder_), c10::Error);
  EXPECT_THROW(sampling->clone(), c10::Error);
  EXPECT_THROW(sampling->to(at::kDouble), c10::Error);
}

TEST_F(KeepTest, ShapesAreCheckedAgainstTheFile) {
  const ModelConfig config = small_config(Architecture::kDeepseekV3, true);
  Policy::random(config, 0.2, 3)->save(folder_);
  const auto shapes = Policy::load(folder_, {.keep = Keep::kShapes});
  for (const Parameter& p : shapes->parameters().all()) EXPECT_TRUE(p.tensor.is_meta());
  fs::rename(folder_ / "model.safetensors", folder_ / "kept");
  Policy::random(small_config(Architecture::kDeepseekV3, false), 0.2, 3)->save(folder_);
  fs::rename(folder_ / "kept", folder_ / "model.safetensors");
  EXPECT_THROW(Policy::load(folder_, {.keep = Keep::kShapes}), std::runtime_error) << "lm_head.weight is missing";
}

// Gradients of every weight of a loss that reads all hidden states and the routers' balance losses, `passes` times
// over.
std::vector<at::Tensor> gradients_of(const Policy& policy, bool recompute, int passes = 1) {
  const at::Tensor ids = at::arange(20, at::kLong) * 7 % policy.config().vocab_size;
  const int64_t lengths[]{12, 8};
  const Rows rows = pack_rows(lengths);
  for (int pass = 0; pass < passes; ++pass) {
    RouterLoad router;
    const at::Tensor hidden =
        policy.forward(ids, {.rows = rows, .router = &router, .balance_loss = true, .recompute = recompute});
    at::Tensor loss = (policy.logits(hidden).log_softmax(-1) * at::arange(75).remainder(5)).sum() -
                      ops::token_logprobs(hidden, policy.head(), ids, {}, 1).logprobs.sum();
    for (const at::Tensor& balance : router.balance_losses) loss = loss + balance;
    loss.backward();
  }
  std::vector<at::Tensor> gradients;
  for (const Parameter& p : policy.parameters().all()) {
    gradients.push_back(p.tensor.grad().defined() ? p.tensor.grad().clone() : at::Tensor());
    p.tensor.mutable_grad().reset();
  }
  return gradients;
}

TEST(Recompute, GivesTheSameBits) {
  for (const Architecture architecture : {Architecture::kLlama, Architecture::kDeepseekV3}) {
    const auto policy = Policy::random(small_config(architecture, /*tied=*/true), 0.2, 3);
    policy->set_requires_grad(true);
    const std::vector<at::Tensor> kept = gradients_of(*policy, false), recomputed = gradients_of(*policy, true);
    int64_t compared = 0;
    for (size_t i = 0; i < kept.size(); ++i) {
      const std::string& name = policy->parameters().all()[i].names[0];
      ASSERT_EQ(kept[i].defined(), recomputed[i].defined()) << name;
      if (!kept[i].defined()) continue;
      EXPECT_TRUE(at::equal(kept[i], recomputed[i])) << name;
      compared += kept[i].abs().max().item<double>() > 0;
    }
    EXPECT_GE(compared, architecture == Architecture::kLlama ? 20 : 25);
  }
}

TEST(Arithmetic, GradientsAddedInPlaceAreThoseThatWouldBeHandedOn) {
  for (const Architecture architecture : {Architecture::kLlama, Architecture::kDeepseekV3}) {
    const auto policy = Policy::random(small_config(architecture, /*tied=*/true), 0.2, 3);
    policy->set_requires_grad(true);
    const std::vector<at::Tensor> handed_on = gradients_of(*policy, false, 2);
    policy->parameters().arithmetic()->adds_gradients = true;
    for (const bool recompute : {false, true}) {
      const std::vector<at::Tensor> added = gradients_of(*policy, recompute, 2);
      for (size_t i = 0; i < added.size(); ++i) {
        const std::string& name = policy->parameters().all()[i].names[0];
        ASSERT_EQ(handed_on[i].defined(), added[i].defined()) << name;
        if (!added[i].defined()) continue;
        EXPECT_LE((added[i] - handed_on[i]).abs().max().item<double>(), 1e-5 * handed_on[i].abs().max().item<double>())
            << name;
      }
    }
    const auto found = torch::autograd::grad({policy->logits(at::ones({1, policy->config().hidden_size})).sum()},
                                             {policy->head().tensor()}, {}, std::nullopt, false, /*allow_unused=*/true);
    EXPECT_FALSE(found[0].defined()) << "torch::autograd::grad finds none";
  }
}

// Acceptance check A3: DeepSeek-V3's cache, counted from an allocation of it. Its published figures are of bfloat16.
TEST(KvCache, TakesOfAV3ModelWhatThePapersSay) {
  const auto per_token = [](const cpu::AttentionShape& layer) {
    constexpr int64_t kBlocks = 4, kLayers = 61;
    return KvCache(std::vector(kLayers, layer), kBlocks).bytes() / (kBlocks * cpu::kBlock);
  };
  const auto heads = [&](int64_t n, int64_t key_dim) {
    return static_cast<double>(per_token({.heads = 128, .kv_heads = n, .key_dim = key_dim, .value_dim = 128}));
  };
  const int64_t latent =
      per_token({.heads = 128, .kv_heads = 1, .key_dim = 512 + 64, .value_dim = 512, .value_in_key = true});
  EXPECT_EQ(latent, 70272 * 2);
  const auto one = static_cast<double>(latent);
  EXPECT_NEAR(heads(128, 128) / one, 56.9, 0.05);       // multi-head attention
  EXPECT_NEAR(heads(128, 128 + 64) / one, 71.1, 0.05);  // this model's keys and values, expanded
  EXPECT_NEAR(heads(8, 128) / one, 3.56, 0.005);        // grouped queries
  EXPECT_NEAR(one / heads(16, 128 + 64), 0.1125, 1e-4) << "of DeepSeek-V2-Lite's 16 heads";
}

}  // namespace
}  // namespace hone
