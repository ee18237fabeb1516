// A model folder in other forms: as a GGUF file that llama.cpp and Ollama run, or as a Hugging Face folder in another
// dtype (FP8 weights dequantized, shards cut anew). Checked by running the files (tests/python/gguf_llama_cpp_test.py).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "models/gguf/gguf.h"
#include "models/gguf/parts.h"
#include "models/gguf/quants.h"
#include "models/model_config.h"
#include "models/safetensors.h"
#include "models/weights.h"

namespace hone {

/// What `--type` can be: f32, f16, bf16, q8_0, q4_0, q4_k_m. Vectors, and the routers of experts, stay float32. In q4_0
/// and q4_k_m the output matrix is Q6_K; q4_k_m also takes Q6_K for half of the value and down projections, as
/// llama.cpp does. Rows that are no multiple of a type's block get the next type that fits: Q4_K -> Q5_0, Q6_K -> Q8_0,
/// then F16.
std::vector<std::string> gguf_file_types();

/// A model folder that can be written as a GGUF file: read and checked in all its parts but the numbers of the weights.
class GgufExport {
 public:
  /// Throws std::invalid_argument for an unknown type or a config that llama.cpp cannot run; std::runtime_error for a
  /// malformed folder: missing, superfluous or mis-shaped tensors, a tokenizer without a name in llama.cpp.
  static GgufExport open(const std::filesystem::path& model_dir, const std::string& type);

  /// The file is complete or as it was. Throws std::invalid_argument for a weight that its type cannot hold,
  /// std::runtime_error when the file cannot be written.
  void write(const std::filesystem::path& out) const;

 private:
  explicit GgufExport(ModelWeights weights) : weights_(std::move(weights)) {}
  ModelWeights weights_;
  ModelConfig config_;
  GgufMetadata metadata_;
  std::vector<std::pair<GgufPart, GgmlType>> parts_;
};

/// A model folder that can be written as another: weights in `type` (f32, f16 or bf16; FP8 is dequantized), the
/// config's dtype to match, every other file as it is. Throws as GgufExport; `out_dir` must not exist or be empty
/// (std::invalid_argument).
class FolderExport {
 public:
  static FolderExport open(const std::filesystem::path& model_dir, const std::string& type);
  void write(const std::filesystem::path& out_dir, uint64_t max_shard_bytes = kMaxShardBytes) const;

 private:
  explicit FolderExport(ModelWeights weights) : weights_(std::move(weights)) {}
  ModelWeights weights_;
  std::filesystem::path model_dir_;
  std::string dtype_, stored_;  // "bfloat16", "BF16"
};

}  // namespace hone
