// A ModelConfig as keys of a GGUF file, both directions: llama.cpp's architectures llama, qwen2, qwen3, qwen3moe and
// deepseek2 (which is DeepSeek-V3 too). The names are llama.cpp's. For the tensors see parts.h.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "models/gguf/gguf.h"
#include "models/model_config.h"

namespace hone {

/// `general.architecture` and the keys that begin with it. Throws std::invalid_argument for a config that llama.cpp has
/// no words for, naming the field.
GgufMetadata config_metadata(const ModelConfig& config);

/// The other way; also looks at the tensors (tied embeddings, biases, Llama 3's rope factors). `dtype`, token ids and
/// initializer_range keep their defaults. Throws std::runtime_error naming the file and the key.
ModelConfig config_of(const GgufFile& file);

/// What Llama 3 divides its frequencies by, one for each pair of a head: the tensor rope_freqs.weight.
std::vector<float> llama3_rope_factors(const ModelConfig& config);

}  // namespace hone
