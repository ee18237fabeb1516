#include "rollout/sampler.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <stdexcept>

#include <fmt/format.h>

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

bool filters(const SamplingOptions& options) { return options.top_k > 0 || options.top_p < 1 || options.min_p > 0; }

// The smallest logit of the k largest allowed ones.
float top_k_threshold(const float* logits, int64_t vocabulary, int64_t k, int32_t forbidden) {
  std::vector<float> allowed;
  allowed.reserve(static_cast<size_t>(vocabulary));
  for (int32_t i = 0; i < vocabulary; ++i) {
    if (i != forbidden) allowed.push_back(logits[i]);
  }
  const auto last = allowed.begin() + static_cast<std::ptrdiff_t>(std::min<int64_t>(k, std::ssize(allowed)) - 1);
  std::nth_element(allowed.begin(), last, allowed.end(), std::greater<>());
  return *last;
}

// Keeps the most probable ids until their sum reaches p of the total. Only as many as are looked at get sorted.
void keep_top_p(std::vector<int32_t>& ids, std::span<const float> weights, double p) {
  const auto weight = [&](int32_t id) { return weights[static_cast<size_t>(id)]; };
  const auto is_before = [&](int32_t a, int32_t b) { return weight(a) != weight(b) ? weight(a) > weight(b) : a < b; };
  double total = 0, sum = 0;
  for (const int32_t id : ids) total += weight(id);
  std::ptrdiff_t keep = 0, sorted = 0;
  while (keep < std::ssize(ids) && (keep == 0 || sum < p * total)) {
    if (keep == sorted) {
      const std::ptrdiff_t next = std::min(std::ssize(ids), std::max<std::ptrdiff_t>(64, 4 * sorted));
      std::partial_sort(ids.begin() + sorted, ids.begin() + next, ids.end(), is_before);
      sorted = next;
    }
    sum += weight(ids[static_cast<size_t>(keep++)]);
  }
  ids.resize(static_cast<size_t>(keep));
  std::sort(ids.begin(), ids.end());
}

}  // namespace

const float* with_repetition_penalty(const float* logits, int64_t vocabulary, double penalty,
                                     std::span<const int32_t> prompt, std::span<const int32_t> completion,
                                     std::vector<float>& scratch) {
  if (!(penalty > 0)) {
    throw std::invalid_argument(fmt::format("repetition_penalty is {}; it must be above 0 (1 is off)", penalty));
  }
  if (penalty == 1) return logits;
  scratch.assign(logits, logits + vocabulary);
  const auto factor = static_cast<float>(penalty);
  for (const auto& ids : {prompt, completion}) {
    for (const int32_t id : ids) {
      if (id < 0 || id >= vocabulary) {
        throw std::invalid_argument(fmt::format("token id {} is not in the vocabulary of {}", id, vocabulary));
      }
      const float z = logits[id];
      scratch[static_cast<size_t>(id)] = z < 0 ? z * factor : z / factor;
    }
  }
  return scratch.data();
}

std::vector<int32_t> kept_tokens(const float* logits, std::span<const float> weights, const SamplingOptions& options,
                                 int32_t forbidden) {
  const auto vocabulary = static_cast<int32_t>(weights.size());
  const float threshold = options.top_k > 0 && options.top_k < vocabulary
                              ? top_k_threshold(logits, vocabulary, options.top_k, forbidden)
                              : -std::numeric_limits<float>::infinity();
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < vocabulary; ++i) {
    if (i != forbidden && logits[i] >= threshold && weights[static_cast<size_t>(i)] > 0) ids.push_back(i);
  }
  if (options.top_p < 1) keep_top_p(ids, weights, options.top_p);
  if (options.min_p > 0) {  // the largest weight is 1 and always among them
    std::erase_if(ids, [&](int32_t id) { return weights[static_cast<size_t>(id)] < std::min(options.min_p, 1.0); });
  }
  return ids;
}

Draw draw_token(const float* logits, int64_t vocabulary, const SamplingOptions& options, int32_t forbidden, double u,
                std::vector<float>& scratch) {
  const float t = inverse_temperature(options);
  const cpu::RowStats stats = cpu::row_stats(logits, vocabulary, t, forbidden);
  auto plain = [&](int32_t token) { return Draw{token, cpu::token_logprob(logits[token], stats, t)}; };
  if (options.temperature <= 0) return plain(largest(logits, vocabulary, forbidden));
  scratch.resize(static_cast<size_t>(vocabulary));
  cpu::exp_row(logits, vocabulary, stats, t, forbidden, scratch.data());
  if (!filters(options)) return plain(static_cast<int32_t>(pick(scratch.data(), vocabulary, u)));
  const std::vector<int32_t> kept = kept_tokens(logits, scratch, options, forbidden);
  std::vector<float> weights;
  for (const int32_t id : kept) weights.push_back(scratch[static_cast<size_t>(id)]);
  const int32_t token = kept[static_cast<size_t>(pick(weights.data(), static_cast<int64_t>(weights.size()), u))];
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  return {token, (logits[token] - stats.max) * t - static_cast<float>(std::log(total))};
}

}  // namespace hone
