// The arithmetic of the forward pass on a CPU: float32, no torch. One source (cpu_kernels.inc) is built for AVX-512,
// AVX2+FMA and plain C++, and one of the three is chosen at run time.
//
// What every function here keeps, and what makes sampler and trainer agree bit for bit:
//   a row of the result depends on that row's inputs alone: not on the batch, its place in it, or what else is there;
//   sums have one fixed order, the same under every instruction set and for any number of threads.
//
// Shapes: N rows (tokens), C width, H heads, K kv heads, D head dim. All matrices row-major unless strides say else.
// Nothing here allocates per row, throws, or keeps state; work is spread over kernel_pool().
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace hone::cpu {

/// "avx512bf16", "avx512", "avx2" or "generic".
std::string_view instruction_set();
/// Uses another set from now on (tests compare their bits); false when this processor lacks it.
bool use_instruction_set(std::string_view name);

inline constexpr int64_t kPanel = 32;  ///< output columns a product computes at once
inline constexpr int64_t kBlock = 16;  ///< cache positions in one block: one lane each

// --- products ---------------------------------------------------------------------------------------------------

/// A weight (n outputs, k inputs) laid out as [ceil(n/32)][k][32], zero beyond n: as floats, or as bfloat16 where that
/// holds every weight exactly (half the memory traffic, the same products), or, for bfloat16 products, as
/// [ceil(n/32)][ceil(k/2)][32] pairs of neighbours in k, the first in the lower half.
struct Panels {
  const float* floats = nullptr;
  const uint16_t* bfloat16 = nullptr;
  const uint32_t* pairs = nullptr;
  explicit operator bool() const { return floats || bfloat16 || pairs; }
};

/// c[i][j] (+)= sum over p < k of a[i*a_row + p*a_col] * b[p*b_row + j*b_col], one fused chain over each 256 p,
/// the chains added in order. With `b_packed` (see pack_weight) b itself is not read.
struct Gemm {
  const float* a = nullptr;
  int64_t a_row = 0, a_col = 1;
  const float* b = nullptr;
  int64_t b_row = 0, b_col = 1;
  Panels b_packed;
  float* c = nullptr;
  int64_t c_row = 0;
  int64_t m = 0, n = 0, k = 0;
  bool accumulate = false;
  /// Rounds a and b to the nearest bfloat16 first (subnormals to 0) and adds the products of each pair p = 2i, 2i + 1
  /// in the order of VDPBF16PS: the odd one, then the even one. Implied by panels of pairs.
  bool bfloat16 = false;
};
void gemm(std::span<const Gemm> products);

/// Elements of the panels of a weight of n outputs and k inputs.
int64_t packed_size(int64_t n, int64_t k);
/// w (n, k) -> panels.
void pack_weight(const float* w, int64_t n, int64_t k, float* packed);
/// The same as bfloat16. REQUIRES: is_bfloat16(w, n * k).
void pack_weight(const float* w, int64_t n, int64_t k, uint16_t* packed);
/// Elements of the panels of pairs, and w (n, k) -> those, rounded to bfloat16.
int64_t packed_pairs_size(int64_t n, int64_t k);
void pack_weight_pairs(const float* w, int64_t n, int64_t k, uint32_t* packed);
/// Whether each of n floats is a bfloat16.
bool is_bfloat16(const float* w, int64_t n);

// --- rows -------------------------------------------------------------------------------------------------------

/// y = x / sqrt(mean(x^2) + eps) * w for each of n rows of c (Zhang & Sennrich 2019, eq. 4). rstd (n) may be null.
void rms_norm(const float* x, int64_t x_row, const float* w, float* y, int64_t y_row, float* rstd, int64_t n, int64_t c,
              float eps);
/// dx (n, c) and dw (c, added to) of the above.
void rms_norm_backward(const float* x, int64_t x_row, const float* w, const float* rstd, const float* dy,
                       int64_t dy_row, float* dx, int64_t dx_row, float* dw, int64_t n, int64_t c);

/// y = gate * sigmoid(gate) * up, elementwise over n.
void swiglu(const float* gate, const float* up, float* y, int64_t n);
void swiglu_backward(const float* gate, const float* up, const float* dy, float* dgate, float* dup, int64_t n);
/// y = 1 / (1 + e^-x), elementwise over n.
void sigmoid(const float* x, float* y, int64_t n);
/// Softmax over each of n rows of c.
void softmax(const float* x, float* y, int64_t n, int64_t c);
/// y = a + b, elementwise over n.
void add(const float* a, const float* b, float* y, int64_t n);

/// Rotates the last `dim` of each head's row; cos/sin (positions, dim/2). Adjacent pairs (2i, 2i+1) or halves (i,
/// i+dim/2). `sign` -1 turns back: the gradient.
struct Rope {
  const float* cos = nullptr;
  const float* sin = nullptr;
  int64_t dim = 0;
  bool adjacent = false;
};
void rope(const Rope& r, const float* x, float* y, const int32_t* positions, int64_t n, int64_t heads, int64_t head_dim,
          float sign);

// --- vocabulary -------------------------------------------------------------------------------------------------

/// Of one row of logits z (v), with t = inv_temperature and `forbidden` (-1: none) left out of the distribution:
struct RowStats {
  float max;      ///< largest allowed logit
  float log_sum;  ///< log of sum over allowed i of exp((z_i - max) t)
  float entropy;  ///< nats
};
RowStats row_stats(const float* z, int64_t v, float inv_temperature, int32_t forbidden);
/// The one formula of a token's log-prob: sampler and trainer both call it.
inline float token_logprob(float z, const RowStats& s, float inv_temperature) {
  return (z - s.max) * inv_temperature - s.log_sum;
}
/// e[i] = exp((z_i - max) t), 0 for the forbidden token.
void exp_row(const float* z, int64_t v, const RowStats& s, float inv_temperature, int32_t forbidden, float* e);
/// dz[i] (in place of z) = t * (d_logprob * ([i == target] - p_i)); 0 for the forbidden token.
void logprob_backward_row(float* z, int64_t v, const RowStats& s, float inv_temperature, int32_t forbidden,
                          int32_t target, float d_logprob);

// --- attention --------------------------------------------------------------------------------------------------

/// Keys and values live in blocks of 16 positions with the positions in the lanes: [block][kv head][dim][16].
/// A sequence's blocks are `shared_blocks` from `shared_block` on, which other sequences may have too (the prompt of a
/// group), then its own from `first_block` on. Lanes past its length are finite.
/// With value_in_key the value is the first value_dim entries of the key (MLA's compressed cache: keys only).
struct AttentionShape {
  int64_t heads = 0, kv_heads = 0, key_dim = 0, value_dim = 0;
  double scale = 1;  ///< of the scores; float32 kernels round it once
  bool value_in_key = false;
};

/// Consecutive rows that are positions [position, position + count) of one sequence.
struct RowSpan {
  int64_t row = 0, count = 0, position = 0, first_block = 0;
  int64_t shared_block = 0, shared_blocks = 0;  ///< positions below 16 shared_blocks are only read
};

/// Copies rows x (N, kv_heads, dim) with row stride x_row into their blocks.
void write_blocks(const float* x, int64_t x_row, int64_t kv_heads, int64_t dim, std::span<const RowSpan> spans,
                  float* blocks);

/// out (N, heads, value_dim) = softmax(scale q k^T) v, each query over its own sequence's positions up to itself,
/// in blocks from position 0: the same bits for one query and for many. q (N, heads, key_dim) contiguous.
void attention(const AttentionShape& s, const float* q, const float* key_blocks, const float* value_blocks,
               std::span<const RowSpan> spans, float* out);

/// Gradients for whole sequences: every span starts at position 0, or at the end of the last span before it that does
/// and shares all of that one's blocks. dq like q; dk (N, kv_heads, key_dim) and dv (N, kv_heads, value_dim)
/// contiguous, overwritten; with value_in_key dv is null and goes into dk.
void attention_backward(const AttentionShape& s, const float* q, const float* key_blocks, const float* value_blocks,
                        std::span<const RowSpan> spans, const float* d_out, float* dq, float* dk, float* dv);

// --- optimizer --------------------------------------------------------------------------------------------------

/// Decoupled AdamW on n weights (Loshchilov & Hutter 2019, alg. 2); gradients are scaled by `grad_scale` first.
struct AdamW {
  float learning_rate, beta1, beta2, epsilon, weight_decay, correction1, correction2, grad_scale;
};
void adamw(const AdamW& o, float* w, const float* g, float* m, float* v, int64_t n);

}  // namespace hone::cpu
