#include "rollout/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "models/kernels/cpu.h"

namespace hone {
namespace {

float inverse_temperature(const SamplingOptions& options) {
  return options.temperature > 0 ? static_cast<float>(1.0 / options.temperature) : 1.f;
}

int32_t largest(const float* logits, int64_t vocabulary, int32_t forbidden) {
  int32_t best = -1;
  for (int32_t i = 0; i < vocabulary; ++i) {
    if (i != forbidden && (best < 0 || logits[i] > logits[best])) best = i;
  }
  return best;
}

// Index into `weights` at which the running sum exceeds u times the total; never one of weight 0.
int64_t pick(const float* weights, int64_t n, double u) {
  double total = 0;
  for (int64_t i = 0; i < n; ++i) total += weights[i];
  double sum = 0;
  int64_t last = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (weights[i] <= 0) continue;
    sum += weights[i];
    last = i;
    if (sum > u * total) break;
  }
  return last;
}

// The ids that top-k and top-p keep, in order of id.
std::vector<int32_t> kept_tokens(const std::vector<float>& weights, const SamplingOptions& options) {
  std::vector<int32_t> ids(weights.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) {
    return weights[static_cast<size_t>(a)] > weights[static_cast<size_t>(b)];
  });
  if (options.top_k > 0 && options.top_k < static_cast<int64_t>(ids.size()))
    ids.resize(static_cast<size_t>(options.top_k));
  double total = 0;
  for (const int32_t id : ids) total += weights[static_cast<size_t>(id)];
  double sum = 0;
  size_t keep = 0;
  while (keep < ids.size() && (keep == 0 || sum < options.top_p * total))
    sum += weights[static_cast<size_t>(ids[keep++])];
  if (options.top_p < 1) ids.resize(keep);
  std::sort(ids.begin(), ids.end());
  return ids;
}

}  // namespace

Draw draw_token(const float* logits, int64_t vocabulary, const SamplingOptions& options, int32_t forbidden, double u,
                std::vector<float>& scratch) {
  const float t = inverse_temperature(options);
  const cpu::RowStats stats = cpu::row_stats(logits, vocabulary, t, forbidden);
  auto plain = [&](int32_t token) { return Draw{token, cpu::token_logprob(logits[token], stats, t)}; };
  if (options.temperature <= 0) return plain(largest(logits, vocabulary, forbidden));
  scratch.resize(static_cast<size_t>(vocabulary));
  cpu::exp_row(logits, vocabulary, stats, t, forbidden, scratch.data());
  if (options.top_k <= 0 && options.top_p >= 1) return plain(static_cast<int32_t>(pick(scratch.data(), vocabulary, u)));
  const std::vector<int32_t> kept = kept_tokens(scratch, options);
  std::vector<float> weights;
  for (const int32_t id : kept) weights.push_back(scratch[static_cast<size_t>(id)]);
  const int32_t token = kept[static_cast<size_t>(pick(weights.data(), static_cast<int64_t>(weights.size()), u))];
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  return {token, (logits[token] - stats.max) * t - static_cast<float>(std::log(total))};
}

}  // namespace hone
