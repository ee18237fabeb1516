#include "models/gguf/gguf.h"

#include <unistd.h>

#include <cstring>
#include <fstream>

#include <gmock/gmock.h>

#include "models/atomic_file.h"

namespace hone {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <class Body>
std::string message(Body body) {
  try {
    body();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

MappedFile in_memory(const std::string& bytes) {
  // exactly as long as the file, so that a sanitizer sees a read behind it
  const std::shared_ptr<std::byte[]> copy(new std::byte[bytes.size()]);
  std::memcpy(copy.get(), bytes.data(), bytes.size());
  return {{copy, copy.get()}, bytes.size()};
}

/// Builds files that our writer would not.
class Bytes {
 public:
  template <class Number>
  Bytes& put(Number value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(value));
    return *this;
  }
  Bytes& text(const std::string& text) {
    put<uint64_t>(text.size());
    bytes_ += text;
    return *this;
  }
  Bytes& pad(size_t alignment = 32) {
    bytes_.resize((bytes_.size() + alignment - 1) / alignment * alignment);
    return *this;
  }
  Bytes& data(size_t count) {
    bytes_.append(count, 'x');
    return *this;
  }
  Bytes& tensor(const std::string& name, std::vector<int64_t> dims, uint32_t type, uint64_t offset) {
    text(name).put<uint32_t>(static_cast<uint32_t>(dims.size()));
    for (int64_t dim : dims) put(dim);
    return put(type).put(offset);
  }
  const std::string& str() const { return bytes_; }

 private:
  std::string bytes_;
};

Bytes header(int64_t tensors, int64_t keys, uint32_t version = 3) {
  return Bytes().put<uint32_t>(0x46554747).put(version).put(tensors).put(keys);
}

std::string refusal(const Bytes& bytes) {
  return message([&] { GgufFile::parse(in_memory(bytes.str()), "m.gguf"); });
}

std::string sequence(size_t count) {
  std::string bytes;
  for (size_t i = 0; i < count; ++i) bytes += static_cast<char>(i * 7);
  return bytes;
}

GgufSource source(const std::string& name, GgmlType type, std::vector<int64_t> shape, const std::string& bytes) {
  return {name, type, std::move(shape), [bytes](const ByteSink& sink) { sink(bytes); }};
}

class Gguf : public ::testing::Test {
 protected:
  Gguf() { fs::create_directories(folder_); }
  ~Gguf() override { fs::remove_all(folder_); }
  fs::path folder_ = fs::path(::testing::TempDir()) / ("gguf_test." + std::to_string(::getpid()));
  fs::path path_ = folder_ / "m.gguf";
};

template <class T>
T value(const GgufFile& file, const char* key) {
  const GgufValue* found = find(file.metadata(), key);
  if (!found || !std::holds_alternative<T>(*found))
    throw std::runtime_error(std::string(key) + " is missing or of another type");
  return std::get<T>(*found);
}

// tests/reference/gguf_golden.py writes the file with PyPI gguf.
TEST_F(Gguf, ReadsWhatPyPiGgufWrote) {
  const GgufFile file = GgufFile::open(HONE_SOURCE_DIR "/tests/golden/from_python.gguf");
  EXPECT_EQ(value<std::string>(file, "general.architecture"), "llama");
  EXPECT_EQ(value<uint8_t>(file, "u8"), 200);
  EXPECT_EQ(value<int8_t>(file, "i8"), -100);
  EXPECT_EQ(value<uint16_t>(file, "u16"), 60000);
  EXPECT_EQ(value<int16_t>(file, "i16"), -30000);
  EXPECT_EQ(value<uint32_t>(file, "u32"), 4000000000u);
  EXPECT_EQ(value<int32_t>(file, "i32"), -2000000000);
  EXPECT_EQ(value<float>(file, "f32"), 0.1f);
  EXPECT_EQ(value<bool>(file, "flag"), true);
  EXPECT_EQ(value<std::string>(file, "text"), "größe\n");
  EXPECT_EQ(value<uint64_t>(file, "u64"), (uint64_t{1} << 63) + 1);
  EXPECT_EQ(value<int64_t>(file, "i64"), -(int64_t{1} << 62));
  EXPECT_EQ(value<double>(file, "f64"), 0.1);
  EXPECT_THAT(value<std::vector<std::string>>(file, "words"), ElementsAre("a", "", "字"));
  EXPECT_THAT(value<std::vector<int32_t>>(file, "numbers"), ElementsAre(1, -2, 3));
  ASSERT_EQ(file.tensors().size(), 3u);
  EXPECT_THAT(file.find("matrix")->shape, ElementsAre(2, 3));
  const GgufTensor& blocks = *file.find("blocks");
  EXPECT_THAT(blocks.shape, ElementsAre(2, 64));
  std::vector<float> weights(128);
  dequantize(blocks.type, blocks.data, weights);
  EXPECT_NEAR(weights[127], 63.0f, 0.3f);
}

TEST_F(Gguf, ReadsBackWhatItWrote) {
  const GgufMetadata metadata = {{"general.architecture", std::string("llama")},
                                 {"a.flag", true},
                                 {"a.number", 0.25},
                                 {"a.bytes", std::vector<uint8_t>{1, 2}},
                                 {"a.flags", std::vector<bool>{true, false, true}},
                                 {"a.words", std::vector<std::string>{"x", ""}},
                                 {"a.nothing", std::vector<int64_t>{}}};
  const std::vector<GgufSource> tensors = {source("f", GgmlType::kF32, {3}, sequence(12)),
                                           source("q", GgmlType::kQ8_0, {2, 3, 32}, sequence(6 * 34)),
                                           source("scalar", GgmlType::kF16, {}, sequence(2))};
  write_gguf(path_, metadata, tensors);
  const GgufFile file = GgufFile::open(path_);
  EXPECT_EQ(file.metadata(), metadata);
  ASSERT_EQ(file.tensors().size(), 3u);
  EXPECT_THAT(file.find("q")->shape, ElementsAre(2, 3, 32));
  EXPECT_EQ(std::memcmp(file.find("q")->data.data(), sequence(6 * 34).data(), 6 * 34), 0);
  EXPECT_EQ(file.find("scalar")->data.size(), 2u);
  EXPECT_EQ(file.find("none"), nullptr);
  EXPECT_EQ((file.find("q")->data.data() - file.find("f")->data.data()) % 32, 0);
}

TEST_F(Gguf, ReadsVersion2AndAnotherAlignment) {
  Bytes bytes = header(2, 1, 2).text("general.alignment").put<uint32_t>(4).put<uint32_t>(64);
  bytes.tensor("a", {3}, 0, 0).tensor("b", {1}, 0, 64).pad(64).data(12).pad(64).data(4);
  const GgufFile file = GgufFile::parse(in_memory(bytes.str()), "m.gguf");
  EXPECT_EQ(file.find("b")->data.data() - file.find("a")->data.data(), 64);
}

TEST_F(Gguf, RefusesBrokenHeadersByPlace) {
  EXPECT_THAT(refusal(Bytes()), AllOf(HasSubstr("m.gguf: byte 0"), HasSubstr("the file ends in the first word")));
  EXPECT_THAT(refusal(Bytes().put<uint64_t>(1)), HasSubstr("does not begin with \"GGUF\""));
  EXPECT_THAT(refusal(header(0, 0, 1)), HasSubstr("its version is 1; versions 2 and 3 are read"));
  EXPECT_THAT(refusal(header(0, 0, 0x03000000)), HasSubstr("big-endian"));
  EXPECT_THAT(refusal(header(int64_t{1} << 40, 0)), HasSubstr("the number of tensors is 1099511627776, but only"));
  EXPECT_THAT(refusal(header(-1, 0)), HasSubstr("the limit is"));
  EXPECT_THAT(refusal(header(0, 3)), HasSubstr("the number of keys is 3"));
}

TEST_F(Gguf, RefusesBrokenValues) {
  const auto with = [](auto fill) {
    Bytes bytes = header(0, 1);
    fill(bytes);
    return refusal(bytes.data(64));
  };
  EXPECT_THAT(with([](Bytes& b) { b.text("").put<uint32_t>(0); }), HasSubstr("a key is empty"));
  EXPECT_THAT(with([](Bytes& b) { b.put<uint64_t>(70000); }), HasSubstr("the length of a key is 70000"));
  EXPECT_THAT(with([](Bytes& b) { b.text("k").put<uint32_t>(13); }), HasSubstr("\"k\" has the value type 13"));
  EXPECT_THAT(with([](Bytes& b) { b.text("k").put<uint32_t>(9).put<uint32_t>(9); }),
              HasSubstr("an array holds no arrays"));
  EXPECT_THAT(with([](Bytes& b) { b.text("k").put<uint32_t>(7).put<uint8_t>(2); }), HasSubstr("a boolean is 0 or 1"));
  EXPECT_THAT(with([](Bytes& b) { b.text("k").put<uint32_t>(8).put<uint64_t>(1000); }),
              HasSubstr("is 1000, but only 64"));
  EXPECT_THAT(with([](Bytes& b) { b.text("k").put<uint32_t>(9).put<uint32_t>(12).put<uint64_t>(9); }),
              HasSubstr("the length of the value of \"k\" is 9, but only 64 bytes follow"));
  EXPECT_THAT(with([](Bytes& b) { b.text("general.alignment").put<uint32_t>(4).put<uint32_t>(24); }),
              HasSubstr("general.alignment is no power of two"));
  Bytes twice = header(0, 2);
  twice.text("k").put<uint32_t>(0).put<uint8_t>(1).text("k").put<uint32_t>(0).put<uint8_t>(1);
  EXPECT_THAT(refusal(twice), HasSubstr("the key \"k\" stands there twice"));
}

TEST_F(Gguf, RefusesBrokenTensors) {
  const auto with = [](auto fill, int64_t count = 1) {
    Bytes bytes = header(count, 0);
    fill(bytes);
    return refusal(bytes.pad().data(256));
  };
  EXPECT_EQ(with([](Bytes& b) { b.tensor("t", {2, 3}, 0, 0); }), "");
  EXPECT_THAT(with([](Bytes& b) { b.tensor(std::string(64, 'n'), {1}, 0, 0); }), HasSubstr("is 64, the limit is 63"));
  EXPECT_THAT(with([](Bytes& b) {
                b.tensor("t", {1, 1, 1, 1, 1}, 0, 0);
              }),
              HasSubstr("has 5 dimensions, the limit is 4"));
  EXPECT_THAT(with([](Bytes& b) { b.tensor("t", {-1}, 0, 0); }), HasSubstr("negative dimension -1"));
  EXPECT_THAT(with([](Bytes& b) {
                b.tensor("t", {int64_t{1} << 40, int64_t{1} << 40}, 0, 0);
              }),
              HasSubstr("too many elements"));
  EXPECT_THAT(with([](Bytes& b) { b.tensor("t", {33}, 8, 0); }),
              HasSubstr("stored as Q8_0, whose rows are multiples of 32"));
  EXPECT_THAT(with([](Bytes& b) { b.tensor("t", {32}, 19, 0); }), HasSubstr("stored as IQ1_S, which is not read"));
  EXPECT_THAT(with([](Bytes& b) { b.tensor("t", {100}, 0, 0); }),
              HasSubstr("its 400 bytes from byte 64 on leave the file"));
  EXPECT_THAT(with([](Bytes& b) { b.tensor("t", {4}, 0, 32); }),
              HasSubstr("begin at 32, the previous tensor's end at 0"));
  EXPECT_THAT(with([](Bytes& b) { b.tensor("t", {1}, 0, 0).tensor("t", {1}, 0, 32); }, 2),
              HasSubstr("\"t\" stands there twice"));
  EXPECT_THAT(with([](Bytes& b) { b.tensor("t", {1}, 0, 0).tensor("u", {1}, 0, 0); }, 2), HasSubstr("tensor \"u\""));
}

TEST_F(Gguf, EveryShorterFileIsRefused) {
  write_gguf(path_, {{"k", std::vector<std::string>{"abc", "de"}}},
             std::vector{source("t", GgmlType::kF32, {8}, sequence(32))});
  const std::string whole = read_file(path_);
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_NE(message([&] { GgufFile::parse(in_memory(whole.substr(0, size)), "m.gguf"); }), "") << size;
  }
  EXPECT_EQ(message([&] { GgufFile::parse(in_memory(whole), "m.gguf"); }), "");
}

TEST_F(Gguf, RefusesToWriteWhatNoReaderTakes) {
  const auto writing = [&](const GgufMetadata& metadata, const GgufSource& tensor) {
    return message([&] { write_gguf(path_, metadata, std::vector{tensor}); });
  };
  const GgufSource good = source("t", GgmlType::kF32, {1}, sequence(4));
  EXPECT_THAT(writing({{"k", 1.0}, {"k", 2.0}}, good), HasSubstr("the key \"k\""));
  EXPECT_THAT(writing({{"general.alignment", uint32_t{64}}}, good), HasSubstr("reserved"));
  EXPECT_THAT(writing({}, source(std::string(64, 'n'), GgmlType::kF32, {1}, "")), HasSubstr("limited to 63 bytes"));
  EXPECT_THAT(writing({}, source("t", GgmlType::kQ4_K, {128}, "")), HasSubstr("rows of Q4_K are multiples of 256"));
  EXPECT_THAT(writing({}, source("t", GgmlType::kF32, {2}, sequence(4))),
              HasSubstr("fewer bytes than its shape holds"));
  EXPECT_THAT(writing({}, source("t", GgmlType::kF32, {1}, sequence(8))), HasSubstr("more bytes than its shape holds"));
  EXPECT_FALSE(fs::exists(path_));
  EXPECT_EQ(writing({}, good), "");
}

}  // namespace
}  // namespace hone
