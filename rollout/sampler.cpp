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

// Index into `weights` at which the running sum exceeds `threshold`; never one of weight 0 while there is another.
int64_t pick(const float* weights, int64_t n, double threshold) {
  double sum = 0;
  int64_t last = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (weights[i] <= 0) continue;
    sum += weights[i];
    last = i;
    if (sum > threshold) break;
  }
  return last;
}

// Sets the weights of all ids that are not kept to 0; ids ascending.
void leave_only(std::span<const int32_t> kept, std::span<float> weights) {
  size_t next = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    if (next < kept.size() && static_cast<size_t>(kept[next]) == i) ++next;
    else weights[i] = 0;
  }
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

TokenDistribution::TokenDistribution(const float* logits, int64_t vocabulary, const SamplingOptions& options,
                                     int32_t forbidden, std::vector<float>& scratch)
    : logits_(logits),
      vocabulary_(vocabulary),
      weights_(scratch),
      stats_(cpu::row_stats(logits, vocabulary, inverse_temperature(options), forbidden)),
      inverse_temperature_(inverse_temperature(options)) {
  if (options.temperature <= 0) {
    best_ = largest(logits, vocabulary, forbidden);
    return;
  }
  scratch.resize(static_cast<size_t>(vocabulary));
  cpu::exp_row(logits, vocabulary, stats_, inverse_temperature_, forbidden, scratch.data());
  is_filtered_ = filters(options);
  if (is_filtered_) leave_only(kept_tokens(logits, scratch, options, forbidden), scratch);
  total_ = std::accumulate(scratch.begin(), scratch.end(), 0.0);
}

int32_t TokenDistribution::draw(double u) const {
  if (best_ >= 0) return best_;
  return static_cast<int32_t>(pick(weights_.data(), vocabulary_, u * total_));
}

float TokenDistribution::logprob(int32_t token) const {
  if (!is_filtered_) return cpu::token_logprob(logits_[token], stats_, inverse_temperature_);
  return (logits_[token] - stats_.max) * inverse_temperature_ - static_cast<float>(std::log(total_));
}

float TokenDistribution::probability(int32_t token) const {
  if (best_ >= 0) return token == best_ ? 1.f : 0.f;
  return static_cast<float>(weights_[static_cast<size_t>(token)] / total_);
}

Draw draw_token(const float* logits, int64_t vocabulary, const SamplingOptions& options, int32_t forbidden, double u,
                std::vector<float>& scratch) {
  const TokenDistribution distribution(logits, vocabulary, options, forbidden, scratch);
  const int32_t token = distribution.draw(u);
  return {token, distribution.logprob(token)};
}

int32_t verify_draft(const TokenDistribution& target, std::span<const float> drafted_from, int32_t draft,
                     double u_accept, double u_residual) {
  if (u_accept * drafted_from[static_cast<size_t>(draft)] < target.probability(draft)) return draft;
  std::vector<float> residual(drafted_from.size());
  for (size_t i = 0; i < residual.size(); ++i) {
    residual[i] = std::max(0.f, target.probability(static_cast<int32_t>(i)) - drafted_from[i]);
  }
  const double total = std::accumulate(residual.begin(), residual.end(), 0.0);
  if (total <= 0) return draft;  // p = q but for the last bit
  return static_cast<int32_t>(pick(residual.data(), target.vocabulary(), u_residual * total));
}

}  // namespace hone
