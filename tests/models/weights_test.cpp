#include "models/weights.h"

#include <unistd.h>

#include <cmath>
#include <cstring>
#include <fstream>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "models/atomic_file.h"
#include "models/float_formats.h"

namespace hone {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
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

template <class Number>
TensorSource tensor(const std::string& name, const std::string& dtype, std::vector<int64_t> shape,
                    const std::vector<Number>& values) {
  return {name, dtype, std::move(shape), [values](const ByteSink& sink) {
            sink({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(Number)});
          }};
}

class Weights : public ::testing::Test {
 protected:
  Weights() { fs::create_directories(folder_); }
  ~Weights() override { fs::remove_all(folder_); }

  void write(const std::vector<TensorSource>& tensors, uint64_t max_shard_bytes = kMaxShardBytes) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    write_model_safetensors(folder_, tensors, max_shard_bytes);
  }
  std::vector<float> read(const std::string& name) {
    const ModelWeights weights = ModelWeights::open(folder_);
    const StoredWeight& weight = *weights.find(name);
    std::vector<float> values(element_count(weight.info->shape));
    ModelWeights::read(weight, values);
    return values;
  }
  std::string refusal() {
    return message([&] { ModelWeights::open(folder_); });
  }
  std::vector<std::string> names() {
    std::vector<std::string> names;
    const ModelWeights weights = ModelWeights::open(folder_);
    for (const auto& [name, weight] : weights.all()) names.push_back(name);
    return names;
  }

  fs::path folder_ = fs::path(::testing::TempDir()) / ("weights_test." + std::to_string(::getpid()));
};

TEST_F(Weights, EveryFloatDtypeIsReadAsFloat32) {
  write({tensor<float>("f32", "F32", {3}, {1.0f, -2.5f, 1e-30f}), tensor<uint16_t>("f16", "F16", {2}, {0x3c00, 0x8001}),
         tensor<uint16_t>("bf16", "BF16", {2}, {0x3f80, 0xc049}), tensor<double>("f64", "F64", {1}, {0.1}),
         tensor<float>("scalar", "F32", {}, {4.0f}), tensor<float>("empty", "F32", {0, 4}, {}),
         tensor<int64_t>("ids", "I64", {1}, {7})});
  EXPECT_THAT(read("f32"), ElementsAre(1.0f, -2.5f, 1e-30f));
  EXPECT_THAT(read("f16"), ElementsAre(1.0f, -0x1p-24f));
  EXPECT_THAT(read("bf16"), ElementsAre(1.0f, -3.140625f));
  EXPECT_THAT(read("f64"), ElementsAre(0.1f));
  EXPECT_THAT(read("scalar"), ElementsAre(4.0f));
  EXPECT_THAT(read("empty"), ElementsAre());
  EXPECT_THAT(message([&] { read("ids"); }), HasSubstr("tensor ids: it is stored as I64; weights are read from F32"));
}

/// More numbers than are widened at a time.
TEST_F(Weights, LongTensorsAreReadWhole) {
  std::vector<uint16_t> halves((1 << 20) + 77);
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = bfloat16_of_float(static_cast<float>(i % 1000));
  write({tensor("long", "BF16", {static_cast<int64_t>(halves.size())}, halves)});
  const std::vector<float> values = read("long");
  for (size_t i = 0; i < values.size(); ++i) ASSERT_EQ(values[i], float_of_bfloat16(halves[i])) << i;
  EXPECT_EQ(read("long"), values) << "pages that were given back are read again";
}

/// The definition, element by element: weight * scale of its 128 x 128 block.
TEST_F(Weights, Fp8IsMultipliedByTheScaleOfItsBlock) {
  const int64_t rows = 130, columns = 300;  // 2 x 3 blocks
  std::vector<uint8_t> stored(rows * columns);
  for (size_t i = 0; i < stored.size(); ++i) stored[i] = static_cast<uint8_t>(i * 37 % 126 | i % 2 << 7);
  const std::vector<float> scales = {0.5f, 2.0f, 3.0f, 0.25f, 1e-3f, 7.0f};
  write({tensor("a.weight", "F8_E4M3", {rows, columns}, stored), tensor("a.weight_scale_inv", "F32", {2, 3}, scales)});
  EXPECT_THAT(names(), ElementsAre("a.weight"));
  const std::vector<float> values = read("a.weight");
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      const float expected = float_of_f8_e4m3(stored[r * columns + c]) * scales[r / 128 * 3 + c / 128];
      ASSERT_EQ(values[r * columns + c], expected) << r << ", " << c;
    }
  }
}

TEST_F(Weights, Fp8WithoutItsScalesIsRefused) {
  const std::vector<uint8_t> stored(130 * 4);
  write({tensor("a.weight", "F8_E4M3", {130, 4}, stored)});
  EXPECT_THAT(refusal(), HasSubstr("tensor a.weight: it is stored as F8_E4M3 but a.weight_scale_inv is missing"));
  write({tensor("a.weight", "F8_E4M3", {130, 4}, stored), tensor<float>("a.weight_scale_inv", "F32", {1, 1}, {1})});
  EXPECT_THAT(refusal(), HasSubstr("a.weight_scale_inv: found F32 of shape [1, 1]; a scale for each 128 x 128 block of "
                                   "[130, 4] is F32 of shape [2, 1]"));
  write(
      {tensor("a.weight", "F8_E4M3", {520}, stored), tensor<float>("a.weight_scale_inv", "F32", {5}, {1, 1, 1, 1, 1})});
  EXPECT_THAT(refusal(), HasSubstr("read for matrices only"));
  write({tensor<float>("b.weight_scale_inv", "F32", {1, 1}, {1})});
  EXPECT_THAT(names(), ElementsAre("b.weight_scale_inv")) << "a scale of nothing is a tensor like any other";
}

TEST_F(Weights, ShardsAreCutBelowTheLimitAndReadAsOne) {
  std::vector<TensorSource> sources;
  for (int i = 0; i < 7; ++i) {
    sources.push_back(tensor("t" + std::to_string(i), "F32", {10}, std::vector<float>(10, static_cast<float>(i))));
  }
  sources.push_back(tensor("wide", "F32", {100}, std::vector<float>(100, 9.0f)));
  write(sources, /*max_shard_bytes=*/100);
  EXPECT_TRUE(fs::exists(folder_ / "model-00001-of-00005.safetensors"));
  EXPECT_TRUE(fs::exists(folder_ / "model-00005-of-00005.safetensors"));
  EXPECT_FALSE(fs::exists(folder_ / "model.safetensors"));
  const json index = json::parse(read_file(folder_ / "model.safetensors.index.json"));
  EXPECT_EQ(index["metadata"]["total_size"], 7 * 40 + 400);
  EXPECT_EQ(index["weight_map"]["t2"], "model-00002-of-00005.safetensors");
  EXPECT_EQ(names().size(), 8u);
  EXPECT_EQ(read("t5")[3], 5.0f);
  EXPECT_EQ(read("wide").size(), 100u);
}

TEST_F(Weights, AnIndexThatLiesIsRefused) {
  write({tensor<float>("a", "F32", {2}, {1, 2}), tensor<float>("b", "F32", {2}, {3, 4})}, 8);
  const fs::path path = folder_ / "model.safetensors.index.json";
  const json good = json::parse(read_file(path));
  json index = good;
  index["weight_map"]["a"] = "model-00002-of-00002.safetensors";
  index["weight_map"]["b"] = "model-00001-of-00002.safetensors";
  std::ofstream(path) << index.dump();
  EXPECT_THAT(refusal(),
              AllOf(HasSubstr("index.json: weight_map puts tensor a into"), HasSubstr("which does not hold it")));
  index = good;
  index["weight_map"]["c"] = "model-00001-of-00002.safetensors";
  std::ofstream(path) << index.dump();
  EXPECT_THAT(refusal(), HasSubstr("weight_map puts tensor c into"));
  fs::copy_file(folder_ / "model-00001-of-00002.safetensors", folder_ / "copy.safetensors");
  index["weight_map"]["c"] = "copy.safetensors";
  std::ofstream(path) << index.dump();
  EXPECT_THAT(refusal(), HasSubstr("tensor a: it also stands in"));
}

TEST_F(Weights, WhatIsMissingMisshapenOrTooMuchIsNamed) {
  write({tensor<float>("a", "F32", {2}, {1, 2}), tensor<float>("model.layers.2.x", "F32", {1}, {3}),
         tensor<float>("lm_head.weight", "F32", {1}, {4})});
  const ModelWeights weights = ModelWeights::open(folder_);
  EXPECT_EQ(weights.require("a", std::vector<int64_t>{2}).info->name, "a");
  EXPECT_THAT(message([&] { weights.require("b", {}); }), HasSubstr("tensor b is missing"));
  EXPECT_THAT(message([&] {
                weights.require("a", std::vector<int64_t>{1, 2});
              }),
              HasSubstr("tensor a: it has shape [2], config.json asks for [1, 2]"));
  ModelConfig config;
  config.num_hidden_layers = 2;
  config.tie_word_embeddings = true;
  EXPECT_THAT(message([&] { weights.refuse_others({"a"}, config); }),
              HasSubstr("tensor model.layers.2.x: it has no place in a llama of this config.json"));
  config.num_nextn_predict_layers = 1;
  EXPECT_EQ(message([&] { weights.refuse_others({"a"}, config); }), "");
  EXPECT_THAT(message([&] { weights.refuse_others({}, config); }), HasSubstr("tensor a:"));
  config.tie_word_embeddings = false;
  EXPECT_THAT(message([&] { weights.refuse_others({"a"}, config); }), HasSubstr("tensor lm_head.weight:"));
}

TEST_F(Weights, RoomOfAnotherSizeIsRefused) {
  write({tensor<float>("a", "F32", {2}, {1, 2})});
  const ModelWeights weights = ModelWeights::open(folder_);
  std::vector<float> room(3);
  EXPECT_THAT(message([&] { ModelWeights::read(*weights.find("a"), room); }),
              HasSubstr("2 elements, there is room for 3"));
  EXPECT_EQ(weights.find("none"), nullptr);
}

}  // namespace
}  // namespace hone
