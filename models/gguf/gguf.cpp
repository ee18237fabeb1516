#include "models/gguf/gguf.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>
#include <set>
#include <stdexcept>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace hone {
namespace {

namespace fs = std::filesystem;

static_assert(std::endian::native == std::endian::little, "GGUF numbers are read as they are");

constexpr uint64_t kMaxCount = uint64_t{1} << 30;  // bytes of a string, elements of an array: ggml's limits
constexpr size_t kMaxNameBytes = 63;               // of a tensor: ggml's limit
constexpr size_t kMaxKeyBytes = 65535;             // of a key: the description's limit
constexpr uint32_t kMaxRank = 4;
constexpr uint64_t kDefaultAlignment = 32;
constexpr uint32_t kArrayType = 9;
constexpr std::string_view kAlignmentKey = "general.alignment";
constexpr std::string_view kAgain = "the file is damaged or was not written as GGUF; fetch or write it again";

/// A name out of the file as it may stand in a message: short, without control characters.
std::string in_quotes(std::string_view name) {
  std::string text(name.substr(0, 80));
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return '"' + text + (name.size() > 80 ? "..." : "") + '"';
}

/// Reads the header from the front; every length is compared with what is left before anything is made of it.
class Reader {
 public:
  Reader(std::span<const std::byte> bytes, const fs::path& path) : bytes_(bytes), file_(path.string()) {}

  [[noreturn]] void refuse(const std::string& what) const {
    throw std::runtime_error(fmt::format("{}: byte {}: {}; {}", file_, position_, what, kAgain));
  }
  size_t position() const { return position_; }
  uint64_t remaining() const { return bytes_.size() - position_; }

  template <class Number>
  Number number(std::string_view what) {
    if (remaining() < sizeof(Number)) refuse(fmt::format("the file ends in {}", what));
    Number value;
    std::memcpy(&value, bytes_.data() + position_, sizeof(Number));
    position_ += sizeof(Number);
    return value;
  }

  /// A count of things that take `bytes_each` bytes of the file at least.
  uint64_t count(std::string_view what, uint64_t bytes_each, uint64_t limit) {
    const auto value = number<uint64_t>(what);
    if (value > limit) refuse(fmt::format("{} is {}, the limit is {}", what, value, limit));
    if (value > remaining() / bytes_each) {
      refuse(fmt::format("{} is {}, but only {} bytes follow", what, value, remaining()));
    }
    return value;
  }

  std::string_view text(std::string_view what, uint64_t limit) {
    const uint64_t length = count(what, 1, limit);
    const std::string_view value(reinterpret_cast<const char*>(bytes_.data()) + position_, length);
    position_ += length;
    return value;
  }

  template <class Element>
  Element element(std::string_view what) {
    if constexpr (std::is_same_v<Element, std::string>) {
      return std::string(text(what, kMaxCount));
    } else if constexpr (std::is_same_v<Element, bool>) {
      const auto value = number<uint8_t>(what);
      if (value > 1) refuse(fmt::format("{} is {}, a boolean is 0 or 1", what, value));
      return value == 1;
    } else {
      return number<Element>(what);
    }
  }

  template <class Element>
  GgufValue array(std::string_view what) {
    const uint64_t least = std::is_same_v<Element, std::string> ? 8 : sizeof(Element);
    const uint64_t size = count(fmt::format("the length of {}", what), least, kMaxCount);
    std::vector<Element> elements;
    elements.reserve(size);
    for (uint64_t i = 0; i < size; ++i) elements.push_back(element<Element>(what));
    return elements;
  }

  GgufValue value(std::string_view key) {
    const auto type = number<uint32_t>(key);
    return type == kArrayType ? typed(number<uint32_t>(key), key, /*is_array=*/true) : typed(type, key, false);
  }

 private:
  template <class Element>
  GgufValue one_or_many(std::string_view key, bool is_array) {
    return is_array ? array<Element>(key) : GgufValue(element<Element>(key));
  }

  GgufValue typed(uint32_t type, std::string_view key, bool is_array) {
    switch (type) {
      case 0:
        return one_or_many<uint8_t>(key, is_array);
      case 1:
        return one_or_many<int8_t>(key, is_array);
      case 2:
        return one_or_many<uint16_t>(key, is_array);
      case 3:
        return one_or_many<int16_t>(key, is_array);
      case 4:
        return one_or_many<uint32_t>(key, is_array);
      case 5:
        return one_or_many<int32_t>(key, is_array);
      case 6:
        return one_or_many<float>(key, is_array);
      case 7:
        return one_or_many<bool>(key, is_array);
      case 8:
        return one_or_many<std::string>(key, is_array);
      case 10:
        return one_or_many<uint64_t>(key, is_array);
      case 11:
        return one_or_many<int64_t>(key, is_array);
      case 12:
        return one_or_many<double>(key, is_array);
      default:
        refuse(fmt::format("{} has the value type {}; types are 0 to 12{}", key, type,
                           is_array ? ", and an array holds no arrays" : ""));
    }
  }

  std::span<const std::byte> bytes_;
  std::string file_;
  size_t position_ = 0;
};

void check_version(Reader& in) {
  if (in.number<uint32_t>("the first word") != 0x46554747) in.refuse("the file does not begin with \"GGUF\"");
  const auto version = in.number<uint32_t>("the version");
  if (version == 2 || version == 3) return;
  if ((version & 0xffff) == 0) in.refuse("it is a big-endian GGUF file; little-endian ones are read");
  in.refuse(fmt::format("its version is {}; versions 2 and 3 are read", version));
}

GgufMetadata read_metadata(Reader& in, uint64_t count) {
  GgufMetadata metadata;
  std::set<std::string> seen;
  for (uint64_t i = 0; i < count; ++i) {
    const std::string key(in.text("the length of a key", kMaxKeyBytes));
    if (key.empty()) in.refuse("a key is empty");
    if (!seen.insert(key).second) in.refuse(fmt::format("the key {} stands there twice", in_quotes(key)));
    metadata.emplace_back(key, in.value("the value of " + in_quotes(key)));
  }
  return metadata;
}

uint64_t read_alignment(const Reader& in, const GgufMetadata& metadata) {
  const GgufValue* value = find(metadata, kAlignmentKey);
  if (!value) return kDefaultAlignment;
  const uint32_t* alignment = std::get_if<uint32_t>(value);
  if (!alignment || !std::has_single_bit(*alignment)) {
    in.refuse(fmt::format("{} is no power of two stored as uint32", kAlignmentKey));
  }
  return *alignment;
}

/// A tensor's entry before its place is checked against the file.
struct Entry {
  GgufTensor tensor;
  uint64_t offset = 0, bytes = 0;
};

/// Outermost first.
std::vector<int64_t> read_shape(Reader& in, const std::string& what) {
  const auto rank = in.number<uint32_t>(what);
  if (rank > kMaxRank) in.refuse(fmt::format("{} has {} dimensions, the limit is {}", what, rank, kMaxRank));
  std::vector<int64_t> shape;
  for (uint32_t i = 0; i < rank; ++i) {
    const auto size = in.number<int64_t>(what);
    if (size < 0) in.refuse(fmt::format("{} has the negative dimension {}", what, size));
    shape.insert(shape.begin(), size);
  }
  return shape;
}

/// Number of elements, or nothing when it does not fit.
std::optional<uint64_t> checked_count(std::span<const int64_t> shape) {
  uint64_t count = 1;
  bool overflow = false;
  for (int64_t dimension : shape) overflow |= __builtin_mul_overflow(count, static_cast<uint64_t>(dimension), &count);
  if (overflow || count > std::numeric_limits<uint64_t>::max() / 8) return std::nullopt;
  return count;
}

Entry read_entry(Reader& in) {
  Entry entry;
  entry.tensor.name = in.text("the length of a tensor name", kMaxNameBytes);
  const std::string what = "tensor " + in_quotes(entry.tensor.name);
  entry.tensor.shape = read_shape(in, what);
  const auto type = in.number<uint32_t>(what);
  const GgmlTraits* traits = find_traits(type);
  if (!traits) {
    in.refuse(
        fmt::format("{} is stored as {}, which is not read; read are F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1 "
                    "and Q2_K to Q6_K",
                    what, ggml_type_name(type)));
  }
  entry.tensor.type = traits->type;
  const auto& shape = entry.tensor.shape;
  const auto count = checked_count(shape);
  if (!count) in.refuse(fmt::format("{} of shape [{}] has too many elements", what, fmt::join(shape, ", ")));
  if ((shape.empty() ? 1 : shape.back()) % traits->block != 0) {
    in.refuse(fmt::format("{} of shape [{}] is stored as {}, whose rows are multiples of {}", what,
                          fmt::join(shape, ", "), traits->name, traits->block));
  }
  entry.bytes = ggml_bytes(traits->type, *count);
  entry.offset = in.number<uint64_t>(what);
  return entry;
}

uint64_t padded(uint64_t size, uint64_t alignment) { return (size + alignment - 1) / alignment * alignment; }

/// Gives each tensor its bytes: one after another, each at a multiple of the alignment, inside the file.
void place_tensors(std::vector<Entry>& entries, std::span<const std::byte> file, uint64_t data_begin,
                   uint64_t alignment, const fs::path& path) {
  uint64_t next = 0;
  for (Entry& entry : entries) {
    const auto refuse = [&](const std::string& what) {
      throw std::runtime_error(
          fmt::format("{}: tensor {}: {}; {}", path.string(), in_quotes(entry.tensor.name), what, kAgain));
    };
    if (entry.offset != next) {
      refuse(fmt::format("its data are said to begin at {}, the previous tensor's end at {}", entry.offset, next));
    }
    if (data_begin > file.size() || next > file.size() - data_begin || entry.bytes > file.size() - data_begin - next) {
      refuse(fmt::format("its {} bytes from byte {} on leave the file, which has {}", entry.bytes, data_begin + next,
                         file.size()));
    }
    entry.tensor.data = file.subspan(data_begin + next, entry.bytes);
    next += padded(entry.bytes, alignment);
  }
}

// --- writing --------------------------------------------------------------------------------------

template <class Number>
void put(std::string& out, Number value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}
void put_text(std::string& out, std::string_view text) {
  put<uint64_t>(out, text.size());
  out += text;
}

template <class Element>
void put_element(std::string& out, const Element& value) {
  if constexpr (std::is_same_v<Element, std::string>) put_text(out, value);
  else if constexpr (std::is_same_v<Element, bool>) put<uint8_t>(out, value);
  else put(out, value);
}

constexpr size_t kScalars = std::variant_size_v<GgufValue> / 2;

/// The format numbers its types as GgufValue does, but for 9, the array.
uint32_t type_number(size_t alternative) {
  return static_cast<uint32_t>(alternative < kArrayType ? alternative : alternative + 1);
}

void put_value(std::string& out, const GgufValue& value) {
  if (value.index() >= kScalars) put<uint32_t>(out, kArrayType);
  put<uint32_t>(out, type_number(value.index() % kScalars));
  std::visit(
      [&]<class T>(const T& held) {
        if constexpr (requires { typename T::allocator_type; } && !std::is_same_v<T, std::string>) {
          put<uint64_t>(out, held.size());
          for (const typename T::value_type& element : held) put_element<typename T::value_type>(out, element);
        } else {
          put_element(out, held);
        }
      },
      value);
}

[[noreturn]] void cannot_write(const fs::path& path, const std::string& what) {
  throw std::invalid_argument(fmt::format("cannot write {}: {}", path.string(), what));
}

void check_writable(const fs::path& path, const GgufMetadata& metadata, std::span<const GgufSource> tensors) {
  std::set<std::string_view> keys, names;
  for (const auto& [key, value] : metadata) {
    if (key.empty() || key.size() > kMaxKeyBytes || key == kAlignmentKey || !keys.insert(key).second) {
      cannot_write(path, fmt::format("the key {} is empty, too long, reserved or there twice", in_quotes(key)));
    }
  }
  for (const GgufSource& tensor : tensors) {
    const std::string what = "tensor " + in_quotes(tensor.name);
    if (tensor.name.size() > kMaxNameBytes) {
      cannot_write(path, fmt::format("{}: names are limited to {} bytes", what, kMaxNameBytes));
    }
    if (!names.insert(tensor.name).second) cannot_write(path, what + ": the name stands there twice");
    if (tensor.shape.size() > kMaxRank) cannot_write(path, fmt::format("{}: more than {} dimensions", what, kMaxRank));
    const GgmlTraits& traits = traits_of(tensor.type);
    if (!checked_count(tensor.shape) || (tensor.shape.empty() ? 1 : tensor.shape.back()) % traits.block != 0) {
      cannot_write(path, fmt::format("{} of shape [{}]: rows of {} are multiples of {}", what,
                                     fmt::join(tensor.shape, ", "), traits.name, traits.block));
    }
  }
}

uint64_t bytes_of(const GgufSource& tensor) { return ggml_bytes(tensor.type, *checked_count(tensor.shape)); }

std::string make_header(const GgufMetadata& metadata, std::span<const GgufSource> tensors) {
  std::string out = "GGUF";
  put<uint32_t>(out, 3);
  put<uint64_t>(out, tensors.size());
  put<uint64_t>(out, metadata.size());
  for (const auto& [key, value] : metadata) {
    put_text(out, key);
    put_value(out, value);
  }
  uint64_t offset = 0;
  for (const GgufSource& tensor : tensors) {
    put_text(out, tensor.name);
    put<uint32_t>(out, static_cast<uint32_t>(tensor.shape.size()));
    for (auto size = tensor.shape.rbegin(); size != tensor.shape.rend(); ++size) put<int64_t>(out, *size);
    put<uint32_t>(out, static_cast<uint32_t>(tensor.type));
    put<uint64_t>(out, offset);
    offset += padded(bytes_of(tensor), kDefaultAlignment);
  }
  out.resize(padded(out.size(), kDefaultAlignment));
  return out;
}

void write_source(const GgufSource& tensor, const ByteSink& sink) {
  const uint64_t expected = bytes_of(tensor);
  uint64_t written = 0;
  tensor.produce([&](std::string_view bytes) {
    written += bytes.size();
    if (written > expected) throw std::logic_error("tensor " + tensor.name + ": more bytes than its shape holds");
    sink(bytes);
  });
  if (written != expected) throw std::logic_error("tensor " + tensor.name + ": fewer bytes than its shape holds");
  sink(std::string(padded(expected, kDefaultAlignment) - expected, '\0'));
}

}  // namespace

const GgufValue* find(const GgufMetadata& metadata, std::string_view key) {
  for (const auto& [name, value] : metadata) {
    if (name == key) return &value;
  }
  return nullptr;
}

GgufFile GgufFile::open(const fs::path& path) { return parse(map_file(path), path); }

GgufFile GgufFile::parse(MappedFile file, const fs::path& path) {
  Reader in(file.bytes(), path);
  check_version(in);
  // a tensor's entry takes 24 bytes at least, a key and its value 13
  const uint64_t tensor_count = in.count("the number of tensors", 24, std::numeric_limits<int64_t>::max());
  const uint64_t key_count = in.count("the number of keys", 13, std::numeric_limits<int64_t>::max());
  GgufFile result;
  result.path_ = path;
  result.metadata_ = read_metadata(in, key_count);
  const uint64_t alignment = read_alignment(in, result.metadata_);
  std::vector<Entry> entries;
  for (uint64_t i = 0; i < tensor_count; ++i) {
    entries.push_back(read_entry(in));
    const std::string& name = entries.back().tensor.name;
    if (!result.index_.emplace(name, i).second) in.refuse("the tensor " + in_quotes(name) + " stands there twice");
  }
  place_tensors(entries, file.bytes(), padded(in.position(), alignment), alignment, path);
  for (Entry& entry : entries) result.tensors_.push_back(std::move(entry.tensor));
  result.file_ = std::move(file);
  return result;
}

const GgufTensor* GgufFile::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

void write_gguf(const fs::path& path, const GgufMetadata& metadata, std::span<const GgufSource> tensors) {
  check_writable(path, metadata, tensors);
  write_file_atomic(path, [&](const ByteSink& sink) {
    sink(make_header(metadata, tensors));
    for (const GgufSource& tensor : tensors) write_source(tensor, sink);
  });
}

}  // namespace hone
