#include "models/gguf/parts.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace hone {
namespace {

/// Collects the parts of one layer.
class Layer {
 public:
  Layer(std::vector<GgufPart>& parts, int64_t i)
      : parts_(parts), file_(fmt::format("blk.{}.", i)), checkpoint_(fmt::format("model.layers.{}.", i)) {}

  GgufPart& add(const std::string& name, const std::string& source, std::vector<int64_t> shape) {
    return parts_.emplace_back(GgufPart{file_ + name, checkpoint_ + source, std::move(shape)});
  }
  /// A matrix with its bias; both turn with the heads where `heads` is not 0.
  void linear(const std::string& name, const std::string& source, int64_t out, int64_t in, bool bias,
              int64_t heads = 0) {
    const PartKind kind = heads ? PartKind::kRopeRows : PartKind::kSame;
    GgufPart& weight = add(name + ".weight", source + ".weight", {out, in});
    weight.kind = kind;
    weight.heads = heads;
    if (!bias) return;
    GgufPart& vector = add(name + ".bias", source + ".bias", {out});
    vector.kind = kind;
    vector.heads = heads;
  }
  void experts(const std::string& name, const std::string& source, int64_t out, int64_t in, int64_t count) {
    add(name + ".weight", source + ".weight", {out, in}).slices = count;
  }

 private:
  std::vector<GgufPart>& parts_;
  std::string file_, checkpoint_;
};

void add_attention(const ModelConfig& c, Layer& layer) {
  const bool turns = c.architecture == Architecture::kLlama, bias = c.qkv_bias || c.attention_bias;
  const int64_t query = c.num_attention_heads * c.head_dim, key = c.num_key_value_heads * c.head_dim;
  layer.linear("attn_q", "self_attn.q_proj", query, c.hidden_size, bias, turns ? c.num_attention_heads : 0);
  layer.linear("attn_k", "self_attn.k_proj", key, c.hidden_size, bias, turns ? c.num_key_value_heads : 0);
  layer.linear("attn_v", "self_attn.v_proj", key, c.hidden_size, bias);
  layer.linear("attn_output", "self_attn.o_proj", c.hidden_size, query, c.attention_bias);
  if (!c.qk_norm) return;
  layer.add("attn_q_norm.weight", "self_attn.q_norm.weight", {c.head_dim});
  layer.add("attn_k_norm.weight", "self_attn.k_norm.weight", {c.head_dim});
}

void add_latent_attention(const ModelConfig& c, Layer& layer) {
  const int64_t heads = c.num_attention_heads, query = heads * c.qk_head_dim();
  if (c.q_lora_rank) {
    layer.linear("attn_q_a", "self_attn.q_a_proj", *c.q_lora_rank, c.hidden_size, false);
    layer.add("attn_q_a_norm.weight", "self_attn.q_a_layernorm.weight", {*c.q_lora_rank});
    layer.linear("attn_q_b", "self_attn.q_b_proj", query, *c.q_lora_rank, false);
  } else {
    layer.linear("attn_q", "self_attn.q_proj", query, c.hidden_size, false);
  }
  layer.linear("attn_kv_a_mqa", "self_attn.kv_a_proj_with_mqa", c.kv_lora_rank + c.qk_rope_head_dim, c.hidden_size,
               false);
  layer.add("attn_kv_a_norm.weight", "self_attn.kv_a_layernorm.weight", {c.kv_lora_rank});
  for (const auto& [name, kind] :
       {std::pair("attn_k_b.weight", PartKind::kKeyUp), {"attn_v_b.weight", PartKind::kValueUp}}) {
    GgufPart& part =
        layer.add(name, "self_attn.kv_b_proj.weight", {heads * (c.qk_nope_head_dim + c.v_head_dim), c.kv_lora_rank});
    part.kind = kind;
    part.heads = heads;
    part.nope = c.qk_nope_head_dim;
  }
  layer.linear("attn_output", "self_attn.o_proj", c.hidden_size, heads * c.v_head_dim, false);
}

void add_feed_forward(const ModelConfig& c, Layer& layer, const std::string& suffix, const std::string& place,
                      int64_t width) {
  layer.linear("ffn_gate" + suffix, place + "gate_proj", width, c.hidden_size, c.mlp_bias);
  layer.linear("ffn_up" + suffix, place + "up_proj", width, c.hidden_size, c.mlp_bias);
  layer.linear("ffn_down" + suffix, place + "down_proj", c.hidden_size, width, c.mlp_bias);
}

void add_experts(const ModelConfig& c, Layer& layer) {
  const int64_t count = c.n_routed_experts, width = c.moe_intermediate_size;
  layer.add("ffn_gate_inp.weight", "mlp.gate.weight", {count, c.hidden_size});
  layer.experts("ffn_gate_exps", "mlp.experts.{e}.gate_proj", width, c.hidden_size, count);
  layer.experts("ffn_up_exps", "mlp.experts.{e}.up_proj", width, c.hidden_size, count);
  layer.experts("ffn_down_exps", "mlp.experts.{e}.down_proj", c.hidden_size, width, count);
  if (c.architecture != Architecture::kDeepseekV3) return;
  layer.add("exp_probs_b.bias", "mlp.gate.e_score_correction_bias", {count});
  add_feed_forward(c, layer, "_shexp", "mlp.shared_experts.", width * c.n_shared_experts);
}

/// Where row `row` of the file comes from, for heads of `width` rows.
int64_t half_split_row(int64_t row, int64_t width) {
  const int64_t in_head = row % width;
  return row - in_head + in_head % 2 * (width / 2) + in_head / 2;
}

/// Rows of one head in kv_b_proj, its width, and how many of the rows are keys.
struct LatentRows {
  int64_t per_head, rank, nope, heads;
};
LatentRows latent_rows(const GgufPart& part) {
  return {part.shape[0] / part.heads, part.shape[1], part.nope, part.heads};
}

/// visit(place in the file, place in the source) for every number.
template <class Visit>
void for_each_number(const GgufPart& part, Visit visit) {
  if (part.kind == PartKind::kRopeRows) {
    const int64_t rows = part.shape[0], columns = part.shape.size() > 1 ? part.shape[1] : 1;
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t from = half_split_row(r, rows / part.heads) * columns;
      for (int64_t c = 0; c < columns; ++c) visit(r * columns + c, from + c);
    }
    return;
  }
  const auto [per_head, rank, nope, heads] = latent_rows(part);
  const bool keys = part.kind == PartKind::kKeyUp;
  const int64_t count = keys ? nope : per_head - nope, first = keys ? 0 : nope;
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t j = 0; j < count; ++j) {
      for (int64_t c = 0; c < rank; ++c) {
        const int64_t place = keys ? (h * rank + c) * count + j : (h * count + j) * rank + c;
        visit(place, (h * per_head + first + j) * rank + c);
      }
    }
  }
}

}  // namespace

std::string GgufPart::source_name(int64_t slice) const {
  std::string name = source;
  const size_t place = name.find("{e}");
  return place == std::string::npos ? name : name.replace(place, 3, std::to_string(slice));
}

std::vector<int64_t> GgufPart::file_shape() const {
  if (kind == PartKind::kKeyUp) return {heads, shape[1], nope};
  if (kind == PartKind::kValueUp) return {heads, shape[0] / heads - nope, shape[1]};
  std::vector<int64_t> result = shape;
  if (slices) result.insert(result.begin(), slices);
  return result;
}

std::vector<GgufPart> gguf_parts(const ModelConfig& c) {
  std::vector<GgufPart> parts;
  parts.push_back({"token_embd.weight", "model.embed_tokens.weight", {c.vocab_size, c.hidden_size}});
  for (int64_t i = 0; i < c.num_hidden_layers; ++i) {
    Layer layer(parts, i);
    layer.add("attn_norm.weight", "input_layernorm.weight", {c.hidden_size});
    c.architecture == Architecture::kDeepseekV3 ? add_latent_attention(c, layer) : add_attention(c, layer);
    layer.add("ffn_norm.weight", "post_attention_layernorm.weight", {c.hidden_size});
    c.is_moe_layer(i) ? add_experts(c, layer) : add_feed_forward(c, layer, "", "mlp.", c.intermediate_size);
  }
  parts.push_back({"output_norm.weight", "model.norm.weight", {c.hidden_size}});
  if (!c.tie_word_embeddings) parts.push_back({"output.weight", "lm_head.weight", {c.vocab_size, c.hidden_size}});
  return parts;
}

std::vector<float> to_file(const GgufPart& part, std::vector<float> source) {
  if (part.kind == PartKind::kSame) return source;
  size_t count = 1;
  for (int64_t dimension : part.file_shape()) count *= static_cast<size_t>(dimension);
  std::vector<float> file(count);
  for_each_number(part, [&](int64_t to, int64_t from) { file[to] = source[from]; });
  return file;
}

void from_file(const GgufPart& part, std::span<const float> file, std::span<float> source) {
  if (part.kind == PartKind::kSame) {
    std::copy(file.begin(), file.end(), source.begin());
  } else {
    for_each_number(part, [&](int64_t from, int64_t to) { source[to] = file[from]; });
  }
}

}  // namespace hone
