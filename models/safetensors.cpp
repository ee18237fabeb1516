#include "models/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <numeric>
#include <set>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "models/atomic_file.h"

namespace hone {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the reference reader
constexpr size_t kMaxNameBytes = 1024;
constexpr size_t kMaxRank = 32;
constexpr std::string_view kAgain = "the file is damaged or was not written as safetensors; fetch or write it again";
static_assert(std::endian::native == std::endian::little, "safetensors data are mapped as they are");

/// A name out of the file as it may stand in a message: short, without control characters.
std::string in_quotes(std::string_view name) {
  std::string text(name.substr(0, 80));
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return '"' + text + (name.size() > 80 ? "..." : "") + '"';
}

/// An entry of the header before its offsets are checked against the file.
struct Entry {
  std::string name, dtype;
  std::vector<int64_t> shape;
  std::vector<uint64_t> offsets;
  bool has_shape = false;
};

/// Reads the header event by event, so that nothing is built for what is refused: another key, a second one, a deeper
/// nesting, a number that is no count.
class HeaderHandler : public nlohmann::json_sax<json> {
 public:
  explicit HeaderHandler(std::string file) : file_(std::move(file)) {}

  std::vector<Entry> entries;
  std::map<std::string, std::string> metadata;

  bool null() override { unexpected("null"); }
  bool boolean(bool) override { unexpected("a boolean"); }
  bool number_integer(number_integer_t value) override { unexpected(fmt::format("the negative number {}", value)); }
  bool number_float(number_float_t, const string_t& text) override { unexpected("the number " + in_quotes(text)); }
  bool binary(binary_t&) override { unexpected("binary"); }
  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::kShape) {
      add_dimension(value);
    } else if (place_ == Place::kOffsets) {
      entries.back().offsets.push_back(value);
      if (entries.back().offsets.size() > 2) refuse("data_offsets holds more than two numbers");
    } else {
      unexpected("a number");
    }
    return true;
  }
  bool string(string_t& value) override {
    if (place_ == Place::kMetadata) {
      metadata[key_] = value;
    } else if (place_ == Place::kTensor && key_ == "dtype") {
      entries.back().dtype = value;
    } else {
      unexpected("the string " + in_quotes(value));
    }
    return true;
  }
  bool start_object(std::size_t) override {
    if (place_ == Place::kOutside) {
      place_ = Place::kHeader;
    } else if (place_ == Place::kHeader) {
      place_ = key_ == "__metadata__" ? Place::kMetadata : Place::kTensor;
      if (place_ == Place::kTensor) entries.emplace_back().name = key_;
    } else {
      unexpected("a nested object");
    }
    fields_.clear();
    return true;
  }
  bool end_object() override {
    if (place_ == Place::kTensor) check_complete(entries.back());
    place_ = place_ == Place::kHeader ? Place::kOutside : Place::kHeader;
    return true;
  }
  bool start_array(std::size_t) override {
    if (place_ == Place::kTensor && key_ == "shape") {
      place_ = Place::kShape;
    } else if (place_ == Place::kTensor && key_ == "data_offsets") {
      place_ = Place::kOffsets;
    } else {
      unexpected("an array");
    }
    return true;
  }
  bool end_array() override {
    if (place_ == Place::kShape) entries.back().has_shape = true;
    place_ = Place::kTensor;
    return true;
  }
  bool key(string_t& name) override {
    if (name.size() > kMaxNameBytes && place_ == Place::kHeader) {
      refuse(
          fmt::format("a tensor name has {} bytes, {} are allowed: {}", name.size(), kMaxNameBytes, in_quotes(name)));
    }
    if (place_ == Place::kTensor && name != "dtype" && name != "shape" && name != "data_offsets") {
      refuse(fmt::format("unknown key {}; an entry has dtype, shape and data_offsets", in_quotes(name)));
    }
    auto& seen = place_ == Place::kHeader ? names_ : fields_;
    if (!seen.insert(name).second) refuse(fmt::format("the key {} stands there twice", in_quotes(name)));
    key_ = name;
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    refuse(fmt::format("the header is not JSON near its byte {} ({})", position, error.what()));
  }

 private:
  enum class Place { kOutside, kHeader, kMetadata, kTensor, kShape, kOffsets };

  [[noreturn]] void refuse(const std::string& what) const {
    const bool in_tensor = place_ != Place::kOutside && place_ != Place::kHeader && place_ != Place::kMetadata;
    const std::string where = in_tensor ? "tensor " + in_quotes(entries.back().name) + ": " : "";
    throw std::runtime_error(fmt::format("{}: safetensors header: {}{}; {}", file_, where, what, kAgain));
  }
  [[noreturn]] void unexpected(const std::string& what) const {
    refuse(place_ == Place::kOutside ? "it is not one JSON object"
                                     : fmt::format("{} at key {} is not allowed there", what, in_quotes(key_)));
  }
  void add_dimension(uint64_t value) {
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      refuse(fmt::format("the dimension {} is above 2^63", value));
    }
    entries.back().shape.push_back(static_cast<int64_t>(value));
    if (entries.back().shape.size() > kMaxRank) refuse(fmt::format("more than {} dimensions", kMaxRank));
  }
  void check_complete(const Entry& entry) const {
    if (entry.dtype.empty()) refuse("the key dtype is missing or empty");
    if (!entry.has_shape) refuse("the key shape is missing");
    if (entry.offsets.size() != 2) refuse("data_offsets is missing or does not hold two numbers");
  }

  std::string file_;
  std::string key_;
  Place place_ = Place::kOutside;
  std::set<std::string> names_, fields_;
};

/// Bytes of a tensor, or what is wrong with its dtype or shape.
struct ByteCount {
  uint64_t bytes = 0;
  std::string error;
};

ByteCount byte_count(std::string_view dtype, std::span<const int64_t> shape) {
  const std::optional<int> bits = dtype_bits(dtype);
  if (!bits) return {0, fmt::format("the dtype {} is unknown", in_quotes(dtype))};
  uint64_t total = static_cast<uint64_t>(*bits);
  bool overflow = false;
  for (int64_t dimension : shape) {
    if (dimension < 0) return {0, fmt::format("the dimension {} is negative", dimension)};
    overflow |= __builtin_mul_overflow(total, static_cast<uint64_t>(dimension), &total);
  }
  if (overflow) return {0, fmt::format("the size of shape [{}] exceeds 64 bits", fmt::join(shape, ", "))};
  if (total % 8 != 0) return {0, fmt::format("{} bits are no whole number of bytes", total)};
  return {total / 8, ""};
}

/// The header's JSON text, its length checked against the limit and the file.
std::string_view header_text(const MappedFile& file, const fs::path& path) {
  if (file.size < 8) {
    throw std::runtime_error(
        fmt::format("{}: {} bytes are too few for a safetensors file; {}", path.string(), file.size, kAgain));
  }
  uint64_t length = 0;
  std::memcpy(&length, file.data.get(), 8);
  if (length > kMaxHeaderBytes) {
    throw std::runtime_error(fmt::format("{}: the safetensors header claims {} bytes, the limit is {}; {}",
                                         path.string(), length, kMaxHeaderBytes, kAgain));
  }
  if (length > file.size - 8) {
    throw std::runtime_error(fmt::format("{}: the safetensors header claims {} bytes, but only {} follow; {}",
                                         path.string(), length, file.size - 8, kAgain));
  }
  const std::string_view text(reinterpret_cast<const char*>(file.data.get()) + 8, length);
  if (!text.starts_with('{')) {
    throw std::runtime_error(
        fmt::format("{}: the safetensors header does not begin with {{; {}", path.string(), kAgain));
  }
  return text;
}

/// One entry against the data that should follow the previous one; `next` is moved behind it.
TensorInfo place_entry(const Entry& entry, const std::byte* data, uint64_t data_size, uint64_t& next,
                       const std::string& file) {
  const auto refuse = [&](const std::string& what) {
    throw std::runtime_error(fmt::format("{}: tensor {}: {}; {}", file, in_quotes(entry.name), what, kAgain));
  };
  const uint64_t begin = entry.offsets[0], end = entry.offsets[1];
  if (begin > end) refuse(fmt::format("data_offsets begin at {} and end before, at {}", begin, end));
  if (end > data_size) refuse(fmt::format("its data end at {}, the file's at {}", end, data_size));
  if (begin != next) {
    refuse(fmt::format("its data begin at {}, {} the previous tensor's end at {}", begin,
                       begin > next ? "leaving a hole behind" : "overlapping", next));
  }
  const ByteCount expected = byte_count(entry.dtype, entry.shape);
  if (!expected.error.empty()) refuse(expected.error);
  if (expected.bytes != end - begin) {
    refuse(fmt::format("{} of shape [{}] takes {} bytes, data_offsets span {}", entry.dtype,
                       fmt::join(entry.shape, ", "), expected.bytes, end - begin));
  }
  next = end;
  return {entry.name, entry.dtype, entry.shape, data + begin, static_cast<size_t>(end - begin)};
}

/// Checks what is to be written and returns the size of each tensor.
template <class Tensor>
std::vector<uint64_t> checked_sizes(std::span<const Tensor> tensors, const fs::path& path) {
  std::set<std::string_view> names;
  std::vector<uint64_t> sizes;
  for (const Tensor& tensor : tensors) {
    const auto refuse = [&](const std::string& what) {
      throw std::invalid_argument(
          fmt::format("cannot write {}: tensor {}: {}", path.string(), in_quotes(tensor.name), what));
    };
    if (!names.insert(tensor.name).second) refuse("the name stands there twice");
    if (tensor.name == "__metadata__") refuse("this name is reserved by the format");
    if (tensor.name.size() > kMaxNameBytes) refuse(fmt::format("names are limited to {} bytes", kMaxNameBytes));
    if (tensor.shape.size() > kMaxRank) refuse(fmt::format("more than {} dimensions", kMaxRank));
    const ByteCount expected = byte_count(tensor.dtype, tensor.shape);
    if (!expected.error.empty()) refuse(expected.error);
    sizes.push_back(expected.bytes);
  }
  return sizes;
}

void check_data(std::span<const TensorInfo> tensors, std::span<const uint64_t> sizes, const fs::path& path) {
  for (size_t i = 0; i < tensors.size(); ++i) {
    const TensorInfo& tensor = tensors[i];
    const auto refuse = [&](const std::string& what) {
      throw std::invalid_argument(
          fmt::format("cannot write {}: tensor {}: {}", path.string(), in_quotes(tensor.name), what));
    };
    if (sizes[i] != tensor.num_bytes) {
      refuse(fmt::format("{} of shape [{}] takes {} bytes, {} were given", tensor.dtype, fmt::join(tensor.shape, ", "),
                         sizes[i], tensor.num_bytes));
    }
    if (tensor.data == nullptr && tensor.num_bytes > 0) refuse("it has no data");
  }
}

/// Length and JSON, padded with spaces so that the data begin on a multiple of 8.
template <class Tensor>
std::string make_header(std::span<const Tensor> tensors, std::span<const uint64_t> sizes, const Metadata& metadata,
                        const fs::path& path) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Tensor& tensor = tensors[i];
    const uint64_t end = offset + sizes[i];
    header.push_back(
        {tensor.name, {{"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}}});
    offset = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const json::exception& error) {
    throw std::invalid_argument(
        fmt::format("cannot write {}: a tensor name or metadata is not UTF-8 ({})", path.string(), error.what()));
  }
  text.append((8 - text.size() % 8) % 8, ' ');
  if (text.size() > kMaxHeaderBytes) {
    throw std::invalid_argument(fmt::format("cannot write {}: its header would have {} bytes, the limit is {}",
                                            path.string(), text.size(), kMaxHeaderBytes));
  }
  const uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + text;
}

[[noreturn]] void refuse_index(const fs::path& index, const std::string& what) {
  throw std::runtime_error(
      fmt::format("{}: {}; fetch the index again, or write the model again", index.string(), what));
}

/// A shard lies in the folder of its index: no separators, no way up.
void check_shard_name(const std::string& name, const fs::path& index) {
  if (name.empty() || name.find_first_of("/\\") != std::string::npos || name.find("..") != std::string::npos ||
      name.find('\0') != std::string::npos) {
    refuse_index(index, "the shard name " + in_quotes(name) + " leaves the folder");
  }
}

/// Cuts the tensors, in their order, into runs of at most `limit` bytes and of one tensor at least.
std::vector<std::span<const TensorSource>> shards_of(std::span<const TensorSource> tensors, uint64_t limit) {
  std::vector<std::span<const TensorSource>> shards;
  size_t first = 0;
  uint64_t bytes = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const uint64_t more = byte_count(tensors[i].dtype, tensors[i].shape).bytes;
    if (i > first && bytes + more > limit) {
      shards.push_back(tensors.subspan(first, i - first));
      first = i;
      bytes = 0;
    }
    bytes += more;
  }
  shards.push_back(tensors.subspan(first));
  return shards;
}

/// Hands the bytes of a source on and counts them.
void write_source(const TensorSource& tensor, uint64_t expected, const ByteSink& sink) {
  uint64_t written = 0;
  tensor.produce([&](std::string_view bytes) {
    written += bytes.size();
    if (written > expected) throw std::logic_error("tensor " + tensor.name + ": more bytes than its shape holds");
    sink(bytes);
  });
  if (written != expected) throw std::logic_error("tensor " + tensor.name + ": fewer bytes than its shape holds");
}

}  // namespace

std::optional<int> dtype_bits(std::string_view dtype) {
  static constexpr std::pair<std::string_view, int> kBits[] = {
      {"F32", 32},        {"BF16", 16}, {"F16", 16},    {"F64", 64},    {"I64", 64},    {"I32", 32},
      {"I16", 16},        {"I8", 8},    {"U8", 8},      {"BOOL", 8},    {"U16", 16},    {"U32", 32},
      {"U64", 64},        {"C64", 64},  {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
      {"F8_E5M2FNUZ", 8}, {"F4", 4},    {"F6_E2M3", 6}, {"F6_E3M2", 6}};
  for (const auto& [name, bits] : kBits) {
    if (name == dtype) return bits;
  }
  return std::nullopt;
}

SafetensorsFile SafetensorsFile::open(const fs::path& path) { return parse(map_file(path), path); }

SafetensorsFile SafetensorsFile::parse(MappedFile file, const fs::path& path) {
  const std::string_view text = header_text(file, path);
  HeaderHandler header(path.string());
  json::sax_parse(text, &header);
  std::sort(header.entries.begin(), header.entries.end(),
            [](const Entry& a, const Entry& b) { return a.offsets < b.offsets; });

  SafetensorsFile result;
  result.path_ = path;
  result.mapping_ = std::move(file.data);
  result.metadata_ = std::move(header.metadata);
  const std::byte* data = result.mapping_.get() + 8 + text.size();
  const uint64_t data_size = file.size - 8 - text.size();
  uint64_t next = 0;
  for (const Entry& entry : header.entries) {
    result.index_[entry.name] = result.tensors_.size();
    result.tensors_.push_back(place_entry(entry, data, data_size, next, path.string()));
  }
  if (next != data_size) {
    throw std::runtime_error(fmt::format("{}: the tensors end at {}, but {} bytes of data follow the header; {}",
                                         path.string(), next, data_size, kAgain));
  }
  return result;
}

const TensorInfo* SafetensorsFile::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

void write_safetensors(const fs::path& path, std::span<const TensorInfo> tensors, const Metadata& metadata) {
  const std::vector<uint64_t> sizes = checked_sizes(tensors, path);
  check_data(tensors, sizes, path);
  const std::string header = make_header(tensors, sizes, metadata, path);
  write_file_atomic(path, [&](const ByteSink& sink) {
    sink(header);
    for (const TensorInfo& tensor : tensors) {
      sink({reinterpret_cast<const char*>(tensor.data), tensor.num_bytes});
    }
  });
}

void write_safetensors(const fs::path& path, std::span<const TensorSource> tensors, const Metadata& metadata) {
  const std::vector<uint64_t> sizes = checked_sizes(tensors, path);
  const std::string header = make_header(tensors, sizes, metadata, path);
  write_file_atomic(path, [&](const ByteSink& sink) {
    sink(header);
    for (size_t i = 0; i < tensors.size(); ++i) write_source(tensors[i], sizes[i], sink);
  });
}

void write_model_safetensors(const fs::path& model_dir, std::span<const TensorSource> tensors,
                             uint64_t max_shard_bytes) {
  const std::vector<uint64_t> sizes = checked_sizes(tensors, model_dir);
  const auto shards = shards_of(tensors, max_shard_bytes);
  if (shards.size() == 1) return write_safetensors(model_dir / "model.safetensors", tensors);
  json weight_map = json::object();
  for (size_t s = 0; s < shards.size(); ++s) {
    const std::string name = fmt::format("model-{:05}-of-{:05}.safetensors", s + 1, shards.size());
    write_safetensors(model_dir / name, shards[s]);
    for (const TensorSource& tensor : shards[s]) weight_map[tensor.name] = name;
  }
  const json index = {{"metadata", {{"total_size", std::accumulate(sizes.begin(), sizes.end(), uint64_t{0})}}},
                      {"weight_map", std::move(weight_map)}};
  write_file_atomic(model_dir / "model.safetensors.index.json", index.dump(2) + "\n");
}

std::map<std::string, std::string> safetensors_weight_map(const fs::path& index) {
  const json parsed = json::parse(read_file(index), nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) refuse_index(index, "it is not a JSON object");
  const auto map = parsed.find("weight_map");
  if (map == parsed.end() || !map->is_object() || map->empty()) {
    refuse_index(index, "weight_map is missing, empty or not an object");
  }
  std::map<std::string, std::string> result;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string()) refuse_index(index, "weight_map: " + in_quotes(tensor) + " has no file name");
    check_shard_name(file.get_ref<const std::string&>(), index);
    result[tensor] = file.get<std::string>();
  }
  return result;
}

std::vector<fs::path> safetensors_files(const fs::path& model_dir) {
  if (fs::exists(model_dir / "model.safetensors")) return {model_dir / "model.safetensors"};
  const fs::path index = model_dir / "model.safetensors.index.json";
  if (!fs::exists(index)) {
    throw std::runtime_error(
        fmt::format("{}: neither model.safetensors nor model.safetensors.index.json is there; "
                    "name a model folder whose weights are stored as safetensors",
                    model_dir.string()));
  }
  std::set<std::string> names;
  for (const auto& [tensor, file] : safetensors_weight_map(index)) names.insert(file);
  std::vector<fs::path> files;
  std::vector<std::string> missing;
  for (const std::string& name : names) {
    files.push_back(model_dir / name);
    if (!fs::exists(files.back())) missing.push_back(name);
  }
  if (!missing.empty()) refuse_index(index, fmt::format("missing beside it: {}", fmt::join(missing, ", ")));
  return files;
}

}  // namespace hone
