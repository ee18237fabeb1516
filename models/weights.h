// The weights of a model folder as float32, whatever they are stored as: one file or shards with an index; F32, F16,
// BF16, F64, or FP8 with block scales (X.weight in F8_E4M3 beside X.weight_scale_inv, one float32 for each block of
// 128 x 128, as DeepSeek-V3 is released). Files are mapped, and pages are given back once they are read, so that
// loading costs no memory beside the tensors that are filled. Knows nothing of torch.
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/model_config.h"
#include "models/safetensors.h"

namespace hone {

constexpr int64_t kScaleBlock = 128;  ///< rows and columns that share an FP8 scale

/// One tensor of a folder; scales are part of the tensor they belong to and not listed.
struct StoredWeight {
  const TensorInfo* info = nullptr;   ///< name, stored dtype, shape
  const TensorInfo* scale = nullptr;  ///< null unless the dtype is an FP8 one
  const std::filesystem::path* file = nullptr;
};

/// Move-only; find and read may be called from many threads.
class ModelWeights {
 public:
  /// Maps every file. Throws std::runtime_error naming file and tensor for: what SafetensorsFile::open refuses, a
  /// tensor in two shards, an index that names a tensor its shard lacks, an FP8 tensor without scales or with scales of
  /// another shape than [ceil(rows / 128), ceil(columns / 128)].
  static ModelWeights open(const std::filesystem::path& model_dir);

  /// By name.
  const std::map<std::string, StoredWeight, std::less<>>& all() const { return weights_; }
  const StoredWeight* find(std::string_view name) const;

  /// The tensor of that name. Throws std::runtime_error when it is missing, of another shape than config.json asks for,
  /// or of a dtype that is no float.
  const StoredWeight& require(const std::string& name, std::span<const int64_t> shape) const;
  /// Throws std::runtime_error for the first tensor that is not `used` and that a model of this config does not have
  /// either. Left alone are the layers that predict further tokens, where the config announces any, a copy of tied
  /// embeddings, and the rotary frequencies that old files carry.
  void refuse_others(const std::set<std::string>& used, const ModelConfig& config) const;

  /// Fills `out`, row-major, with a tensor that require() returned, and gives the mapped pages back. Throws
  /// std::invalid_argument when out.size() is not the number of elements.
  static void read(const StoredWeight& weight, std::span<float> out);
  /// The elements where the file is mapped, or nothing where they are not stored as aligned float32; give_back() once
  /// they have been looked at, or they count as the process's memory.
  static std::span<const float> in_place(const StoredWeight& weight);
  static void give_back(const StoredWeight& weight);

 private:
  std::filesystem::path model_dir_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, StoredWeight, std::less<>> weights_;
};

/// Product of a shape that a reader has checked.
size_t element_count(std::span<const int64_t> shape);

}  // namespace hone
