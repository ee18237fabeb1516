// The kernels without torch, at awkward sizes and in buffers that end where the data end: what AddressSanitizer looks
// at. Results against slow double loops; equality with ATen and of gradients is in torch/ops_test.cpp.
#include "models/kernels/cpu.h"

#include <cmath>
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
    const Gemm with_packed{
        .a = a.data(), .a_row = k, .b_packed = packed.data(), .c = c.data(), .c_row = n, .m = m, .n = n, .k = k};
    const Gemm with_strides{.a = a.data(),
                            .a_row = k,
                            .b = b.data(),
                            .b_row = 1,
                            .b_col = k,
                            .c = d.data(),
                            .c_row = n,
                            .m = m,
                            .n = n,
                            .k = k};
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

INSTANTIATE_TEST_SUITE_P(InstructionSets, KernelsTest, ::testing::Values("avx512", "avx2", "generic"));

}  // namespace
}  // namespace hone::cpu
