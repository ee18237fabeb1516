#include "models/gguf/quants.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "models/float_formats.h"

namespace hone {
namespace {

using Bytes = const uint8_t*;

constexpr GgmlTraits kTraits[] = {
    {GgmlType::kF32, "F32", 1, 4},       {GgmlType::kF16, "F16", 1, 2},       {GgmlType::kQ4_0, "Q4_0", 32, 18},
    {GgmlType::kQ4_1, "Q4_1", 32, 20},   {GgmlType::kQ5_0, "Q5_0", 32, 22},   {GgmlType::kQ5_1, "Q5_1", 32, 24},
    {GgmlType::kQ8_0, "Q8_0", 32, 34},   {GgmlType::kQ2_K, "Q2_K", 256, 84},  {GgmlType::kQ3_K, "Q3_K", 256, 110},
    {GgmlType::kQ4_K, "Q4_K", 256, 144}, {GgmlType::kQ5_K, "Q5_K", 256, 176}, {GgmlType::kQ6_K, "Q6_K", 256, 210},
    {GgmlType::kBF16, "BF16", 1, 2}};

uint16_t read16(Bytes p) { return static_cast<uint16_t>(p[0] | p[1] << 8); }
float half_at(Bytes p) { return float_of_half(read16(p)); }
void put_half(uint8_t* p, float value) {
  const uint16_t half = half_of_float(value);
  p[0] = static_cast<uint8_t>(half);
  p[1] = static_cast<uint8_t>(half >> 8);
}

// --- blocks of 32: one scale d, perhaps one minimum m. The first 16 weights are low nibbles, the others high ones

int nibble(Bytes p, int i) { return i < 16 ? p[i] & 15 : p[i - 16] >> 4; }
int bit(Bytes p, int i) { return p[i / 8] >> i % 8 & 1; }

void read_q4_0(Bytes p, float* out) {
  const float d = half_at(p);
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(nibble(p + 2, i) - 8);
}
void read_q4_1(Bytes p, float* out) {
  const float d = half_at(p), m = half_at(p + 2);
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(nibble(p + 4, i)) + m;
}
void read_q5_0(Bytes p, float* out) {
  const float d = half_at(p);
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>((nibble(p + 6, i) | bit(p + 2, i) << 4) - 16);
}
void read_q5_1(Bytes p, float* out) {
  const float d = half_at(p), m = half_at(p + 2);
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(nibble(p + 8, i) | bit(p + 4, i) << 4) + m;
}
void read_q8_0(Bytes p, float* out) {
  const float d = half_at(p);
  for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(static_cast<int8_t>(p[2 + i])) * d;
}

// --- super-blocks of 256: sub-blocks of 16 or 32 whose scales are themselves small integers -------

/// Two bits of weight i: four weights, 32 apart, share a byte.
int two_bits(Bytes p, int i) { return p[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3; }
/// Four bits of weight i: two weights, 32 apart, share a byte.
int four_bits(Bytes p, int i) { return p[i / 64 * 32 + i % 32] >> (i % 64 / 32 * 4) & 15; }
/// One bit of weight i: eight weights, 32 apart, share a byte.
int one_bit(Bytes p, int i) { return p[i % 32] >> i / 32 & 1; }

void read_q2_k(Bytes p, float* out) {
  const float d = half_at(p + 80), dmin = half_at(p + 82);
  for (int b = 0; b < 16; ++b) {
    const float scale = d * static_cast<float>(p[b] & 15), minimum = dmin * static_cast<float>(p[b] >> 4);
    for (int i = 16 * b; i < 16 * b + 16; ++i) out[i] = scale * static_cast<float>(two_bits(p + 16, i)) - minimum;
  }
}

/// Scale b of sixteen: its lower four bits are nibbles of bytes 0-7, its upper two lie in bytes 8-11; 32 is zero.
int q3_scale(Bytes p, int b) {
  const int low = p[b % 8] >> b / 8 * 4 & 15, high = p[8 + b % 4] >> b / 4 * 2 & 3;
  return (low | high << 4) - 32;
}

void read_q3_k(Bytes p, float* out) {
  const float d = half_at(p + 108);
  for (int b = 0; b < 16; ++b) {
    const float scale = d * static_cast<float>(q3_scale(p + 96, b));
    for (int i = 16 * b; i < 16 * b + 16; ++i) {
      out[i] = scale * static_cast<float>(two_bits(p + 32, i) - (one_bit(p, i) ? 0 : 4));
    }
  }
}

struct ScaleMin {
  int scale, minimum;
};

/// Of sub-block b of eight, six bits each: the first four are whole in bytes 0-3 (scales) and 4-7 (minima); the others
/// have their lower four bits in bytes 8-11 and the upper two above those of the first four.
ScaleMin q4_scale(Bytes p, int b) {
  if (b < 4) return {p[b] & 63, p[b + 4] & 63};
  return {(p[b + 4] & 15) | p[b - 4] >> 6 << 4, p[b + 4] >> 4 | p[b] >> 6 << 4};
}

void put_q4_scale(uint8_t* p, int b, ScaleMin value) {
  if (b < 4) {
    p[b] = static_cast<uint8_t>(value.scale);
    p[b + 4] = static_cast<uint8_t>(value.minimum);
    return;
  }
  p[b + 4] = static_cast<uint8_t>((value.scale & 15) | (value.minimum & 15) << 4);
  p[b - 4] = static_cast<uint8_t>(p[b - 4] | value.scale >> 4 << 6);
  p[b] = static_cast<uint8_t>(p[b] | value.minimum >> 4 << 6);
}

void read_q4_k(Bytes p, float* out) {
  const float d = half_at(p), dmin = half_at(p + 2);
  for (int b = 0; b < 8; ++b) {
    const ScaleMin s = q4_scale(p + 4, b);
    const float scale = d * static_cast<float>(s.scale), minimum = dmin * static_cast<float>(s.minimum);
    for (int i = 32 * b; i < 32 * b + 32; ++i) out[i] = scale * static_cast<float>(four_bits(p + 16, i)) - minimum;
  }
}

void read_q5_k(Bytes p, float* out) {
  const float d = half_at(p), dmin = half_at(p + 2);
  for (int b = 0; b < 8; ++b) {
    const ScaleMin s = q4_scale(p + 4, b);
    const float scale = d * static_cast<float>(s.scale), minimum = dmin * static_cast<float>(s.minimum);
    for (int i = 32 * b; i < 32 * b + 32; ++i) {
      out[i] = scale * static_cast<float>(four_bits(p + 48, i) | one_bit(p + 16, i) << 4) - minimum;
    }
  }
}

/// Where the lower four bits of weight i lie: two weights, 64 apart, share a byte.
struct Nibble {
  int byte, shift;
};
Nibble q6_nibble(int i) { return {i / 128 * 64 + i % 64, i % 128 / 64 * 4}; }

void read_q6_k(Bytes p, float* out) {
  const float d = half_at(p + 208);
  for (int b = 0; b < 16; ++b) {
    const float scale = d * static_cast<float>(static_cast<int8_t>(p[192 + b]));
    for (int i = 16 * b; i < 16 * b + 16; ++i) {
      const auto [byte, shift] = q6_nibble(i);
      out[i] = scale * static_cast<float>(((p[byte] >> shift & 15) | two_bits(p + 128, i) << 4) - 32);
    }
  }
}

// --- writing --------------------------------------------------------------------------------------

/// The first weight of the largest magnitude, with its sign.
float extreme(const float* x, int count) {
  return *std::max_element(x, x + count, [](float a, float b) { return std::fabs(a) < std::fabs(b); });
}

/// 0 where the inverse is no float32.
float inverse(float d) {
  const float inverse = 1.0f / d;
  return std::isfinite(inverse) ? inverse : 0.0f;
}

void write_q8_0(const float* x, uint8_t* p) {
  const float d = std::fabs(extreme(x, 32)) / 127.0f, id = inverse(d);
  put_half(p, d);
  for (int i = 0; i < 32; ++i) p[2 + i] = static_cast<uint8_t>(static_cast<int8_t>(std::round(x[i] * id)));
}

/// The extreme weight becomes -2^(bits-1), so the largest weight of the other sign may be clipped by half a step.
std::array<uint8_t, 32> symmetric_quants(const float* x, int bits, uint8_t* scale) {
  const auto zero = static_cast<float>(1 << (bits - 1));
  const float d = extreme(x, 32) / -zero, id = inverse(d);
  put_half(scale, d);
  std::array<uint8_t, 32> q;
  for (int i = 0; i < 32; ++i) {
    q[i] = static_cast<uint8_t>(std::clamp(static_cast<int>(x[i] * id + (zero + 0.5f)), 0, (1 << bits) - 1));
  }
  return q;
}

void write_q4_0(const float* x, uint8_t* p) {
  const auto q = symmetric_quants(x, 4, p);
  for (int i = 0; i < 16; ++i) p[2 + i] = static_cast<uint8_t>(q[i] | q[i + 16] << 4);
}

void write_q5_0(const float* x, uint8_t* p) {
  const auto q = symmetric_quants(x, 5, p);
  std::memset(p + 2, 0, 4);
  for (int i = 0; i < 32; ++i) p[2 + i / 8] = static_cast<uint8_t>(p[2 + i / 8] | q[i] >> 4 << i % 8);
  for (int i = 0; i < 16; ++i) p[6 + i] = static_cast<uint8_t>((q[i] & 15) | q[i + 16] << 4);
}

/// Ties to even; a NaN becomes `low`.
int rounded(float value, int low, int high) {
  if (!(value > static_cast<float>(low))) return low;
  return value < static_cast<float>(high) ? static_cast<int>(std::nearbyint(value)) : high;
}

/// x[i] ~ scale * q[i] - minimum with q in 0..15 and both >= 0.
struct AffineFit {
  float scale = 0, minimum = 0;
};

/// Sums over a sub-block, weight w[i] for the error at i.
struct AffineSums {
  float w = 0, x = 0, q = 0, qq = 0, xq = 0;
};

/// The least-squares scale and minimum for given quants.
AffineFit solve(const AffineSums& s) {
  const float determinant = s.w * s.qq - s.q * s.q;
  if (determinant <= 0) return {};
  const AffineFit fit{(s.w * s.xq - s.x * s.q) / determinant, (s.q * s.xq - s.qq * s.x) / determinant};
  if (fit.minimum >= 0) return fit;
  return {s.xq / s.qq, 0};
}

float weighted_error(const float* x, const float* w, AffineFit fit) {
  const float id = inverse(fit.scale);
  float error = 0;
  for (int i = 0; i < 32; ++i) {
    const auto q = static_cast<float>(rounded((x[i] + fit.minimum) * id, 0, 15));
    const float off = fit.scale * q - fit.minimum - x[i];
    error += w[i] * off * off;
  }
  return error;
}

/// Large weights matter more: an error of a weight is multiplied by an activation, but clipping one costs most.
AffineFit fit_affine(const float* x) {
  std::array<float, 32> w;
  float square = 0;
  for (int i = 0; i < 32; ++i) square += x[i] * x[i];
  const float rms = std::sqrt(square / 32);
  for (int i = 0; i < 32; ++i) w[i] = rms + std::fabs(x[i]);
  const float low = std::min(0.0f, *std::min_element(x, x + 32)), high = *std::max_element(x, x + 32);
  if (!(high > low)) return {0, -low};
  AffineFit best{(high - low) / 15, -low};
  float best_error = weighted_error(x, w.data(), best);
  for (float steps = 14; steps <= 16; steps += 0.2f) {  // ranges a little wider and narrower than the weights'
    const float id = steps / (high - low);
    AffineSums sums;
    for (int i = 0; i < 32; ++i) {
      const auto q = static_cast<float>(rounded((x[i] - low) * id, 0, 15));
      sums.w += w[i], sums.x += w[i] * x[i], sums.q += w[i] * q, sums.qq += w[i] * q * q, sums.xq += w[i] * x[i] * q;
    }
    const AffineFit fit = solve(sums);
    if (!(fit.scale > 0)) continue;
    const float error = weighted_error(x, w.data(), fit);
    if (error < best_error) best = fit, best_error = error;
  }
  return best;
}

void write_q4_k(const float* x, uint8_t* p) {
  std::array<AffineFit, 8> fits;
  float largest_scale = 0, largest_minimum = 0;
  for (int b = 0; b < 8; ++b) {
    fits[b] = fit_affine(x + 32 * b);
    largest_scale = std::max(largest_scale, fits[b].scale);
    largest_minimum = std::max(largest_minimum, fits[b].minimum);
  }
  std::memset(p, 0, 144);
  put_half(p, largest_scale / 63);
  put_half(p + 2, largest_minimum / 63);
  const float d = half_at(p), dmin = half_at(p + 2);
  for (int b = 0; b < 8; ++b) {
    const ScaleMin s{rounded(fits[b].scale * inverse(d), 0, 63), rounded(fits[b].minimum * inverse(dmin), 0, 63)};
    put_q4_scale(p + 4, b, s);
    const float id = inverse(d * static_cast<float>(s.scale)), minimum = dmin * static_cast<float>(s.minimum);
    for (int i = 32 * b; i < 32 * b + 32; ++i) {
      const int q = rounded((x[i] + minimum) * id, 0, 15);
      uint8_t& byte = p[16 + i / 64 * 32 + i % 32];
      byte = static_cast<uint8_t>(byte | q << (i % 64 / 32 * 4));
    }
  }
}

/// The scale, of either sign, with the least error of sixteen weights as scale * q, q in -32..31, squared errors
/// weighted by the squared weight.
float fit_symmetric(const float* x) {
  const float largest = extreme(x, 16);
  if (largest == 0) return 0;
  float best = largest / -32, best_gain = 0;
  for (float steps = 31; steps <= 33; steps += 0.2f) {
    const float id = -steps / largest;
    float xq = 0, qq = 0;
    for (int i = 0; i < 16; ++i) {
      const auto q = static_cast<float>(rounded(x[i] * id, -32, 31));
      xq += x[i] * x[i] * x[i] * q, qq += x[i] * x[i] * q * q;
    }
    if (qq > 0 && xq * xq > best_gain * qq) best = xq / qq, best_gain = xq * xq / qq;
  }
  return best;
}

void write_q6_k(const float* x, uint8_t* p) {
  std::array<float, 16> scales;
  for (int b = 0; b < 16; ++b) scales[b] = fit_symmetric(x + 16 * b);
  std::memset(p, 0, 210);
  put_half(p + 208, extreme(scales.data(), 16) / -128);
  const float d = half_at(p + 208);
  for (int b = 0; b < 16; ++b) {
    const int scale = rounded(scales[b] * inverse(d), -128, 127);
    p[192 + b] = static_cast<uint8_t>(scale);
    const float id = inverse(d * static_cast<float>(scale));
    for (int i = 16 * b; i < 16 * b + 16; ++i) {
      const int q = rounded(x[i] * id, -32, 31) + 32;
      const auto [byte, shift] = q6_nibble(i);
      p[byte] = static_cast<uint8_t>(p[byte] | (q & 15) << shift);
      uint8_t& high = p[128 + i / 128 * 32 + i % 32];
      high = static_cast<uint8_t>(high | q >> 4 << (i % 128 / 32 * 2));
    }
  }
}

using ReadBlock = void (*)(Bytes, float*);
using WriteBlock = void (*)(const float*, uint8_t*);

ReadBlock reader_of(GgmlType type) {
  switch (type) {
    case GgmlType::kQ4_0:
      return read_q4_0;
    case GgmlType::kQ4_1:
      return read_q4_1;
    case GgmlType::kQ5_0:
      return read_q5_0;
    case GgmlType::kQ5_1:
      return read_q5_1;
    case GgmlType::kQ8_0:
      return read_q8_0;
    case GgmlType::kQ2_K:
      return read_q2_k;
    case GgmlType::kQ3_K:
      return read_q3_k;
    case GgmlType::kQ4_K:
      return read_q4_k;
    case GgmlType::kQ5_K:
      return read_q5_k;
    case GgmlType::kQ6_K:
      return read_q6_k;
    default:
      return nullptr;
  }
}

WriteBlock writer_of(GgmlType type) {
  switch (type) {
    case GgmlType::kQ8_0:
      return write_q8_0;
    case GgmlType::kQ4_0:
      return write_q4_0;
    case GgmlType::kQ5_0:
      return write_q5_0;
    case GgmlType::kQ4_K:
      return write_q4_k;
    case GgmlType::kQ6_K:
      return write_q6_k;
    default:
      return nullptr;
  }
}

/// F32, F16 and BF16 are called the same in safetensors.
bool is_plain(GgmlType type) { return traits_of(type).block == 1; }

void check_finite(std::span<const float> weights) {
  const auto found = std::find_if(weights.begin(), weights.end(), [](float w) { return !std::isfinite(w); });
  if (found == weights.end()) return;
  throw std::invalid_argument(
      fmt::format("weight {} is {}; only finite weights can be quantized", found - weights.begin(), *found));
}

/// Finite weights that a half would round to infinity.
void check_half_range(std::span<const float> weights) {
  for (float weight : weights) {
    if (std::isfinite(weight) && std::fabs(weight) >= 65520.0f) {
      throw std::invalid_argument(fmt::format("weight {} is beyond 65504, the largest half; take bf16 or f32", weight));
    }
  }
}

}  // namespace

const GgmlTraits* find_traits(uint32_t type) {
  for (const GgmlTraits& traits : kTraits) {
    if (static_cast<uint32_t>(traits.type) == type) return &traits;
  }
  return nullptr;
}

const GgmlTraits& traits_of(GgmlType type) { return *find_traits(static_cast<uint32_t>(type)); }

std::string ggml_type_name(uint32_t type) {
  static constexpr std::pair<uint32_t, std::string_view> kOthers[] = {
      {9, "Q8_1"},   {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"}, {20, "IQ4_NL"},
      {21, "IQ3_S"}, {22, "IQ2_S"}, {23, "IQ4_XS"},  {24, "I8"},     {25, "I16"},     {26, "I32"},   {27, "I64"},
      {28, "F64"},   {29, "IQ1_M"}, {34, "TQ1_0"},   {35, "TQ2_0"},  {39, "MXFP4"}};
  if (const GgmlTraits* traits = find_traits(type)) return std::string(traits->name);
  for (const auto& [number, name] : kOthers) {
    if (number == type) return std::string(name);
  }
  return fmt::format("type {}", type);
}

size_t ggml_bytes(GgmlType type, size_t count) {
  const GgmlTraits& traits = traits_of(type);
  return count / static_cast<size_t>(traits.block) * traits.block_bytes;
}

void dequantize(GgmlType type, std::span<const std::byte> blocks, std::span<float> out) {
  const GgmlTraits& traits = traits_of(type);
  if (is_plain(type)) return widen(traits.name, blocks, out);
  const ReadBlock read = reader_of(type);
  const auto* p = reinterpret_cast<const uint8_t*>(blocks.data());
  for (size_t first = 0; first < out.size(); first += static_cast<size_t>(traits.block), p += traits.block_bytes) {
    read(p, out.data() + first);
  }
}

void quantize(GgmlType type, std::span<const float> weights, std::span<std::byte> out) {
  const GgmlTraits& traits = traits_of(type);
  if (type == GgmlType::kF16) check_half_range(weights);
  if (is_plain(type)) return narrow(traits.name, weights, out);
  const WriteBlock write = writer_of(type);
  if (!write) throw std::invalid_argument(fmt::format("{} can be read, not written", traits.name));
  check_finite(weights);
  auto* p = reinterpret_cast<uint8_t*>(out.data());
  for (size_t first = 0; first < weights.size(); first += static_cast<size_t>(traits.block), p += traits.block_bytes) {
    write(weights.data() + first, p);
  }
}

}  // namespace hone
