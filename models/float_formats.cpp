#include "models/float_formats.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

namespace hone {
namespace {

static_assert(std::endian::native == std::endian::little, "stored numbers are read as they are");

/// One sign bit, four of exponent (bias 7), three of mantissa; S.1111.111 is NaN and there is no infinity.
std::array<float, 256> e4m3_table() {
  std::array<float, 256> table{};
  for (int i = 0; i < 256; ++i) {
    const int mantissa = i & 7, exponent = i >> 3 & 15;
    const int significand = exponent == 0 ? mantissa : mantissa + 8;
    const float magnitude = std::ldexp(static_cast<float>(significand), std::max(exponent, 1) - 10);
    table[i] = i & 0x80 ? -magnitude : magnitude;
  }
  table[0x7f] = table[0xff] = std::numeric_limits<float>::quiet_NaN();
  return table;
}

const std::array<float, 256>& e4m3() {
  static const std::array<float, 256> table = e4m3_table();
  return table;
}

/// out[i] = convert(element i of bytes).
template <class Element, class Out, class Convert>
void transform(const void* in, size_t count, Out* out, Convert convert) {
  const auto* bytes = static_cast<const unsigned char*>(in);
  for (size_t i = 0; i < count; ++i) {
    Element element;
    std::memcpy(&element, bytes + i * sizeof(Element), sizeof(Element));
    const auto made = convert(element);
    std::memcpy(reinterpret_cast<unsigned char*>(out) + i * sizeof(made), &made, sizeof(made));
  }
}

[[noreturn]] void unknown(std::string_view dtype) {
  throw std::invalid_argument("no conversion of float32 from or to dtype " + std::string(dtype));
}

}  // namespace

float float_of_f8_e4m3(uint8_t value) { return e4m3()[value]; }

bool is_float_dtype(std::string_view dtype) {
  for (std::string_view known : {"F32", "F16", "BF16", "F64", "F8_E4M3", "F8_E5M2"}) {
    if (dtype == known) return true;
  }
  return false;
}

void widen(std::string_view dtype, std::span<const std::byte> bytes, std::span<float> out) {
  const size_t count = out.size();
  if (count == 0) return;
  if (dtype == "F32") {
    std::memcpy(out.data(), bytes.data(), count * sizeof(float));
  } else if (dtype == "F16") {
    transform<uint16_t>(bytes.data(), count, out.data(), float_of_half);
  } else if (dtype == "BF16") {
    transform<uint16_t>(bytes.data(), count, out.data(), float_of_bfloat16);
  } else if (dtype == "F64") {
    transform<double>(bytes.data(), count, out.data(), [](double value) { return static_cast<float>(value); });
  } else if (dtype == "F8_E4M3") {
    transform<uint8_t>(bytes.data(), count, out.data(), [&table = e4m3()](uint8_t value) { return table[value]; });
  } else if (dtype == "F8_E5M2") {
    transform<uint8_t>(bytes.data(), count, out.data(), float_of_f8_e5m2);
  } else {
    unknown(dtype);
  }
}

void narrow(std::string_view dtype, std::span<const float> values, std::span<std::byte> out) {
  if (values.empty()) return;
  if (dtype == "F32") {
    std::memcpy(out.data(), values.data(), values.size_bytes());
  } else if (dtype == "F16") {
    transform<float>(values.data(), values.size(), out.data(), half_of_float);
  } else if (dtype == "BF16") {
    transform<float>(values.data(), values.size(), out.data(), bfloat16_of_float);
  } else {
    unknown(dtype);
  }
}

}  // namespace hone
