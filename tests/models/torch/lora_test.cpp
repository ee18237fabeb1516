// Adapters against the obvious: the gradient of the whole weight, multiplied by the other factor in double.
#include "models/lora.h"

#include <filesystem>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <unistd.h>

#include "tests/models/torch/small_config.h"

namespace hone {
namespace {

namespace fs = std::filesystem;

std::unique_ptr<Policy> adapted(Architecture architecture, std::vector<std::string> modules = {}) {
  auto policy = Policy::random(small_config(architecture), 0.2, 3);
  add_lora(*policy, {.rank = 3, .alpha = 6, .target_modules = std::move(modules)}, 4);
  at::NoGradGuard no_grad;
  auto generator = at::detail::createCPUGenerator(5);
  for (const Adapter& adapter : policy->parameters().adapters()) adapter.b.tensor.normal_(0, 0.1, generator);
  return policy;
}

// Backward of a loss that reads every hidden state and the head.
void pass(const Policy& policy, bool recompute) {
  policy.parameters().arithmetic()->adds_gradients = true;
  const at::Tensor ids = at::arange(20, at::kLong) * 7 % 40;
  const int64_t lengths[]{12, 8};
  const Rows rows = pack_rows(lengths);
  const at::Tensor hidden = policy.forward(ids, {.rows = rows, .recompute = recompute});
  ops::token_logprobs(hidden, policy.head(), ids, {}, 1).logprobs.sum().backward();
}

double difference(const at::Tensor& a, const at::Tensor& b) {
  return ((a.to(at::kDouble) - b).norm() / b.norm()).item<double>();
}

class LoraTest : public ::testing::TestWithParam<Architecture> {
 protected:
  fs::path folder_ = fs::temp_directory_path() / ("lora_test_" + std::to_string(getpid()));
  void SetUp() override { fs::create_directories(folder_); }
  void TearDown() override { fs::remove_all(folder_); }
};

TEST_P(LoraTest, GradientIsThatOfTheWholeWeightTimesTheOtherFactor) {
  for (const bool recompute : {false, true}) {
    const auto policy = adapted(GetParam());
    const auto whole = policy->clone();  // the same weights, all of them trained
    policy->set_requires_grad(true);
    whole->set_requires_grad(true);
    pass(*policy, recompute);
    pass(*whole, recompute);
    const auto &own = policy->parameters().all(), &all = whole->parameters().all();
    double unscaled = 0;
    for (const Adapter& adapter : policy->parameters().adapters()) {
      const at::Tensor dw = all[static_cast<size_t>(adapter.weight - own.data())].tensor.grad().to(at::kDouble);
      const at::Tensor da = adapter.b.tensor.detach().to(at::kDouble).t().matmul(dw),
                       db = dw.matmul(adapter.a.tensor.detach().to(at::kDouble).t());
      EXPECT_LT(difference(adapter.a.tensor.grad(), 2 * da), 1e-5) << adapter.a.names[0];
      EXPECT_LT(difference(adapter.b.tensor.grad(), 2 * db), 1e-5) << adapter.b.names[0];
      unscaled = std::max(unscaled, difference(adapter.a.tensor.grad(), da));
    }
    EXPECT_GT(unscaled, 0.5) << "the comparison does not see alpha / r";
    for (const Parameter& p : own) EXPECT_FALSE(p.tensor.grad().defined()) << p.names[0] << " is frozen";
  }
}

TEST_P(LoraTest, MergedWeightsAreW0PlusScaledProduct) {
  const auto start = Policy::random(small_config(GetParam()), 0.2, 3), policy = adapted(GetParam());
  size_t next = 0;
  for (size_t i = 0; i < policy->parameters().all().size(); ++i) {
    const Parameter& p = policy->parameters().all()[i];
    const auto& adapters = policy->parameters().adapters();
    at::Tensor expected = start->parameters().all()[i].tensor;
    if (next == adapters.size() || adapters[next].weight != &p) {
      EXPECT_TRUE(at::equal(p.values(), expected)) << p.names[0];
      continue;
    }
    expected = expected.to(at::kDouble) +
               2 * adapters[next].b.tensor.to(at::kDouble).matmul(adapters[next].a.tensor.to(at::kDouble));
    EXPECT_LT(difference(p.values(), expected), 1e-6) << p.names[0];
    ++next;
  }
  EXPECT_EQ(next, policy->parameters().adapters().size());
  EXPECT_EQ(next, GetParam() == Architecture::kDeepseekV3 ? 6 : 14) << "adapters of two layers";
}

TEST_P(LoraTest, NewAdaptersChangeNothing) {
  const auto start = Policy::random(small_config(GetParam()), 0.2, 3), policy = start->clone();
  add_lora(*policy, {.rank = 3}, 4);
  for (size_t i = 0; i < policy->parameters().all().size(); ++i)
    EXPECT_TRUE(at::equal(policy->parameters().all()[i].values(), start->parameters().all()[i].tensor));
}

TEST_P(LoraTest, SavedAdaptersGiveTheSameBits) {
  const auto policy = adapted(GetParam()), other = Policy::random(small_config(GetParam()), 0.2, 3);
  add_lora(*other, {.rank = 3, .alpha = 6}, 99);
  save_adapter(*policy, folder_);
  load_adapter(*other, folder_);
  for (size_t i = 0; i < policy->parameters().all().size(); ++i)
    EXPECT_TRUE(at::equal(policy->parameters().all()[i].values(), other->parameters().all()[i].values()));
  const auto wider = Policy::random(small_config(GetParam()), 0.2, 3);
  add_lora(*wider, {.rank = 4}, 4);
  EXPECT_THROW(load_adapter(*wider, folder_), std::runtime_error);
}

TEST_P(LoraTest, BfloatPoliciesStayBfloat) {
  const auto policy = Policy::random(small_config(GetParam()), 0.2, 3);
  policy->to_bfloat16();
  add_lora(*policy, {.rank = 3}, 4);
  const Adapter& adapter = policy->parameters().adapters()[0];
  adapter.b.tensor.fill_(0.01);
  const at::Tensor w = adapter.weight->values();
  EXPECT_TRUE(at::equal(w, w.to(at::kBFloat16).to(at::kFloat)));
  EXPECT_FALSE(at::equal(w, adapter.weight->tensor));
}

TEST_P(LoraTest, ProductsReadWhatIsSaved) {
  const auto policy = adapted(GetParam());
  const at::Tensor ids = at::arange(20, at::kLong);
  const int64_t lengths[]{20};
  const Rows rows = pack_rows(lengths);
  at::NoGradGuard no_grad;
  const auto outputs = [&](const Policy& p) { return p.forward(ids, {.rows = rows}); };
  const at::Tensor before = outputs(*policy);
  policy->parameters().adapters()[0].a.tensor.mul_(2);
  EXPECT_FALSE(at::equal(outputs(*policy), before)) << "packed again";
  policy->save(folder_);
  EXPECT_TRUE(at::equal(outputs(*policy), outputs(*Policy::load(folder_))));
  EXPECT_TRUE(at::equal(outputs(*policy), outputs(*policy->clone())));
}

INSTANTIATE_TEST_SUITE_P(Families, LoraTest,
                         ::testing::Values(Architecture::kLlama, Architecture::kQwen2, Architecture::kDeepseekV3));

TEST(Lora, TargetsAreLinearLayers) {
  EXPECT_EQ(adapted(Architecture::kLlama, {"q_proj", "v_proj"})->parameters().adapters().size(), 4);
  for (const char* module : {"kv_b_proj", "gate", "lm_head", "embed_tokens", "eh_proj", "qproj"})
    EXPECT_THROW(adapted(Architecture::kDeepseekV3, {module}), std::invalid_argument) << module;
}

}  // namespace
}  // namespace hone
