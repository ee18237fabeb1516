#include "rollout/sampler.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <numeric>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "models/kernels/cpu.h"

#include "rollout/random.h"

namespace hone {
namespace {

const std::vector<float> kLogits{1.0f, 3.0f, -2.0f, 2.5f, 0.0f, 2.4f};

// The distribution by its definition, in double: temperature, top-k, top-p, renormalised.
std::vector<double> slow_distribution(const SamplingOptions& o, int forbidden) {
  std::vector<std::pair<double, int>> order;
  for (int i = 0; i < 6; ++i) {
    if (i != forbidden) order.emplace_back(std::exp(kLogits[static_cast<size_t>(i)] / o.temperature), i);
  }
  std::sort(order.rbegin(), order.rend());
  if (o.top_k > 0) order.resize(std::min<size_t>(order.size(), static_cast<size_t>(o.top_k)));
  double total = 0;
  for (auto& [w, i] : order) total += w;
  std::vector<double> p(6, 0.0);
  double sum = 0, kept = 0;
  for (auto& [w, i] : order) {
    if (sum > 0 && sum >= o.top_p * total) break;
    p[static_cast<size_t>(i)] = w;
    sum += w;
    kept += w;
  }
  for (double& x : p) x /= kept;
  return p;
}

TEST(Sampler, FrequenciesAndLogprobsAreThoseOfTheStatedDistribution) {
  const std::vector<SamplingOptions> cases{
      {}, {.temperature = 0.7}, {.top_k = 3}, {.top_p = 0.8}, {.temperature = 1.5, .top_k = 4, .top_p = 0.9}};
  for (size_t c = 0; c < cases.size(); ++c) {
    for (const int forbidden : {-1, 1}) {
      const auto p = slow_distribution(cases[c], forbidden);
      const CounterRandom random(11, Purpose::kRollout, c);
      std::vector<float> scratch;
      std::vector<double> seen(6, 0);
      const int n = 40000;
      for (int i = 0; i < n; ++i) {
        const Draw d =
            draw_token(kLogits.data(), 6, cases[c], forbidden, random.uniform(static_cast<uint32_t>(i)), scratch);
        seen[static_cast<size_t>(d.token)] += 1.0 / n;
        ASSERT_NEAR(d.logprob, std::log(p[static_cast<size_t>(d.token)]), 1e-5);
      }
      for (size_t i = 0; i < 6; ++i)
        EXPECT_NEAR(seen[i], p[i], 5 * std::sqrt(p[i] / n) + 1e-9) << "case " << c << " token " << i;
    }
  }
}

nlohmann::json filter_cases() {
  return nlohmann::json::parse(std::ifstream(HONE_SOURCE_DIR "/tests/golden/sampler_filters.json"));
}

SamplingOptions options_of(const nlohmann::json& o) {
  return {.temperature = o.value("temperature", 1.0),
          .top_k = o.value("top_k", int64_t(0)),
          .top_p = o.value("top_p", 1.0),
          .min_p = o.value("min_p", 0.0),
          .repetition_penalty = o.value("repetition_penalty", 1.0)};
}

// Every token that transformers' processors leave is drawn in its share of the unit interval, with its log-prob there.
TEST(Sampler, FiltersAreThoseOfTransformers) {
  const auto cases = filter_cases();
  ASSERT_GE(cases.size(), 80u);
  for (const auto& c : cases) {
    const auto logits = c["logits"].get<std::vector<float>>();
    const auto n = static_cast<int64_t>(logits.size());
    const SamplingOptions o = options_of(c["options"]);
    std::vector<float> penalized, scratch;
    const float* row =
        with_repetition_penalty(logits.data(), n, o.repetition_penalty, c["prompt"].get<std::vector<int32_t>>(),
                                c["completion"].get<std::vector<int32_t>>(), penalized);
    const auto kept = c["kept"].get<std::vector<int32_t>>();
    const auto logprobs = c["logprobs"].get<std::vector<double>>();
    double begin = 0;
    for (size_t i = 0; i < kept.size(); ++i) {
      const double p = std::exp(logprobs[i]);
      const Draw d = draw_token(row, n, o, -1, begin + p / 2, scratch);
      begin += p;
      if (p < 1e-5) continue;  // lost in the rounding of the sum
      ASSERT_EQ(d.token, kept[i]) << c["options"];
      ASSERT_NEAR(d.logprob, logprobs[i], 1e-5) << c["options"];
    }
    EXPECT_NEAR(begin, 1, 1e-9);
  }
}

TEST(Sampler, AFilterThatKeepsTheWrongTokensIsFound) {
  int found = 0;
  for (const auto& c : filter_cases()) {
    const auto logits = c["logits"].get<std::vector<float>>();
    SamplingOptions o = options_of(c["options"]);
    if (o.top_k <= 1 || o.top_k >= 20) continue;
    o.top_k -= 1;
    std::vector<float> scratch;
    const Draw d = draw_token(logits.data(), std::ssize(logits), o, -1, 0.5, scratch);
    found += std::find(c["logprobs"].begin(), c["logprobs"].end(), d.logprob) == c["logprobs"].end();
  }
  EXPECT_GT(found, 0);
}

TEST(Sampler, TheRepetitionPenaltyCountsATokenOnce) {
  std::vector<float> scratch;
  const std::vector<int32_t> prompt{1, 1, 2}, completion{1, 4};
  const float* row = with_repetition_penalty(kLogits.data(), 6, 2.0, prompt, completion, scratch);
  EXPECT_EQ(std::vector<float>(row, row + 6), (std::vector<float>{1.0f, 1.5f, -4.0f, 2.5f, 0.0f, 2.4f}));
  EXPECT_EQ(with_repetition_penalty(kLogits.data(), 6, 1.0, prompt, completion, scratch), kLogits.data());
  EXPECT_THROW(with_repetition_penalty(kLogits.data(), 6, 0.0, prompt, completion, scratch), std::invalid_argument);
  EXPECT_THROW(with_repetition_penalty(kLogits.data(), 1, 2.0, prompt, completion, scratch), std::invalid_argument);
}

// The most frequent use, written down before there were filters: same bits.
TEST(Sampler, WithoutFiltersTheLogprobIsThatOfTheKernels) {
  const CounterRandom random(1, Purpose::kRollout);
  std::vector<float> logits(1000), scratch;
  for (size_t i = 0; i < logits.size(); ++i)
    logits[i] = static_cast<float>(8 * random.uniform(static_cast<uint32_t>(i)));
  const cpu::RowStats stats = cpu::row_stats(logits.data(), 1000, 1.f, -1);
  for (uint32_t i = 0; i < 200; ++i) {
    const Draw d = draw_token(logits.data(), 1000, {}, -1, random.uniform(2000 + i), scratch);
    ASSERT_EQ(d.logprob, cpu::token_logprob(logits[static_cast<size_t>(d.token)], stats, 1.f));
  }
}

// Against a full sort, over rows wide enough that only a part of them gets sorted.
TEST(Sampler, TopPKeepsTheSmallestSetThatReachesP) {
  const CounterRandom random(2, Purpose::kRollout);
  for (uint32_t round = 0; round < 40; ++round) {
    const int n = 3000;
    std::vector<float> logits(n), weights(n);
    for (int i = 0; i < n; ++i) {
      logits[static_cast<size_t>(i)] =
          static_cast<float>((round % 4 + 1) * random.uniform(round * 5000 + static_cast<uint32_t>(i)));
      weights[static_cast<size_t>(i)] = std::exp(logits[static_cast<size_t>(i)] - 5);
    }
    const double p = 0.05 + 0.9 * random.uniform(round * 5000 + 4000);
    auto kept = kept_tokens(logits.data(), weights, {.top_p = p}, -1);
    std::vector<int32_t> order(n);
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int a, int b) { return weights[size_t(a)] > weights[size_t(b)]; });
    const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
    double sum = 0;
    size_t keep = 0;
    while (sum < p * total) sum += weights[static_cast<size_t>(order[keep++])];
    order.resize(keep);
    std::sort(order.begin(), order.end());
    ASSERT_EQ(kept, order) << "round " << round;
  }
}

TEST(Sampler, TemperatureZeroTakesTheLargestAllowedLogit) {
  std::vector<float> scratch;
  EXPECT_EQ(draw_token(kLogits.data(), 6, {.temperature = 0}, -1, 0.99, scratch).token, 1);
  EXPECT_EQ(draw_token(kLogits.data(), 6, {.temperature = 0}, 1, 0.99, scratch).token, 3);
}

TEST(Sampler, TheEndsOfTheUnitIntervalAreDrawn) {
  std::vector<float> scratch;
  EXPECT_EQ(draw_token(kLogits.data(), 6, {}, -1, 0.0, scratch).token, 0);
  EXPECT_EQ(draw_token(kLogits.data(), 6, {}, -1, std::nextafter(1.0, 0.0), scratch).token, 5);
  EXPECT_EQ(draw_token(kLogits.data(), 6, {}, 0, 0.0, scratch).token, 1) << "a forbidden token is never drawn";
}

// --- speculative sampling ------------------------------------------------------------------------------------------

constexpr int kVocabulary = 16;

std::vector<float> random_logits(uint64_t seed, double scale) {
  const CounterRandom random(seed, Purpose::kInit);
  std::vector<float> logits;
  for (uint32_t i = 0; i < kVocabulary; ++i) logits.push_back(static_cast<float>(scale * (random.uniform(i) - 0.5)));
  return logits;
}

std::vector<float> probabilities(const TokenDistribution& d) {
  std::vector<float> p;
  for (int32_t t = 0; t < kVocabulary; ++t) p.push_back(d.probability(t));
  return p;
}

struct Speculated {
  double chi_square;  // of the first token of a step, 15 degrees of freedom
  double acceptance, expected_acceptance;
};

// Draws with drafts from q and counts what comes out.
Speculated speculate(const SamplingOptions& options, const std::vector<float>& target_logits,
                     const std::vector<float>& q, int n) {
  std::vector<float> scratch;
  const TokenDistribution target(target_logits.data(), kVocabulary, options, -1, scratch);
  const CounterRandom draft(1, Purpose::kInit, 1), accept(1, Purpose::kInit, 2), residual(1, Purpose::kInit, 3);
  std::vector<double> seen(kVocabulary, 0);
  Speculated out{0, 0, 0};
  int accepted = 0;
  for (int i = 0; i < n; ++i) {
    const auto at = static_cast<uint32_t>(i);
    double sum = 0;
    int32_t drafted = 0;
    for (const double u = draft.uniform(at); drafted < kVocabulary - 1; ++drafted) {
      sum += q[static_cast<size_t>(drafted)];
      if (sum > u) break;
    }
    const int32_t token = verify_draft(target, q, drafted, accept.uniform(at), residual.uniform(at));
    seen[static_cast<size_t>(token)] += 1;
    accepted += token == drafted;
  }
  out.acceptance = accepted / static_cast<double>(n);
  const auto p = probabilities(target);
  for (size_t t = 0; t < kVocabulary; ++t) {
    out.expected_acceptance += std::min(p[t], q[t]);
    if (p[t] > 0) out.chi_square += std::pow(seen[t] - n * p[t], 2) / (n * p[t]);
    else EXPECT_EQ(seen[t], 0) << "a token that the target excludes";
  }
  return out;
}

TEST(Speculation, TokensHaveTheTargetsDistributionWhateverTheDraft) {
  constexpr int n = 40000;
  const std::vector<float> logits = random_logits(3, 6);
  std::vector<float> scratch;
  for (const SamplingOptions& options : {SamplingOptions{}, {.temperature = 0.6}, {.top_k = 9, .top_p = 0.95}}) {
    std::vector<float> one_token(kVocabulary, 0), uniform(kVocabulary, 1.f / kVocabulary);
    one_token[4] = 1;
    const auto same = probabilities(TokenDistribution(logits.data(), kVocabulary, options, -1, scratch));
    const auto other = random_logits(8, 9);
    const auto wrong = probabilities(TokenDistribution(other.data(), kVocabulary, {}, -1, scratch));
    for (const auto& q : {one_token, uniform, same, wrong}) {
      const Speculated s = speculate(options, logits, q, n);
      EXPECT_LT(s.chi_square, 30.58) << "p = .01 with 15 degrees of freedom";
      const double sigma = std::sqrt(s.expected_acceptance * std::max(0.0, 1 - s.expected_acceptance) / n);
      EXPECT_NEAR(s.acceptance, s.expected_acceptance, 3 * sigma + 1e-6);
    }
    EXPECT_EQ(speculate(options, logits, same, n).acceptance, 1);
  }
}

TEST(Speculation, TheChiSquareTellsAWrongRuleApart) {  // the control: every draft accepted
  const std::vector<float> logits = random_logits(3, 6);
  std::vector<float> scratch, uniform(kVocabulary, 1.f / kVocabulary);
  const TokenDistribution target(logits.data(), kVocabulary, {}, -1, scratch);
  double chi_square = 0;
  for (const float p : probabilities(target))
    chi_square += std::pow(40000.0 / kVocabulary - 40000.0 * p, 2) / (40000.0 * p);
  EXPECT_GT(chi_square, 1000);
}

TEST(Speculation, GreedyAcceptsExactlyTheLargestLogit) {
  const std::vector<float> logits = random_logits(5, 6);
  std::vector<float> scratch;
  const TokenDistribution target(logits.data(), kVocabulary, {.temperature = 0}, -1, scratch);
  const auto best = static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin());
  for (int32_t draft = 0; draft < kVocabulary; ++draft) {
    std::vector<float> q(kVocabulary, 0);
    q[static_cast<size_t>(draft)] = 1;
    EXPECT_EQ(verify_draft(target, q, draft, 0.3, 0.7), best);
  }
}

}  // namespace
}  // namespace hone
