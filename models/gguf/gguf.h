// GGUF files, version 3 (2 is read as well, its layout is the same): named values, then tensors, as llama.cpp, Ollama
// and others run them. This file knows the container only; models/gguf/quants.h knows the numbers in it, import.h and
// export.h what a model is. Format: the ggml project's description of GGUF; limits are those of ggml's own reader.
// Checked against PyPI `gguf` (tests/python/gguf_parity_test.py).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "models/atomic_file.h"
#include "models/gguf/quants.h"
#include "models/mapped_file.h"

namespace hone {

template <class... Element>
using GgufVariant = std::variant<Element..., std::vector<Element>...>;

/// A value of the header: a scalar, or a flat array of one type (arrays of arrays are refused, as ggml does). The first
/// twelve alternatives are the format's type ids in their order without 9, the array.
using GgufValue = GgufVariant<uint8_t, int8_t, uint16_t, int16_t, uint32_t, int32_t, float, bool, std::string, uint64_t,
                              int64_t, double>;

/// In the order of the file, each key once. Example: {{"general.architecture", std::string("llama")}}
using GgufMetadata = std::vector<std::pair<std::string, GgufValue>>;

const GgufValue* find(const GgufMetadata& metadata, std::string_view key);

/// One tensor of an open file; `data` points into it.
struct GgufTensor {
  std::string name;
  GgmlType type = GgmlType::kF32;
  std::vector<int64_t> shape;  ///< outermost first, as in safetensors: the file's order reversed
  std::span<const std::byte> data;
};

/// Mapped read-only; move-only; reading from many threads is fine.
class GgufFile {
 public:
  /// Throws std::runtime_error (file, offset or key, what was found, limit, remedy) for a file that ends early, counts
  /// and lengths that it cannot hold, duplicate keys or tensors, unknown types, tensors that do not follow one another.
  static GgufFile open(const std::filesystem::path& path);
  /// The same for bytes that are in memory already; `path` is for messages.
  static GgufFile parse(MappedFile file, const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  const GgufMetadata& metadata() const { return metadata_; }
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  const GgufTensor* find(std::string_view name) const;

  GgufFile(GgufFile&&) = default;
  GgufFile& operator=(GgufFile&&) = default;

 private:
  GgufFile() = default;
  std::filesystem::path path_;
  MappedFile file_;
  GgufMetadata metadata_;
  std::vector<GgufTensor> tensors_;
  std::map<std::string, size_t, std::less<>> index_;
};

/// A tensor to be written, whose bytes are made while they are written.
struct GgufSource {
  std::string name;
  GgmlType type = GgmlType::kF32;
  std::vector<int64_t> shape;                    ///< outermost first
  std::function<void(const ByteSink&)> produce;  ///< hands over all bytes of the tensor, in one piece or many
};

/// Version 3, data at multiples of 32 bytes; atomic as write_file_atomic. Throws std::invalid_argument for what no
/// reader would take: a key or name that stands there twice, a name of 64 bytes or more, five dimensions, rows that are
/// no multiple of the type's block, the key general.alignment; std::logic_error when `produce` hands over another
/// number of bytes than type and shape say.
void write_gguf(const std::filesystem::path& path, const GgufMetadata& metadata, std::span<const GgufSource> tensors);

}  // namespace hone
