// The operations of a forward pass on tensors: everything a policy computes goes through here, sampling and training
// alike. float32 on the CPU runs the kernels of cpu.h (own forward, own backward: one autograd function each); any
// other dtype or device runs the plain ATen version of reference.h, which is also the oracle of the tests.
//
// N rows (tokens of all sequences, packed, no padding), C width, H heads, K kv heads, D head dim, E experts, V
// vocabulary. All throw c10::Error on shapes that do not fit. Not thread-safe against one another (they share
// kernel_pool()).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "models/kernels/aligned.h"
#include "models/kernels/cpu.h"

namespace hone {

/// How a policy's products are computed, forward and backward: float32, or both factors rounded to bfloat16 and sums
/// kept in float32 (cpu::Gemm::bfloat16).
struct Arithmetic {
  bool bfloat16 = false;
  /// Backward passes add the gradients of large weights to .grad themselves and hand none on, which spares memory of
  /// their size and two passes over it. For torch::autograd::backward in one thread; torch::autograd::grad finds none.
  bool adds_gradients = false;
};

/// What is added to a weight W0 (out, in) and trained in its place: W = W0 + scale b a, with a (r, in) and b (out, r).
struct LowRank {
  at::Tensor a, b;
  double scale;
};

/// A weight (out, in) or (E, out, in) with its packed copy, which is made again whenever the tensor or the arithmetic
/// has changed: pairs of bfloat16 for bfloat16 products, else of bfloat16 when every value is one, else of floats. A
/// tensor on the meta device has a shape and no memory: then the packed copy that pack() made is all there is, enough
/// for products and embedding() without gradients.
class Weight {
 public:
  Weight() = default;
  /// Without an arithmetic: float32.
  explicit Weight(at::Tensor tensor, std::shared_ptr<const Arithmetic> arithmetic = nullptr)
      : tensor_(std::move(tensor)), arithmetic_(std::move(arithmetic)), packed_(std::make_shared<Packed>()) {}
  const at::Tensor& tensor() const { return tensor_; }
  bool defined() const { return tensor_.defined(); }
  bool bfloat16_products() const { return arithmetic_ && arithmetic_->bfloat16; }
  bool adds_gradients() const { return arithmetic_ && arithmetic_->adds_gradients; }
  bool is_packed_only() const { return tensor_.is_meta(); }
  /// From now on the tensor is W0 of this addition and products read W, packed again whenever a or b has changed;
  /// linear() hands gradients to a and b. REQUIRES: only linear() reads this weight.
  void adapt(LowRank addition) const { packed_->addition = std::move(addition); }
  const std::optional<LowRank>& addition() const { return packed_->addition; }
  /// What products read, before it is packed: the tensor, or W of an addition, rounded where products are bfloat16.
  at::Tensor values() const;
  /// Panels of slice `e` (see cpu::pack_weight).
  cpu::Panels packed(int64_t e = 0) const;
  /// Packs `values` (row-major, of the tensor's size). REQUIRES: is_packed_only().
  void pack(const float* values) const;
  /// Row `row` of a weight (out, in) to `to`, out of the tensor, else out of the panels.
  void copy_row(int64_t row, float* to) const;

 private:
  struct Packed {
    AlignedFloats floats;
    AlignedVector<uint16_t> bfloat16;
    AlignedVector<uint32_t> pairs;
    int64_t version = -1;
    std::optional<LowRank> addition;
  };
  int64_t packed_size() const;  // elements of a slice
  int64_t version() const;

  at::Tensor tensor_;
  std::shared_ptr<const Arithmetic> arithmetic_;
  std::shared_ptr<Packed> packed_;
};

/// Which positions of which sequences the N rows of a call are.
struct Rows {
  std::vector<cpu::RowSpan> spans;
  std::vector<int32_t> positions;  ///< (N)
  int64_t num_blocks = 0;          ///< key blocks of all sequences when there is no cache
  int64_t count() const { return static_cast<int64_t>(positions.size()); }
};
/// Appends positions [position, position + count) of a sequence, in blocks of their own. What lies before them, whole
/// blocks, is read from `shared_block` on.
cpu::RowSpan add_span(Rows& rows, int64_t count, int64_t position = 0, int64_t shared_block = 0);
/// Whole sequences one after another, as in training and prefill.
Rows pack_rows(std::span<const int64_t> lengths);

/// One layer's keys and values of many sequences, in blocks (cpu::AttentionShape). With MLA `values` stays undefined:
/// the compressed key is the only cache.
struct LayerCache {
  at::Tensor keys;    // (blocks, K, Dk, 16) float32
  at::Tensor values;  // (blocks, K, Dv, 16) float32
};

/// cos/sin of every position up to the longest seen, float32 (positions, dim/2).
class RopeTable {
 public:
  RopeTable() = default;
  /// `attention_factor` multiplies both (YaRN's mscale / mscale_all_dim).
  RopeTable(std::vector<double> inverse_frequencies, double attention_factor, bool adjacent_pairs);
  /// The table for at least `positions` positions.
  cpu::Rope upto(int64_t positions) const;
  int64_t dim() const { return 2 * static_cast<int64_t>(inverse_frequencies_.size()); }
  bool adjacent_pairs() const { return adjacent_; }
  const std::vector<double>& inverse_frequencies() const { return inverse_frequencies_; }
  double attention_factor() const { return factor_; }

 private:
  struct Table {
    std::vector<float> cos, sin;
  };
  std::vector<double> inverse_frequencies_;
  double factor_ = 1;
  bool adjacent_ = false;
  std::shared_ptr<Table> table_;
};

/// Multi-head latent attention (DeepSeek-V2 §2.1, V3 eq. 1-11) around the compressed cache. kv_b (H (dn + dv), c)
/// holds, per head, the key's up-projection, then the value's. Absorbed form: score = q^T Wuk c + rope part.
struct LatentShape {
  int64_t heads, nope_dim, rope_dim, value_dim, rank;
};

/// Which experts a row goes to. Selection: scores + bias, group-limited (V3 eq. 16; the groups' scores are the sums of
/// their two best, all else -inf); ids ascending.
struct RoutingRule {
  int64_t experts = 0, top_k = 0, groups = 1, kept_groups = 1;
  bool normalise = true;
  double scale = 1;
};

/// log p of each row's target under softmax(head(hidden) * inv_temperature), and the entropy of that distribution
/// (no gradient). targets (N) int64; forbidden (N) int64, -1 for none, or undefined: a token left out of the
/// distribution. Logits exist for a few rows at a time only.
struct TokenLogprobs {
  at::Tensor logprobs;  // (N) float
  at::Tensor entropy;   // (N) float, detached
  at::Tensor is_best;   // (N) float, detached: 1 where no token has a larger logit than the target, else 0
};

namespace ops {

/// (N) int64 ids -> (N, C).
at::Tensor embedding(const Weight& table, const at::Tensor& ids);
/// x (N, in) -> (N, out); bias (out) may be undefined.
at::Tensor linear(const at::Tensor& x, const Weight& w, const at::Tensor& bias = {});
at::Tensor add(const at::Tensor& a, const at::Tensor& b);
/// Over the last dim; w (C).
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& w, double eps);
/// x (N, H, D): the last table.dim() entries of each head are rotated.
at::Tensor rope(const at::Tensor& x, const RopeTable& table, const Rows& rows);
/// silu(gate) * up.
at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up);
at::Tensor sigmoid(const at::Tensor& x);
/// Over the last dim.
at::Tensor softmax(const at::Tensor& x);

/// Causal attention of every row over its own sequence. q (N, H, Dk), k (N, K, Dk), v (N, K, Dv) -> (N, H, Dv); with
/// shape.value_in_key v is undefined and the value is k's first Dv entries. With a cache, k and v are written to it
/// first (float32 CPU, no gradient) and earlier positions are read from it.
at::Tensor attention(const cpu::AttentionShape& shape, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const Rows& rows, LayerCache* cache = nullptr);

/// q (N, H, dn + dr) -> (N, H, c + dr): Wuk^T q, then the rotated part.
at::Tensor latent_query(const LatentShape& s, const at::Tensor& q, const Weight& kv_b, const RopeTable& table,
                        const Rows& rows);
/// kv (N, c + dr) -> (N, 1, c + dr): rms_norm of the first c, rotation of the rest: what the cache holds.
at::Tensor latent_key(const LatentShape& s, const at::Tensor& kv, const at::Tensor& norm, double eps,
                      const RopeTable& table, const Rows& rows);
/// context (N, H, c) -> (N, H dv): Wuv.
at::Tensor latent_value(const LatentShape& s, const at::Tensor& context, const Weight& kv_b);

/// scores (N, E), bias (E), undefined for none -> ids (N, k) int64. No gradient.
at::Tensor select_experts(const RoutingRule& rule, const at::Tensor& scores, const at::Tensor& bias);
/// The chosen scores, divided by their sum + 1e-20 if `normalise`, times `scale`: (N, k).
at::Tensor expert_weights(const RoutingRule& rule, const at::Tensor& scores, const at::Tensor& ids);
/// Sum over each row's experts of weight * down(silu(gate x) * up x). gate, up (E, F, C), down (E, C, F).
at::Tensor experts(const at::Tensor& x, const Weight& gate, const Weight& up, const Weight& down, const at::Tensor& ids,
                   const at::Tensor& weights);

TokenLogprobs token_logprobs(const at::Tensor& hidden, const Weight& head, const at::Tensor& targets,
                             const at::Tensor& forbidden, double inv_temperature);

}  // namespace ops
}  // namespace hone
