#include "models/gguf/export.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <set>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "models/atomic_file.h"
#include "models/float_formats.h"
#include "models/gguf/architecture.h"
#include "models/gguf/tokenizer.h"

namespace hone {
namespace {

namespace fs = std::filesystem;

/// How a file is written; `number` is what llama.cpp calls it in general.file_type.
struct FileType {
  std::string_view word;
  uint32_t number;
  GgmlType matrices, output;
};
constexpr FileType kFileTypes[] = {
    {"f32", 0, GgmlType::kF32, GgmlType::kF32},     {"f16", 1, GgmlType::kF16, GgmlType::kF16},
    {"bf16", 32, GgmlType::kBF16, GgmlType::kBF16}, {"q8_0", 7, GgmlType::kQ8_0, GgmlType::kQ8_0},
    {"q4_0", 2, GgmlType::kQ4_0, GgmlType::kQ6_K},  {"q4_k_m", 15, GgmlType::kQ4_K, GgmlType::kQ6_K}};

const FileType& file_type(const std::string& word) {
  for (const FileType& type : kFileTypes) {
    if (type.word == word) return type;
  }
  throw std::invalid_argument(
      fmt::format("type \"{}\" is not known; known: {}", word, fmt::join(gguf_file_types(), ", ")));
}

bool has_blocks(GgmlType type, int64_t columns) { return columns % traits_of(type).block == 0; }

/// The type itself or the nearest one whose blocks fit into the rows.
GgmlType fitting(GgmlType type, int64_t columns) {
  if (has_blocks(type, columns)) return type;
  const GgmlType smaller = type == GgmlType::kQ4_K   ? GgmlType::kQ5_0
                           : type == GgmlType::kQ6_K ? GgmlType::kQ8_0
                                                     : GgmlType::kF16;
  return has_blocks(smaller, columns) ? smaller : GgmlType::kF16;
}

/// The first and last eighth of the layers, and every third between: the layers in which llama.cpp's Q4_K_M spends
/// more.
bool gets_more_bits(int64_t layer, int64_t layers) {
  return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

bool is_kept_exact(const GgufPart& part) {
  return part.shape.size() < 2 || part.name.ends_with("ffn_gate_inp.weight") || part.name.ends_with("_norm.weight");
}

GgmlType type_of(const GgufPart& part, const FileType& type, const ModelConfig& config) {
  if (is_kept_exact(part)) return GgmlType::kF32;
  const int64_t columns = part.file_shape().back();
  const bool output = part.name == (config.tie_word_embeddings ? "token_embd.weight" : "output.weight");
  if (output) return fitting(type.output, columns);
  int64_t layer = 0;
  const bool sensitive =
      part.name.find("attn_v") != std::string::npos || part.name.find("ffn_down") != std::string::npos;
  if (type.matrices == GgmlType::kQ4_K && sensitive && std::sscanf(part.name.c_str(), "blk.%ld.", &layer) == 1 &&
      gets_more_bits(layer, config.num_hidden_layers)) {
    return fitting(GgmlType::kQ6_K, columns);
  }
  return fitting(type.matrices, columns);
}

void check_weights(const ModelWeights& weights, const std::vector<GgufPart>& parts, const ModelConfig& config) {
  std::set<std::string> used;
  for (const GgufPart& part : parts) {
    for (int64_t slice = 0; slice < std::max<int64_t>(part.slices, 1); ++slice) {
      used.insert(weights.require(part.source_name(slice), part.shape).info->name);
    }
  }
  weights.refuse_others(used, config);
}

std::vector<float> numbers_of(const StoredWeight& weight) {
  std::vector<float> numbers(element_count(weight.info->shape));
  ModelWeights::read(weight, numbers);
  return numbers;
}

/// The weights in the file's type, tensor named in what quantize() refuses.
std::string quantized(const std::string& name, GgmlType type, const std::vector<float>& numbers) {
  std::string bytes(ggml_bytes(type, numbers.size()), '\0');
  try {
    quantize(type, numbers, std::as_writable_bytes(std::span(bytes)));
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(fmt::format("tensor {}: {}", name, error.what()));
  }
  return bytes;
}

GgufSource source_of(const GgufPart& part, GgmlType type, const ModelWeights& weights) {
  const auto produce = [&weights, part, type](const ByteSink& sink) {
    for (int64_t slice = 0; slice < std::max<int64_t>(part.slices, 1); ++slice) {
      const std::string name = part.source_name(slice);
      sink(quantized(name, type, to_file(part, numbers_of(*weights.find(name)))));
    }
  };
  return {part.name, type, part.file_shape(), produce};
}

GgufSource rope_factors_source(const ModelConfig& config) {
  const std::vector<float> factors = llama3_rope_factors(config);
  return {"rope_freqs.weight", GgmlType::kF32, {static_cast<int64_t>(factors.size())}, [factors](const ByteSink& sink) {
            sink({reinterpret_cast<const char*>(factors.data()), factors.size() * sizeof(float)});
          }};
}

GgufMetadata metadata_of(const fs::path& model_dir, const ModelConfig& config, const FileType& type) {
  GgufMetadata metadata = config_metadata(config);
  metadata.emplace_back("general.type", std::string("model"));
  const fs::path folder = fs::weakly_canonical(model_dir);  // of a run: stages/NAME/final
  metadata.emplace_back("general.name",
                        (folder.filename() == "final" ? folder.parent_path() : folder).filename().string());
  metadata.emplace_back("general.file_type", type.number);
  metadata.emplace_back("general.quantization_version", uint32_t{2});
  for (auto& entry : tokenizer_metadata(model_dir, config)) metadata.push_back(std::move(entry));
  return metadata;
}

/// Bounds what gguf_parts makes of a config.json that lies.
void check_counts(const ModelConfig& config, const ModelWeights& weights, const fs::path& model_dir) {
  const auto tensors = static_cast<int64_t>(weights.all().size());
  if (config.num_hidden_layers <= tensors && config.n_routed_experts <= tensors) return;
  throw std::runtime_error(fmt::format("{}: config.json names {} layers and {} experts, but there are only {} tensors",
                                       model_dir.string(), config.num_hidden_layers, config.n_routed_experts, tensors));
}

// --- folder to folder -----------------------------------------------------------------------------

/// The router's selection bias stays float32, as transformers keeps it.
TensorSource converted(const std::string& name, const StoredWeight& weight, const std::string& stored) {
  const std::string dtype = name.ends_with(".e_score_correction_bias") ? "F32" : stored;
  const GgmlType type = dtype == "F32" ? GgmlType::kF32 : dtype == "F16" ? GgmlType::kF16 : GgmlType::kBF16;
  const auto produce = [name, weight, type](const ByteSink& sink) { sink(quantized(name, type, numbers_of(weight))); };
  return {name, dtype, weight.info->shape, produce};
}

void copy_other_files(const fs::path& from, const fs::path& to) {
  for (const auto& entry : fs::directory_iterator(from)) {
    const std::string name = entry.path().filename().string();
    const bool weights = entry.path().extension() == ".safetensors" || name == "model.safetensors.index.json";
    if (weights || name == "config.json") continue;
    const bool templates = entry.is_directory() && name == "additional_chat_templates";
    if (entry.is_regular_file() || templates) fs::copy(entry.path(), to / name, fs::copy_options::recursive);
  }
}

/// The file's own keys, with the dtype under both names that transformers has for it and without the FP8 map.
std::string rewritten_config(const fs::path& path, const std::string& dtype) {
  auto config = nlohmann::ordered_json::parse(read_file(path));
  config.erase("quantization_config");
  config.erase("dtype");
  config["torch_dtype"] = dtype;
  return config.dump(2) + "\n";
}

}  // namespace

std::vector<std::string> gguf_file_types() {
  std::vector<std::string> words;
  for (const FileType& type : kFileTypes) words.emplace_back(type.word);
  return words;
}

GgufExport GgufExport::open(const fs::path& model_dir, const std::string& type) {
  const FileType& chosen = file_type(type);
  const ModelConfig config = load_model_config(model_dir);
  GgufExport model(ModelWeights::open(model_dir));
  check_counts(config, model.weights_, model_dir);
  const std::vector<GgufPart> parts = gguf_parts(config);
  check_weights(model.weights_, parts, config);
  model.config_ = config;
  model.metadata_ = metadata_of(model_dir, config, chosen);
  for (const GgufPart& part : parts) model.parts_.emplace_back(part, type_of(part, chosen, config));
  return model;
}

void GgufExport::write(const fs::path& out) const {
  std::vector<GgufSource> sources;
  if (config_.rope_scaling.kind == RopeScaling::kLlama3) sources.push_back(rope_factors_source(config_));
  for (const auto& [part, type] : parts_) sources.push_back(source_of(part, type, weights_));
  write_gguf(out, metadata_, sources);
}

FolderExport FolderExport::open(const fs::path& model_dir, const std::string& type) {
  static constexpr std::array<std::string_view, 3> kTypes[] = {
      {"f32", "F32", "float32"}, {"f16", "F16", "float16"}, {"bf16", "BF16", "bfloat16"}};
  for (const auto& [word, stored, dtype] : kTypes) {
    if (type != word) continue;
    load_model_config(model_dir);  // for its checks
    FolderExport model(ModelWeights::open(model_dir));
    model.model_dir_ = model_dir;
    model.dtype_ = dtype;
    model.stored_ = stored;
    return model;
  }
  throw std::invalid_argument("type \"" + type + "\" is none of f32, f16, bf16, which folders are written in");
}

void FolderExport::write(const fs::path& out_dir, uint64_t max_shard_bytes) const {
  if (fs::exists(out_dir) && !(fs::is_directory(out_dir) && fs::is_empty(out_dir))) {
    throw std::invalid_argument(out_dir.string() + ": it is there already and not empty; name a new folder");
  }
  std::vector<TensorSource> sources;
  for (const auto& [name, weight] : weights_.all()) sources.push_back(converted(name, weight, stored_));
  AtomicDirectory folder(out_dir);
  copy_other_files(model_dir_, folder.temporary());
  write_file_atomic(folder.temporary() / "config.json", rewritten_config(model_dir_ / "config.json", dtype_));
  write_model_safetensors(folder.temporary(), sources, max_shard_bytes);
  folder.commit();
}

}  // namespace hone
