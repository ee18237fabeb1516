#include "models/model_config.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "models/atomic_file.h"

namespace hone {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

json golden_rows() { return json::parse(read_file(HONE_SOURCE_DIR "/tests/golden/model_configs.json"))["rows"]; }

json dense(const char* type) {
  return {{"model_type", type},      {"vocab_size", 64},       {"hidden_size", 32},
          {"intermediate_size", 48}, {"num_hidden_layers", 2}, {"num_attention_heads", 4}};
}

json experts() {
  json config = dense("deepseek_v3");
  config.update({{"moe_intermediate_size", 16},
                 {"n_routed_experts", 8},
                 {"n_shared_experts", 1},
                 {"num_experts_per_tok", 2},
                 {"kv_lora_rank", 16},
                 {"qk_nope_head_dim", 8},
                 {"qk_rope_head_dim", 4},
                 {"v_head_dim", 8},
                 {"n_group", 2},
                 {"topk_group", 1}});
  return config;
}

json qwen_experts() {
  json config = dense("qwen3_moe");
  config.update({{"moe_intermediate_size", 16}, {"num_experts", 8}, {"num_experts_per_tok", 2}, {"head_dim", 16}});
  return config;
}

json with(json config, const std::string& key, json value) {
  config[key] = std::move(value);
  return config;
}

ModelConfig parse(const json& config) { return parse_model_config(config, "dir/config.json"); }

template <class Body>
std::string message(Body body) {
  try {
    body();
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}
std::string refusal(const json& config) {
  return message([&] { parse(config); });
}
std::string recipe_refusal(const json& config) {
  return message([&] { parse_recipe_model(config, "recipe.yaml: model_config"); });
}

json or_null(const std::optional<int64_t>& value) { return value ? json(*value) : json(nullptr); }

/// What transformers' attributes hold, out of our fields.
json observed(const ModelConfig& c) {
  json eos = c.eos_token_id;
  if (c.eos_token_id.empty()) eos = nullptr;
  if (c.eos_token_id.size() == 1) eos = c.eos_token_id[0];
  json values = {{"vocab_size", c.vocab_size},
                 {"hidden_size", c.hidden_size},
                 {"intermediate_size", c.intermediate_size},
                 {"num_hidden_layers", c.num_hidden_layers},
                 {"num_attention_heads", c.num_attention_heads},
                 {"num_key_value_heads", c.num_key_value_heads},
                 {"head_dim", c.head_dim},
                 {"max_position_embeddings", c.max_position_embeddings},
                 {"rms_norm_eps", c.rms_norm_eps},
                 {"tie_word_embeddings", c.tie_word_embeddings},
                 {"initializer_range", c.initializer_range},
                 {"bos_token_id", or_null(c.bos_token_id)},
                 {"eos_token_id", eos},
                 {"pad_token_id", or_null(c.pad_token_id)},
                 {"dtype", c.dtype},
                 {"attention_bias", c.attention_bias},
                 {"mlp_bias", c.mlp_bias}};
  if (c.architecture == Architecture::kQwen3Moe) {
    values.update({{"moe_intermediate_size", c.moe_intermediate_size},
                   {"num_experts", c.n_routed_experts},
                   {"num_experts_per_tok", c.num_experts_per_tok},
                   {"norm_topk_prob", c.norm_topk_prob},
                   {"decoder_sparse_step", c.decoder_sparse_step},
                   {"mlp_only_layers", c.mlp_only_layers}});
  }
  if (c.architecture != Architecture::kDeepseekV3) return values;
  values.update({{"moe_intermediate_size", c.moe_intermediate_size},
                 {"first_k_dense_replace", c.first_k_dense_replace},
                 {"q_lora_rank", or_null(c.q_lora_rank)},
                 {"kv_lora_rank", c.kv_lora_rank},
                 {"qk_nope_head_dim", c.qk_nope_head_dim},
                 {"qk_rope_head_dim", c.qk_rope_head_dim},
                 {"v_head_dim", c.v_head_dim},
                 {"n_routed_experts", c.n_routed_experts},
                 {"n_shared_experts", c.n_shared_experts},
                 {"num_experts_per_tok", c.num_experts_per_tok},
                 {"n_group", c.n_group},
                 {"topk_group", c.topk_group},
                 {"norm_topk_prob", c.norm_topk_prob},
                 {"routed_scaling_factor", c.routed_scaling_factor},
                 {"rope_interleave", c.rope_interleave}});
  return values;
}

/// Every rope key that transformers holds must be one of our fields with the same value.
void expect_rope(const ModelConfig& config, const json& rope) {
  const RopeScaling& s = config.rope_scaling;
  const char* words[] = {"default", "yarn", "llama3", "linear"};
  const json ours = {{"rope_theta", config.rope_theta},
                     {"rope_type", words[s.kind]},
                     {"factor", s.factor},
                     {"beta_fast", s.beta_fast},
                     {"beta_slow", s.beta_slow},
                     {"mscale", s.mscale.value_or(0)},
                     {"mscale_all_dim", s.mscale_all_dim.value_or(0)},
                     {"original_max_position_embeddings", s.original_max_position_embeddings},
                     {"low_freq_factor", s.low_freq_factor},
                     {"high_freq_factor", s.high_freq_factor}};
  for (const auto& [key, value] : rope.items()) EXPECT_EQ(ours.at(key), value) << key;
}

TEST(ModelConfig, ReadsWhatTransformersReads) {
  const json rows = golden_rows();
  ASSERT_GE(rows.size(), 16u);
  for (const json& row : rows) {
    SCOPED_TRACE(row["config"].dump());
    const ModelConfig config = parse(row["config"]);
    json expected = row["values"];
    expect_rope(config, expected["rope"]);
    expected.erase("rope");
    EXPECT_EQ(observed(config), expected);
  }
}

TEST(ModelConfig, BothDialectsGiveTheSameModel) {
  for (const json& row : golden_rows()) {
    ModelConfig older = parse(row["config"]), newer = parse(row["saved"]);
    // transformers saves a prediction layer where the file named none; we keep to the file
    if (!row["config"].contains("num_nextn_predict_layers")) newer.num_nextn_predict_layers = 0;
    EXPECT_EQ(older, newer) << row["config"].dump() << "\n" << row["saved"].dump();
  }
}

// tests/reference/write_golden_model_config.py --check shows that transformers reads this golden as meant.
TEST(ModelConfig, WritesWhatTransformersReads) {
  std::string written = "[\n";
  for (const json& row : golden_rows())
    written += (written.size() > 2 ? ",\n" : "") + to_json(parse(row["config"])).dump();
  written += "\n]\n";
  const std::filesystem::path path = HONE_SOURCE_DIR "/tests/golden/model_configs_written.json";
  const auto actual = std::filesystem::path(::testing::TempDir()) / "model_configs_written.json";
  write_file_atomic(actual, written);
  EXPECT_EQ(written, std::filesystem::exists(path) ? read_file(path) : "") << "see " << actual;
}

TEST(ModelConfig, WritingAndReadingAgainChangesNothing) {
  for (const json& row : golden_rows()) {
    const ModelConfig config = parse(row["config"]);
    EXPECT_EQ(parse(to_json(config)), config) << to_json(config).dump();
  }
  json longer = experts();
  longer["rope_scaling"] = {{"rope_type", "yarn"}, {"factor", 2.0}, {"attention_factor", 1.5}, {"truncate", false}};
  longer["pad_token_id"] = 3;
  const ModelConfig config = parse(longer);
  EXPECT_EQ(config.rope_scaling.attention_factor, 1.5);
  EXPECT_EQ(parse(to_json(config)), config);
}

TEST(ModelConfig, FamiliesDifferInBiasAndNorms) {
  EXPECT_TRUE(parse(dense("qwen2")).qkv_bias);
  EXPECT_TRUE(parse(dense("qwen3")).qk_norm);
  EXPECT_FALSE(parse(dense("llama")).qkv_bias);
  EXPECT_FALSE(parse(dense("llama")).qk_norm);
  EXPECT_EQ(parse(dense("llama")).head_dim, 8);
  EXPECT_EQ(parse(dense("qwen3")).head_dim, 128);
  EXPECT_EQ(model_type(Architecture::kQwen3), "qwen3");
}

TEST(ModelConfig, MoeLayersFollowTheDenseOnes) {
  const ModelConfig config = parse(with(experts(), "first_k_dense_replace", 1));
  EXPECT_FALSE(config.is_moe_layer(0));
  EXPECT_TRUE(config.is_moe_layer(1));
  EXPECT_FALSE(parse(dense("llama")).is_moe_layer(1));
  EXPECT_EQ(config.qk_head_dim(), 12);
}

TEST(ModelConfig, QwenExpertsAreInTheLayersThatTheFileSays) {
  const ModelConfig config = parse(qwen_experts());
  EXPECT_EQ(config.n_routed_experts, 8);
  EXPECT_EQ(config.n_shared_experts, 0);
  EXPECT_EQ(config.scoring_func, "softmax");
  EXPECT_FALSE(config.norm_topk_prob);
  EXPECT_TRUE(config.qk_norm);
  EXPECT_TRUE(config.has_experts());
  EXPECT_TRUE(config.is_moe_layer(0));
  const ModelConfig sparse = parse(with(qwen_experts(), "decoder_sparse_step", 2));
  EXPECT_FALSE(sparse.is_moe_layer(0));
  EXPECT_TRUE(sparse.is_moe_layer(1));
  EXPECT_FALSE(parse(with(qwen_experts(), "mlp_only_layers", {1})).is_moe_layer(1));
  json renamed = with(qwen_experts(), "num_local_experts", 8);  // as transformers 5 saves it
  renamed.erase("num_experts");
  EXPECT_EQ(parse(renamed), config);
  EXPECT_EQ(parse(to_json(sparse)), sparse);
  EXPECT_THAT(refusal(with(qwen_experts(), "num_experts_per_tok", 9)), HasSubstr("num_experts_per_tok: found 9"));
  EXPECT_THAT(refusal(with(qwen_experts(), "mlp_only_layers", {2})), HasSubstr("mlp_only_layers: found [2]"));
  EXPECT_THAT(refusal(with(qwen_experts(), "mlp_only_layers", 1)), HasSubstr("mlp_only_layers: found 1"));
  EXPECT_THAT(refusal(with(qwen_experts(), "use_sliding_window", true)), HasSubstr("use_sliding_window"));
}

TEST(ModelConfig, OnlyBlockwiseFp8IsReadOfQuantizedCheckpoints) {
  const json fp8 = {
      {"quant_method", "fp8"}, {"fmt", "e4m3"}, {"weight_block_size", {128, 128}}, {"activation_scheme", "dynamic"}};
  EXPECT_EQ(parse(with(experts(), "quantization_config", fp8)), parse(experts()));
  EXPECT_THAT(refusal(with(dense("llama"), "quantization_config", {{"quant_method", "awq"}})),
              HasSubstr("quantization_config: quant_method: \"awq\" is not supported; supported: fp8"));
  EXPECT_THAT(refusal(with(dense("llama"), "quantization_config", {{"quant_method", "fp8"}})),
              HasSubstr("weight_block_size: found none"));
  EXPECT_THAT(refusal(with(dense("llama"), "quantization_config", with(fp8, "weight_block_size", {64, 64}))),
              HasSubstr("weight_block_size: found [64,64]"));
}

TEST(ModelConfig, NamesTheMissingKey) {
  const json complete = experts();
  for (const auto& [key, value] : complete.items()) {
    if (key == "n_group" || key == "topk_group") continue;  // these have a default
    json config = experts();
    config.erase(key);
    EXPECT_THAT(refusal(config), AllOf(HasSubstr("dir/config.json: " + key + ":"), HasSubstr("missing"))) << key;
  }
}

TEST(ModelConfig, RefusesByNameWhatItCannotRun) {
  EXPECT_EQ(refusal(dense("llama")), "");
  EXPECT_THAT(
      refusal(dense("mamba")),
      HasSubstr("model_type: \"mamba\" is not supported; supported: deepseek_v3, llama, qwen2, qwen3, qwen3_moe"));
  EXPECT_THAT(refusal(with(dense("llama"), "hidden_act", "gelu")), HasSubstr("hidden_act: \"gelu\""));
  EXPECT_THAT(refusal(with(dense("llama"), "rope_scaling", {{"type", "dynamic"}, {"factor", 2}})),
              HasSubstr("rope_scaling: rope_type: \"dynamic\""));
  EXPECT_THAT(refusal(with(dense("llama"), "rope_parameters", {{"rope_type", "longrope"}})),
              HasSubstr("rope_parameters: rope_type: \"longrope\""));
  EXPECT_THAT(refusal(with(dense("llama"), "rope_parameters", {{"partial_rotary_factor", 0.5}})),
              HasSubstr("partial_rotary_factor"));
  EXPECT_THAT(refusal(with(dense("llama"), "dtype", "int8")), HasSubstr("dtype: \"int8\""));
  EXPECT_THAT(refusal(with(experts(), "scoring_func", "softmax")), HasSubstr("scoring_func: \"softmax\""));
  EXPECT_THAT(refusal(with(experts(), "topk_method", "greedy")), HasSubstr("topk_method"));
  EXPECT_THAT(refusal(with(experts(), "moe_layer_freq", 2)), HasSubstr("moe_layer_freq: found 2"));
}

TEST(ModelConfig, RefusesASlidingWindowOnlyWhereItIsInUse) {
  json config = with(dense("qwen2"), "use_sliding_window", true);
  EXPECT_EQ(refusal(config), "");  // max_window_layers is 28, so neither layer has a window
  config["max_window_layers"] = 1;
  EXPECT_THAT(refusal(config), HasSubstr("use_sliding_window"));
  config["sliding_window"] = nullptr;
  EXPECT_EQ(refusal(config), "");
  config["layer_types"] = {"full_attention", "sliding_attention"};
  EXPECT_THAT(refusal(config), HasSubstr("layer_types: \"sliding_attention\""));
}

TEST(ModelConfig, RefusesInconsistentSizes) {
  EXPECT_THAT(refusal(with(dense("llama"), "num_key_value_heads", 3)),
              HasSubstr("num_key_value_heads: 3 does not divide"));
  EXPECT_THAT(refusal(with(dense("llama"), "hidden_size", 30)), HasSubstr("hidden_size: 30 is not divisible"));
  EXPECT_THAT(refusal(with(dense("qwen3"), "head_dim", 7)), HasSubstr("head_dim: 7 is odd"));
  EXPECT_THAT(refusal(with(dense("llama"), "eos_token_id", 64)), HasSubstr("eos_token_id: 64 is not below vocab_size"));
  EXPECT_THAT(refusal(with(experts(), "qk_rope_head_dim", 5)), HasSubstr("qk_rope_head_dim: 5 is odd"));
  EXPECT_THAT(refusal(with(experts(), "num_key_value_heads", 2)), HasSubstr("must equal num_attention_heads"));
  EXPECT_THAT(refusal(with(experts(), "n_group", 3)), HasSubstr("n_routed_experts: 8 is not divisible by n_group"));
  EXPECT_THAT(refusal(with(experts(), "n_group", 8)), HasSubstr("fewer than two experts"));
  EXPECT_THAT(refusal(with(experts(), "topk_group", 3)), HasSubstr("topk_group: 3 is above n_group"));
  EXPECT_THAT(refusal(with(experts(), "num_experts_per_tok", 5)), HasSubstr("num_experts_per_tok: 5 is above 4"));
}

TEST(ModelConfig, RefusesValuesOfTheWrongKind) {
  EXPECT_THAT(refusal(json::array()), HasSubstr("not a JSON object"));
  EXPECT_THAT(refusal(with(dense("llama"), "hidden_size", "32")), HasSubstr("hidden_size: found \"32\", an integer"));
  EXPECT_THAT(refusal(with(dense("llama"), "hidden_size", 32.5)), HasSubstr("hidden_size: found 32.5"));
  EXPECT_THAT(refusal(with(dense("llama"), "hidden_size", -32)), HasSubstr("hidden_size: found -32"));
  EXPECT_THAT(refusal(with(dense("llama"), "vocab_size", uint64_t{1} << 63)),
              HasSubstr("vocab_size: found 9223372036854775808"));
  EXPECT_THAT(refusal(with(dense("llama"), "rms_norm_eps", "tiny")), HasSubstr("rms_norm_eps: found \"tiny\""));
  EXPECT_THAT(refusal(with(dense("llama"), "tie_word_embeddings", 1)), HasSubstr("tie_word_embeddings: found 1"));
  EXPECT_THAT(refusal(with(dense("llama"), "eos_token_id", {1, "x"})), HasSubstr("eos_token_id"));
  EXPECT_THAT(refusal(with(dense("llama"), "rope_scaling", 3)), HasSubstr("rope_scaling"));
}

TEST(ModelConfig, RefusesTwoDifferentThetas) {
  json config = with(dense("llama"), "rope_theta", 1e4);
  config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 1e4}};
  EXPECT_EQ(refusal(config), "");
  config["rope_parameters"]["rope_theta"] = 5e5;
  EXPECT_THAT(refusal(config), HasSubstr("rope_theta: 10000 contradicts 500000"));
}

TEST(ModelConfig, RecipesStartFromPlainDefaults) {
  json recipe = experts();
  for (const char* key : {"vocab_size", "n_group", "topk_group"}) recipe.erase(key);
  const ModelConfig config = parse_recipe_model(recipe, "r");
  EXPECT_EQ(config.vocab_size, 0);
  EXPECT_EQ(config.n_group, 1);
  EXPECT_EQ(config.q_lora_rank, std::nullopt);
  EXPECT_EQ(config.first_k_dense_replace, 0);
  EXPECT_EQ(config.bos_token_id, std::nullopt);
  EXPECT_TRUE(config.eos_token_id.empty());
  EXPECT_EQ(parse_recipe_model(dense("qwen3"), "r").head_dim, 8);
}

TEST(ModelConfig, RecipesRefuseUnknownKeysWithTheNearestOne) {
  EXPECT_EQ(recipe_refusal(dense("llama")), "");
  EXPECT_THAT(
      recipe_refusal(with(dense("llama"), "num_atention_heads", 4)),
      HasSubstr("recipe.yaml: model_config: unknown key num_atention_heads; did you mean num_attention_heads?"));
  EXPECT_THAT(recipe_refusal(with(dense("llama"), "n_routed_experts", 4)), HasSubstr("unknown key n_routed_experts"));
  EXPECT_THAT(
      recipe_refusal(with(dense("llama"), "rope_parameters", {{"rope_type", "linear"}, {"factr", 2}, {"factor", 2}})),
      HasSubstr("unknown key factr; did you mean factor?"));
  EXPECT_EQ(refusal(with(dense("llama"), "num_atention_heads", 4)), "");  // files carry keys that are not ours
}

class ModelFolder : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void put(const char* name, const std::string& text) { std::ofstream(folder_ / name) << text; }
  std::filesystem::path folder_ = std::filesystem::path(::testing::TempDir()) / "model_config_test";
};

TEST_F(ModelFolder, GenerationConfigNamesTheEndTokens) {
  put("config.json", with(dense("llama"), "eos_token_id", 5).dump());
  EXPECT_THAT(load_model_config(folder_).eos_token_id, ElementsAre(5));
  put("generation_config.json", R"({"eos_token_id": [7, 9]})");
  EXPECT_THAT(load_model_config(folder_).eos_token_id, ElementsAre(7, 9));
  put("generation_config.json", R"({"eos_token_id": 70})");
  EXPECT_THAT(message([&] { load_model_config(folder_); }), HasSubstr("generation_config.json: eos_token_id: 70"));
}

TEST_F(ModelFolder, NamesTheFileThatIsMissingOrBroken) {
  EXPECT_THAT(message([&] { load_model_config(folder_); }), HasSubstr((folder_ / "config.json").string()));
  put("config.json", "{\"model_type\": ");
  EXPECT_THAT(message([&] { load_model_config(folder_); }), AllOf(HasSubstr("config.json"), HasSubstr("not JSON")));
}

}  // namespace
}  // namespace hone
