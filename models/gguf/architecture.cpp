#include "models/gguf/architecture.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <optional>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace hone {
namespace {

constexpr std::string_view kRopeFactors = "rope_freqs.weight";
constexpr uint32_t kSigmoidGating = 2;  // llama.cpp: 1 softmax, 2 sigmoid
constexpr double kLogMultiplier = 0.1;  // of yarn_log_multiplier in deepseek2 files

struct Family {
  Architecture architecture;
  std::string_view name;
};
constexpr Family kFamilies[] = {{Architecture::kLlama, "llama"},
                                {Architecture::kQwen2, "qwen2"},
                                {Architecture::kQwen3, "qwen3"},
                                {Architecture::kQwen3Moe, "qwen3moe"},
                                {Architecture::kDeepseekV3, "deepseek2"}};

std::string_view family_name(Architecture architecture) {
  return std::find_if(std::begin(kFamilies), std::end(kFamilies),
                      [&](const Family& f) { return f.architecture == architecture; })
      ->name;
}

double mscale(double factor, double m) { return factor <= 1 ? 1.0 : 0.1 * m * std::log(factor) + 1.0; }

// --- config -> keys -------------------------------------------------------------------------------

/// Keys under the architecture's name.
class KeyWriter {
 public:
  explicit KeyWriter(std::string_view architecture) : prefix_(std::string(architecture) + ".") {
    keys.emplace_back("general.architecture", std::string(architecture));
  }
  void count(const std::string& key, int64_t value) { keys.emplace_back(prefix_ + key, static_cast<uint32_t>(value)); }
  void number(const std::string& key, double value) { keys.emplace_back(prefix_ + key, static_cast<float>(value)); }
  void word(const std::string& key, std::string value) { keys.emplace_back(prefix_ + key, std::move(value)); }
  void flag(const std::string& key, bool value) { keys.emplace_back(prefix_ + key, value); }

  GgufMetadata keys;

 private:
  std::string prefix_;
};

void require(bool holds, const std::string& what) {
  if (!holds) throw std::invalid_argument(what + "; llama.cpp cannot run such a model, so there is no GGUF file of it");
}

void check_expressible(const ModelConfig& c) {
  const bool llama = c.architecture == Architecture::kLlama, latent = c.architecture == Architecture::kDeepseekV3;
  const bool plain_heads = c.head_dim * c.num_attention_heads == c.hidden_size;
  require(c.architecture != Architecture::kQwen2 || plain_heads,
          "head_dim differs from hidden_size / num_attention_heads in a Qwen2");
  require(llama || !c.attention_bias, "attention_bias is true in a model that is no Llama");
  require(llama || c.rope_scaling.kind != RopeScaling::kLlama3, "rope_type is llama3 in a model that is no Llama");
  require(c.rope_scaling.truncate, "truncate is false in the rope parameters");
  require(!latent || c.rope_interleave, "rope_interleave is false");
  // llama.cpp asks for the rank except at the depth of DeepSeek-V2-Lite
  require(!latent || c.q_lora_rank || c.num_hidden_layers == 27, "q_lora_rank is null");
  if (c.architecture == Architecture::kQwen3Moe) {
    require(c.norm_topk_prob, "norm_topk_prob is false in a Qwen3-MoE");
    require(c.decoder_sparse_step == 1 && c.mlp_only_layers.empty(), "some layers of a Qwen3-MoE have no experts");
  }
  if (latent && c.rope_scaling.kind == RopeScaling::kYarn) {
    // llama.cpp takes one number for both
    const double both = c.rope_scaling.mscale.value_or(0);
    require(both != 0 && c.rope_scaling.mscale_all_dim == both && !c.rope_scaling.attention_factor,
            "yarn's mscale is not mscale_all_dim, or one is missing");
  }
}

/// cos and sin are multiplied by this (transformers' rule).
double yarn_attention_factor(const RopeScaling& s) {
  if (s.attention_factor) return *s.attention_factor;
  if (s.mscale && s.mscale_all_dim) return mscale(s.factor, *s.mscale) / mscale(s.factor, *s.mscale_all_dim);
  return mscale(s.factor, 1);
}

void write_rope(const ModelConfig& c, KeyWriter& out) {
  const RopeScaling& s = c.rope_scaling;
  out.number("rope.freq_base", c.rope_theta);
  out.count("rope.dimension_count", c.head_dim);
  if (s.kind == RopeScaling::kNone || s.kind == RopeScaling::kLlama3) return;  // llama3: a tensor says it
  out.word("rope.scaling.type", s.kind == RopeScaling::kLinear ? "linear" : "yarn");
  out.number("rope.scaling.factor", s.factor);
  if (s.kind == RopeScaling::kLinear) return;
  out.count("rope.scaling.original_context_length", s.original_max_position_embeddings);
  out.number("rope.scaling.yarn_beta_fast", s.beta_fast);
  out.number("rope.scaling.yarn_beta_slow", s.beta_slow);
  if (c.architecture == Architecture::kDeepseekV3) {
    out.number("rope.scaling.yarn_log_multiplier", kLogMultiplier * s.mscale_all_dim.value_or(0));
  } else if (yarn_attention_factor(s) != mscale(s.factor, 1)) {  // relative to the factor that llama.cpp computes
    out.number("rope.scaling.attn_factor", yarn_attention_factor(s) / mscale(s.factor, 1));
  }
}

void write_experts(const ModelConfig& c, KeyWriter& out) {
  out.count("expert_count", c.n_routed_experts);
  out.count("expert_used_count", c.num_experts_per_tok);
  out.count("expert_feed_forward_length", c.moe_intermediate_size);
  if (c.architecture == Architecture::kQwen3Moe) return;
  out.count("expert_shared_count", c.n_shared_experts);
  out.count("expert_group_count", c.n_group);
  out.count("expert_group_used_count", c.topk_group);
  out.count("expert_gating_func", kSigmoidGating);
  out.number("expert_weights_scale", c.routed_scaling_factor);
  out.flag("expert_weights_norm", c.norm_topk_prob);
  out.count("leading_dense_block_count", c.first_k_dense_replace);
}

/// llama.cpp runs latent attention as one key head: the cached vector.
void write_latent(const ModelConfig& c, KeyWriter& out) {
  if (c.q_lora_rank) out.count("attention.q_lora_rank", *c.q_lora_rank);
  out.count("attention.kv_lora_rank", c.kv_lora_rank);
  out.count("attention.key_length", c.kv_lora_rank + c.qk_rope_head_dim);
  out.count("attention.value_length", c.kv_lora_rank);
  out.count("attention.key_length_mla", c.qk_head_dim());
  out.count("attention.value_length_mla", c.v_head_dim);
}

// --- keys -> config -------------------------------------------------------------------------------

/// A float32 as the shortest decimal that is read as the same float32: 1e-05, not 9.999999747378752e-06.
double shortest(float value) { return std::stod(fmt::format("{}", value)); }

std::optional<double> as_number(const GgufValue& value) {
  return std::visit(
      []<class T>(const T& held) -> std::optional<double> {
        if constexpr (std::is_same_v<T, float>)
          return std::isfinite(held) ? std::optional(shortest(held)) : std::nullopt;
        else if constexpr (std::is_arithmetic_v<T> && !std::is_same_v<T, bool>) return static_cast<double>(held);
        else return std::nullopt;
      },
      value);
}

/// The keys of one architecture; what is there must be of the right kind.
class KeyReader {
 public:
  KeyReader(const GgufFile& file, std::string_view architecture)
      : file_(file), prefix_(std::string(architecture) + ".") {}

  [[noreturn]] void refuse(const std::string& key, const std::string& what) const {
    throw std::runtime_error(fmt::format("{}: {}{}: {}", file_.path().string(), prefix_, key, what));
  }
  const GgufValue* get(const std::string& key) const { return find(file_.metadata(), prefix_ + key); }

  double number(const std::string& key, double fallback, double low, double high) const {
    const GgufValue* value = get(key);
    if (!value) return fallback;
    const std::optional<double> number = as_number(*value);
    if (!number || !(*number >= low && *number <= high)) {
      refuse(key, fmt::format("found {}, a number from {:g} to {:g} belongs there",
                              number ? fmt::format("{}", *number) : "no number", low, high));
    }
    return *number;
  }
  int64_t count(const std::string& key, int64_t fallback, int64_t low = 1) const {
    const double value =
        number(key, static_cast<double>(fallback), static_cast<double>(low), std::numeric_limits<int32_t>::max());
    if (value != std::trunc(value)) refuse(key, fmt::format("found {}, an integer belongs there", value));
    return static_cast<int64_t>(value);
  }
  int64_t required_count(const std::string& key, int64_t low = 1) const {
    if (!get(key)) refuse(key, "the key is missing; every file of this architecture has it");
    return count(key, 0, low);
  }
  std::string word(const std::string& key, const std::string& fallback) const {
    const GgufValue* value = get(key);
    if (!value) return fallback;
    const std::string* text = std::get_if<std::string>(value);
    if (!text) refuse(key, "a string belongs there");
    return *text;
  }
  bool flag(const std::string& key, bool fallback) const {
    const GgufValue* value = get(key);
    if (!value) return fallback;
    const bool* flag = std::get_if<bool>(value);
    if (!flag) refuse(key, "a boolean belongs there");
    return *flag;
  }

 private:
  const GgufFile& file_;
  std::string prefix_;
};

Architecture read_architecture(const GgufFile& file) {
  const GgufValue* value = find(file.metadata(), "general.architecture");
  const std::string* name = value ? std::get_if<std::string>(value) : nullptr;
  std::vector<std::string_view> known;
  for (const Family& family : kFamilies) {
    if (name && *name == family.name) return family.architecture;
    known.push_back(family.name);
  }
  throw std::runtime_error(fmt::format("{}: general.architecture: {} is not supported; supported: {}",
                                       file.path().string(), name ? "\"" + *name + "\"" : "nothing",
                                       fmt::join(known, ", ")));
}

/// Of factor f at inverse frequency 1/w: 1 where f = 1; 1/f = a w + b on the slope, where a = L0 / (high - low) and
/// b = -low / (high - low) up to the factor. Only those two can be known, so low_freq_factor is taken to be 1.
std::optional<RopeScaling> fit_llama3(std::span<const float> factors, std::span<const double> frequencies) {
  RopeScaling scaling;
  scaling.kind = RopeScaling::kLlama3;
  scaling.factor = shortest(*std::max_element(factors.begin(), factors.end()));
  std::vector<std::pair<double, double>> slope;  // 1 / wave length, mix of the two ends
  for (size_t i = 0; i < factors.size(); ++i) {
    if (factors[i] <= 1 || factors[i] >= scaling.factor) continue;
    const double mix = (1 / static_cast<double>(factors[i]) - 1 / scaling.factor) / (1 - 1 / scaling.factor);
    slope.emplace_back(frequencies[i] / (2 * std::numbers::pi), mix);
  }
  if (slope.size() < 2) return std::nullopt;
  const auto [x0, y0] = slope.front();
  const auto [x1, y1] = slope.back();
  const double a = (y0 - y1) / (x0 - x1), b = y0 - a * x0;
  if (!(a > 0 && b < 0)) return std::nullopt;
  scaling.low_freq_factor = 1;
  scaling.high_freq_factor = std::round((1 - 1 / b) * 1e4) / 1e4;
  scaling.original_max_position_embeddings = std::llround(a * (scaling.high_freq_factor - 1));
  return scaling;
}

bool reproduces(const ModelConfig& config, std::span<const float> factors) {
  if (config.rope_scaling.original_max_position_embeddings < 1 || config.rope_scaling.high_freq_factor <= 1)
    return false;
  const std::vector<float> again = llama3_rope_factors(config);
  return std::equal(again.begin(), again.end(), factors.begin(), factors.end(),
                    [](float a, float b) { return std::fabs(a - b) <= 1e-4f * b; });
}

std::vector<double> inverse_frequencies(const ModelConfig& config) {
  std::vector<double> f;
  for (int64_t i = 0; i < config.head_dim; i += 2) {
    f.push_back(std::pow(config.rope_theta, -static_cast<double>(i) / static_cast<double>(config.head_dim)));
  }
  return f;
}

/// Fits what the tensor shows of Llama 3's parameters; where too few factors lie on the slope, tries the usual ones
/// with every power of two as original length.
RopeScaling read_llama3(const GgufFile& file, ModelConfig config, const GgufTensor& tensor) {
  std::vector<float> factors(tensor.shape.size() == 1 ? static_cast<size_t>(tensor.shape[0]) : 0);
  if (tensor.type == GgmlType::kF32) dequantize(tensor.type, tensor.data, factors);
  const bool sane = tensor.type == GgmlType::kF32 && factors.size() == static_cast<size_t>(config.head_dim / 2) &&
                    std::all_of(factors.begin(), factors.end(), [](float f) { return f >= 1 && f <= 1e6f; });
  if (sane) {
    if (std::all_of(factors.begin(), factors.end(), [](float f) { return f == 1; })) return {};
    std::vector<RopeScaling> candidates;
    if (const auto fitted = fit_llama3(factors, inverse_frequencies(config))) candidates.push_back(*fitted);
    RopeScaling usual{.kind = RopeScaling::kLlama3,
                      .factor = shortest(*std::max_element(factors.begin(), factors.end()))};
    for (int64_t length = 2; length <= int64_t{1} << 24; length *= 2) {
      usual.original_max_position_embeddings = length;
      candidates.push_back(usual);
    }
    for (const RopeScaling& candidate : candidates) {
      config.rope_scaling = candidate;
      if (reproduces(config, factors)) return candidate;
    }
  }
  throw std::runtime_error(
      fmt::format("{}: tensor {}: its factors are not those of Llama 3's rope scaling for {} pairs; "
                  "other factors are not supported",
                  file.path().string(), kRopeFactors, config.head_dim / 2));
}

RopeScaling read_yarn(const KeyReader& in, const ModelConfig& config) {
  RopeScaling s;
  s.kind = RopeScaling::kYarn;
  s.factor = in.number("rope.scaling.factor", 1, 1, 1e6);
  s.original_max_position_embeddings = in.count("rope.scaling.original_context_length", config.max_position_embeddings);
  s.beta_fast = in.number("rope.scaling.yarn_beta_fast", 32, 1e-6, 1e6);
  s.beta_slow = in.number("rope.scaling.yarn_beta_slow", 1, 1e-6, 1e6);
  if (in.get("rope.scaling.yarn_ext_factor") && in.number("rope.scaling.yarn_ext_factor", 1, -1e6, 1e6) != 1) {
    in.refuse("rope.scaling.yarn_ext_factor", "only 1 is supported");
  }
  if (config.architecture == Architecture::kDeepseekV3) {
    const double multiplier = in.number("rope.scaling.yarn_log_multiplier", 0, 0, 1e3) / kLogMultiplier;
    if (multiplier > 0) s.mscale = s.mscale_all_dim = std::round(multiplier * 1e6) / 1e6;
  } else if (in.get("rope.scaling.attn_factor")) {
    s.attention_factor = in.number("rope.scaling.attn_factor", 1, 0, 1e6) * mscale(s.factor, 1);
  }
  return s;
}

RopeScaling read_rope(const GgufFile& file, const KeyReader& in, const ModelConfig& config) {
  const std::string type = in.word("rope.scaling.type", "none");
  if (type == "yarn") return read_yarn(in, config);
  if (type == "linear") {
    return {.kind = RopeScaling::kLinear, .factor = in.number("rope.scaling.factor", 1, 1e-6, 1e6)};
  }
  if (type != "none") {
    in.refuse("rope.scaling.type", fmt::format("\"{}\" is not supported; supported: none, linear, yarn", type));
  }
  if (const GgufTensor* factors = file.find(kRopeFactors)) return read_llama3(file, config, *factors);
  return {};
}

void read_heads(const KeyReader& in, ModelConfig& c) {
  c.num_attention_heads = in.required_count("attention.head_count");
  c.num_key_value_heads = in.count("attention.head_count_kv", c.num_attention_heads);
  c.head_dim = in.count("attention.key_length", c.hidden_size / c.num_attention_heads);
  if (in.count("attention.value_length", c.head_dim) != c.head_dim) {
    in.refuse("attention.value_length", fmt::format("it differs from attention.key_length, which is {}", c.head_dim));
  }
  if (in.count("rope.dimension_count", c.head_dim) != c.head_dim) {
    in.refuse("rope.dimension_count",
              fmt::format("rotating a part of the head, which has {}, is not supported", c.head_dim));
  }
}

void read_latent(const KeyReader& in, ModelConfig& c) {
  c.num_attention_heads = c.num_key_value_heads = in.required_count("attention.head_count");
  if (in.get("attention.q_lora_rank")) c.q_lora_rank = in.required_count("attention.q_lora_rank");
  c.kv_lora_rank = in.required_count("attention.kv_lora_rank");
  c.qk_rope_head_dim = c.head_dim = in.required_count("rope.dimension_count");
  const int64_t key_length = in.required_count("attention.key_length_mla");
  if (key_length <= c.qk_rope_head_dim) {
    in.refuse("attention.key_length_mla",
              fmt::format("{} is not above rope.dimension_count, which is {}", key_length, c.qk_rope_head_dim));
  }
  c.qk_nope_head_dim = key_length - c.qk_rope_head_dim;
  c.v_head_dim = in.required_count("attention.value_length_mla");
  if (in.count("expert_gating_func", 0, 0) != kSigmoidGating) {
    in.refuse("expert_gating_func", "only 2 (sigmoid), which is DeepSeek-V3, is supported");
  }
  c.n_shared_experts = in.required_count("expert_shared_count");
  c.n_group = in.count("expert_group_count", 1);
  c.topk_group = in.count("expert_group_used_count", 1);
  c.routed_scaling_factor = in.number("expert_weights_scale", 1, 1e-9, 1e9);
  c.norm_topk_prob = in.flag("expert_weights_norm", false);
  c.first_k_dense_replace = in.count("leading_dense_block_count", 0, 0);
}

void read_experts(const GgufFile& file, const KeyReader& in, ModelConfig& c) {
  c.n_routed_experts = in.required_count("expert_count");
  c.num_experts_per_tok = in.required_count("expert_used_count");
  c.moe_intermediate_size = in.required_count("expert_feed_forward_length");
  const std::string name = fmt::format("blk.{}.ffn_gate_inp.weight", c.num_hidden_layers - 1);
  const GgufTensor* router = file.find(name);
  if (!router || router->shape.empty() || router->shape[0] != c.n_routed_experts) {
    in.refuse("expert_count",
              fmt::format("{} experts, but the tensor {} has no row for each", c.n_routed_experts, name));
  }
}

}  // namespace

GgufMetadata config_metadata(const ModelConfig& c) {
  check_expressible(c);
  KeyWriter out(family_name(c.architecture));
  const bool latent = c.architecture == Architecture::kDeepseekV3;
  out.count("block_count", c.num_hidden_layers);
  out.count("context_length", c.max_position_embeddings);
  out.count("embedding_length", c.hidden_size);
  out.count("feed_forward_length", c.intermediate_size);
  out.count("vocab_size", c.vocab_size);
  out.count("attention.head_count", c.num_attention_heads);
  out.count("attention.head_count_kv", latent ? 1 : c.num_key_value_heads);
  out.number("attention.layer_norm_rms_epsilon", c.rms_norm_eps);
  if (latent) {
    write_latent(c, out);
  } else {
    out.count("attention.key_length", c.head_dim);
    out.count("attention.value_length", c.head_dim);
  }
  write_rope(c, out);
  if (c.has_experts()) write_experts(c, out);
  return out.keys;
}

ModelConfig config_of(const GgufFile& file) {
  ModelConfig c;
  c.architecture = read_architecture(file);
  const KeyReader in(file, family_name(c.architecture));
  c.num_hidden_layers = in.required_count("block_count") - in.count("nextn_predict_layers", 0, 0);
  if (c.num_hidden_layers < 1 || c.num_hidden_layers > static_cast<int64_t>(file.tensors().size())) {
    in.refuse("block_count",
              fmt::format("{} layers, but the file has {} tensors", c.num_hidden_layers, file.tensors().size()));
  }
  c.max_position_embeddings = in.required_count("context_length");
  c.hidden_size = in.required_count("embedding_length");
  c.intermediate_size = in.required_count("feed_forward_length");
  c.rms_norm_eps = in.number("attention.layer_norm_rms_epsilon", 1e-6, 0, 1);
  c.rope_theta = in.number("rope.freq_base", 10000, 1, 1e300);
  const GgufTensor* embedding = file.find("token_embd.weight");
  c.vocab_size = embedding && !embedding->shape.empty() ? embedding->shape[0] : 0;
  c.tie_word_embeddings = !file.find("output.weight");
  c.qkv_bias = c.architecture == Architecture::kQwen2;
  c.qk_norm = c.architecture == Architecture::kQwen3 || c.architecture == Architecture::kQwen3Moe;
  if (c.architecture == Architecture::kLlama) {
    c.attention_bias = file.find("blk.0.attn_q.bias");
    c.mlp_bias = file.find("blk.0.ffn_gate.bias");
    if (in.count("expert_count", 0, 0) > 0)
      in.refuse("expert_count", "experts in a llama file (Mixtral) are not supported");
  }
  if (c.architecture == Architecture::kQwen3Moe) {
    c.scoring_func = "softmax";
    c.topk_method = "greedy";
  }
  c.architecture == Architecture::kDeepseekV3 ? read_latent(in, c) : read_heads(in, c);
  if (c.has_experts()) read_experts(file, in, c);
  c.rope_scaling = read_rope(file, in, c);
  return parse_model_config(to_json(c), file.path().string());  // for its checks
}

std::vector<float> llama3_rope_factors(const ModelConfig& config) {
  const RopeScaling& s = config.rope_scaling;
  const auto length = static_cast<double>(s.original_max_position_embeddings);
  std::vector<float> factors;
  for (double frequency : inverse_frequencies(config)) {
    const double wave = 2 * std::numbers::pi / frequency;
    const double mix = (length / wave - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
    factors.push_back(static_cast<float>(1 / std::lerp(1 / s.factor, 1.0, std::clamp(mix, 0.0, 1.0))));
  }
  return factors;
}

}  // namespace hone
