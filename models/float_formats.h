// The float formats that checkpoints are stored in, to float32 and back: IEEE half (F16), bfloat16 (BF16), and the
// 8-bit formats of the Open Compute Project (F8_E4M3 without infinities, F8_E5M2). Widening is exact; narrowing rounds
// to nearest, ties to even, as IEEE 754 and PyTorch do; a NaN stays a NaN.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace hone {

inline float float_of_half(uint16_t half) {
  const uint32_t magnitude = half & 0x7fffu;
  uint32_t bits = (magnitude << 13) + 0x38000000u;  // the exponent's bias goes from 15 to 127
  // 0.5 + m 2^-24 is exact, and so is the difference: no operand is a subnormal float, which hone's threads flush
  if (magnitude < 0x400u) bits = std::bit_cast<uint32_t>(std::bit_cast<float>(0x3f000000u + magnitude) - 0.5f);
  if (magnitude >= 0x7c00u) bits |= 0x7f800000u;
  return std::bit_cast<float>(bits | uint32_t{half & 0x8000u} << 16);
}

inline uint16_t half_of_float(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value), magnitude = bits & 0x7fffffffu;
  const uint32_t sign = bits >> 16 & 0x8000u;
  uint32_t half = (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
  if (magnitude < 0x38800000u) {  // below 2^-14: the unit in the last place of 0.5 is that of the subnormal halves
    half = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
  }
  if (magnitude >= 0x477ff000u) half = 0x7c00u;  // 65520 and above round to infinity
  if (magnitude > 0x7f800000u) half = 0x7e00u | (magnitude >> 13 & 0x3ffu);
  return static_cast<uint16_t>(sign | half);
}

inline float float_of_bfloat16(uint16_t value) { return std::bit_cast<float>(uint32_t{value} << 16); }

inline uint16_t bfloat16_of_float(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

float float_of_f8_e4m3(uint8_t value);
/// The upper byte of a half.
inline float float_of_f8_e5m2(uint8_t value) { return float_of_half(static_cast<uint16_t>(value << 8)); }

/// Whether the safetensors dtype is one that widen() reads: F32, F16, BF16, F64, F8_E4M3, F8_E5M2.
bool is_float_dtype(std::string_view dtype);

/// out[i] = element i of `bytes` (little-endian, need not be aligned), F64 rounded to float32. REQUIRES:
/// is_float_dtype(dtype) and bytes.size() == out.size() * size of an element.
void widen(std::string_view dtype, std::span<const std::byte> bytes, std::span<float> out);

/// The other way, to F32, F16 or BF16. REQUIRES: out.size() == values.size() * size of an element.
void narrow(std::string_view dtype, std::span<const float> values, std::span<std::byte> out);

}  // namespace hone
