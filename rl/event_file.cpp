#include "rl/event_file.h"

#include <bit>
#include <cstring>
#include <stdexcept>

#include <fmt/format.h>
#include <boost/crc.hpp>

namespace hone {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are written as they lie in memory");

template <class Number>
std::string bytes_of(Number value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

std::string masked_crc(const std::string& bytes) {
  boost::crc_optimal<32, 0x1EDC6F41, ~0u, ~0u, true, true> crc;
  crc.process_bytes(bytes.data(), bytes.size());
  const auto value = static_cast<uint32_t>(crc.checksum());
  return bytes_of(static_cast<uint32_t>(((value >> 15) | (value << 17)) + 0xa282ead8u));
}

// ---- protobuf's wire format: a key (field << 3 | type), then the value ----------------------------------------------

enum WireType : uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

std::string varint(uint64_t value) {
  std::string out;
  for (; value > 127; value >>= 7) out += static_cast<char>(value | 128);
  out += static_cast<char>(value);
  return out;
}
std::string key(uint64_t field, WireType type) { return varint(field << 3 | type); }
std::string message(uint64_t field, const std::string& bytes) {
  return key(field, kBytes) + varint(bytes.size()) + bytes;
}

// Event{1: wall_time, 2: step, 3: file_version, 5: Summary{1: Value{1: tag, 2: simple_value}}}
std::string event(double time, int64_t step) {
  return key(1, kFixed64) + bytes_of(time) + key(2, kVarint) + varint(static_cast<uint64_t>(step));
}

}  // namespace

EventFile::EventFile(const std::filesystem::path& folder, double time) {
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  path_ = folder / fmt::format("events.out.tfevents.{:010}.hone", static_cast<int64_t>(time));
  out_.open(path_, std::ios::binary);
  append(key(1, kFixed64) + bytes_of(time) + message(3, "brain.Event:2"));
}

void EventFile::write(int64_t step, double time, const std::map<std::string, double>& scalars) {
  std::string summary;
  for (const auto& [name, value] : scalars) {
    summary += message(1, message(1, name) + key(2, kFixed32) + bytes_of(static_cast<float>(value)));
  }
  append(event(time, step) + message(5, summary));
}

void EventFile::append(const std::string& bytes) {
  const std::string length = bytes_of(static_cast<uint64_t>(bytes.size()));
  out_ << length << masked_crc(length) << bytes << masked_crc(bytes) << std::flush;
  if (!out_) throw std::runtime_error(fmt::format("{}: cannot be written; is the disk full?", path_.string()));
}

}  // namespace hone
