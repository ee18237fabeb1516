#include "models/layers.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace hone {
namespace {

std::vector<double> plain_frequencies(double theta, int64_t dim) {
  std::vector<double> f;
  for (int64_t i = 0; i < dim; i += 2) f.push_back(std::pow(theta, -static_cast<double>(i) / static_cast<double>(dim)));
  return f;
}

// Wave lengths below L0/high stay, above L0/low are stretched by factor, between them both mix (Llama 3.1).
std::vector<double> llama3_frequencies(std::vector<double> f, const RopeScaling& s) {
  const auto length = static_cast<double>(s.original_max_position_embeddings);
  for (double& x : f) {
    const double wave = 2 * std::numbers::pi / x;
    if (wave > length / s.low_freq_factor) {
      x /= s.factor;
    } else if (wave >= length / s.high_freq_factor) {
      const double smooth = (length / wave - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
      x = (1 - smooth) * x / s.factor + smooth * x;
    }
  }
  return f;
}

// Dimension at which the rotary wave turns `rotations` times within the original context (YaRN eq. 17).
double correction_dim(double rotations, double dim, double theta, double length) {
  return dim * std::log(length / (rotations * 2 * std::numbers::pi)) / (2 * std::log(theta));
}

std::vector<double> yarn_frequencies(std::vector<double> f, const ModelConfig& config, int64_t dim) {
  const RopeScaling& s = config.rope_scaling;
  const auto length = static_cast<double>(s.original_max_position_embeddings), d = static_cast<double>(dim);
  double low = correction_dim(s.beta_fast, d, config.rope_theta, length);
  double high = correction_dim(s.beta_slow, d, config.rope_theta, length);
  if (s.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, d - 1);
  if (low == high) high += 0.001;
  for (size_t i = 0; i < f.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    f[i] = f[i] / s.factor * ramp + f[i] * (1 - ramp);
  }
  return f;
}

double yarn_attention_factor(const RopeScaling& s) {
  if (s.attention_factor) return *s.attention_factor;
  if (s.mscale.value_or(0) != 0 && s.mscale_all_dim.value_or(0) != 0) {
    return yarn_mscale(s.factor, *s.mscale) / yarn_mscale(s.factor, *s.mscale_all_dim);
  }
  return yarn_mscale(s.factor, 1);
}

}  // namespace

FeedForward::FeedForward(ParameterList& parameters, const std::string& prefix, int64_t hidden, int64_t width)
    : gate(parameters.add_weight(prefix + "gate_proj.weight", {width, hidden})),
      up(parameters.add_weight(prefix + "up_proj.weight", {width, hidden})),
      down(parameters.add_weight(prefix + "down_proj.weight", {hidden, width})) {}

double yarn_mscale(double factor, double m) { return factor <= 1 ? 1.0 : 0.1 * m * std::log(factor) + 1.0; }

RopeTable make_rope_table(const ModelConfig& config, int64_t dim, bool adjacent_pairs) {
  const RopeScaling& s = config.rope_scaling;
  std::vector<double> f = plain_frequencies(config.rope_theta, dim);
  double factor = 1;
  switch (s.kind) {
    case RopeScaling::kNone:
      break;
    case RopeScaling::kLinear:
      for (double& x : f) x /= s.factor;
      break;
    case RopeScaling::kLlama3:
      f = llama3_frequencies(std::move(f), s);
      break;
    case RopeScaling::kYarn:
      f = yarn_frequencies(std::move(f), config, dim);
      factor = yarn_attention_factor(s);
      break;
  }
  return RopeTable(std::move(f), factor, adjacent_pairs);
}

}  // namespace hone
