// The number formats of ggml: blocks of weights that share scales. Read: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1
// and the K family Q2_K .. Q6_K; written: F32, F16, BF16, Q8_0, Q4_0, Q5_0, Q4_K, Q6_K. Layouts from ggml's public
// description. Values are those of PyPI `gguf` bit for bit, bytes too, except for Q4_K and Q6_K, whose search for
// scales is our own (weighted least squares). Proven by tests/golden/gguf_quants.json and
// tests/python/gguf_parity_test.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hone {

/// The format's own numbers.
enum class GgmlType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kBF16 = 30,
};

struct GgmlTraits {
  GgmlType type;
  std::string_view name;  ///< "Q4_K"
  int64_t block;          ///< weights in a block, which lies in one row
  size_t block_bytes;
};

/// Null for a number that is none of the types above.
const GgmlTraits* find_traits(uint32_t type);
const GgmlTraits& traits_of(GgmlType type);
/// The name of any type that ggml has or had, "type 99" else: for messages.
std::string ggml_type_name(uint32_t type);

/// Bytes of `count` weights; REQUIRES: a whole number of blocks.
size_t ggml_bytes(GgmlType type, size_t count);

/// out.size() weights out of ggml_bytes(type, out.size()) bytes, which need not be aligned.
void dequantize(GgmlType type, std::span<const std::byte> blocks, std::span<float> out);

/// The other way. Throws std::invalid_argument for a type that is only read, for a finite weight that is infinite as
/// F16, and, where weights share a scale, for one that is not finite.
void quantize(GgmlType type, std::span<const float> weights, std::span<std::byte> out);

}  // namespace hone
