#include "models/safetensors.h"

#include <unistd.h>

#include <cstring>
#include <fstream>
#include <numeric>
#include <random>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "models/atomic_file.h"

namespace hone {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;

const fs::path kGolden = HONE_SOURCE_DIR "/tests/golden";

std::string bytes_of(const TensorInfo& tensor) {
  return {reinterpret_cast<const char*>(tensor.data), tensor.num_bytes};
}

/// header, length and data as they stand in a file.
std::string file_bytes(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + data;
}

template <class Body>
std::string message(Body body) {
  try {
    body();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

class Safetensors : public ::testing::Test {
 protected:
  Safetensors() {
    folder_ = fs::path(::testing::TempDir()) / ("safetensors_test." + std::to_string(::getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~Safetensors() override { fs::remove_all(folder_); }
  fs::path put(const std::string& bytes, const char* name = "x.safetensors") {
    fs::remove(folder_ / name);  // a new file is not flushed when it is closed, a rewritten one may be
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return folder_ / name;
  }
  std::string refusal(const std::string& bytes) {
    return message([&] { SafetensorsFile::open(put(bytes)); });
  }
  std::string refusal(const std::string& header, size_t data_size) {
    return refusal(file_bytes(header, std::string(data_size, 'd')));
  }
  fs::path folder_;
};

TEST_F(Safetensors, GivesBackWhatWasWritten) {
  std::vector<float> weights(6);
  std::iota(weights.begin(), weights.end(), -2.5f);
  const std::vector<int64_t> ids = {1, -1};
  const auto* weight_bytes = reinterpret_cast<const std::byte*>(weights.data());
  const auto* id_bytes = reinterpret_cast<const std::byte*>(ids.data());
  const TensorInfo tensors[] = {{"b", "F32", {2, 3}, weight_bytes, 24},
                                {"a", "I64", {2}, id_bytes, 16},
                                {"none", "F32", {0, 3}, nullptr, 0},
                                {"one", "F32", {}, weight_bytes, 4}};
  write_safetensors(folder_ / "x.safetensors", tensors, {{"format", "pt"}, {"step", "7"}});
  const SafetensorsFile file = SafetensorsFile::open(folder_ / "x.safetensors");
  EXPECT_THAT(file.metadata(), ElementsAre(std::pair("format", "pt"), std::pair("step", "7")));
  ASSERT_EQ(file.tensors().size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(file.tensors()[i].name, tensors[i].name);
    EXPECT_EQ(file.tensors()[i].dtype, tensors[i].dtype);
    EXPECT_EQ(file.tensors()[i].shape, tensors[i].shape);
    EXPECT_EQ(bytes_of(file.tensors()[i]), bytes_of(tensors[i]));
    EXPECT_EQ(file.find(tensors[i].name), &file.tensors()[i]);
  }
  EXPECT_EQ(file.find("c"), nullptr);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(file.tensors()[0].data) % 8, 0u);
}

TEST_F(Safetensors, OutlivesItsFileAndItsMove) {
  const float value = 2.0f;
  write_safetensors(folder_ / "x.safetensors",
                    std::vector<TensorInfo>{{"a", "F32", {1}, reinterpret_cast<const std::byte*>(&value), 4}});
  SafetensorsFile first = SafetensorsFile::open(folder_ / "x.safetensors");
  fs::remove(folder_ / "x.safetensors");
  const SafetensorsFile second = std::move(first);
  float read = 0;
  std::memcpy(&read, second.find("a")->data, 4);
  EXPECT_EQ(read, 2.0f);
  static_assert(!std::is_copy_constructible_v<SafetensorsFile> &&
                std::is_nothrow_move_constructible_v<SafetensorsFile>);
}

// Element i of a tensor is i - 3; tests/reference/write_golden_safetensors.py.
TEST_F(Safetensors, ReadsWhatTheReferenceLibraryWrote) {
  const SafetensorsFile file = SafetensorsFile::open(kGolden / "from_python.safetensors");
  EXPECT_EQ(file.tensors().size(), 10u);
  EXPECT_EQ(file.metadata().at("note"), "größer");
  float floats[6];
  ASSERT_EQ(file.find("float")->num_bytes, sizeof floats);
  std::memcpy(floats, file.find("float")->data, sizeof floats);
  EXPECT_THAT(floats, ElementsAre(-3, -2, -1, 0, 1, 2));
  EXPECT_THAT(file.find("float")->shape, ElementsAre(2, 3));
  EXPECT_EQ(bytes_of(*file.find("half")), std::string("\x40\xc0\x00\xc0\x80\xbf\x00\x00\x80\x3f", 10));
  EXPECT_EQ(bytes_of(*file.find("flag")), "\1\1\1");
  EXPECT_EQ(file.find("tiny")->dtype, "F8_E4M3");
  EXPECT_THAT(file.find("scalar")->shape, IsEmpty());
  EXPECT_EQ(file.find("empty")->num_bytes, 0u);
  EXPECT_NE(file.find("näme/with \"quotes\""), nullptr);
}

// The script's --check shows that the reference library reads this golden.
TEST_F(Safetensors, WritesTheGoldenBytes) {
  const SafetensorsFile source = SafetensorsFile::open(kGolden / "from_python.safetensors");
  const fs::path actual = fs::path(::testing::TempDir()) / "from_hone.safetensors";
  write_safetensors(actual, source.tensors(), source.metadata());
  EXPECT_EQ(read_file(actual), read_file(kGolden / "from_hone.safetensors")) << "see " << actual;
}

TEST_F(Safetensors, RefusesFilesThatAreCutOrLie) {
  const std::string whole = file_bytes(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "datadata");
  EXPECT_EQ(refusal(whole), "");
  for (size_t size = 0; size < whole.size(); ++size)
    EXPECT_THAT(refusal(whole.substr(0, size)), HasSubstr("x.safetensors")) << size;
  EXPECT_THAT(refusal(""), HasSubstr("0 bytes are too few"));
  EXPECT_THAT(refusal(whole + "x"), HasSubstr("the tensors end at 8, but 9 bytes"));
  EXPECT_THAT(refusal(whole.substr(0, whole.size() - 1)),
              HasSubstr("tensor \"a\": its data end at 8, the file's at 7"));
  std::string lying = whole;
  lying[3] = 1;
  EXPECT_THAT(refusal(lying), HasSubstr("but only"));
  lying[7] = 1;
  EXPECT_THAT(refusal(lying), HasSubstr("the limit is 100000000"));
  EXPECT_THAT(message([&] { SafetensorsFile::open(folder_ / "none"); }),
              AllOf(HasSubstr("none"), HasSubstr("No such file")));
  EXPECT_THAT(message([&] { SafetensorsFile::open(folder_); }), HasSubstr("not a file"));
}

TEST_F(Safetensors, RefusesOffsetsThatDoNotFit) {
  const auto two = [&](const char* first, const char* second) {
    return refusal(std::string(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)") + first +
                       R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + second + "}}",
                   8);
  };
  EXPECT_EQ(two("[0,4]", "[4,8]"), "");
  EXPECT_EQ(two("[4,8]", "[0,4]"), "");  // the order of the header does not matter
  EXPECT_THAT(two("[0,4]", "[8,4]"), AllOf(HasSubstr("tensor \"b\""), HasSubstr("begin at 8 and end before, at 4")));
  EXPECT_THAT(two("[0,4]", "[3,7]"), HasSubstr("overlapping"));
  EXPECT_THAT(two("[0,3]", "[4,8]"), HasSubstr("data_offsets span 3"));
  EXPECT_THAT(two("[1,5]", "[5,9]"), HasSubstr("hole"));
  EXPECT_THAT(two("[0,4]", "[4,12]"), HasSubstr("its data end at 12, the file's at 8"));
  EXPECT_THAT(two("[0,4]", "[4,18446744073709551615]"), HasSubstr("its data end at 18446744073709551615"));
  EXPECT_THAT(two("[0,4]", "[4]"), HasSubstr("does not hold two numbers"));
  EXPECT_THAT(two("[0,4]", "[4,8,8]"), HasSubstr("more than two"));
  EXPECT_THAT(two("[0,4]", "[4,8.0]"), HasSubstr("the number \"8.0\""));
  EXPECT_THAT(two("[0,4]", "[-4,8]"), HasSubstr("negative number -4"));
  EXPECT_THAT(two("[0,4]", "[4,99999999999999999999]"), HasSubstr("99999999999999999999"));
}

TEST_F(Safetensors, RefusesShapesAndTypesThatDoNotGiveTheSize) {
  const auto one = [&](const std::string& dtype, const std::string& shape, size_t size) {
    return refusal(R"({"w":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":[0,)" +
                       std::to_string(size) + "]}}",
                   size);
  };
  EXPECT_EQ(one("F32", "[2,3]", 24), "");
  EXPECT_EQ(one("F4", "[4]", 2), "");
  EXPECT_EQ(one("F6_E2M3", "[4]", 3), "");
  EXPECT_THAT(one("F4", "[3]", 2), HasSubstr("12 bits are no whole number of bytes"));
  EXPECT_THAT(one("F32", "[2,3]", 20), HasSubstr("F32 of shape [2, 3] takes 24 bytes, data_offsets span 20"));
  EXPECT_THAT(one("F31", "[2,3]", 24), HasSubstr("the dtype \"F31\" is unknown"));
  EXPECT_THAT(one("F32", "[4294967296,4294967296]", 24), HasSubstr("exceeds 64 bits"));
  EXPECT_THAT(one("F32", "[9223372036854775807]", 24), HasSubstr("exceeds 64 bits"));
  EXPECT_THAT(one("F32", "[9223372036854775808]", 24), HasSubstr("above 2^63"));
  EXPECT_THAT(one("F32", "[-1]", 24), HasSubstr("negative number -1"));
  EXPECT_THAT(one("U8", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", 1),
              HasSubstr("more than 32 dimensions"));
}

TEST_F(Safetensors, RefusesHeadersOfAnotherForm) {
  const std::string entry = R"({"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  EXPECT_EQ(refusal(R"({"a":)" + entry + "}   ", 1), "");
  EXPECT_EQ(refusal(R"({"__metadata__":{"k":"v"},"a":)" + entry + "}", 1), "");
  EXPECT_EQ(refusal("{}", 0), "");
  EXPECT_THAT(refusal("[]", 0), HasSubstr("does not begin with {"));
  EXPECT_THAT(refusal(R"( {"a":)" + entry + "}", 1), HasSubstr("does not begin with {"));
  EXPECT_THAT(refusal(R"({"a":)" + entry + R"(,"a":)" + entry + "}", 1), HasSubstr("the key \"a\" stands there twice"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1),
              HasSubstr("tensor \"a\": the key \"dtype\" stands there twice"));
  EXPECT_THAT(refusal(R"({"__metadata__":{"k":1},"a":)" + entry + "}", 1), HasSubstr("a number at key \"k\""));
  EXPECT_THAT(refusal(R"({"__metadata__":{"k":{}},"a":)" + entry + "}", 1), HasSubstr("nested object"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"U8","shape":[[1]],"data_offsets":[0,1]}})", 1),
              HasSubstr("an array at key \"shape\""));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"U8","shape":[1],"extra":0,"data_offsets":[0,1]}})", 1),
              HasSubstr("unknown key \"extra\""));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"U8","data_offsets":[0,1]}})", 1), HasSubstr("the key shape is missing"));
  EXPECT_THAT(refusal(R"({"a":{"shape":[1],"data_offsets":[0,1]}})", 1), HasSubstr("the key dtype is missing"));
  EXPECT_THAT(refusal(R"({"a":null})", 1), HasSubstr("null at key \"a\""));
  EXPECT_THAT(refusal(R"({"a":)" + entry + "}}", 1), HasSubstr("not JSON"));
  EXPECT_THAT(refusal("{\"\xff\":" + entry + "}", 1), HasSubstr("not JSON"));
  EXPECT_THAT(refusal("{\"" + std::string(1025, 'n') + "\":" + entry + "}", 1),
              HasSubstr("has 1025 bytes, 1024 are allowed"));
  EXPECT_EQ(refusal("{\"" + std::string(1024, 'n') + "\":" + entry + "}", 1), "");
}

TEST_F(Safetensors, RefusesDeepNestingQuickly) {
  EXPECT_THAT(refusal("{\"a\":" + std::string(1'000'000, '['), 1), HasSubstr("an array"));
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"dtype\":";
  EXPECT_THAT(refusal(objects, 1), HasSubstr("nested object"));
}

/// The file that a mutated one is taken from.
std::string seed_file() { return read_file(kGolden / "from_python.safetensors"); }

TEST_F(Safetensors, DamagedHeadersAreRefusedOrConsistent) {
  std::mt19937 random(11);
  const std::string whole = seed_file();
  uint64_t length = 0;
  std::memcpy(&length, whole.data(), 8);
  size_t refused = 0, accepted = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string damaged = whole;
    for (size_t k = 0; k <= random() % 3; ++k) {
      const size_t at = random() % 16 == 0 ? random() % 8 : 8 + random() % length;
      damaged[at] = random() % 2 ? static_cast<char>(random()) : "0123456789[]{},:\"\\u-.e "[random() % 23];
    }
    if (random() % 8 == 0) damaged.resize(random() % damaged.size());
    if (random() % 8 == 0) damaged.insert(8 + random() % 64, std::string(random() % 4, '1'));
    const fs::path path = put(damaged);
    try {
      const SafetensorsFile file = SafetensorsFile::open(path);
      uint64_t total = 0, sum = 0;
      for (const TensorInfo& tensor : file.tensors()) {
        total += tensor.num_bytes;
        for (size_t b = 0; b < tensor.num_bytes; ++b)
          sum += static_cast<unsigned char>(tensor.data[b]);  // all of it can be read
        const int64_t elements =
            std::accumulate(tensor.shape.begin(), tensor.shape.end(), int64_t{1}, std::multiplies<>());
        EXPECT_EQ(static_cast<uint64_t>(elements) * static_cast<uint64_t>(*dtype_bits(tensor.dtype)),
                  tensor.num_bytes * 8);
      }
      EXPECT_LE(total, damaged.size());
      EXPECT_LE(sum, 255 * total);
      ++accepted;
    } catch (const std::runtime_error& error) {
      EXPECT_THAT(error.what(), HasSubstr(path.string()));
      ++refused;
    }
  }
  EXPECT_GT(refused, 1000u);
  EXPECT_GT(accepted, 20u);  // a change inside a name is still a file
}

TEST_F(Safetensors, RefusesToWriteWhatItWouldNotRead) {
  const std::byte data[8] = {};
  const auto writing = [&](std::vector<TensorInfo> tensors, std::map<std::string, std::string> metadata = {}) {
    const std::string text = message([&] { write_safetensors(folder_ / "w.safetensors", tensors, metadata); });
    EXPECT_FALSE(fs::exists(folder_ / "w.safetensors"));
    return text;
  };
  EXPECT_THAT(writing({{"a", "F32", {2}, data, 8}, {"a", "F32", {2}, data, 8}}),
              HasSubstr("\"a\": the name stands there twice"));
  EXPECT_THAT(writing({{"a", "F32", {3}, data, 8}}), HasSubstr("takes 12 bytes, 8 were given"));
  EXPECT_THAT(writing({{"a", "F33", {2}, data, 8}}), HasSubstr("F33"));
  EXPECT_THAT(writing({{"a", "F32", {-2}, data, 8}}), HasSubstr("dimension -2 is negative"));
  EXPECT_THAT(writing({{"a", "F32", {2}, nullptr, 8}}), HasSubstr("no data"));
  EXPECT_THAT(writing({{"__metadata__", "F32", {2}, data, 8}}), HasSubstr("reserved"));
  EXPECT_THAT(writing({{"\xff", "F32", {2}, data, 8}}), HasSubstr("not UTF-8"));
  EXPECT_THAT(writing({{"a", "F32", {2}, data, 8}}, {{"k", "\xff"}}), HasSubstr("not UTF-8"));
}

TEST_F(Safetensors, PrefersTheSingleFile) {
  EXPECT_THAT(message([&] { safetensors_files(folder_); }), HasSubstr("neither model.safetensors nor"));
  put("{}", "model.safetensors.index.json");
  put("", "model.safetensors");
  EXPECT_THAT(safetensors_files(folder_), ElementsAre(folder_ / "model.safetensors"));
}

TEST_F(Safetensors, ListsTheShardsOfAnIndex) {
  const auto index = [&](const std::string& map) {
    put(R"({"metadata":{"total_size":1},"weight_map":)" + map + "}", "model.safetensors.index.json");
    return message([&] { safetensors_files(folder_); });
  };
  put("", "model-00001-of-00002.safetensors");
  EXPECT_THAT(index(R"({"a":"model-00002-of-00002.safetensors","b":"model-00001-of-00002.safetensors"})"),
              MatchesRegex(".*index.json: missing beside it: model-00002-of-00002.safetensors;.*"));
  put("", "model-00002-of-00002.safetensors");
  EXPECT_EQ(index(R"({"a":"model-00002-of-00002.safetensors","b":"model-00001-of-00002.safetensors",)"
                  R"("c":"model-00001-of-00002.safetensors"})"),
            "");
  EXPECT_THAT(safetensors_files(folder_),
              ElementsAre(folder_ / "model-00001-of-00002.safetensors", folder_ / "model-00002-of-00002.safetensors"));
  for (const char* name : {"../x", "/x", "a/b", "..", "", "a\\\\b", "a\\u0000b"}) {
    EXPECT_THAT(index(std::string(R"({"a":")") + name + "\"}"), HasSubstr("leaves the folder")) << name;
  }
  EXPECT_THAT(index("{}"), HasSubstr("weight_map is missing, empty"));
  EXPECT_THAT(index(R"({"a":1})"), HasSubstr("\"a\" has no file name"));
  EXPECT_THAT(index("{"), HasSubstr("not a JSON object"));
}

}  // namespace
}  // namespace hone
