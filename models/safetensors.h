// safetensors files: named tensors as raw little-endian bytes behind a JSON header. Reads and writes any tensor type of
// the format as bytes; knows nothing of torch. Checked against PyPI `safetensors`
// (tests/reference/write_golden_safetensors.py).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/atomic_file.h"
#include "models/mapped_file.h"

namespace hone {

/// One tensor of a file, or one to be written. `data` is borrowed: from the open file, or from the caller of write.
/// Example: {"model.norm.weight", "F32", {64}, data, 256}
struct TensorInfo {
  std::string name;
  std::string dtype;           // as in the file: "F32", "BF16", "I64", "F8_E4M3", ...
  std::vector<int64_t> shape;  // {} is a scalar
  const std::byte* data = nullptr;
  size_t num_bytes = 0;
};

/// Bits of one element of a safetensors dtype, or nothing for a word that is none.
std::optional<int> dtype_bits(std::string_view dtype);

/// A file mapped read-only into memory; `TensorInfo::data` points into it and lives as long as it does. Foreign writers
/// need not align tensors, so copy where TensorInfo::data is misaligned. Move-only; reading from many threads is fine.
class SafetensorsFile {
 public:
  /// Throws std::runtime_error (file, tensor, what was found, limit, remedy) for every malformed header: lying length,
  /// duplicate names, holes, overlaps, sizes that do not follow from shape and dtype, deep nesting, unknown dtype ...
  static SafetensorsFile open(const std::filesystem::path& path);
  /// The same for bytes that are in memory already; `path` is for messages.
  static SafetensorsFile parse(MappedFile file, const std::filesystem::path& path);

  /// In the order of the data in the file.
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  const TensorInfo* find(std::string_view name) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::filesystem::path& path() const { return path_; }

  SafetensorsFile(SafetensorsFile&&) = default;
  SafetensorsFile& operator=(SafetensorsFile&&) = default;

 private:
  SafetensorsFile() = default;
  std::filesystem::path path_;
  std::shared_ptr<const std::byte> mapping_;  // unmapped with its last owner
  std::vector<TensorInfo> tensors_;
  std::map<std::string, size_t, std::less<>> index_;
  std::map<std::string, std::string> metadata_;
};

/// A tensor whose bytes are made while they are written, so that a model need not be in memory to be stored.
struct TensorSource {
  std::string name;
  std::string dtype;
  std::vector<int64_t> shape;
  std::function<void(const ByteSink&)> produce;  ///< hands over all bytes of the tensor, in one piece or many
};

using Metadata = std::map<std::string, std::string>;

/// Writes the tensors one after the other, in the order given, without holding the file in memory; atomic as
/// write_file_atomic. Data start on a multiple of 8 bytes; order tensors by falling element size to keep each aligned.
/// Throws std::invalid_argument for a duplicate name, an unknown dtype or num_bytes that differs from shape and dtype.
void write_safetensors(const std::filesystem::path& path, std::span<const TensorInfo> tensors,
                       const Metadata& metadata = {{"format", "pt"}});
/// The same; throws std::logic_error when `produce` hands over more or fewer bytes than shape and dtype say.
void write_safetensors(const std::filesystem::path& path, std::span<const TensorSource> tensors,
                       const Metadata& metadata = {{"format", "pt"}});

constexpr uint64_t kMaxShardBytes = 5'000'000'000;

/// The weights of a model folder: model.safetensors, or, above max_shard_bytes, shards of at most that (and of one
/// tensor at least) named model-00001-of-0000N.safetensors and the index that says which tensor is where. Each file is
/// atomic; for all of them together write into an AtomicDirectory.
void write_model_safetensors(const std::filesystem::path& model_dir, std::span<const TensorSource> tensors,
                             uint64_t max_shard_bytes = kMaxShardBytes);

/// model.safetensors of a model folder, or the shards that model.safetensors.index.json names (sorted, each once).
/// Throws std::runtime_error when neither is there, a shard is missing, or a shard's name would leave the folder.
std::vector<std::filesystem::path> safetensors_files(const std::filesystem::path& model_dir);

/// `weight_map` of an index file: the shard of each tensor. Throws std::runtime_error as safetensors_files does.
std::map<std::string, std::string> safetensors_weight_map(const std::filesystem::path& index);

}  // namespace hone
