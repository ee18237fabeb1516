// GGUF file -> Hugging Face folder: config.json, weights as safetensors, tokenizer, chat template,
// generation_config.json. Architectures: see architecture.h; tokenizers: see tokenizer.h. Checked against what PyPI
// `transformers` makes of the same file (tests/python/gguf_parity_test.py).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "models/gguf/gguf.h"
#include "models/gguf/parts.h"
#include "models/gguf/tokenizer.h"
#include "models/model_config.h"
#include "models/safetensors.h"

namespace hone {

struct GgufImportOptions {
  std::string dtype = "float32";  ///< of the weights written: float32 (exact), bfloat16 or float16
  uint64_t max_shard_bytes = kMaxShardBytes;
};

/// A file that holds a model we know, read and checked in all its parts but the numbers of the weights.
class GgufImport {
 public:
  /// Throws std::runtime_error naming the file and the key or tensor that is malformed, missing, superfluous or not
  /// supported.
  static GgufImport open(const std::filesystem::path& gguf) { return of(GgufFile::open(gguf)); }
  static GgufImport of(GgufFile file);

  /// Makes `out_dir`, which must not exist or be empty; it appears complete or not at all. Throws std::invalid_argument
  /// for a folder that is in the way or an unknown dtype, std::runtime_error when it cannot be written.
  void write(const std::filesystem::path& out_dir, const GgufImportOptions& options = {}) const;

  const ModelConfig& config() const { return config_; }

 private:
  explicit GgufImport(GgufFile file) : file_(std::move(file)) {}
  GgufFile file_;
  ModelConfig config_;
  std::vector<GgufPart> parts_;
  TokenizerFiles tokenizer_;
};

}  // namespace hone
