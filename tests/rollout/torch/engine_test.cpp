// A completion depends on weights, prompt and random key alone.
#include "rollout/engine.h"

#include <array>
#include <cmath>
#include <map>
#include <mutex>
#include <set>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "models/kernels/reference.h"
#include "models/kernels/thread_pool.h"
#include "recipes/countdown/countdown.h"
#include "tests/models/torch/small_config.h"

namespace hone {
namespace {

Tokenizer tokenizer() { return Tokenizer::from_json(countdown_task().tokenizer_json(), "test"); }

ModelConfig small(Architecture architecture) {
  ModelConfig c = small_config(architecture, /*tied=*/true);
  c.vocab_size = tokenizer().vocab_size();
  c.max_position_embeddings = 512;
  c.num_nextn_predict_layers = 0;
  return c;
}

std::vector<Prompt> prompts(int64_t n) {
  const Tokenizer t = tokenizer();
  std::vector<Prompt> out;
  for (int64_t i = 0; i < n; ++i) {
    std::string text = std::to_string(1 + i % 12) + (i % 3 ? " 3 12:33\n" : " 3:5\n");
    for (int64_t more = i % 4; more > 0; --more)
      text += text;  // up to eight times as long: with and without shared blocks
    out.push_back({i, text, t.encode(text), "{}"});
  }
  return out;
}

GenerateOptions options(int64_t samples, int64_t max_batch = 512) {
  return {
      .sampling = {.max_new_tokens = 60}, .samples = samples, .key = {7, Purpose::kRollout, 3}, .max_batch = max_batch};
}

class EngineTest : public ::testing::TestWithParam<Architecture> {
 protected:
  std::unique_ptr<Policy> policy_ = Policy::random(small(GetParam()), 0.15, 5);
  Tokenizer tokenizer_ = tokenizer();
};

void expect_equal(const Rollout& a, const Rollout& b) {
  EXPECT_EQ(a.token_ids, b.token_ids);
  EXPECT_EQ(a.logprobs, b.logprobs);  // float for float
  EXPECT_EQ(a.text, b.text);
}

TEST_P(EngineTest, ARolloutIsTheSameAloneAndAmong63Others) {
  const auto all = prompts(16);
  const auto together = generate(*policy_, tokenizer_, all, options(4));
  ASSERT_EQ(together.size(), 64u);
  std::map<FinishReason, int> reasons;
  for (size_t p = 0; p < all.size(); ++p) {
    GenerateOptions alone = options(4);
    alone.slots = {static_cast<int64_t>(p)};
    const auto got = generate(*policy_, tokenizer_, {&all[p], 1}, alone);
    for (size_t g = 0; g < 4; ++g) {
      expect_equal(got[g], together[p * 4 + g]);
      ++reasons[got[g].finish_reason];
    }
  }
  EXPECT_GT(reasons[FinishReason::kEos], 0) << "some must end early, or the batch never shrinks";
  EXPECT_GT(reasons[FinishReason::kLength], 0);
}

TEST_P(EngineTest, BatchSizeAndThreadsChangeNothing) {
  const auto all = prompts(12);
  const auto expected = generate(*policy_, tokenizer_, all, options(5));
  for (const int64_t batch : {1, 3, 7, 60}) {
    for (const int threads : {1, 2}) {
      set_kernel_threads(threads);
      const auto got = generate(*policy_, tokenizer_, all, options(5, batch));
      for (size_t i = 0; i < got.size(); ++i) expect_equal(got[i], expected[i]);
    }
  }
  set_kernel_threads(1);
}

TEST_P(EngineTest, HandsOverEachGroupOnceWhenItIsComplete) {
  const auto all = prompts(9);
  set_kernel_threads(2);
  GenerateOptions o = options(4, 8);
  std::mutex mutex;
  std::map<int64_t, std::vector<Rollout>> seen;
  o.on_group = [&](int64_t prompt, std::span<const Rollout> group) {
    const std::lock_guard lock(mutex);
    EXPECT_TRUE(seen.emplace(prompt, std::vector(group.begin(), group.end())).second);
  };
  const auto got = generate(*policy_, tokenizer_, all, o);
  set_kernel_threads(1);
  ASSERT_EQ(seen.size(), all.size());
  for (size_t i = 0; i < got.size(); ++i) expect_equal(seen[static_cast<int64_t>(i / 4)].at(i % 4), got[i]);
}

TEST_P(EngineTest, SamplesAndStepsDiffer) {
  const auto one = prompts(1);
  const auto a = generate(*policy_, tokenizer_, one, options(2));
  GenerateOptions later = options(2);
  later.key.step = 4;
  const auto b = generate(*policy_, tokenizer_, one, later);
  EXPECT_NE(a[0].token_ids, a[1].token_ids);
  EXPECT_NE(a[0].token_ids, b[0].token_ids);
}

// The trainer's forward (whole sequence, no cache) gives each sampled token the log-prob that the sampler recorded.
void expect_trainer_agrees(const Policy& policy, const Tokenizer& tokenizer) {
  const auto all = prompts(6);
  GenerateOptions o = options(3);
  o.sampling.temperature = 0.8;
  o.sampling.min_new_tokens = 20;
  for (const Rollout& r : generate(policy, tokenizer, all, o)) {
    const auto& prompt = all[static_cast<size_t>(r.prompt_id)].token_ids;
    std::vector<int64_t> tokens(prompt.begin(), prompt.end());
    tokens.insert(tokens.end(), r.token_ids.begin(), r.token_ids.end());
    const std::vector<int64_t> lengths{static_cast<int64_t>(tokens.size()) - 1};
    const at::Tensor hidden = policy.forward(at::tensor(tokens).narrow(0, 0, lengths[0]), {.rows = pack_rows(lengths)});
    at::Tensor forbidden = at::full({lengths[0]}, -1, at::kLong);
    for (size_t t = 0; t + 1 < 20 && t < r.token_ids.size(); ++t)
      forbidden[static_cast<int64_t>(prompt.size() + t) - 1] = 1;
    const at::Tensor logprobs =
        ops::token_logprobs(hidden, policy.head(), at::tensor(tokens).narrow(0, 1, lengths[0]), forbidden, 1 / 0.8)
            .logprobs;
    EXPECT_GE(r.token_ids.size(), 20u);
    for (size_t t = 0; t < r.token_ids.size(); ++t) {
      EXPECT_EQ(logprobs[static_cast<int64_t>(prompt.size() + t) - 1].item<float>(), r.logprobs[t]) << t;
    }
  }
}

TEST_P(EngineTest, TrainerAgreesWithSamplerBitForBit) {
  expect_trainer_agrees(*policy_, tokenizer_);
  policy_->to_bfloat16();
  expect_trainer_agrees(*policy_, tokenizer_);
}

// The control: with one operation of the trainer taken from ATen, the last, the check above would fail.
TEST_P(EngineTest, OneKernelOfAtenInTheTrainerWouldBeSeen) {
  const auto all = prompts(48);
  const auto flat = Policy::random(small(GetParam()), 0.05, 5);  // log-probs near -4.8, not near 0
  int64_t differing = 0;
  for (const Rollout& r : generate(*flat, tokenizer_, all, options(3))) {
    const auto& prompt = all[static_cast<size_t>(r.prompt_id)].token_ids;
    std::vector<int64_t> tokens(prompt.begin(), prompt.end());
    tokens.insert(tokens.end(), r.token_ids.begin(), r.token_ids.end());
    const int64_t n = static_cast<int64_t>(tokens.size()) - 1, first = static_cast<int64_t>(prompt.size()) - 1;
    const std::vector<int64_t> lengths{n};
    const at::Tensor hidden = flat->forward(at::tensor(tokens).narrow(0, 0, n), {.rows = pack_rows(lengths)});
    const at::Tensor logprobs =
        reference::token_logprobs(hidden, flat->head().tensor(), at::tensor(tokens).narrow(0, 1, n), {}, 1).logprobs;
    for (size_t t = 0; t < r.token_ids.size(); ++t) {
      const float own = logprobs[first + static_cast<int64_t>(t)].item<float>();
      EXPECT_NEAR(own, r.logprobs[t], 1e-4);
      differing += own != r.logprobs[t];
    }
  }
  EXPECT_GT(differing, 5);
}

TEST_P(EngineTest, RefusesWhatDoesNotFit) {
  auto one = prompts(1);
  GenerateOptions o = options(1);
  o.sampling.max_new_tokens = 600;
  EXPECT_THROW(generate(*policy_, tokenizer_, one, o), std::invalid_argument);
  one[0].token_ids.clear();
  EXPECT_THROW(generate(*policy_, tokenizer_, one, options(1)), std::invalid_argument);
}

TEST(Engine, NoneOfSeveralEndTokensComesBeforeTheMinimum) {
  ModelConfig c = small(Architecture::kLlama);
  c.eos_token_id = {1, 5, 7, 11, 13};
  const auto policy = Policy::random(c, 0.15, 5);
  GenerateOptions o = options(40);
  std::set<int32_t> ends;
  for (const int64_t minimum : {0, 20}) {
    o.sampling.min_new_tokens = minimum;
    int64_t shortest = 60;
    for (const Rollout& r : generate(*policy, tokenizer(), prompts(4), o)) {
      shortest = std::min(shortest, std::ssize(r.token_ids));
      if (minimum && r.finish_reason == FinishReason::kEos) ends.insert(r.token_ids.back());
      for (const float logprob : r.logprobs) EXPECT_TRUE(std::isfinite(logprob));
    }
    EXPECT_EQ(shortest < 20, minimum == 0) << "the control: without a minimum some are shorter";
  }
  EXPECT_GT(ends.size(), 2u);
}

// --- speculative decoding -------------------------------------------------------------------------------------------

std::unique_ptr<Policy> drafting_policy(double std) {
  ModelConfig c = small(Architecture::kDeepseekV3);
  c.num_nextn_predict_layers = 1;
  return Policy::random(c, std, 5);
}

TEST(Speculation, GreedyGivesTheTokensAndBitsOfPlainGreedy) {
  const auto policy = drafting_policy(0.15);
  const Tokenizer t = tokenizer();
  const auto all = prompts(210);
  GenerateOptions plain = options(1);
  plain.sampling.temperature = 0;
  const auto expected = generate(*policy, t, all, plain);
  DraftCounts counts;
  plain.speculate = true;
  plain.drafts = &counts;
  std::set<FinishReason> reasons;
  for (const int64_t batch : {1, 32}) {
    plain.max_batch = batch;
    const auto got = generate(*policy, t, all, plain);
    for (size_t i = 0; i < got.size(); ++i) {
      expect_equal(got[i], expected[i]);
      EXPECT_EQ(got[i].finish_reason, expected[i].finish_reason);
      reasons.insert(got[i].finish_reason);
    }
  }
  EXPECT_GT(counts.accepted, 0);
  EXPECT_LT(counts.accepted, counts.drafted) << "some drafts must be taken back";
  EXPECT_EQ(reasons.size(), 2u) << "some must end early";
}

TEST(Speculation, RecordedLogprobsAreThePolicysAndNeighboursChangeNothing) {
  const auto policy = drafting_policy(0.15);
  const Tokenizer t = tokenizer();
  const auto all = prompts(8);
  GenerateOptions speculative = options(8);
  speculative.speculate = true;
  const auto got = generate(*policy, t, all, speculative);
  speculative.max_batch = 3;
  const auto again = generate(*policy, t, all, speculative);
  for (size_t i = 0; i < got.size(); ++i) {
    expect_equal(got[i], again[i]);
    std::vector<int64_t> ids(all[i / 8].token_ids.begin(), all[i / 8].token_ids.end());
    const int64_t prompt = std::ssize(ids);
    ids.insert(ids.end(), got[i].token_ids.begin(), got[i].token_ids.end());
    const int64_t lengths[]{std::ssize(ids)};
    const Rows rows = pack_rows(lengths);
    const at::Tensor hidden = policy->forward(at::tensor(ids, at::kLong), {.rows = rows});
    const at::Tensor targets = at::tensor(std::vector<int64_t>(ids.begin() + prompt, ids.end()), at::kLong);
    const at::Tensor own = ops::token_logprobs(hidden.narrow(0, prompt - 1, targets.size(0)), policy->head(), targets,
                                               at::full_like(targets, -1), 1)
                               .logprobs;
    for (int64_t k = 0; k < targets.size(0); ++k) {
      EXPECT_EQ(own[k].item<float>(), got[i].logprobs[static_cast<size_t>(k)]) << i << " " << k;
    }
  }
}

// p (V) of the token after a sequence, as the policy says.
at::Tensor next_token(const Policy& policy, const std::vector<int32_t>& sequence) {
  const at::Tensor ids = at::tensor(std::vector<int64_t>(sequence.begin(), sequence.end()), at::kLong);
  const int64_t lengths[]{ids.size(0)};
  const Rows rows = pack_rows(lengths);
  const at::Tensor hidden = policy.forward(ids, {.rows = rows});
  return policy.logits(hidden.narrow(0, ids.size(0) - 1, 1))[0].to(at::kDouble).softmax(0);
}

// The exact probability of every completion of `length` tokens, or fewer where one is the end.
std::map<std::vector<int32_t>, double> completions(const Policy& policy, const std::vector<int32_t>& prompt,
                                                   size_t length) {
  at::NoGradGuard no_grad;
  std::map<std::vector<int32_t>, double> all{{{}, 1.0}};
  for (size_t i = 0; i < length; ++i) {
    std::map<std::vector<int32_t>, double> longer;
    for (const auto& [ids, p] : all) {
      if (!ids.empty() && ids.back() == policy.config().eos_token_id[0]) {
        longer[ids] = p;
        continue;
      }
      std::vector<int32_t> sequence = prompt, grown = ids;
      sequence.insert(sequence.end(), ids.begin(), ids.end());
      const at::Tensor next = next_token(policy, sequence);
      grown.push_back(0);
      for (int32_t& t = grown.back(); t < next.size(0); ++t) longer[grown] = p * next[t].item<double>();
    }
    all = std::move(longer);
  }
  return all;
}

// Acceptance check M2: the first token comes from the prompt, the two after it from a draft that is accepted or not.
TEST(Speculation, SampledCompletionsHaveTheExactDistributionWhateverIsDrafted) {
  constexpr int n = 20000;
  ModelConfig c = small(Architecture::kDeepseekV3);
  c.num_nextn_predict_layers = 1, c.vocab_size = 16;
  const auto policy = Policy::random(c, 0.5, 5);
  const std::vector<Prompt> prompt{{0, "", {2, 9, 4}, "{}"}};
  const auto exact = completions(*policy, prompt[0].token_ids, 3);
  const auto norm = std::ranges::find_if(
      policy->parameters().all(), [](const Parameter& p) { return p.names[0].ends_with("shared_head.norm.weight"); });
  GenerateOptions o = options(n);
  o.sampling.max_new_tokens = 3;
  o.speculate = true;
  for (const double scale : {1.0, 0.0, 1000.0}) {  // drafts of its own, uniform ones, always the same one
    norm->tensor.fill_(scale);
    DraftCounts drafts;
    o.drafts = &drafts;
    std::map<std::vector<int32_t>, double> seen;
    for (const Rollout& r : generate(*policy, tokenizer(), prompt, o)) ++seen[r.token_ids];
    double chi_square = 0, rare_seen = 0, rare_expected = 0;
    int classes = 0;
    for (const auto& [ids, p] : exact) {
      if (n * p < 10) {
        rare_seen += seen[ids], rare_expected += n * p;
        continue;
      }
      chi_square += std::pow(seen[ids] - n * p, 2) / (n * p);
      ++classes;
    }
    chi_square += std::pow(rare_seen - rare_expected, 2) / rare_expected;
    EXPECT_GT(classes, 50);
    const double df = classes, limit = df * std::pow(1 - 2 / (9 * df) + 2.326 * std::sqrt(2 / (9 * df)), 3);
    EXPECT_LT(chi_square, limit) << classes << " classes, p = .01, drafts scaled by " << scale;
    EXPECT_GT(drafts.accepted, 0);
    EXPECT_LT(drafts.accepted, drafts.drafted / 2);
  }
}

TEST(Speculation, NeedsAPredictor) {
  const auto policy = Policy::random(small(Architecture::kDeepseekV3), 0.15, 5);
  GenerateOptions o = options(1);
  o.speculate = true;
  EXPECT_THROW(generate(*policy, tokenizer(), prompts(1), o), std::invalid_argument);
}

INSTANTIATE_TEST_SUITE_P(Families, EngineTest,
                         ::testing::Values(Architecture::kLlama, Architecture::kQwen3, Architecture::kDeepseekV3),
                         [](const auto& info) { return std::string(model_type(info.param)); });

}  // namespace
}  // namespace hone
