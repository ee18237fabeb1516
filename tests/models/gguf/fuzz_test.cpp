// Mutated files: whatever stands in them, reading ends with a value or with one std::runtime_error that names the file.
// A few thousand inputs a target in an ordinary run; HONE_FUZZ_RUNS=1000000 HONE_FUZZ_SEED=1 in the environment for
// more.
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <random>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "models/atomic_file.h"
#include "models/float_formats.h"
#include "models/gguf/architecture.h"
#include "models/gguf/import.h"
#include "models/model_config.h"
#include "models/safetensors.h"

namespace hone {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;

constexpr const char* kName = "fuzzed.file";

int64_t setting(const char* name, int64_t fallback) {
  const char* value = std::getenv(name);
  return value ? std::stoll(value) : fallback;
}

/// Changes bytes, numbers and pieces of a seed; keeps to small steps, so that much of the header stays sound.
class Mutator {
 public:
  Mutator(std::vector<std::string> seeds, std::vector<std::string> words)
      : seeds_(std::move(seeds)),
        words_(std::move(words)),
        generator_(static_cast<uint64_t>(setting("HONE_FUZZ_SEED", 1))) {}

  std::string next() {
    std::string input = seeds_[below(seeds_.size())];
    for (size_t changes = 1 + below(4); changes > 0; --changes) change(input);
    return input;
  }

 private:
  size_t below(size_t limit) { return limit == 0 ? 0 : generator_() % limit; }

  void change(std::string& input) {
    const size_t place = below(input.size());
    switch (below(8)) {
      case 0:
        if (!input.empty()) input[place] = static_cast<char>(input[place] ^ 1 << below(8));
        break;
      case 1:
        if (!input.empty()) input[place] = static_cast<char>(below(256));
        break;
      case 2:
        put_number(input, place);
        break;
      case 3:
        input.erase(place, 1 + below(16));
        break;
      case 4:
        input.insert(place, input.substr(below(input.size()), 1 + below(32)));
        break;
      case 5:
        input.insert(place, words_[below(words_.size())]);
        break;
      case 6:
        replace_word(input);
        break;
      default:
        if (below(4) == 0) input.resize(place);
        else if (!input.empty()) input[place] = static_cast<char>(input[place] + 1);
    }
  }

  void put_number(std::string& input, size_t place) {
    const uint64_t numbers[] = {0,
                                1,
                                2,
                                31,
                                32,
                                64,
                                255,
                                256,
                                0x7fffffff,
                                0x80000000,
                                0xffffffff,
                                uint64_t{1} << 40,
                                uint64_t{1} << 62,
                                ~uint64_t{0} >> 1,
                                uint64_t{1} << 63,
                                ~uint64_t{0}};
    const uint64_t number = below(3) == 0 ? below(input.size() + 1) : numbers[below(std::size(numbers))];
    const size_t width = size_t{1} << below(4);
    if (place + width <= input.size()) std::memcpy(input.data() + place, &number, width);
  }

  void replace_word(std::string& input) {
    const std::string& from = words_[below(words_.size())];
    const size_t place = input.find(from);
    if (place != std::string::npos && !from.empty()) input.replace(place, from.size(), words_[below(words_.size())]);
  }

  std::vector<std::string> seeds_, words_;
  std::mt19937_64 generator_;
};

/// Runs `read` on mutated inputs. At least one in a thousand must be read, or the mutations are too coarse to reach
/// far.
template <class Read>
void fuzz(Mutator mutator, Read read) {
  const int64_t runs = setting("HONE_FUZZ_RUNS", 3000);
  int64_t accepted = 0;
  for (int64_t run = 0; run < runs; ++run) {
    const std::string input = mutator.next();
    try {
      read(input);
      ++accepted;
    } catch (const std::runtime_error& error) {
      ASSERT_THAT(error.what(), HasSubstr(kName)) << "run " << run;
    } catch (const std::exception& error) {
      FAIL() << "run " << run << ": another exception: " << error.what();
    }
  }
  EXPECT_GT(accepted, runs / 1000);
  EXPECT_LT(accepted, runs) << "nothing was refused: the reader checks nothing";
}

/// In a buffer of its very length, so that a sanitizer sees every read behind the end.
MappedFile in_memory(const std::string& bytes) {
  const std::shared_ptr<std::byte[]> copy(new std::byte[bytes.size()]);
  std::memcpy(copy.get(), bytes.data(), bytes.size());
  return {{copy, copy.get()}, bytes.size()};
}

std::string golden(const char* name) { return read_file(fs::path(HONE_SOURCE_DIR "/tests/golden") / name); }

TEST(Fuzz, SafetensorsFiles) {
  const std::vector<std::string> words = {"\"F32\"",      "\"BF16\"",
                                          "\"F4\"",       "\"data_offsets\"",
                                          "\"shape\"",    "\"dtype\"",
                                          "[]",           "{}",
                                          "[0,0]",        "18446744073709551615",
                                          "-1",           "1e9",
                                          "null",         "\"\"",
                                          "__metadata__", "["};
  fuzz(Mutator({golden("from_python.safetensors"), golden("from_hone.safetensors")}, words),
       [](const std::string& input) {
         const SafetensorsFile file = SafetensorsFile::parse(in_memory(input), kName);
         for (const TensorInfo& tensor : file.tensors()) {
           if (!is_float_dtype(tensor.dtype)) continue;
           std::vector<float> values(tensor.num_bytes * 8 / static_cast<size_t>(*dtype_bits(tensor.dtype)));
           widen(tensor.dtype, {tensor.data, tensor.num_bytes}, values);
         }
       });
}

/// A whole model of one layer whose tensors have one element a row, in the smallest file that is one.
std::string small_model(const std::string& architecture) {
  ModelConfig config;
  config.vocab_size = 6;
  config.hidden_size = config.intermediate_size = 4;
  config.num_hidden_layers = 1;
  config.num_attention_heads = config.num_key_value_heads = 2;
  config.head_dim = 2;
  config.architecture = architecture == "qwen2" ? Architecture::kQwen2 : Architecture::kLlama;
  config.qkv_bias = architecture == "qwen2";
  config.rope_scaling =
      architecture == "qwen2"
          ? RopeScaling{.kind = RopeScaling::kYarn, .factor = 2, .original_max_position_embeddings = 64}
          : RopeScaling{};
  config.tie_word_embeddings = true;
  GgufMetadata metadata = config_metadata(config);
  metadata.emplace_back("tokenizer.ggml.model", std::string("gpt2"));
  metadata.emplace_back("tokenizer.ggml.pre", std::string("llama-bpe"));
  metadata.emplace_back("tokenizer.ggml.tokens", std::vector<std::string>{"a", "b", "ab", "<e>", "Ġ", "[PAD5]"});
  metadata.emplace_back("tokenizer.ggml.token_type", std::vector<int32_t>{1, 1, 1, 3, 1, 5});
  metadata.emplace_back("tokenizer.ggml.merges", std::vector<std::string>{"a b"});
  metadata.emplace_back("tokenizer.ggml.bos_token_id", uint32_t{3});
  metadata.emplace_back("tokenizer.chat_template", std::string("{{ messages }}"));
  metadata.emplace_back("tokenizer.chat_templates", std::vector<std::string>{"tools"});
  metadata.emplace_back("tokenizer.chat_template.tools", std::string("x"));
  std::vector<GgufSource> sources;
  for (const GgufPart& part : gguf_parts(config)) {
    const GgmlType type = part.shape.size() > 1 ? GgmlType::kF16 : GgmlType::kF32;
    size_t count = 1;
    for (int64_t dimension : part.file_shape()) count *= static_cast<size_t>(dimension);
    sources.push_back({part.name, type, part.file_shape(),
                       [=](const ByteSink& sink) { sink(std::string(ggml_bytes(type, count), '\1')); }});
  }
  const fs::path path = fs::path(::testing::TempDir()) / ("fuzz_test." + std::to_string(::getpid()) + ".gguf");
  write_gguf(path, metadata, sources);
  const std::string bytes = read_file(path);
  fs::remove(path);
  return bytes;
}

TEST(Fuzz, GgufFiles) {
  const std::vector<std::string> words = {"llama",
                                          "qwen2",
                                          "qwen3",
                                          "deepseek2",
                                          "mamba",
                                          "gpt2",
                                          "gpt-2",
                                          "smollm",
                                          "yarn",
                                          "none",
                                          ".weight",
                                          ".bias",
                                          "blk.0.",
                                          "attn_q",
                                          "rope_freqs",
                                          "a b",
                                          "ab",
                                          std::string(8, '\0'),
                                          std::string(4, '\xff')};
  fuzz(Mutator({golden("from_python.gguf"), small_model("llama"), small_model("qwen2")}, words),
       [](const std::string& input) {
         const GgufFile file = GgufFile::parse(in_memory(input), kName);
         for (const GgufTensor& tensor : file.tensors()) {
           std::vector<float> values(tensor.data.size() / traits_of(tensor.type).block_bytes *
                                     static_cast<size_t>(traits_of(tensor.type).block));
           dequantize(tensor.type, tensor.data, values);
         }
         if (find(file.metadata(), "tokenizer.ggml.tokens")) GgufImport::of(GgufFile::parse(in_memory(input), kName));
       });
}

TEST(Fuzz, ModelConfigs) {
  std::vector<std::string> seeds;
  const json rows = json::parse(golden("model_configs.json"))["rows"];
  for (const json& row : rows) {
    seeds.push_back(row["config"].dump());
    seeds.push_back(row["saved"].dump());
  }
  const std::vector<std::string> words = {"0",
                                          "-1",
                                          "1e400",
                                          "2147483647",
                                          "9223372036854775808",
                                          "null",
                                          "true",
                                          "[]",
                                          "{}",
                                          "\"x\"",
                                          "rope_scaling",
                                          "rope_parameters",
                                          "rope_type",
                                          "yarn",
                                          "llama3",
                                          "model_type",
                                          "qwen2",
                                          "qwen3_moe",
                                          "deepseek_v3",
                                          "\"layer_types\":[\"full_attention\"],",
                                          "\"quantization_config\":{},",
                                          "eos_token_id"};
  fuzz(Mutator(seeds, words), [](const std::string& input) {
    const json object = json::parse(input, nullptr, /*allow_exceptions=*/false);
    if (object.is_discarded()) throw std::runtime_error(std::string(kName) + ": it is not JSON");
    const ModelConfig config = parse_model_config(object, kName);
    if (!(parse_model_config(to_json(config), kName) == config))
      throw std::logic_error("read again, it is another model");
    if (config.num_hidden_layers < 100) gguf_parts(config);
  });
}

}  // namespace
}  // namespace hone
