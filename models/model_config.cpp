#include "models/model_config.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "models/atomic_file.h"

namespace hone {
namespace {

using nlohmann::json;

constexpr int64_t kMaxSize = std::numeric_limits<int32_t>::max();

/// Where the fields come from: a checkpoint's file has transformers' defaults and keys that are not ours; a recipe
/// starts from the defaults of ModelConfig and may hold nothing unknown.
enum class Source { kFile, kRecipe };

struct Family {
  Architecture architecture;
  std::string_view model_type, class_name;
};
constexpr Family kFamilies[] = {{Architecture::kDeepseekV3, "deepseek_v3", "DeepseekV3ForCausalLM"},
                                {Architecture::kLlama, "llama", "LlamaForCausalLM"},
                                {Architecture::kQwen2, "qwen2", "Qwen2ForCausalLM"},
                                {Architecture::kQwen3, "qwen3", "Qwen3ForCausalLM"},
                                {Architecture::kQwen3Moe, "qwen3_moe", "Qwen3MoeForCausalLM"}};

const Family& family_of(Architecture architecture) {
  return *std::find_if(std::begin(kFamilies), std::end(kFamilies),
                       [&](const Family& family) { return family.architecture == architecture; });
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t changed = diagonal + (a[i] != b[j]);
      diagonal = std::exchange(row[j + 1], std::min({changed, row[j] + 1, row[j + 1] + 1}));
    }
  }
  return row.back();
}

/// The keys of one JSON object. Each getter returns the fallback when the key is absent or null; the keys that were
/// asked for are the known ones.
class Fields {
 public:
  Fields(const json& object, std::string origin) : object_(object), origin_(std::move(origin)) {
    if (!object.is_object())
      throw std::runtime_error(origin_ + ": it is not a JSON object; a map of keys belongs there");
  }

  [[noreturn]] void refuse(std::string_view key, const std::string& what) const {
    throw std::runtime_error(fmt::format("{}: {}: {}", origin_, key, what));
  }
  /// Whether the key is there, null or not.
  bool names(const std::string& key) {
    known_.insert(key);
    return object_.contains(key);
  }
  /// The value, or null pointer when the key is absent or null.
  const json* get(const std::string& key) {
    known_.insert(key);
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }

  int64_t integer(const std::string& key, int64_t fallback, int64_t low = 1, int64_t high = kMaxSize) {
    const json* value = get(key);
    return value ? checked_integer(key, *value, low, high) : fallback;
  }
  int64_t required_integer(const std::string& key, int64_t low = 1, int64_t high = kMaxSize) {
    const json* value = get(key);
    if (!value) refuse(key, "the key is missing; every model of this type has it");
    return checked_integer(key, *value, low, high);
  }
  std::optional<int64_t> optional_integer(const std::string& key, std::optional<int64_t> fallback, int64_t low) {
    if (!names(key)) return fallback;
    const json* value = get(key);
    return value ? std::optional(checked_integer(key, *value, low, kMaxSize)) : std::nullopt;
  }
  double number(const std::string& key, double fallback, double low, double high = 1e300) {
    const json* value = get(key);
    if (!value) return fallback;
    const double number = value->is_number() ? value->get<double>() : std::nan("");
    if (!(number >= low && number <= high)) {
      refuse(key, fmt::format("found {}, a number from {:g} to {:g} belongs there", shown(*value), low, high));
    }
    return number;
  }
  double required_number(const std::string& key, double low) {
    if (!get(key)) refuse(key, "the key is missing");
    return number(key, 0, low);
  }
  bool boolean(const std::string& key, bool fallback) {
    const json* value = get(key);
    if (value && !value->is_boolean()) refuse(key, fmt::format("found {}, true or false belongs there", shown(*value)));
    return value ? value->get<bool>() : fallback;
  }
  std::string word(const std::string& key, const std::string& fallback) {
    const json* value = get(key);
    if (value && !value->is_string()) refuse(key, fmt::format("found {}, a word belongs there", shown(*value)));
    return value ? value->get<std::string>() : fallback;
  }
  std::string one_of(const std::string& key, const std::string& fallback, const std::vector<std::string>& words) {
    const std::string found = word(key, fallback);
    if (std::find(words.begin(), words.end(), found) == words.end()) {
      refuse(key, fmt::format("\"{}\" is not supported; supported: {}", found, fmt::join(words, ", ")));
    }
    return found;
  }

  /// Throws for the first key that no getter has asked for.
  void refuse_unknown() const {
    for (const auto& [key, value] : object_.items()) {
      if (!known_.contains(key)) refuse_unknown(key);
    }
  }
  std::string place(const std::string& key) const { return origin_ + ": " + key; }
  static std::string shown(const json& value) {
    const std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
    return text.size() > 60 ? text.substr(0, 60) + "..." : text;
  }

 private:
  int64_t checked_integer(const std::string& key, const json& value, int64_t low, int64_t high) const {
    const bool whole = value.is_number_integer() ||
                       (value.is_number_float() && std::trunc(value.get<double>()) == value.get<double>());
    const double number = whole ? value.get<double>() : std::nan("");
    if (!(number >= static_cast<double>(low) && number <= static_cast<double>(high))) {
      refuse(key, fmt::format("found {}, an integer from {} to {} belongs there", shown(value), low, high));
    }
    return value.get<int64_t>();
  }
  [[noreturn]] void refuse_unknown(const std::string& key) const {
    const auto nearest = std::min_element(known_.begin(), known_.end(), [&](const auto& a, const auto& b) {
      return edit_distance(a, key) < edit_distance(b, key);
    });
    const bool close = nearest != known_.end() && edit_distance(*nearest, key) <= std::max<size_t>(2, key.size() / 3);
    const std::string hint =
        close ? fmt::format("did you mean {}?", *nearest) : fmt::format("known keys: {}", fmt::join(known_, ", "));
    throw std::runtime_error(fmt::format("{}: unknown key {}; {}", origin_, key, hint));
  }

  const json& object_;
  std::string origin_;
  std::set<std::string> known_;
};

ModelConfig family_defaults(Architecture architecture, Source source) {
  ModelConfig config;
  config.architecture = architecture;
  config.qkv_bias = architecture == Architecture::kQwen2;
  config.qk_norm = architecture == Architecture::kQwen3 || architecture == Architecture::kQwen3Moe;
  const bool qwen = architecture == Architecture::kQwen2 || config.qk_norm;
  config.max_position_embeddings = qwen ? 32768 : architecture == Architecture::kLlama ? 2048 : 4096;
  if (architecture == Architecture::kQwen3Moe) {
    config.scoring_func = "softmax";
    config.topk_method = "greedy";
    config.norm_topk_prob = false;
  }
  if (source == Source::kRecipe) return config;
  if (architecture == Architecture::kQwen3) config.head_dim = 128;
  if (architecture == Architecture::kLlama) {
    config.bos_token_id = 1;
    config.eos_token_id = {2};
  }
  if (architecture == Architecture::kDeepseekV3) {
    config.bos_token_id = 0;
    config.eos_token_id = {1};
    config.q_lora_rank = 1536;
    config.n_group = 8;
    config.topk_group = 4;
    config.first_k_dense_replace = 3;
    config.routed_scaling_factor = 2.5;
  }
  return config;
}

Architecture read_architecture(Fields& fields) {
  fields.get("architectures");
  if (!fields.get("model_type")) fields.refuse("model_type", "the key is missing; it names the kind of model");
  std::vector<std::string> words;
  for (const Family& family : kFamilies) words.emplace_back(family.model_type);
  const std::string found = fields.one_of("model_type", "", words);
  return kFamilies[std::find(words.begin(), words.end(), found) - words.begin()].architecture;
}

RopeScaling::Kind read_rope_kind(Fields& rope) {
  const std::string older = rope.word("type", "default");
  const std::string kind = rope.one_of("rope_type", older, {"default", "linear", "llama3", "yarn"});
  if (kind == "yarn") return RopeScaling::kYarn;
  if (kind == "llama3") return RopeScaling::kLlama3;
  return kind == "linear" ? RopeScaling::kLinear : RopeScaling::kNone;
}

/// 0 means the same as absent to transformers.
std::optional<double> nonzero(double value) { return value == 0.0 ? std::nullopt : std::optional(value); }

void read_yarn(Fields& rope, RopeScaling& scaling, int64_t max_position_embeddings) {
  const int64_t original = scaling.original_max_position_embeddings;
  const double implied = static_cast<double>(max_position_embeddings) / static_cast<double>(original);
  scaling.factor = rope.number("factor", implied, 1.0);
  scaling.beta_fast = rope.number("beta_fast", 32.0, 1e-6);
  scaling.beta_slow = rope.number("beta_slow", 1.0, 1e-6);
  scaling.mscale = nonzero(rope.number("mscale", 0.0, 0.0));
  scaling.mscale_all_dim = nonzero(rope.number("mscale_all_dim", 0.0, 0.0));
  if (rope.get("attention_factor")) scaling.attention_factor = rope.number("attention_factor", 0.0, 0.0);
  scaling.truncate = rope.boolean("truncate", true);
}

void read_llama3(Fields& rope, RopeScaling& scaling) {
  scaling.factor = rope.required_number("factor", 1.0);
  scaling.low_freq_factor = rope.required_number("low_freq_factor", 1e-6);
  scaling.high_freq_factor = rope.required_number("high_freq_factor", 1e-6);
  if (scaling.high_freq_factor <= scaling.low_freq_factor) {
    rope.refuse("high_freq_factor", fmt::format("{} is not above low_freq_factor, which is {}",
                                                scaling.high_freq_factor, scaling.low_freq_factor));
  }
}

RopeScaling read_rope_scaling(Fields& rope, int64_t max_position_embeddings, std::optional<int64_t> original) {
  RopeScaling scaling;
  scaling.kind = read_rope_kind(rope);
  if (rope.number("partial_rotary_factor", 1.0, 0.0) != 1.0) {
    rope.refuse("partial_rotary_factor", "rotating a part of the head is not supported; supported: 1.0");
  }
  if (scaling.kind == RopeScaling::kLinear) scaling.factor = rope.required_number("factor", 1.0);
  if (scaling.kind == RopeScaling::kYarn || scaling.kind == RopeScaling::kLlama3) {
    scaling.original_max_position_embeddings =
        rope.integer("original_max_position_embeddings", original.value_or(max_position_embeddings));
  }
  if (scaling.kind == RopeScaling::kYarn) read_yarn(rope, scaling, max_position_embeddings);
  if (scaling.kind == RopeScaling::kLlama3) read_llama3(rope, scaling);
  return scaling;
}

/// Both dialects: theta beside `rope_scaling` (4), or inside `rope_parameters` (5). Where a file has both maps
/// transformers 5 reads rope_scaling, as 4 does.
void read_rope(Fields& fields, ModelConfig& config, Source source) {
  const std::string old_key = "rope_scaling", new_key = "rope_parameters";
  const json* old_map = fields.get(old_key);
  const json* new_map = fields.get(new_key);
  if (old_map && old_map->empty()) old_map = nullptr;
  const json empty = json::object();
  Fields rope(old_map ? *old_map : new_map ? *new_map : empty, fields.place(old_map ? old_key : new_key));
  const auto original = fields.optional_integer("original_max_position_embeddings", std::nullopt, 1);
  config.rope_scaling = read_rope_scaling(rope, config.max_position_embeddings, original);

  const double beside = fields.number("rope_theta", 0.0, 1.0);
  const double newer = new_map ? Fields(*new_map, fields.place(new_key)).number("rope_theta", 0.0, 1.0) : 0.0;
  const double inside = rope.number("rope_theta", newer, 1.0);
  if (beside != 0.0 && inside != 0.0 && beside != inside) {
    fields.refuse("rope_theta",
                  fmt::format("{} contradicts {} in the map of rope parameters; keep one", beside, inside));
  }
  config.rope_theta = inside != 0.0 ? inside : beside != 0.0 ? beside : 10000.0;
  if (source == Source::kRecipe) rope.refuse_unknown();
}

std::vector<int64_t> read_eos(Fields& fields, std::vector<int64_t> fallback) {
  if (!fields.names("eos_token_id")) return fallback;
  const json* value = fields.get("eos_token_id");
  if (!value) return {};
  std::vector<int64_t> ids;
  for (const json& id : value->is_array() ? *value : json::array({*value})) {
    if (!id.is_number_integer() || id < 0 || id > kMaxSize) {
      fields.refuse("eos_token_id",
                    fmt::format("found {}, a token id or a list of them belongs there", Fields::shown(*value)));
    }
    ids.push_back(id.get<int64_t>());
  }
  return ids;
}

void read_token_ids(Fields& fields, ModelConfig& config) {
  config.bos_token_id = fields.optional_integer("bos_token_id", config.bos_token_id, 0);
  config.eos_token_id = read_eos(fields, config.eos_token_id);
  config.pad_token_id = fields.optional_integer("pad_token_id", config.pad_token_id, -1);
  if (config.pad_token_id == -1) config.pad_token_id.reset();  // how early Llama files say none
}

void read_dtype(Fields& fields, ModelConfig& config) {
  const std::string older = fields.word("torch_dtype", "float32");
  std::string dtype = fields.word("dtype", older);
  if (dtype.starts_with("torch.")) dtype = dtype.substr(6);
  if (dtype != "float32" && dtype != "bfloat16" && dtype != "float16") {
    fields.refuse("dtype", fmt::format("\"{}\" is not supported; supported: float32, bfloat16, float16", dtype));
  }
  config.dtype = dtype;
}

void read_common(Fields& fields, ModelConfig& config, Source source) {
  // a recipe's vocabulary is that of its tokenizer
  config.vocab_size =
      source == Source::kRecipe ? fields.integer("vocab_size", 0, 0) : fields.required_integer("vocab_size");
  config.hidden_size = fields.required_integer("hidden_size");
  config.intermediate_size = fields.required_integer("intermediate_size");
  config.num_hidden_layers = fields.required_integer("num_hidden_layers", 1, 100000);
  config.num_attention_heads = fields.required_integer("num_attention_heads");
  config.num_key_value_heads = fields.integer("num_key_value_heads", config.num_attention_heads);
  config.max_position_embeddings = fields.integer("max_position_embeddings", config.max_position_embeddings);
  config.rms_norm_eps = fields.number("rms_norm_eps", 1e-6, 0.0, 1.0);
  config.tie_word_embeddings = fields.boolean("tie_word_embeddings", false);
  config.initializer_range = fields.number("initializer_range", 0.02, 0.0, 1.0);
  fields.one_of("hidden_act", "silu", {"silu", "swish"});
  read_rope(fields, config, source);
  read_token_ids(fields, config);
  read_dtype(fields, config);
}

void refuse_sliding_window(Fields& fields, const ModelConfig& config) {
  const bool asked = fields.boolean("use_sliding_window", false);
  const bool has_window = !fields.names("sliding_window") || fields.get("sliding_window");
  // the first layers have none, but Qwen3-MoE has no such key
  const int64_t full_layers =
      config.architecture == Architecture::kQwen3Moe ? 0 : fields.integer("max_window_layers", 28, 0);
  if (const json* types = fields.get("layer_types")) {
    for (const json& type : *types) {
      if (type != "full_attention") {
        fields.refuse("layer_types",
                      fmt::format("{} is not supported; supported: full_attention", Fields::shown(type)));
      }
    }
  } else if (asked && has_window && full_layers < config.num_hidden_layers) {
    fields.refuse("use_sliding_window", "attention over a sliding window is not supported; only full attention is");
  }
}

void read_dense(Fields& fields, ModelConfig& config) {
  if (fields.get("head_dim")) {
    config.head_dim = fields.required_integer("head_dim");
  } else if (config.head_dim == 0) {
    config.head_dim = config.hidden_size / config.num_attention_heads;
    if (config.hidden_size % config.num_attention_heads != 0) {
      fields.refuse("hidden_size", fmt::format("{} is not divisible by num_attention_heads, which is {}; give head_dim",
                                               config.hidden_size, config.num_attention_heads));
    }
  }
  if (config.architecture == Architecture::kLlama) config.mlp_bias = fields.boolean("mlp_bias", false);
  if (config.architecture != Architecture::kQwen2) config.attention_bias = fields.boolean("attention_bias", false);
  if (config.architecture != Architecture::kLlama) refuse_sliding_window(fields, config);
}

std::vector<int64_t> read_layer_list(Fields& fields, const std::string& key, int64_t num_layers) {
  std::vector<int64_t> layers;
  const json* value = fields.get(key);
  for (const json& layer : value ? *value : json::array()) {
    if (!value->is_array() || !layer.is_number_integer() || layer < 0 || layer >= num_layers) {
      fields.refuse(key, fmt::format("found {}, a list of layers from 0 to {} belongs there", Fields::shown(*value),
                                     num_layers - 1));
    }
    layers.push_back(layer.get<int64_t>());
  }
  return layers;
}

void read_qwen_experts(Fields& fields, ModelConfig& config) {
  config.moe_intermediate_size = fields.required_integer("moe_intermediate_size");
  const bool renamed = fields.get("num_local_experts");  // how transformers 5 saves it
  config.n_routed_experts = fields.required_integer(renamed ? "num_local_experts" : "num_experts");
  config.num_experts_per_tok = fields.required_integer("num_experts_per_tok", 1, config.n_routed_experts);
  config.norm_topk_prob = fields.boolean("norm_topk_prob", false);
  config.decoder_sparse_step = fields.integer("decoder_sparse_step", 1);
  config.mlp_only_layers = read_layer_list(fields, "mlp_only_layers", config.num_hidden_layers);
}

void read_experts(Fields& fields, ModelConfig& config) {
  config.moe_intermediate_size = fields.required_integer("moe_intermediate_size");
  config.first_k_dense_replace = fields.integer("first_k_dense_replace", config.first_k_dense_replace, 0);
  config.moe_layer_freq = fields.integer("moe_layer_freq", 1, 1, 1);  // transformers ignores any other
  config.n_routed_experts = fields.required_integer("n_routed_experts");
  config.n_shared_experts = fields.required_integer("n_shared_experts");
  config.num_experts_per_tok = fields.required_integer("num_experts_per_tok");
  config.n_group = fields.integer("n_group", config.n_group);
  config.topk_group = fields.integer("topk_group", config.topk_group);
  config.scoring_func = fields.one_of("scoring_func", "sigmoid", {"sigmoid"});
  config.topk_method = fields.one_of("topk_method", "noaux_tc", {"noaux_tc"});
  config.norm_topk_prob = fields.boolean("norm_topk_prob", true);
  config.routed_scaling_factor = fields.number("routed_scaling_factor", config.routed_scaling_factor, 1e-9);
}

void read_deepseek(Fields& fields, ModelConfig& config) {
  config.q_lora_rank = fields.optional_integer("q_lora_rank", config.q_lora_rank, 1);
  config.kv_lora_rank = fields.required_integer("kv_lora_rank");
  config.qk_nope_head_dim = fields.required_integer("qk_nope_head_dim");
  config.qk_rope_head_dim = fields.required_integer("qk_rope_head_dim");
  config.v_head_dim = fields.required_integer("v_head_dim");
  config.head_dim = config.qk_rope_head_dim;
  config.attention_bias = fields.boolean("attention_bias", false);
  config.rope_interleave = fields.boolean("rope_interleave", true);
  config.num_nextn_predict_layers = fields.integer("num_nextn_predict_layers", 0, 0, 64);
  read_experts(fields, config);
}

/// FP8 with block scales is what ModelWeights reads (weights.h).
void refuse_other_quantization(Fields& fields) {
  const json* map = fields.get("quantization_config");
  if (!map) return;
  Fields how(*map, fields.place("quantization_config"));
  how.one_of("quant_method", "", {"fp8"});
  how.one_of("fmt", "e4m3", {"e4m3"});
  const json* block = how.get("weight_block_size");
  if (!block || *block != json::array({128, 128})) {
    how.refuse("weight_block_size", fmt::format("found {}; weights with a scale for each block of [128, 128] are read",
                                                block ? Fields::shown(*block) : "none"));
  }
}

void check_attention(const Fields& fields, const ModelConfig& config) {
  const int64_t heads = config.num_attention_heads, kv_heads = config.num_key_value_heads;
  if (heads % kv_heads != 0) {
    fields.refuse("num_key_value_heads",
                  fmt::format("{} does not divide num_attention_heads, which is {}", kv_heads, heads));
  }
  const bool latent = config.architecture == Architecture::kDeepseekV3;
  if (latent && heads != kv_heads) {
    fields.refuse("num_key_value_heads",
                  fmt::format("{} must equal num_attention_heads, which is {}, as every head has "
                              "its own keys out of the shared latent",
                              kv_heads, heads));
  }
  if (config.head_dim % 2 != 0) {
    fields.refuse(latent ? "qk_rope_head_dim" : "head_dim",
                  fmt::format("{} is odd; rotary embeddings turn pairs of dimensions", config.head_dim));
  }
  if (config.architecture == Architecture::kLlama && config.hidden_size % heads != 0) {
    fields.refuse("hidden_size", fmt::format("{} is not divisible by num_attention_heads, which is {}; transformers "
                                             "refuses such a Llama",
                                             config.hidden_size, heads));
  }
}

void check_experts(const Fields& fields, const ModelConfig& config) {
  const int64_t experts = config.n_routed_experts, groups = config.n_group;
  if (experts % groups != 0) {
    fields.refuse("n_routed_experts", fmt::format("{} is not divisible by n_group, which is {}", experts, groups));
  }
  const int64_t group_size = experts / groups;
  if (group_size < 2) {
    fields.refuse("n_group", fmt::format("{} groups of {} leave fewer than two experts in a group, but a group is "
                                         "scored by its best two",
                                         groups, experts));
  }
  if (config.topk_group > groups) {
    fields.refuse("topk_group", fmt::format("{} is above n_group, which is {}", config.topk_group, groups));
  }
  if (config.num_experts_per_tok > config.topk_group * group_size) {
    fields.refuse("num_experts_per_tok",
                  fmt::format("{} is above {}, the experts in the {} groups that are kept", config.num_experts_per_tok,
                              config.topk_group * group_size, config.topk_group));
  }
}

void check_token_ids(const Fields& fields, const ModelConfig& config) {
  const auto check = [&](std::string_view key, int64_t id) {
    if (config.vocab_size > 0 && id >= config.vocab_size) {
      fields.refuse(key, fmt::format("{} is not below vocab_size, which is {}", id, config.vocab_size));
    }
  };
  for (int64_t id : config.eos_token_id) check("eos_token_id", id);
  if (config.bos_token_id) check("bos_token_id", *config.bos_token_id);
  if (config.pad_token_id) check("pad_token_id", *config.pad_token_id);
}

ModelConfig parse(const json& object, const std::string& origin, Source source) {
  Fields fields(object, origin);
  ModelConfig config = family_defaults(read_architecture(fields), source);
  const bool deepseek = config.architecture == Architecture::kDeepseekV3;
  read_common(fields, config, source);
  deepseek ? read_deepseek(fields, config) : read_dense(fields, config);
  if (config.architecture == Architecture::kQwen3Moe) read_qwen_experts(fields, config);
  source == Source::kRecipe ? fields.refuse_unknown() : refuse_other_quantization(fields);
  check_attention(fields, config);
  if (deepseek) check_experts(fields, config);
  check_token_ids(fields, config);
  return config;
}

json rope_map(const RopeScaling& scaling) {
  switch (scaling.kind) {
    case RopeScaling::kNone:
      return {{"rope_type", "default"}};
    case RopeScaling::kLinear:
      return {{"rope_type", "linear"}, {"factor", scaling.factor}};
    case RopeScaling::kLlama3:
      return {{"rope_type", "llama3"},
              {"factor", scaling.factor},
              {"low_freq_factor", scaling.low_freq_factor},
              {"high_freq_factor", scaling.high_freq_factor},
              {"original_max_position_embeddings", scaling.original_max_position_embeddings}};
    case RopeScaling::kYarn:
      break;
  }
  json map = {{"rope_type", "yarn"},
              {"factor", scaling.factor},
              {"beta_fast", scaling.beta_fast},
              {"beta_slow", scaling.beta_slow},
              {"original_max_position_embeddings", scaling.original_max_position_embeddings}};
  if (scaling.mscale) map["mscale"] = *scaling.mscale;
  if (scaling.mscale_all_dim) map["mscale_all_dim"] = *scaling.mscale_all_dim;
  if (scaling.attention_factor) map["attention_factor"] = *scaling.attention_factor;
  if (!scaling.truncate) map["truncate"] = false;
  return map;
}

/// Theta and scaling where transformers 4 looks for them, and where 5 does.
void write_rope(const ModelConfig& config, json& out) {
  json map = rope_map(config.rope_scaling);
  out["rope_theta"] = config.rope_theta;
  if (config.rope_scaling.kind != RopeScaling::kNone) out["rope_scaling"] = map;
  map["rope_theta"] = config.rope_theta;
  out["rope_parameters"] = std::move(map);
}

json or_null(const std::optional<int64_t>& value) { return value ? json(*value) : json(nullptr); }

json eos_json(const std::vector<int64_t>& ids) {
  if (ids.empty()) return nullptr;
  return ids.size() == 1 ? json(ids.front()) : json(ids);
}

void write_dense(const ModelConfig& config, json& out) {
  // transformers' Qwen2 has no such key, but follows it
  const bool implied = config.head_dim * config.num_attention_heads == config.hidden_size;
  if (config.architecture != Architecture::kQwen2 || !implied) out["head_dim"] = config.head_dim;
  if (config.architecture == Architecture::kLlama) out["mlp_bias"] = config.mlp_bias;
  if (config.architecture != Architecture::kQwen2) out["attention_bias"] = config.attention_bias;
  if (config.architecture != Architecture::kLlama) out["use_sliding_window"] = false;
}

void write_qwen_experts(const ModelConfig& config, json& out) {
  out["moe_intermediate_size"] = config.moe_intermediate_size;
  out["num_experts"] = config.n_routed_experts;
  out["num_experts_per_tok"] = config.num_experts_per_tok;
  out["norm_topk_prob"] = config.norm_topk_prob;
  out["decoder_sparse_step"] = config.decoder_sparse_step;
  out["mlp_only_layers"] = config.mlp_only_layers;
}

void write_deepseek(const ModelConfig& config, json& out) {
  out["attention_bias"] = config.attention_bias;
  out["q_lora_rank"] = or_null(config.q_lora_rank);
  out["kv_lora_rank"] = config.kv_lora_rank;
  out["qk_nope_head_dim"] = config.qk_nope_head_dim;
  out["qk_rope_head_dim"] = config.qk_rope_head_dim;
  out["v_head_dim"] = config.v_head_dim;
  out["rope_interleave"] = config.rope_interleave;
  out["moe_intermediate_size"] = config.moe_intermediate_size;
  out["first_k_dense_replace"] = config.first_k_dense_replace;
  out["moe_layer_freq"] = config.moe_layer_freq;
  out["n_routed_experts"] = config.n_routed_experts;
  out["n_shared_experts"] = config.n_shared_experts;
  out["num_experts_per_tok"] = config.num_experts_per_tok;
  out["n_group"] = config.n_group;
  out["topk_group"] = config.topk_group;
  out["scoring_func"] = config.scoring_func;
  out["topk_method"] = config.topk_method;
  out["norm_topk_prob"] = config.norm_topk_prob;
  out["routed_scaling_factor"] = config.routed_scaling_factor;
  out["num_nextn_predict_layers"] = config.num_nextn_predict_layers;
}

json load_json(const std::filesystem::path& path) {
  try {
    return json::parse(read_file(path));
  } catch (const json::exception& error) {
    throw std::runtime_error(
        fmt::format("{}: it is not JSON ({}); fetch or write it again", path.string(), error.what()));
  }
}

}  // namespace

std::string_view model_type(Architecture architecture) { return family_of(architecture).model_type; }

bool ModelConfig::is_moe_layer(int64_t i) const {
  if (architecture == Architecture::kDeepseekV3) return i >= first_k_dense_replace && i % moe_layer_freq == 0;
  const bool dense = std::find(mlp_only_layers.begin(), mlp_only_layers.end(), i) != mlp_only_layers.end();
  return architecture == Architecture::kQwen3Moe && (i + 1) % decoder_sparse_step == 0 && !dense;
}

ModelConfig parse_model_config(const json& config, const std::string& origin) {
  return parse(config, origin, Source::kFile);
}

ModelConfig parse_recipe_model(const json& config, const std::string& origin) {
  return parse(config, origin, Source::kRecipe);
}

json to_json(const ModelConfig& config) {
  const Family& family = family_of(config.architecture);
  json out = {{"architectures", {family.class_name}},
              {"model_type", family.model_type},
              {"vocab_size", config.vocab_size},
              {"hidden_size", config.hidden_size},
              {"intermediate_size", config.intermediate_size},
              {"num_hidden_layers", config.num_hidden_layers},
              {"num_attention_heads", config.num_attention_heads},
              {"num_key_value_heads", config.num_key_value_heads},
              {"hidden_act", "silu"},
              {"max_position_embeddings", config.max_position_embeddings},
              {"rms_norm_eps", config.rms_norm_eps},
              {"tie_word_embeddings", config.tie_word_embeddings},
              {"initializer_range", config.initializer_range},
              {"bos_token_id", or_null(config.bos_token_id)},
              {"eos_token_id", eos_json(config.eos_token_id)},
              {"pad_token_id", or_null(config.pad_token_id)},
              {"torch_dtype", config.dtype}};
  write_rope(config, out);
  config.architecture == Architecture::kDeepseekV3 ? write_deepseek(config, out) : write_dense(config, out);
  if (config.architecture == Architecture::kQwen3Moe) write_qwen_experts(config, out);
  return out;
}

ModelConfig load_model_config(const std::filesystem::path& model_dir) {
  const auto path = model_dir / "config.json";
  ModelConfig config = parse_model_config(load_json(path), path.string());
  const auto generation = model_dir / "generation_config.json";
  if (!std::filesystem::exists(generation)) return config;
  const json object = load_json(generation);
  Fields fields(object, generation.string());
  if (fields.get("eos_token_id")) config.eos_token_id = read_eos(fields, {});
  check_token_ids(fields, config);
  return config;
}

}  // namespace hone
