#include "models/gguf/quants.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#ifdef __SSE__
#include <xmmintrin.h>
#endif

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "models/atomic_file.h"
#include "models/float_formats.h"

namespace hone {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

constexpr GgmlType kAll[] = {GgmlType::kF32,  GgmlType::kF16,  GgmlType::kBF16, GgmlType::kQ4_0, GgmlType::kQ4_1,
                             GgmlType::kQ5_0, GgmlType::kQ5_1, GgmlType::kQ8_0, GgmlType::kQ2_K, GgmlType::kQ3_K,
                             GgmlType::kQ4_K, GgmlType::kQ5_K, GgmlType::kQ6_K};

GgmlType type_named(const std::string& name) {
  return *std::find_if(std::begin(kAll), std::end(kAll), [&](GgmlType type) { return traits_of(type).name == name; });
}

std::vector<std::byte> from_hex(const std::string& hex) {
  std::vector<std::byte> bytes;
  for (size_t i = 0; i < hex.size(); i += 2) bytes.push_back(std::byte(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

std::vector<float> floats(const std::vector<std::byte>& bytes) {
  std::vector<float> values(bytes.size() / 4);
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

std::vector<std::byte> bytes_of(const std::vector<float>& values) {
  std::vector<std::byte> bytes(values.size() * 4);
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

std::vector<std::byte> quantized(GgmlType type, const std::vector<float>& weights) {
  std::vector<std::byte> blocks(ggml_bytes(type, weights.size()));
  quantize(type, weights, blocks);
  return blocks;
}

std::vector<float> there_and_back(GgmlType type, const std::vector<float>& weights) {
  std::vector<float> out(weights.size());
  dequantize(type, quantized(type, weights), out);
  return out;
}

std::vector<float> normal_weights(size_t count, float scale, uint32_t seed = 3) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> weights(count);
  for (float& w : weights) w = normal(generator);
  return weights;
}

/// Root mean square of the error over that of the weights.
double relative_error(GgmlType type, const std::vector<float>& weights) {
  const std::vector<float> back = there_and_back(type, weights);
  double error = 0, size = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    error += std::pow(back[i] - weights[i], 2);
    size += std::pow(weights[i], 2);
  }
  return std::sqrt(error / size);
}

template <class Body>
std::string message(Body body) {
  try {
    body();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

json golden() { return json::parse(read_file(HONE_SOURCE_DIR "/tests/golden/gguf_quants.json")); }

TEST(GgufQuants, ReadsWhatPyPiGgufReadsBitForBit) {
  const json rows = golden()["read"];
  ASSERT_EQ(rows.size(), 12u);
  for (const json& row : rows) {
    const std::vector<std::byte> blocks = from_hex(row["blocks"]), expected = from_hex(row["weights"]);
    std::vector<float> weights(expected.size() / 4);
    dequantize(type_named(row["type"]), blocks, weights);
    EXPECT_EQ(bytes_of(weights), expected) << row["type"];
  }
}

TEST(GgufQuants, WritesWhatPyPiGgufWritesByteForByte) {
  const json rows = golden()["written"];
  ASSERT_EQ(rows.size(), 5u);
  for (const json& row : rows) {
    EXPECT_EQ(quantized(type_named(row["type"]), floats(from_hex(row["weights"]))), from_hex(row["blocks"]))
        << row["type"];
  }
}

// The bounds are a little above what normally distributed weights give: half a step of a block, spread evenly. Q4_K
// must beat Q4_0, whose bits it nearly shares, or its search for scales is worth nothing.
TEST(GgufQuants, ErrorsAreThoseOfTheBits) {
  const std::vector<float> weights = normal_weights(64 * 256, 0.02f);
  EXPECT_LT(relative_error(GgmlType::kF16, weights), 3e-4);
  EXPECT_LT(relative_error(GgmlType::kBF16, weights), 2.5e-3);
  EXPECT_LT(relative_error(GgmlType::kQ8_0, weights), 0.006);
  EXPECT_LT(relative_error(GgmlType::kQ6_K, weights), 0.02);
  EXPECT_LT(relative_error(GgmlType::kQ5_0, weights), 0.05);
  EXPECT_LT(relative_error(GgmlType::kQ4_K, weights), 0.08);
  EXPECT_LT(relative_error(GgmlType::kQ4_0, weights), 0.10);
  EXPECT_LT(relative_error(GgmlType::kQ4_K, weights), 0.9 * relative_error(GgmlType::kQ4_0, weights));
}

TEST(GgufQuants, WeightsThatTheFormatHoldsComeBackUnchanged) {
  std::vector<float> grid;
  for (int i = 0; i < 256; ++i) grid.push_back(static_cast<float>(i % 16) * 0.5f - 3.5f);
  const std::vector<float> back = there_and_back(GgmlType::kQ4_K, grid);
  for (int i = 0; i < 256; ++i) EXPECT_NEAR(back[i], grid[i], 0.02) << i;
  for (GgmlType type : {GgmlType::kQ8_0, GgmlType::kQ4_0, GgmlType::kQ5_0, GgmlType::kQ4_K, GgmlType::kQ6_K}) {
    EXPECT_EQ(there_and_back(type, std::vector<float>(256, 0.0f)), std::vector<float>(256, 0.0f))
        << traits_of(type).name;
  }
}

TEST(GgufQuants, ExtremeWeightsAreNoUndefinedBehaviour) {
  for (float scale : {1e-44f, 1e-38f, 1e-20f, 1e20f, 1e37f}) {
    const std::vector<float> weights = normal_weights(512, scale);
    for (GgmlType type : {GgmlType::kQ8_0, GgmlType::kQ4_0, GgmlType::kQ5_0, GgmlType::kQ4_K, GgmlType::kQ6_K}) {
      EXPECT_EQ(quantized(type, weights).size(), ggml_bytes(type, 512));
    }
  }
}

TEST(GgufQuants, RefusesWhatTheTypeCannotHold) {
  std::vector<float> weights(256, 1.0f);
  EXPECT_THAT(message([&] { quantized(GgmlType::kQ5_K, weights); }), HasSubstr("Q5_K can be read, not written"));
  weights[7] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(message([&] { quantized(GgmlType::kQ8_0, weights); }), HasSubstr("weight 7 is nan"));
  EXPECT_TRUE(std::isnan(there_and_back(GgmlType::kF16, weights)[7]));
  weights[7] = 70000;
  EXPECT_THAT(message([&] { quantized(GgmlType::kF16, weights); }), HasSubstr("70000 is beyond 65504"));
  EXPECT_EQ(message([&] { quantized(GgmlType::kBF16, weights); }), "");
}

TEST(GgufQuants, NamesTypesThatItDoesNotRead) {
  EXPECT_EQ(find_traits(19), nullptr);
  EXPECT_EQ(ggml_type_name(19), "IQ1_S");
  EXPECT_EQ(ggml_type_name(12), "Q4_K");
  EXPECT_EQ(ggml_type_name(77), "type 77");
}

// --- float_formats.h ------------------------------------------------------------------------------

TEST(FloatFormats, EveryHalfComesBackFromFloat32) {
  for (uint32_t half = 0; half < 65536; ++half) {
    const float value = float_of_half(static_cast<uint16_t>(half));
    if (std::isnan(value)) EXPECT_TRUE(std::isnan(float_of_half(half_of_float(value)))) << half;
    else EXPECT_EQ(half_of_float(value), half);
  }
  EXPECT_EQ(float_of_half(0x0001), 0x1p-24f);
  EXPECT_EQ(float_of_half(0x7bff), 65504.0f);
  EXPECT_EQ(float_of_half(0xfc00), -std::numeric_limits<float>::infinity());
}

#ifdef __SSE__
/// hone's threads flush subnormal floats to zero, in operands too; a subnormal half is none of them.
TEST(FloatFormats, SubnormalHalvesAreReadWhereSubnormalFloatsAreFlushed) {
  std::array<float, 0x400> values;
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | 0x8040);  // FTZ, DAZ
  for (uint16_t half = 0; half < 0x400; ++half) values[half] = float_of_half(half);
  _mm_setcsr(before);
  for (uint16_t half = 0; half < 0x400; ++half)
    ASSERT_EQ(values[half], std::ldexp(static_cast<float>(half), -24)) << half;
}
#endif

/// Between two neighbouring halves the nearer one is taken, and the even one in the middle.
TEST(FloatFormats, HalvesAreRoundedToNearestEven) {
  for (uint32_t half = 0; half < 0x7bff; ++half) {
    const float low = float_of_half(static_cast<uint16_t>(half)), high = float_of_half(static_cast<uint16_t>(half + 1));
    const float middle = low + (high - low) / 2;
    ASSERT_EQ(half_of_float(middle), half + half % 2) << half;
    ASSERT_EQ(half_of_float(std::nextafter(middle, high)), half + 1) << half;
    ASSERT_EQ(half_of_float(-std::nextafter(middle, low)), half | 0x8000) << half;
  }
  EXPECT_EQ(half_of_float(65519.996f), 0x7bff);
  EXPECT_EQ(half_of_float(65520.0f), 0x7c00);
}

TEST(FloatFormats, Bfloat16IsTheUpperHalfRoundedToNearestEven) {
  EXPECT_EQ(bfloat16_of_float(1.0f), 0x3f80);
  EXPECT_EQ(bfloat16_of_float(std::bit_cast<float>(0x3f808000u)), 0x3f80);
  EXPECT_EQ(bfloat16_of_float(std::bit_cast<float>(0x3f818000u)), 0x3f82);
  EXPECT_EQ(bfloat16_of_float(std::bit_cast<float>(0x3f808001u)), 0x3f81);
  EXPECT_TRUE(std::isnan(float_of_bfloat16(bfloat16_of_float(std::numeric_limits<float>::signaling_NaN()))));
  EXPECT_EQ(float_of_bfloat16(0xc049), -3.140625f);
}

TEST(FloatFormats, EightBitFloatsHaveTheirPublishedValues) {
  EXPECT_EQ(float_of_f8_e4m3(0x7e), 448.0f);
  EXPECT_EQ(float_of_f8_e4m3(0x01), 0x1p-9f);
  EXPECT_EQ(float_of_f8_e4m3(0x08), 0x1p-6f);
  EXPECT_EQ(float_of_f8_e4m3(0xb8), -1.0f);
  EXPECT_TRUE(std::isnan(float_of_f8_e4m3(0x7f)));
  EXPECT_EQ(float_of_f8_e5m2(0x7b), 57344.0f);
  EXPECT_EQ(float_of_f8_e5m2(0x01), 0x1p-16f);
  EXPECT_TRUE(std::isinf(float_of_f8_e5m2(0x7c)));
}

}  // namespace
}  // namespace hone
