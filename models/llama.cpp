// Llama, Qwen2/2.5, Qwen3 and Qwen3-MoE: grouped-query attention with rotary halves, SwiGLU or a mixture of experts.
// Follows transformers' modeling_llama.py, modeling_qwen2.py (bias on q, k, v), modeling_qwen3.py (q_norm, k_norm per
// head before RoPE) and modeling_qwen3_moe.py.
#include <cmath>
#include <optional>

#include "models/layers.h"
#include "models/mixture_of_experts.h"

namespace hone {
namespace {

struct Projection {
  Weight weight;
  at::Tensor bias;
  at::Tensor operator()(const at::Tensor& x) const { return ops::linear(x, weight, bias); }
};

Projection projection(ParameterList& p, const std::string& name, int64_t out, int64_t in, bool bias) {
  Projection made{p.add_weight(name + ".weight", {out, in}), {}};
  if (bias) made.bias = p.add(name + ".bias", {out}, ParameterKind::kBias);
  return made;
}

class LlamaBlock final : public Block {
 public:
  LlamaBlock(const ModelConfig& c, int64_t layer, ParameterList& p)
      : heads_(c.num_attention_heads),
        kv_heads_(c.num_key_value_heads),
        dim_(c.head_dim),
        eps_(c.rms_norm_eps),
        rope_(make_rope_table(c, c.head_dim, /*adjacent_pairs=*/false)) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".", attn = prefix + "self_attn.";
    const bool bias = c.attention_bias || c.qkv_bias;
    q_ = projection(p, attn + "q_proj", heads_ * dim_, c.hidden_size, bias);
    k_ = projection(p, attn + "k_proj", kv_heads_ * dim_, c.hidden_size, bias);
    v_ = projection(p, attn + "v_proj", kv_heads_ * dim_, c.hidden_size, bias);
    o_ = projection(p, attn + "o_proj", c.hidden_size, heads_ * dim_, c.attention_bias);
    if (c.qk_norm) {
      q_norm_ = p.add(attn + "q_norm.weight", {dim_}, ParameterKind::kNorm);
      k_norm_ = p.add(attn + "k_norm.weight", {dim_}, ParameterKind::kNorm);
    }
    if (c.is_moe_layer(layer)) {
      moe_.emplace(c, prefix + "mlp.", p);
    } else {
      gate_ = projection(p, prefix + "mlp.gate_proj", c.intermediate_size, c.hidden_size, c.mlp_bias);
      up_ = projection(p, prefix + "mlp.up_proj", c.intermediate_size, c.hidden_size, c.mlp_bias);
      down_ = projection(p, prefix + "mlp.down_proj", c.hidden_size, c.intermediate_size, c.mlp_bias);
    }
    input_norm_ = p.add(prefix + "input_layernorm.weight", {c.hidden_size}, ParameterKind::kNorm);
    post_norm_ = p.add(prefix + "post_attention_layernorm.weight", {c.hidden_size}, ParameterKind::kNorm);
  }

  at::Tensor forward(const at::Tensor& x, const ForwardContext& context, int64_t layer) const override {
    LayerCache* cache = context.cache ? &(*context.cache)[static_cast<size_t>(layer)] : nullptr;
    const at::Tensor h = ops::add(x, attend(ops::rms_norm(x, input_norm_, eps_), context.rows, cache));
    const at::Tensor n = ops::rms_norm(h, post_norm_, eps_);
    return ops::add(h, moe_ ? (*moe_)(n, context) : down_(ops::swiglu(gate_(n), up_(n))));
  }

  cpu::AttentionShape attention_shape() const override {
    return {.heads = heads_,
            .kv_heads = kv_heads_,
            .key_dim = dim_,
            .value_dim = dim_,
            .scale = 1 / std::sqrt(static_cast<double>(dim_))};
  }

 private:
  at::Tensor attend(const at::Tensor& x, const Rows& rows, LayerCache* cache) const {
    const int64_t n = x.size(0);
    at::Tensor q = q_(x).view({n, heads_, dim_}), k = k_(x).view({n, kv_heads_, dim_});
    if (q_norm_.defined()) {
      q = ops::rms_norm(q, q_norm_, eps_);
      k = ops::rms_norm(k, k_norm_, eps_);
    }
    const at::Tensor v = v_(x).view({n, kv_heads_, dim_});
    const at::Tensor out =
        ops::attention(attention_shape(), ops::rope(q, rope_, rows), ops::rope(k, rope_, rows), v, rows, cache);
    return o_(out.view({n, heads_ * dim_}));
  }

  int64_t heads_, kv_heads_, dim_;
  double eps_;
  RopeTable rope_;
  Projection q_, k_, v_, o_, gate_, up_, down_;
  std::optional<MixtureOfExperts> moe_;
  at::Tensor q_norm_, k_norm_, input_norm_, post_norm_;
};

}  // namespace

std::unique_ptr<Block> make_llama_block(const ModelConfig& config, int64_t layer, ParameterList& parameters) {
  return std::make_unique<LlamaBlock>(config, layer, parameters);
}

}  // namespace hone
