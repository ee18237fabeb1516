// Whole models: folder -> GGUF -> folder.
#include <unistd.h>

#include <fstream>
#include <random>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "models/atomic_file.h"
#include "models/gguf/architecture.h"
#include "models/gguf/export.h"
#include "models/gguf/import.h"
#include "models/tokenizer.h"
#include "models/weights.h"

namespace hone {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <class Body>
std::string message(Body body) {
  try {
    body();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

json config_json(const std::string& type) {
  json config = {{"model_type", type},         {"vocab_size", 8},        {"hidden_size", 32},
                 {"intermediate_size", 64},    {"num_hidden_layers", 2}, {"num_attention_heads", 4},
                 {"num_key_value_heads", 2},   {"rope_theta", 5e5},      {"max_position_embeddings", 512},
                 {"rms_norm_eps", 1e-5},       {"bos_token_id", 4},      {"eos_token_id", 3},
                 {"tie_word_embeddings", true}};
  if (type == "qwen3" || type == "qwen3_moe") config["head_dim"] = 16;
  if (type == "qwen3_moe") {
    config.update(
        {{"num_experts", 4}, {"num_experts_per_tok", 2}, {"moe_intermediate_size", 32}, {"norm_topk_prob", true}});
  }
  if (type == "deepseek_v3") {
    config.update({{"moe_intermediate_size", 32},
                   {"n_routed_experts", 4},
                   {"n_shared_experts", 2},
                   {"num_experts_per_tok", 2},
                   {"kv_lora_rank", 16},
                   {"q_lora_rank", 24},
                   {"qk_nope_head_dim", 8},
                   {"qk_rope_head_dim", 4},
                   {"v_head_dim", 12},
                   {"n_group", 2},
                   {"topk_group", 1},
                   {"first_k_dense_replace", 1},
                   {"num_key_value_heads", 4},
                   {"routed_scaling_factor", 2.5}});
  }
  return config;
}

json with(json config, const json& changes) {
  config.update(changes);
  return config;
}

const json kLlama3 = {{"rope_type", "llama3"}, {"factor", 8.0}, {"low_freq_factor", 1.0}, {"high_freq_factor", 4.0}};

json tokenizer_json(const json& pre_tokenizer, bool ignore_merges = false) {
  return {{"version", "1.0"},
          {"added_tokens",
           {{{"id", 3}, {"content", "<end>"}, {"special", true}, {"normalized", false}},
            {{"id", 4}, {"content", "<begin>"}, {"special", true}, {"normalized", false}},
            {{"id", 5}, {"content", "<think>"}, {"special", false}, {"normalized", false}}}},
          {"normalizer", nullptr},
          {"pre_tokenizer", pre_tokenizer},
          {"post_processor", nullptr},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model",
           {{"type", "BPE"},
            {"ignore_merges", ignore_merges},
            {"vocab", {{"a", 0}, {"Ġ", 1}, {"Ġa", 2}, {"<end>", 3}}},
            {"merges", {"Ġ a"}}}}};
}

const json kGpt2Words = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};

class GgufModel : public ::testing::Test {
 protected:
  GgufModel() { fs::create_directories(folder_); }
  ~GgufModel() override { fs::remove_all(folder_); }

  void put(const fs::path& path, const std::string& text) {
    fs::create_directories(path.parent_path());
    fs::remove(path);
    std::ofstream(path) << text;
  }

  /// A folder with random weights; `extra` are tensors that do not belong there.
  fs::path make(const json& config, const std::vector<std::string>& extra = {}, const std::string& missing = "",
                const json& tokenizer = tokenizer_json(kGpt2Words)) {
    const fs::path dir = folder_ / "model";
    fs::remove_all(dir);
    put(dir / "config.json", config.dump());
    put(dir / "tokenizer.json", tokenizer.dump());
    put(dir / "tokenizer_config.json", R"({"eos_token": "<end>", "bos_token": {"content": "<begin>"}})");
    put(dir / "chat_template.jinja", "{{ messages }}");
    std::vector<TensorSource> sources;
    for (const GgufPart& part : gguf_parts(parse_model_config(config, "config"))) {
      if (part.kind == PartKind::kValueUp) continue;  // the same tensor again
      for (int64_t e = 0; e < std::max<int64_t>(part.slices, 1); ++e) {
        if (part.source_name(e) != missing) sources.push_back(random_tensor(part.source_name(e), part.shape));
      }
    }
    for (const std::string& name : extra) sources.push_back(random_tensor(name, {2}));
    write_model_safetensors(dir, sources, /*max_shard_bytes=*/20000);
    return dir;
  }

  TensorSource random_tensor(const std::string& name, const std::vector<int64_t>& shape) {
    std::vector<float> values(element_count(shape));
    for (float& value : values) value = std::normal_distribution<float>(0, 1)(generator_);
    return {name, "F32", shape, [values](const ByteSink& sink) {
              sink({reinterpret_cast<const char*>(values.data()), values.size() * 4});
            }};
  }

  /// folder -> GGUF -> folder.
  fs::path round_trip(const fs::path& model, const std::string& type = "f32", const char* name = "again") {
    const fs::path gguf = folder_ / "m.gguf", again = folder_ / name;
    fs::remove_all(again);
    GgufExport::open(model, type).write(gguf);
    GgufImport::open(gguf).write(again);
    return again;
  }

  static std::map<std::string, std::vector<float>> weights_of(const fs::path& dir) {
    const ModelWeights weights = ModelWeights::open(dir);
    std::map<std::string, std::vector<float>> result;
    for (const auto& [name, weight] : weights.all()) {
      auto& values = result[name];
      values.resize(element_count(weight.info->shape));
      ModelWeights::read(weight, values);
    }
    return result;
  }

  std::string export_refusal(const fs::path& model, const std::string& type = "f32") {
    return message([&] { GgufExport::open(model, type).write(folder_ / "m.gguf"); });
  }

  std::mt19937 generator_{5};
  fs::path folder_ = fs::path(::testing::TempDir()) / ("gguf_model_test." + std::to_string(::getpid()));
};

class GgufFamily : public GgufModel, public ::testing::WithParamInterface<json> {};

TEST_P(GgufFamily, ComesBackFromAFileUnchanged) {
  const fs::path model = make(GetParam());
  const fs::path again = round_trip(model);
  EXPECT_EQ(weights_of(again), weights_of(model));
  ModelConfig config = load_model_config(model), read = load_model_config(again);
  if (config.rope_scaling.kind == RopeScaling::kLlama3) {  // other parameters may stand for the same factors
    EXPECT_EQ(llama3_rope_factors(read), llama3_rope_factors(config));
    read.rope_scaling = config.rope_scaling;
  }
  EXPECT_EQ(read, config) << read_file(again / "config.json");
  EXPECT_EQ(read_file(again / "chat_template.jinja"), "{{ messages }}");
}

json family(const char* type, const json& changes = json::object()) { return with(config_json(type), changes); }

INSTANTIATE_TEST_SUITE_P(
    Families, GgufFamily,
    ::testing::Values(family("llama"),
                      family("llama", {{"attention_bias", true}, {"mlp_bias", true}, {"tie_word_embeddings", false}}),
                      family("llama", {{"head_dim", 64},
                                       {"rope_scaling", with(kLlama3, {{"original_max_position_embeddings", 8192}})}}),
                      family("llama", {{"rope_scaling", with(kLlama3, {{"original_max_position_embeddings", 64}})}}),
                      family("llama", {{"rope_scaling", {{"type", "linear"}, {"factor", 4.0}}}}), family("qwen2"),
                      family("qwen2",
                             {{"rope_scaling",
                               {{"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 128}}}}),
                      family("qwen3"), family("qwen3_moe"), family("deepseek_v3", {{"tie_word_embeddings", false}}),
                      family("deepseek_v3", {{"rope_scaling",
                                              {{"type", "yarn"},
                                               {"factor", 40.0},
                                               {"original_max_position_embeddings", 64},
                                               {"mscale", 0.5},
                                               {"mscale_all_dim", 0.5}}}})));

// Only llama's files have turned rows: there a file row 2j + k of a head is row k D/2 + j of the checkpoint.
TEST_F(GgufModel, TurnsTheRowsOfLlamaHeads) {
  const fs::path model = make(config_json("llama"));
  round_trip(model);
  const GgufFile file = GgufFile::open(folder_ / "m.gguf");
  std::vector<float> turned(32 * 32);
  dequantize(GgmlType::kF32, file.find("blk.1.attn_q.weight")->data, turned);
  const std::vector<float> source = weights_of(model)["model.layers.1.self_attn.q_proj.weight"];
  for (int row = 0; row < 32; ++row) {
    const int from = row / 8 * 8 + row % 2 * 4 + row % 8 / 2;
    EXPECT_EQ(turned[row * 32 + 3], source[from * 32 + 3]) << row;
  }
}

TEST_F(GgufModel, WritesTheTypesThatWereAskedFor) {
  const auto types = [&](const std::string& type) {
    round_trip(make(family("llama", {{"tie_word_embeddings", false}, {"intermediate_size", 256}})), type);
    const GgufFile file = GgufFile::open(folder_ / "m.gguf");
    std::vector<std::string> names;
    for (const char* name :
         {"blk.0.attn_norm.weight", "blk.0.attn_q.weight", "blk.1.ffn_down.weight", "output.weight"}) {
      names.emplace_back(traits_of(file.find(name)->type).name);
    }
    return names;
  };
  EXPECT_THAT(types("f16"), ElementsAre("F32", "F16", "F16", "F16"));
  EXPECT_THAT(types("bf16"), ElementsAre("F32", "BF16", "BF16", "BF16"));
  EXPECT_THAT(types("q8_0"), ElementsAre("F32", "Q8_0", "Q8_0", "Q8_0"));
  EXPECT_THAT(types("q4_0"), ElementsAre("F32", "Q4_0", "Q4_0", "Q8_0"));  // Q6_K does not fit into rows of 32
  EXPECT_THAT(types("q4_k_m"), ElementsAre("F32", "Q5_0", "Q6_K", "Q8_0"));
  EXPECT_THAT(export_refusal(make(config_json("llama")), "q3"), HasSubstr("known: f32, f16, bf16, q8_0, q4_0, q4_k_m"));
}

TEST_F(GgufModel, IsNamedAfterItsFolderAndInARunAfterItsStage) {
  const auto name_of = [&](const fs::path& model) {
    GgufExport::open(model, "f32").write(folder_ / "m.gguf");
    return std::get<std::string>(*find(GgufFile::open(folder_ / "m.gguf").metadata(), "general.name"));
  };
  const fs::path model = make(config_json("llama")), final = folder_ / "student" / "final";
  EXPECT_EQ(name_of(model), "model");
  fs::create_directories(final.parent_path());
  fs::rename(model, final);
  EXPECT_EQ(name_of(final), "student");
}

TEST_F(GgufModel, TokenizerComesBack) {
  json tokenizer = tokenizer_json(kGpt2Words);
  tokenizer["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single",
       {{{"SpecialToken", {{"id", "<begin>"}, {"type_id", 0}}}}, {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
      {"pair", json::array()},
      {"special_tokens", {{"<begin>", {{"id", "<begin>"}, {"ids", {4}}, {"tokens", {"<begin>"}}}}}}};
  const fs::path again = round_trip(make(config_json("llama"), {}, "", tokenizer));
  const GgufFile file = GgufFile::open(folder_ / "m.gguf");
  EXPECT_THAT(std::get<std::vector<std::string>>(*find(file.metadata(), "tokenizer.ggml.tokens")),
              ElementsAre("a", "Ġ", "Ġa", "<end>", "<begin>", "<think>", "[PAD6]", "[PAD7]"));
  EXPECT_THAT(std::get<std::vector<int32_t>>(*find(file.metadata(), "tokenizer.ggml.token_type")),
              ElementsAre(1, 1, 1, 3, 3, 4, 5, 5));
  EXPECT_EQ(std::get<std::string>(*find(file.metadata(), "tokenizer.ggml.pre")), "gpt-2");
  EXPECT_EQ(std::get<bool>(*find(file.metadata(), "tokenizer.ggml.add_bos_token")), true);
  const Tokenizer read = Tokenizer::from_file(again / "tokenizer.json");
  EXPECT_THAT(read.encode("a a<think><end>"), ElementsAre(4, 0, 2, 5, 3));
  EXPECT_TRUE(read.is_special(3));
  EXPECT_FALSE(read.is_special(5));
  EXPECT_EQ(read.vocab_size(), 6);
  const json config = json::parse(read_file(again / "tokenizer_config.json"));
  EXPECT_EQ(config["eos_token"], "<end>");
  EXPECT_EQ(config["bos_token"], "<begin>");
}

TEST_F(GgufModel, EveryPreTokenizerThatIsWrittenIsRecognised) {
  const json split = {{"type", "Split"}, {"behavior", "Isolated"}, {"invert", false}};
  const json digits = {{"type", "Digits"}, {"individual_digits", true}};
  const json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  const auto regex = [&](const std::string& pattern) { return with(split, {{"pattern", {{"Regex", pattern}}}}); };
  const auto sequence = [](json steps) { return json{{"type", "Sequence"}, {"pretokenizers", std::move(steps)}}; };
  const std::string llama3 =
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
      "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
  std::string qwen2 = llama3;
  qwen2.erase(qwen2.find("{1,3}"), 5);
  const std::string deepseek =
      "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"
      " ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+";
  const auto word = [&](const json& pre_tokenizer, bool ignore_merges = false) {
    const fs::path again = round_trip(make(config_json("llama"), {}, "", tokenizer_json(pre_tokenizer, ignore_merges)));
    const json read = json::parse(read_file(again / "tokenizer.json"));
    EXPECT_EQ(read["model"]["ignore_merges"], ignore_merges);
    round_trip(again, "f32", "twice");  // what we write, we read
    return std::get<std::string>(*find(GgufFile::open(folder_ / "m.gguf").metadata(), "tokenizer.ggml.pre"));
  };
  EXPECT_EQ(word(kGpt2Words), "gpt-2");
  EXPECT_EQ(word(sequence({digits, kGpt2Words})), "smollm");
  EXPECT_EQ(word(sequence({regex(qwen2), bytes})), "qwen2");
  EXPECT_EQ(word(sequence({regex(llama3), bytes}), true), "llama-bpe");
  EXPECT_EQ(word(sequence({regex(llama3), bytes})), "smaug-bpe");
  EXPECT_EQ(word(sequence({regex("\\p{N}{1,3}"), regex("[一-龥぀-ゟ゠-ヿ]+"), regex(deepseek), bytes})),
            "deepseek-v3");
  EXPECT_THAT(export_refusal(make(config_json("llama"), {}, "", tokenizer_json(sequence({regex("\\w+"), bytes})))),
              AllOf(HasSubstr("tokenizer.json"), HasSubstr("its pre_tokenizer (with ignore_merges) is none of")));
}

TEST_F(GgufModel, ExportRefusesByName) {
  EXPECT_THAT(export_refusal(make(config_json("llama"), {"model.layers.0.extra"})),
              HasSubstr("tensor model.layers.0.extra: it has no place"));
  EXPECT_THAT(export_refusal(make(config_json("llama"), {}, "model.norm.weight")),
              HasSubstr("tensor model.norm.weight is missing"));
  const fs::path model = make(config_json("llama"));
  put(model / "config.json", with(config_json("llama"), {{"intermediate_size", 96}}).dump());
  EXPECT_THAT(export_refusal(model), HasSubstr("has shape [64, 32], config.json asks for [96, 32]"));
  put(model / "config.json", with(config_json("llama"), {{"num_hidden_layers", 90000}}).dump());
  EXPECT_THAT(export_refusal(model), HasSubstr("90000 layers"));
  EXPECT_THAT(export_refusal(make(family("qwen3_moe", {{"norm_topk_prob", false}}))),
              HasSubstr("norm_topk_prob is false"));
  EXPECT_THAT(export_refusal(make(family("deepseek_v3", {{"q_lora_rank", nullptr}}))),
              HasSubstr("q_lora_rank is null"));
  EXPECT_THAT(export_refusal(make(family("qwen3", {{"rope_scaling", kLlama3}}))), HasSubstr("rope_type is llama3"));
  json word_level = tokenizer_json(kGpt2Words);
  word_level["model"]["type"] = "WordLevel";
  EXPECT_THAT(export_refusal(make(config_json("llama"), {}, "", word_level)), HasSubstr("its model is WordLevel"));
  EXPECT_FALSE(fs::exists(folder_ / "m.gguf"));
}

/// The file of a llama with one of its keys replaced.
class GgufImportOf : public GgufModel {
 protected:
  std::string refusal(const std::string& key, std::optional<GgufValue> value, const std::string& tensor = "") {
    GgufExport::open(make(config_json("llama")), "f32").write(folder_ / "good.gguf");
    const GgufFile good = GgufFile::open(folder_ / "good.gguf");
    GgufMetadata metadata;
    for (const auto& entry : good.metadata()) {
      if (entry.first != key) metadata.push_back(entry);
    }
    if (value) metadata.emplace_back(key, *value);
    std::vector<GgufSource> sources;
    for (const GgufTensor& t : good.tensors()) {
      if (t.name == tensor) continue;
      const auto data = t.data;
      sources.push_back({t.name, t.type, t.shape, [data](const ByteSink& sink) {
                           sink({reinterpret_cast<const char*>(data.data()), data.size()});
                         }});
    }
    write_gguf(folder_ / "bad.gguf", metadata, sources);
    return message([&] { GgufImport::open(folder_ / "bad.gguf").write(folder_ / "out"); });
  }
};

TEST_F(GgufImportOf, FilesThatLieAreRefusedByKey) {
  const auto word = [](const char* text) { return GgufValue(std::string(text)); };
  EXPECT_EQ(refusal("no.such.key", std::nullopt), "");
  EXPECT_TRUE(fs::exists(folder_ / "out" / "model.safetensors"));
  EXPECT_THAT(refusal("general.architecture", word("mamba")),
              AllOf(HasSubstr("bad.gguf: general.architecture: \"mamba\""), HasSubstr("supported: llama, qwen2")));
  EXPECT_THAT(refusal("llama.block_count", std::nullopt), HasSubstr("llama.block_count: the key is missing"));
  EXPECT_THAT(refusal("llama.block_count", uint32_t{2000000000}),
              HasSubstr("2000000000 layers, but the file has 20 tensors"));
  EXPECT_THAT(refusal("llama.block_count", uint32_t{3}), HasSubstr("blk.2.attn_norm.weight: it is missing"));
  EXPECT_THAT(refusal("llama.block_count", word("2")), HasSubstr("found no number"));
  EXPECT_THAT(refusal("llama.attention.head_count_kv", uint32_t{3}), HasSubstr("num_key_value_heads"));
  EXPECT_THAT(refusal("llama.feed_forward_length", uint32_t{65}),
              HasSubstr("ffn_gate.weight: its shape is [64, 32], the file's keys ask for [65, 32]"));
  EXPECT_THAT(refusal("llama.rope.scaling.type", word("longrope")), HasSubstr("\"longrope\" is not supported"));
  EXPECT_THAT(refusal("llama.expert_count", uint32_t{8}), HasSubstr("Mixtral"));
  EXPECT_THAT(refusal("tokenizer.ggml.model", word("llama")),
              HasSubstr("tokenizer.ggml.model: \"llama\" is not supported"));
  EXPECT_THAT(refusal("tokenizer.ggml.pre", word("tiny_aya")), HasSubstr("tokenizer.ggml.pre: \"tiny_aya\""));
  EXPECT_THAT(refusal("tokenizer.ggml.eos_token_id", uint32_t{8}), HasSubstr("8 is no token, there are 8"));
  EXPECT_THAT(refusal("tokenizer.ggml.merges", std::vector<std::string>{"Ġ b"}),
              HasSubstr("merge 0 is not two tokens that make a third"));
  EXPECT_THAT(refusal("tokenizer.ggml.tokens", std::vector<std::string>{"a", "Ġ", "Ġa", "a"}), HasSubstr("token"));
  EXPECT_THAT(refusal("tokenizer.ggml.token_type", std::vector<int32_t>{1}), HasSubstr("1 entries for 8 tokens"));
  EXPECT_THAT(refusal("", std::nullopt, "blk.0.attn_v.weight"), HasSubstr("tensor blk.0.attn_v.weight: it is missing"));
}

TEST_F(GgufModel, NothingIsWrittenOverWhatIsThere) {
  const fs::path model = make(config_json("qwen2"));
  round_trip(model);
  put(folder_ / "full" / "file", "mine");
  const GgufImport read = GgufImport::open(folder_ / "m.gguf");
  EXPECT_THAT(message([&] { read.write(folder_ / "full"); }), HasSubstr("not empty"));
  EXPECT_THAT(message([&] { FolderExport::open(model, "f32").write(folder_ / "full"); }), HasSubstr("not empty"));
  EXPECT_EQ(read_file(folder_ / "full" / "file"), "mine");
  EXPECT_THAT(message([&] { read.write(folder_ / "x", {.dtype = "int8"}); }),
              HasSubstr("none of float32, bfloat16, float16"));
}

TEST_F(GgufModel, FoldersAreRewrittenInAnotherDtype) {
  const fs::path model = make(config_json("qwen3")), out = folder_ / "half";
  FolderExport::open(model, "bf16").write(out, /*max_shard_bytes=*/1 << 30);
  EXPECT_EQ(load_model_config(out).dtype, "bfloat16");
  EXPECT_EQ(read_file(out / "tokenizer.json"), read_file(model / "tokenizer.json"));
  EXPECT_TRUE(fs::exists(out / "model.safetensors"));
  const auto before = weights_of(model), after = weights_of(out);
  ASSERT_EQ(before.size(), after.size());
  for (const auto& [name, values] : before) {
    for (size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(after.at(name)[i], values[i], std::abs(values[i]) / 256);
  }
}

}  // namespace
}  // namespace hone
