// config.json of a model folder as plain fields, named as in the file. DeepSeek-V3 and Qwen3 mixtures of experts and
// dense Llama / Qwen2 / Qwen3 decoders; both dialects of transformers (4: rope_theta + rope_scaling, 5:
// rope_parameters).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace hone {

enum class Architecture { kDeepseekV3, kLlama, kQwen2, kQwen3, kQwen3Moe };

/// The `model_type` of config.json: "deepseek_v3", "llama", "qwen2", "qwen3", "qwen3_moe".
std::string_view model_type(Architecture architecture);

struct RopeScaling {
  enum Kind { kNone, kYarn, kLlama3, kLinear };
  Kind kind = kNone;
  double factor = 1.0;
  int64_t original_max_position_embeddings = 0;  // yarn, llama3; parsing fills in max_position_embeddings when absent
  double beta_fast = 32.0, beta_slow = 1.0;      // yarn
  std::optional<double> mscale, mscale_all_dim;  // yarn
  std::optional<double> attention_factor;        // yarn; absent: follows from mscale and factor
  bool truncate = true;                          // yarn; whether the correction range is rounded to whole dimensions
  double low_freq_factor = 1.0, high_freq_factor = 4.0;  // llama3

  bool operator==(const RopeScaling&) const = default;
};

/// Checked when it comes from one of the parse functions; fields of the other family keep their defaults.
struct ModelConfig {
  Architecture architecture = Architecture::kLlama;
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;
  int64_t head_dim = 0;  // dense: width of a head; DeepSeek-V3: qk_rope_head_dim, as transformers has it
  int64_t max_position_embeddings = 2048;
  double rms_norm_eps = 1e-6;
  double rope_theta = 10000.0;
  RopeScaling rope_scaling;
  bool tie_word_embeddings = false;
  bool attention_bias = false;  // Llama, Qwen3(-MoE), DeepSeek: on q, k, v and o (DeepSeek: the a-projections and o)
  bool mlp_bias = false;        // Llama
  bool qkv_bias = false;        // Qwen2: always true, on q, k, v and not on o; not a key of the file
  bool qk_norm = false;         // Qwen3(-MoE): always true; not a key of the file
  double initializer_range = 0.02;
  std::optional<int64_t> bos_token_id;
  std::vector<int64_t> eos_token_id;
  std::optional<int64_t> pad_token_id;
  std::string dtype = "float32";  // of the stored weights: float32, bfloat16 or float16

  // mixtures of experts; Qwen3-MoE calls n_routed_experts num_experts and has neither shared experts nor groups
  int64_t moe_intermediate_size = 0;
  int64_t n_routed_experts = 0;
  int64_t n_shared_experts = 0;
  int64_t num_experts_per_tok = 0;
  std::string scoring_func = "sigmoid";  // Qwen3-MoE: "softmax", over all experts
  std::string topk_method = "noaux_tc";  // Qwen3-MoE: "greedy"
  bool norm_topk_prob = true;            // the chosen weights are divided by their sum
  int64_t decoder_sparse_step = 1;       // Qwen3-MoE: layers i with (i + 1) % step == 0 hold experts ..
  std::vector<int64_t> mlp_only_layers;  // .. unless they are named here

  // DeepSeek-V3 only
  int64_t first_k_dense_replace = 0;
  int64_t moe_layer_freq = 1;
  std::optional<int64_t> q_lora_rank;  // absent: one q_proj
  int64_t kv_lora_rank = 0;
  int64_t qk_nope_head_dim = 0;
  int64_t qk_rope_head_dim = 0;
  int64_t v_head_dim = 0;
  int64_t n_group = 1;
  int64_t topk_group = 1;
  double routed_scaling_factor = 1.0;
  bool rope_interleave = true;  // adjacent pairs, as released; false: half-split
  int64_t num_nextn_predict_layers = 0;

  /// Whether layer `i` holds a mixture of experts.
  bool is_moe_layer(int64_t i) const;
  bool has_experts() const {
    return architecture == Architecture::kDeepseekV3 || architecture == Architecture::kQwen3Moe;
  }
  int64_t qk_head_dim() const { return qk_nope_head_dim + qk_rope_head_dim; }

  bool operator==(const ModelConfig&) const = default;
};

/// `origin` names the file in messages. Throws std::runtime_error with the key, what was found, what is allowed:
/// unknown model type, rope type or activation, sliding window in use, weights quantized otherwise than in FP8 with a
/// scale for each 128 x 128 block, missing or inconsistent sizes. Keys that are not listed above are ignored, as
/// config.json carries many.
ModelConfig parse_model_config(const nlohmann::json& config, const std::string& origin);

/// The `model_config:` map of a recipe. Differs: an unknown key is an error with a "did you mean"; what is absent has
/// the default above instead of the one of transformers (no token ids, one group of experts); vocab_size may be absent
/// and is then 0, to be set from the tokenizer.
ModelConfig parse_recipe_model(const nlohmann::json& config, const std::string& origin);

/// config.json that transformers 4.5x and 5.x load as the same model.
nlohmann::json to_json(const ModelConfig& config);

/// config.json of a model folder; end tokens are also taken from generation_config.json when that names any.
ModelConfig load_model_config(const std::filesystem::path& model_dir);

}  // namespace hone
