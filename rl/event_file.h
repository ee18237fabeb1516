// TensorBoard event files: TFRecords (length, masked CRC-32C of it, bytes, masked CRC-32C of them) that hold Event
// messages of tensorboard/compat/proto/event.proto with one Summary of scalars a step. Written by hand: four fields do
// not need protobuf. Read back by PyPI tensorboard's own loader in tests/python/trackers_test.py.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

namespace hone {

/// One file; appends whole records. Not thread-safe.
class EventFile {
 public:
  /// Makes the folder and begins a new file in it, in place of those that are there. Throws std::runtime_error when it
  /// cannot be written.
  EventFile(const std::filesystem::path& folder, double time);

  /// `time`: seconds since 1970. Flushed, not synced: a lost tail is written again when the run is resumed.
  void write(int64_t step, double time, const std::map<std::string, double>& scalars);

 private:
  void append(const std::string& event);

  std::filesystem::path path_;
  std::ofstream out_;
};

}  // namespace hone
