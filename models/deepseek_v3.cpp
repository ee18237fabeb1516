// DeepSeek-V3: multi-head latent attention and DeepSeekMoE (technical report §2.1; inference code 9b4e978).
//
// The cache holds rms_norm(c_KV) and the rotated shared key, rank + rope_dim floats a position, nothing else; keys and
// values are never expanded: queries are multiplied by Wuk and contexts by Wuv instead, when sampling and when
// training.
#include <cmath>

#include "models/layers.h"
#include "models/mixture_of_experts.h"

namespace hone {
namespace {

class LatentAttention {
 public:
  LatentAttention(const ModelConfig& c, const std::string& prefix, ParameterList& p)
      : shape_{c.num_attention_heads, c.qk_nope_head_dim, c.qk_rope_head_dim, c.v_head_dim, c.kv_lora_rank},
        eps_(kLatentNormEps),
        rope_(make_rope_table(c, c.qk_rope_head_dim, c.rope_interleave)) {
    const int64_t query = shape_.heads * (shape_.nope_dim + shape_.rope_dim), hidden = c.hidden_size;
    auto matrix = [&](const std::string& name, int64_t out, int64_t in) {
      return p.add_weight(prefix + name, {out, in});
    };
    auto bias = [&](const std::string& name, int64_t out) {
      return c.attention_bias ? p.add(prefix + name, {out}, ParameterKind::kBias) : at::Tensor();
    };
    if (c.q_lora_rank) {
      q_a_ = matrix("q_a_proj.weight", *c.q_lora_rank, hidden);
      q_a_bias_ = bias("q_a_proj.bias", *c.q_lora_rank);
      q_a_norm_ = p.add(prefix + "q_a_layernorm.weight", {*c.q_lora_rank}, ParameterKind::kNorm);
      q_ = matrix("q_b_proj.weight", query, *c.q_lora_rank);
    } else {
      q_ = matrix("q_proj.weight", query, hidden);
    }
    kv_a_ = matrix("kv_a_proj_with_mqa.weight", shape_.rank + shape_.rope_dim, hidden);
    kv_a_bias_ = bias("kv_a_proj_with_mqa.bias", shape_.rank + shape_.rope_dim);
    kv_a_norm_ = p.add(prefix + "kv_a_layernorm.weight", {shape_.rank}, ParameterKind::kNorm);
    kv_b_ = Weight(p.add(prefix + "kv_b_proj.weight",  // read as it is: see latent_query
                         {shape_.heads * (shape_.nope_dim + shape_.value_dim), shape_.rank}, ParameterKind::kMatrix),
                   p.arithmetic());
    o_ = matrix("o_proj.weight", hidden, shape_.heads * shape_.value_dim);
    o_bias_ = bias("o_proj.bias", hidden);
    scale_ = softmax_scale(c);
  }

  at::Tensor operator()(const at::Tensor& x, const Rows& rows, LayerCache* cache) const {
    const at::Tensor low = q_a_.defined() ? ops::rms_norm(ops::linear(x, q_a_, q_a_bias_), q_a_norm_, eps_) : x;
    const at::Tensor q = ops::linear(low, q_).view({x.size(0), shape_.heads, shape_.nope_dim + shape_.rope_dim});
    const at::Tensor key = ops::latent_key(shape_, ops::linear(x, kv_a_, kv_a_bias_), kv_a_norm_, eps_, rope_, rows);
    const at::Tensor query = ops::latent_query(shape_, q, kv_b_, rope_, rows);
    const at::Tensor context = ops::attention(attention_shape(), query, key, {}, rows, cache);
    return ops::linear(ops::latent_value(shape_, context, kv_b_), o_, o_bias_);
  }

  cpu::AttentionShape attention_shape() const {
    return {.heads = shape_.heads,
            .kv_heads = 1,
            .key_dim = shape_.rank + shape_.rope_dim,
            .value_dim = shape_.rank,
            .scale = scale_,
            .value_in_key = true};
  }

 private:
  static constexpr double kLatentNormEps = 1e-6;  // the published code's default, whatever rms_norm_eps says

  // (dn + dr)^-1/2, times YaRN's mscale squared.
  static double softmax_scale(const ModelConfig& c) {
    double scale = 1 / std::sqrt(static_cast<double>(c.qk_nope_head_dim + c.qk_rope_head_dim));
    const RopeScaling& s = c.rope_scaling;
    if (s.kind == RopeScaling::kYarn && s.mscale_all_dim.value_or(0) != 0) {
      scale *= std::pow(yarn_mscale(s.factor, *s.mscale_all_dim), 2);
    }
    return scale;
  }

  LatentShape shape_;
  double eps_;
  double scale_ = 1;
  RopeTable rope_;
  Weight q_a_, q_, kv_a_, kv_b_, o_;
  at::Tensor q_a_bias_, q_a_norm_, kv_a_bias_, kv_a_norm_, o_bias_;
};

class DeepseekV3Block final : public Block {
 public:
  DeepseekV3Block(const ModelConfig& c, int64_t layer, ParameterList& p)
      : eps_(c.rms_norm_eps), attention_(c, prefix(layer) + "self_attn.", p) {
    if (c.is_moe_layer(layer)) moe_.emplace(c, prefix(layer) + "mlp.", p);
    else dense_ = FeedForward(p, prefix(layer) + "mlp.", c.hidden_size, c.intermediate_size);
    input_norm_ = p.add(prefix(layer) + "input_layernorm.weight", {c.hidden_size}, ParameterKind::kNorm);
    post_norm_ = p.add(prefix(layer) + "post_attention_layernorm.weight", {c.hidden_size}, ParameterKind::kNorm);
  }

  at::Tensor forward(const at::Tensor& x, const ForwardContext& context, int64_t layer) const override {
    LayerCache* cache = context.cache ? &(*context.cache)[static_cast<size_t>(layer)] : nullptr;
    const at::Tensor h = ops::add(x, attention_(ops::rms_norm(x, input_norm_, eps_), context.rows, cache));
    const at::Tensor n = ops::rms_norm(h, post_norm_, eps_);
    return ops::add(h, moe_ ? (*moe_)(n, context) : dense_(n));
  }

  cpu::AttentionShape attention_shape() const override { return attention_.attention_shape(); }
  at::Tensor router_bias() const override { return moe_ ? moe_->selection_bias() : at::Tensor(); }

 private:
  static std::string prefix(int64_t layer) { return "model.layers." + std::to_string(layer) + "."; }

  double eps_;
  LatentAttention attention_;
  FeedForward dense_;
  std::optional<MixtureOfExperts> moe_;
  at::Tensor input_norm_, post_norm_;
};

}  // namespace

std::unique_ptr<Block> make_deepseek_v3_block(const ModelConfig& config, int64_t layer, ParameterList& parameters) {
  return std::make_unique<DeepseekV3Block>(config, layer, parameters);
}

}  // namespace hone
