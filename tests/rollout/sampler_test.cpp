#include "rollout/sampler.h"

#include <cmath>
#include <map>
#include <numeric>

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace hone
