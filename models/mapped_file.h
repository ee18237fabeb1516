// A file mapped read-only into memory, for formats that are read in place (safetensors, GGUF).
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

namespace hone {

struct MappedFile {
  std::shared_ptr<const std::byte> data;  ///< unmapped with its last owner; null for an empty file
  size_t size = 0;

  std::span<const std::byte> bytes() const { return {data.get(), size}; }
};

/// Throws std::runtime_error naming the path and the reason: missing, unreadable, not a regular file. The file must not
/// shrink while it is mapped; replacing it by a rename is harmless.
MappedFile map_file(const std::filesystem::path& path);

/// Takes pages that lie wholly in `bytes` of a mapped file out of this process's memory; they stay in the page cache
/// and are read from there when touched again. So a large file costs no memory beside what is made out of it.
void drop_mapped_pages(std::span<const std::byte> bytes);

}  // namespace hone
