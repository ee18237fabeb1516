// The pairwise loss against autograd over whole sequences, and the reward against the same forward pass.
#include "rl/reward_model.h"

#include <filesystem>
#include <limits>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "models/kernels/thread_pool.h"
#include "recipes/countdown/countdown.h"
#include "rl/update.h"
#include "tests/rl/torch/toy.h"

namespace hone {
namespace {

namespace fs = std::filesystem;

TEST(PairLoss, IsMinusLogSigmoidOfTheMargin) {
  const std::vector<float> scores{1.5f, 0.25f, -2.0f, 3.0f, 0.5f, 0.5f};
  const auto loss = [](std::vector<float> s) {
    double sum = 0;
    for (size_t i = 0; i < s.size(); i += 2) sum -= std::log(1 / (1 + std::exp(double(s[i + 1]) - double(s[i]))));
    return sum / 3;
  };
  const PairLoss out = pair_loss(scores);
  EXPECT_NEAR(out.loss, loss(scores), 1e-12);
  EXPECT_NEAR(out.accuracy, 1.0 / 3, 1e-12) << "a tie is no preference";
  EXPECT_NEAR(out.margin, (1.25 - 5) / 3, 1e-12);
  for (size_t i = 0; i < scores.size(); ++i) {
    auto up = scores, down = scores;
    up[i] += 0x1p-10f, down[i] -= 0x1p-10f;
    EXPECT_NEAR(out.weights[i], (loss(up) - loss(down)) / 0x1p-9, 1e-6);
  }
  EXPECT_NEAR(pair_loss({-1000.f, 1000.f}).loss, 2000, 1e-9);
  EXPECT_NEAR(pair_loss({1000.f, -1000.f}).loss, 0, 1e-9);
}

// Sequences that end in the token whose row is scored, and one behind it.
std::vector<TokenDocument> documents() {
  std::vector<TokenDocument> all;
  for (const auto& tokens : std::vector<std::vector<int32_t>>{
           {5, 6, 7, 8, 1}, {5, 6, 7, 9, 10, 11, 1}, {20, 3, 1}, {20, 4, 4, 4, 4, 4, 4, 4, 1}}) {
    all.push_back({tokens, static_cast<int64_t>(tokens.size())});
    all.back().tokens.push_back(2);
  }
  return all;
}

at::Tensor slow_score(const Policy& policy, const TokenDocument& d) {
  const std::vector<int64_t> read(d.tokens.begin(), d.tokens.end() - 1);
  const int64_t lengths[]{static_cast<int64_t>(read.size())};
  const Rows rows = pack_rows(lengths);
  return policy.score(policy.forward(at::tensor(read), {.rows = rows}))[-1][0];
}

std::unique_ptr<Policy> scored(Architecture architecture) {
  auto policy = Policy::random(small(architecture), 0.3, 7);
  policy->add_score_head();
  at::NoGradGuard no_grad;
  policy->parameters().all().back().tensor.copy_(random({1, 16}, 8).to(at::kFloat));
  policy->set_requires_grad(true);
  return policy;
}

at::Tensor gradient(const Policy& policy) {
  std::vector<at::Tensor> all;
  for (const Parameter& p : policy.parameters().all()) {
    at::Tensor& g = p.tensor.mutable_grad();
    if (p.trainable() && p.names[0] != "lm_head.weight") all.push_back(g.flatten().to(at::kDouble));
    g.reset();
  }
  return at::cat(all);
}

class RewardModel : public ::testing::TestWithParam<Architecture> {};

TEST_P(RewardModel, GradientIsThatOfTheLossOverWholeSequences) {
  const auto policy = scored(GetParam());
  const auto docs = documents();
  Batch batch = make_batch(docs);
  for (const int64_t part_tokens : {0, 8}) {  // all at once; a pair's completions in different parts
    const UpdateOptions options{.part_tokens = part_tokens};
    const auto own = scores(*policy, batch, options);
    for (size_t i = 0; i < docs.size(); ++i)
      EXPECT_EQ(own[i], slow_score(*policy, docs[i]).item<float>()) << "to the bit, whatever stands beside it";
    const PairLoss loss = pair_loss(own);
    batch.weights = loss.weights;
    accumulate_score_gradient(*policy, batch, options);
    const at::Tensor fast = gradient(*policy);
    const auto slow = [&](size_t chosen, size_t rejected) {
      (-at::log_sigmoid(slow_score(*policy, docs[chosen]) - slow_score(*policy, docs[rejected])) -
       at::log_sigmoid(slow_score(*policy, docs[2]) - slow_score(*policy, docs[3])))
          .div(2)
          .backward();
      return gradient(*policy);
    };
    const at::Tensor expected = slow(0, 1);
    EXPECT_LT(((fast - expected).norm() / expected.norm()).item<double>(), 1e-5);
    EXPECT_GT(((fast - slow(1, 0)).norm() / expected.norm()).item<double>(), 0.1) << "a pair the wrong way round";
  }
}

// The head is packed when it is first read after a change: once, not by every lane of the pool at the same time.
TEST_P(RewardModel, ThreadsReadAHeadThatHasChanged) {
  const auto policy = scored(GetParam());
  const at::Tensor head = policy->parameters().all().back().tensor;
  std::vector<TokenDocument> docs;
  for (int i = 0; i < 16; ++i) docs.push_back({{5, 6, 7, i % 20, 1, 2}, 5});
  const Batch batch = make_batch(docs);
  set_kernel_threads(4);
  for (int i = 0; i < 1000; ++i) {
    {
      at::NoGradGuard no_grad;
      head.mul_(i % 2 == 0 ? 2 : 0.5);
    }
    const auto together = scores(*policy, batch, {.part_tokens = 1});
    const auto again = scores(*policy, batch, {.part_tokens = 1});
    ASSERT_EQ(together, again) << "step " << i;
  }
  set_kernel_threads(1);
}

INSTANTIATE_TEST_SUITE_P(Families, RewardModel, ::testing::Values(Architecture::kLlama, Architecture::kDeepseekV3));

class ModelReward : public ::testing::Test {
 protected:
  fs::path folder_ = fs::temp_directory_path() / ("reward_model_test_" + std::to_string(getpid()));
  Tokenizer tokenizer_ = Tokenizer::from_json(countdown_task().tokenizer_json(), "countdown");
  void TearDown() override { fs::remove_all(folder_); }

  void save(double head) {
    fs::remove_all(folder_);
    ModelConfig config = small(Architecture::kLlama);
    config.vocab_size = tokenizer_.vocab_size();
    Model model{Policy::random(config, 0.3, 7), tokenizer_, nullptr, {}};
    if (head != 0) {
      model.policy->add_score_head();
      model.policy->parameters().all().back().tensor.fill_(head);
    }
    save_model(model, folder_);
  }
};

TEST_F(ModelReward, ReadsThePolicysTokens) {
  save(0.5);
  Group group{.prompt = {.id = 3, .text = "", .token_ids = {5, 6}, .columns = "{}"}, .rollouts = {}, .rewards = {}};
  group.rollouts.resize(2);
  group.rollouts[0].token_ids = {7, 8, 1};
  group.rollouts[1].token_ids = {9};  // cut at its limit: no end token
  const auto scores = model_reward(folder_, tokenizer_).batch(std::span(&group, 1)).at(0);
  const auto policy = Policy::load(folder_);
  const std::vector<std::vector<int32_t>> read{{5, 6, 7, 8, 1, 2}, {5, 6, 9, 2}};
  for (size_t g = 0; g < 2; ++g) {
    const double r = slow_score(*policy, {read[g], 0}).item<double>();
    EXPECT_NEAR(*scores.at(g).value, 1 / (1 + std::exp(-r)), 1e-6);
    EXPECT_EQ(scores[g].verdict, r > 0 ? Verdict::kCorrect : Verdict::kWrong);
  }
  EXPECT_NE(*scores[0].value, *scores[1].value);
}

TEST_F(ModelReward, AFaultIsNoReward) {
  save(0);
  EXPECT_THROW(model_reward(folder_, tokenizer_), std::invalid_argument) << "no head";
  save(0.5);
  EXPECT_THROW(model_reward(folder_, Tokenizer::from_json(bilingual_countdown_task().tokenizer_json(), "bilingual")),
               std::invalid_argument);
  EXPECT_THROW(model_reward(folder_ / "nowhere", tokenizer_), std::runtime_error);
  save(std::numeric_limits<double>::quiet_NaN());
  Group group{.prompt = {.id = 3, .text = "", .token_ids = {5, 6}, .columns = "{}"},
              .rollouts = {Rollout{.token_ids = {7}}},
              .rewards = {}};
  const auto reward = model_reward(folder_, tokenizer_);
  EXPECT_THROW(reward.batch(std::span(&group, 1)), std::runtime_error);
}

}  // namespace
}  // namespace hone
