// What cpu_kernels.inc provides for one instruction set. Private to models/kernels.
#pragma once

#include <algorithm>

#include "models/kernels/cpu.h"

namespace hone::cpu {

struct Isa {
  std::string_view name;
  /// Rows [m0, m1) of the 32-column panels [panel0, panel1) of a product; scratch: gemm_scratch(g) floats.
  void (*gemm_block)(const Gemm& g, int64_t panel0, int64_t panel1, int64_t m0, int64_t m1, float* scratch);
  /// k rows of a panel of 32 floats -> ceil(k/2) rows of pairs of bfloat16, in place; there is room for k + 1 rows.
  void (*pack_pairs)(float* panel, int64_t k);
  void (*rms_norm)(const float* x, int64_t x_row, const float* w, float* y, int64_t y_row, float* rstd, int64_t n,
                   int64_t c, float eps);
  void (*rms_norm_backward)(const float* x, int64_t x_row, const float* w, const float* rstd, const float* dy,
                            int64_t dy_row, float* dx, int64_t dx_row, float* dw, int64_t n, int64_t c);
  void (*swiglu)(const float* gate, const float* up, float* y, int64_t n);
  void (*swiglu_backward)(const float* gate, const float* up, const float* dy, float* dgate, float* dup, int64_t n);
  void (*sigmoid)(const float* x, float* y, int64_t n);
  void (*add)(const float* a, const float* b, float* y, int64_t n);
  void (*rope)(const Rope& r, const float* x, float* y, const int32_t* positions, int64_t n, int64_t heads,
               int64_t head_dim, float sign);
  /// 16 rows of `width` -> out[j][16], `out_row` floats from one j to the next.
  void (*turn)(const float* x, int64_t x_row, int64_t width, float* out, int64_t out_row);
  RowStats (*row_stats)(const float* z, int64_t v, float inv_temperature, int32_t forbidden);
  void (*exp_row)(const float* z, int64_t v, const RowStats& s, float inv_temperature, int32_t forbidden, float* e);
  void (*logprob_backward_row)(float* z, int64_t v, const RowStats& s, float inv_temperature, int32_t forbidden,
                               int32_t target, float d_logprob);
  /// Queries [first, first + count) of a span under one kv head; scratch: 4 * padded length floats.
  void (*attend)(const AttentionShape& s, const float* q, const float* keys, const float* values, const RowSpan& span,
                 int64_t kv_head, int64_t first, int64_t count, float* out, float* scratch);
  /// One sequence, or a beginning and the sequences that share it, under one kv head; scratch: see
  /// attention_backward_scratch, with the longest.
  void (*attend_backward)(const AttentionShape& s, const float* q, const float* keys, const float* values,
                          std::span<const RowSpan> spans, int64_t kv_head, const float* d_out, float* dq, float* dk,
                          float* dv, float* scratch);
  void (*adamw)(const AdamW& o, float* w, const float* g, float* m, float* v, int64_t n);
};

inline constexpr int64_t kChain =
    256;  ///< products of one fused chain; also what keeps a panel in the first-level cache
inline constexpr int64_t kRowBlock = 48;        ///< rows (columns of a transposed matrix) taken at once
inline constexpr int64_t kResidentPanels = 16;  ///< panels of 256 x 32 that the second-level cache holds
/// Rows of k floats that the second-level cache holds while weights pass by.
inline int64_t near_rows(int64_t k) { return std::max<int64_t>(kRowBlock, (1 << 17) / k / 12 * 12); }
inline int64_t gemm_scratch(const Gemm& g) {
  const int64_t laid_out = kChain * (kRowBlock + kResidentPanels * kPanel);
  return g.b_packed.pairs ? std::max(laid_out, near_rows(g.k) * ((g.k + 1) / 2)) : laid_out;
}

inline constexpr int64_t kQueryChunk = 32;  ///< queries whose probabilities the backward holds at once
int64_t attention_backward_scratch(const AttentionShape& s, int64_t length);

const Isa& generic_isa();
#if defined(__x86_64__)
const Isa& avx2_isa();
const Isa& avx512_isa();
const Isa& avx512bf16_isa();
#endif

}  // namespace hone::cpu
