// The kernels without torch, at awkward sizes and in buffers that end where the data end: what AddressSanitizer looks
// at. Results against slow double loops; equality with ATen and of gradients is in torch/ops_test.cpp.
#include "models/float_formats.h"
#include "models/kernels/cpu.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace hone::cpu {
namespace {

std::vector<float> noise(int64_t n, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = normal(generator);
  return x;
}

// c (m, n) = a (m, k) times a b that is still to be named.
Gemm product_of(const std::vector<float>& a, std::vector<float>& c, int64_t m, int64_t n, int64_t k) {
  return {.a = a.data(), .a_row = k, .c = c.data(), .c_row = n, .m = m, .n = n, .k = k};
}

class KernelsTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    before_ = instruction_set();
    if (!use_instruction_set(GetParam())) GTEST_SKIP() << "this processor lacks " << GetParam();
  }
  void TearDown() override { use_instruction_set(before_); }
  std::string before_;
};

TEST_P(KernelsTest, GemmOfEverySmallShape) {
  for (const auto& [m, n, k] : {std::tuple{1, 1, 1}, {3, 33, 5}, {13, 31, 257}, {17, 64, 300}, {200, 7, 2}}) {
    const auto a = noise(m * k, 1), b = noise(n * k, 2);
    std::vector<float> packed(static_cast<size_t>(packed_size(n, k))), c(static_cast<size_t>(m * n)), d = c;
    pack_weight(b.data(), n, k, packed.data());
    Gemm with_packed = product_of(a, c, m, n, k), with_strides = product_of(a, d, m, n, k);
    with_packed.b_packed = {.floats = packed.data()};
    with_strides.b = b.data(), with_strides.b_row = 1, with_strides.b_col = k;
    gemm({&with_packed, 1});
    gemm({&with_strides, 1});
    EXPECT_EQ(c, d);
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        double sum = 0;
        for (int64_t p = 0; p < k; ++p)
          sum += static_cast<double>(a[static_cast<size_t>(i * k + p)]) * b[static_cast<size_t>(j * k + p)];
        EXPECT_NEAR(c[static_cast<size_t>(i * n + j)], sum, 1e-4);
      }
    }
  }
}

// Panels of bfloat16 give the bits of panels of floats, with few rows (widened under way) and with many (laid out).
TEST_P(KernelsTest, Bfloat16PanelsGiveTheBitsOfFloats) {
  for (const auto& [m, n, k] : {std::tuple{1, 1, 1}, {3, 33, 5}, {16, 31, 257}, {17, 64, 300}, {200, 70, 513}}) {
    const auto a = noise(m * k, 1);
    auto b = noise(n * k, 2);
    EXPECT_FALSE(is_bfloat16(b.data(), n * k));
    for (float& w : b) w = float_of_bfloat16(bfloat16_of_float(w));
    ASSERT_TRUE(is_bfloat16(b.data(), n * k));
    std::vector<float> floats(static_cast<size_t>(packed_size(n, k))), c(static_cast<size_t>(m * n)), d = c;
    std::vector<uint16_t> narrow(floats.size());
    pack_weight(b.data(), n, k, floats.data());
    pack_weight(b.data(), n, k, narrow.data());
    Gemm product = product_of(a, c, m, n, k);
    product.b_packed = {.floats = floats.data()};
    gemm({&product, 1});
    product.b_packed = {.bfloat16 = narrow.data()}, product.c = d.data();
    gemm({&product, 1});
    EXPECT_EQ(c, d);
  }
}

float rounded(float x) {
  return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.f, x) : float_of_bfloat16(bfloat16_of_float(x));
}

// Both factors rounded; of each pair the odd product, then the even one, in chains of 256: the slow way.
float bfloat16_product(const float* a, const float* b, int64_t k) {
  float sum = 0;
  for (int64_t p0 = 0; p0 < k; p0 += 256) {
    float chain = 0;
    const auto add = [&](int64_t p) {
      if (p < std::min(k, p0 + 256)) chain = std::fma(rounded(a[p]), rounded(b[p]), chain);
    };
    for (int64_t p = p0; p < std::min(k, p0 + 256); p += 2) add(p + 1), add(p);
    sum = p0 ? sum + chain : chain;
  }
  return sum;
}

TEST_P(KernelsTest, Bfloat16ProductsAreThoseOfTheFormulaBitForBit) {
  for (const auto& [m, n, k] :
       {std::tuple{1, 1, 1}, {3, 33, 5}, {16, 31, 257}, {17, 64, 300}, {200, 70, 513}, {260, 40, 576}}) {
    auto a = noise(m * k, 1), b = noise(n * k, 2);
    a[0] = 1e-39f, b.back() = -1e-40f;
    std::vector<uint32_t> pairs(static_cast<size_t>(packed_pairs_size(n, k)));
    pack_weight_pairs(b.data(), n, k, pairs.data());
    std::vector<float> expected(static_cast<size_t>(m * n)), c(expected.size());
    for (int64_t i = 0; i < m * n; ++i) {
      expected[static_cast<size_t>(i)] = bfloat16_product(a.data() + i / n * k, b.data() + i % n * k, k);
    }
    Gemm product = product_of(a, c, m, n, k);
    product.b_packed = {.pairs = pairs.data()};
    gemm({&product, 1});
    EXPECT_EQ(c, expected);
    product.b_packed = {}, product.b = b.data(), product.b_row = 1, product.b_col = k, product.bfloat16 = true;
    std::ranges::fill(c, 0.f);
    gemm({&product, 1});
    EXPECT_EQ(c, expected) << "laid out";
    // a^T b: both with unit columns in the other direction, as gradients of weights have
    std::vector<float> at(a.size()), bt(b.size());
    for (int64_t p = 0; p < k; ++p) {
      for (int64_t i = 0; i < m; ++i) at[static_cast<size_t>(p * m + i)] = a[static_cast<size_t>(i * k + p)];
      for (int64_t j = 0; j < n; ++j) bt[static_cast<size_t>(p * n + j)] = b[static_cast<size_t>(j * k + p)];
    }
    product.a = at.data(), product.a_row = 1, product.a_col = m, product.b = bt.data(), product.b_row = n,
    product.b_col = 1;
    std::ranges::fill(c, 0.f);
    gemm({&product, 1});
    EXPECT_EQ(c, expected) << "transposed";
    product.bfloat16 = false;
    gemm({&product, 1});
    if (k > 1) {
      EXPECT_NE(c, expected) << "products of floats must differ, or this test proves nothing";
    }
  }
}

TEST_P(KernelsTest, Bfloat16ProductsCarryWhatIsNotFinite) {
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  for (const float x : {infinity, -infinity, nan, 3.4e38f}) {
    const std::vector<float> a{x, 1}, b{1, 1};
    std::vector<float> sum(1);
    Gemm product = product_of(a, sum, 1, 1, 2);
    product.b = b.data(), product.b_row = 1, product.b_col = 2, product.bfloat16 = true;
    gemm({&product, 1});
    EXPECT_TRUE(std::isnan(x) ? std::isnan(sum[0]) : sum[0] == std::copysign(infinity, x)) << x << " gives " << sum[0];
  }
}

TEST_P(KernelsTest, AttentionStaysInsideItsBlocks) {
  for (const auto& [heads, kv_heads, dk, dv] :
       {std::tuple{4, 4, 12, 12}, {4, 2, 5, 7}, {6, 1, 20, 17}, {2, 2, 33, 1}}) {
    const AttentionShape shape{.heads = heads, .kv_heads = kv_heads, .key_dim = dk, .value_dim = dv, .scale = 0.3f};
    const int64_t length = 37, blocks = 3;
    const auto q = noise(length * heads * dk, 1), k = noise(length * kv_heads * dk, 2),
               v = noise(length * kv_heads * dv, 3);
    std::vector<float> kb(static_cast<size_t>(blocks * kv_heads * dk * 16)),
        vb(static_cast<size_t>(blocks * kv_heads * dv * 16));
    std::vector<float> out(static_cast<size_t>(length * heads * dv)), dq(q.size()), dkey(k.size()), dvalue(v.size());
    const std::vector<RowSpan> spans{{0, length, 0, 0}};
    write_blocks(k.data(), kv_heads * dk, kv_heads, dk, spans, kb.data());
    write_blocks(v.data(), kv_heads * dv, kv_heads, dv, spans, vb.data());
    attention(shape, q.data(), kb.data(), vb.data(), spans, out.data());
    attention_backward(shape, q.data(), kb.data(), vb.data(), spans, out.data(), dq.data(), dkey.data(), dvalue.data());
    for (int64_t t = 0; t < length; ++t) {
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t g = h / (heads / kv_heads);
        std::vector<double> p;
        double total = 0;
        for (int64_t j = 0; j <= t; ++j) {
          double s = 0;
          for (int64_t d = 0; d < dk; ++d)
            s += static_cast<double>(q[static_cast<size_t>((t * heads + h) * dk + d)]) *
                 k[static_cast<size_t>((j * kv_heads + g) * dk + d)];
          p.push_back(std::exp(0.3 * s));
          total += p.back();
        }
        for (int64_t d = 0; d < dv; ++d) {
          double expected = 0;
          for (int64_t j = 0; j <= t; ++j)
            expected += p[static_cast<size_t>(j)] / total * v[static_cast<size_t>((j * kv_heads + g) * dv + d)];
          EXPECT_NEAR(out[static_cast<size_t>((t * heads + h) * dv + d)], expected, 2e-5);
        }
      }
    }
  }
}

// Two completions of one prompt of 32 positions: the first has all blocks itself, the second shares the prompt's two.
TEST_P(KernelsTest, SharedBlocksGiveTheBitsOfOwnOnes) {
  const AttentionShape shape{.heads = 4, .kv_heads = 2, .key_dim = 20, .value_dim = 12, .scale = 0.3};
  const int64_t length = 45, rows = 8, position = length - rows;
  const auto q = noise(rows * 4 * 20, 1), k = noise(length * 2 * 20, 2), v = noise(length * 2 * 12, 3);
  std::vector<float> keys(8 * 2 * 20 * 16), values(8 * 2 * 12 * 16);
  const RowSpan prompt{.count = 32, .first_block = 5}, own{.count = length, .first_block = 1};
  const RowSpan sharing{
      .row = 32, .count = length - 32, .position = 32, .first_block = 7, .shared_block = 5, .shared_blocks = 2};
  for (const RowSpan& span : {prompt, own, sharing}) {
    write_blocks(k.data(), 2 * 20, 2, 20, {&span, 1}, keys.data());
    write_blocks(v.data(), 2 * 12, 2, 12, {&span, 1}, values.data());
  }
  const auto attend = [&](RowSpan span, int64_t first_block) {
    span.row = 0, span.count = rows, span.position = position, span.first_block = first_block;
    std::vector<float> out(rows * 4 * 12);
    attention(shape, q.data(), keys.data(), values.data(), {&span, 1}, out.data());
    return out;
  };
  EXPECT_EQ(attend(sharing, 7), attend(own, 1));
  EXPECT_NE(attend(sharing, 6), attend(own, 1));
}

TEST_P(KernelsTest, RowFunctionsAtOddWidths) {
  for (const int64_t c : {1, 15, 17, 130}) {
    const auto x = noise(3 * c, 1), w = noise(c, 2);
    std::vector<float> y(x.size()), rstd(3), dx(x.size()), dw(w.size());
    rms_norm(x.data(), c, w.data(), y.data(), c, rstd.data(), 3, c, 1e-6f);
    rms_norm_backward(x.data(), c, w.data(), rstd.data(), x.data(), c, dx.data(), c, dw.data(), 3, c);
    swiglu(x.data(), y.data(), dx.data(), 3 * c);
    for (int64_t i = 0; i < 3 * c; ++i) {
      const double g = x[static_cast<size_t>(i)];
      EXPECT_NEAR(dx[static_cast<size_t>(i)], g / (1 + std::exp(-g)) * y[static_cast<size_t>(i)], 1e-5);
    }
    for (const int32_t forbidden : {-1, 0, static_cast<int32_t>(c) - 1}) {
      if (c == 1 && forbidden == 0) continue;
      const RowStats s = row_stats(x.data(), c, 0.7f, forbidden);
      double sum = 0;
      for (int64_t i = 0; i < c; ++i)
        sum += i == forbidden ? 0 : std::exp(static_cast<double>(token_logprob(x[static_cast<size_t>(i)], s, 0.7f)));
      EXPECT_NEAR(sum, 1, 1e-5);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, KernelsTest, ::testing::Values("avx512bf16", "avx512", "avx2", "generic"));

}  // namespace
}  // namespace hone::cpu
