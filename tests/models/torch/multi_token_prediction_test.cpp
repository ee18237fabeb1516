// The multi-token-prediction module against transformers' layers (tests/reference/mtp_golden.py).
#include "models/multi_token_prediction.h"

#include <filesystem>
#include <fstream>
#include <set>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "models/safetensors.h"

namespace hone {
namespace {

const std::filesystem::path kFolder = std::filesystem::path(HONE_SOURCE_DIR) / "tests/golden/mtp";

at::Tensor ids_of(const std::vector<int64_t>& ids) { return at::tensor(ids, at::kLong); }

// (T - 1, V) of the golden's tokens.
at::Tensor predicted_logits(const Policy& policy, const std::vector<int64_t>& tokens) {
  const int64_t n = std::ssize(tokens);
  const int64_t lengths[]{n}, shorter[]{n - 1};
  const Rows rows = pack_rows(lengths), next_rows = pack_rows(shorter);
  const at::Tensor ids = ids_of(tokens), hidden = policy.forward(ids, {.rows = rows});
  return policy.logits(policy.predict(hidden.narrow(0, 0, n - 1), ids.narrow(0, 1, n - 1), {.rows = next_rows}));
}

struct Golden {
  std::vector<int64_t> tokens;
  at::Tensor logits;
};
Golden golden() {
  const auto json = nlohmann::json::parse(std::ifstream(kFolder / "expected.json"));
  const auto rows = json["logits"].get<std::vector<std::vector<float>>>();
  std::vector<at::Tensor> tensors;
  for (const auto& row : rows) tensors.push_back(at::tensor(row));
  return {json["token_ids"].get<std::vector<int64_t>>(), at::stack(tensors)};
}

double largest_gap(const Policy& policy) {
  const Golden g = golden();
  return (predicted_logits(policy, g.tokens) - g.logits).abs().max().item<double>();
}

TEST(MultiTokenPrediction, EqualsTransformersLayersWithTheEmbeddingFirst) {
  const auto policy = Policy::load(kFolder);
  ASSERT_TRUE(policy->predictor());
  EXPECT_LT(largest_gap(*policy), 2e-5 * 5);
  for (const Parameter& p : policy->parameters().all()) {  // the control: the report's order of the two halves
    if (p.names[0] == "model.layers.2.eh_proj.weight") p.tensor.copy_(p.tensor.clone().roll(16, 1));
  }
  EXPECT_GT(largest_gap(*policy), 0.1);
}

TEST(MultiTokenPrediction, SavedFoldersHoldTheCopiesAndLoadAsTheSame) {
  const auto folder = std::filesystem::temp_directory_path() / ("mtp_test_" + std::to_string(getpid()));
  std::filesystem::create_directories(folder);
  Policy::load(kFolder)->save(folder);
  const auto again = Policy::load(folder);
  EXPECT_LT(largest_gap(*again), 2e-5 * 5);
  std::set<std::string> names;
  const SafetensorsFile file = SafetensorsFile::open(folder / "model.safetensors");
  for (const TensorInfo& t : file.tensors()) names.insert(t.name);
  EXPECT_TRUE(names.contains("model.layers.2.embed_tokens.weight"));
  EXPECT_TRUE(names.contains("model.layers.2.shared_head.head.weight"));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace hone
