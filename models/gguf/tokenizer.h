// Byte-level BPE tokenizers as GGUF metadata (tokenizer.ggml.model "gpt2") and as tokenizer.json. GGUF names the
// pre-tokenizer by a word: see pre_tokenizers.h. Everything else (SentencePiece, WordPiece, a pre-tokenizer that has no
// word) is refused by name.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "models/gguf/gguf.h"
#include "models/model_config.h"

namespace hone {

/// The `tokenizer.ggml.*` and `tokenizer.chat_template*` keys of a file as the files of a Hugging Face folder.
struct TokenizerFiles {
  std::string tokenizer_json, tokenizer_config_json;
  std::vector<std::pair<std::string, std::string>> chat_templates;  ///< name ("" is the default one), template
};

/// Special token ids of the file; those that are absent are not set.
struct SpecialIds {
  std::optional<int64_t> bos, eos, unk, pad;
};

/// Both throw std::runtime_error naming the file, the key and what is supported.
SpecialIds special_ids(const GgufFile& file);
TokenizerFiles tokenizer_files(const GgufFile& file, const ModelConfig& config);

/// The other way: reads tokenizer.json, tokenizer_config.json and chat templates of a model folder. Ids that the model
/// has and the tokenizer has not become the unused tokens [PADn], as llama.cpp wants a token for each row.
/// Throws std::runtime_error naming the file and what llama.cpp has no word for.
GgufMetadata tokenizer_metadata(const std::filesystem::path& model_dir, const ModelConfig& config);

}  // namespace hone
