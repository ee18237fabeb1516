// The tensors of a model in a GGUF file and where each comes from in a Hugging Face checkpoint; names and layouts are
// llama.cpp's. For the config see architecture.h.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "models/model_config.h"

namespace hone {

/// How the numbers of a tensor differ between the two sides.
enum class PartKind {
  kSame,
  kRopeRows,  ///< rows of a head: half-split pairs in the checkpoint, adjacent pairs in an arch `llama` file
  kKeyUp,     ///< the keys' rows of kv_b_proj, each head transposed
  kValueUp    ///< the values' rows of kv_b_proj
};

/// A tensor of the file and where it comes from.
struct GgufPart {
  std::string name;            ///< in the file: "blk.0.attn_q.weight"
  std::string source;          ///< in the checkpoint; {e} stands for the number of a slice
  std::vector<int64_t> shape;  ///< of (a slice of) the source
  PartKind kind = PartKind::kSame;
  int64_t slices = 0;  ///< experts, stacked in the file; 0: not stacked
  int64_t heads = 0;   ///< unless kind is kSame
  int64_t nope = 0;    ///< kKeyUp, kValueUp: rows of a head that are keys

  std::string source_name(int64_t slice) const;
  /// Outermost first.
  std::vector<int64_t> file_shape() const;
};

/// All of a model's, rope_freqs.weight excepted.
std::vector<GgufPart> gguf_parts(const ModelConfig& config);

/// The numbers of (a slice of) the source as they stand in the file.
std::vector<float> to_file(const GgufPart& part, std::vector<float> source);
/// The other way. kKeyUp and kValueUp write their rows of `source`, all other kinds all of it.
void from_file(const GgufPart& part, std::span<const float> file, std::span<float> source);

}  // namespace hone
