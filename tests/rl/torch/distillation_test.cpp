// Divergences against a loop in long double, their gradients against central differences; the update's sums.
#include "rl/distillation.h"

#include <cmath>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "rl/update.h"
#include "tests/rl/torch/toy.h"

namespace hone {
namespace {

using Row = std::vector<long double>;

Row softmax(const Row& logits, long double temperature) {
  Row p;
  long double sum = 0;
  for (const long double x : logits) sum += p.emplace_back(std::exp(x / temperature));
  for (long double& x : p) x /= sum;
  return p;
}

long double slow_kl(const Row& p, const Row& q) {
  long double sum = 0;
  for (size_t v = 0; v < p.size(); ++v) sum += p[v] * std::log(p[v] / q[v]);
  return sum;
}

// The formulas of rl/distillation.h.
long double slow(const DistillationSpec& spec, const Row& student, const Row& teacher) {
  const Row q = softmax(student, spec.temperature), p = softmax(teacher, spec.temperature);
  if (spec.divergence == Divergence::kForwardKl) return slow_kl(p, q);
  if (spec.divergence == Divergence::kReverseKl) return slow_kl(q, p);
  Row m;
  for (size_t v = 0; v < p.size(); ++v) m.push_back(spec.beta * p[v] + (1 - spec.beta) * q[v]);
  return spec.beta * slow_kl(p, m) + (1 - spec.beta) * slow_kl(q, m);
}

Row row_of(const at::Tensor& t, int64_t i) {
  const double* x = t.const_data_ptr<double>() + i * t.size(1);
  return {x, x + t.size(1)};
}

class DivergenceTest : public ::testing::TestWithParam<DistillationSpec> {};

TEST_P(DivergenceTest, ValueAndGradientAreThoseOfTheFormula) {
  constexpr int64_t kRows = 5, kVocabulary = 7;
  const at::Tensor student = random({kRows, kVocabulary}, 1, 2).requires_grad_();
  const at::Tensor teacher = random({kRows, kVocabulary}, 2, 2).requires_grad_(), weights = random({kRows}, 3);
  const at::Tensor each = divergence(GetParam(), student, teacher);
  (each * weights).sum().backward();
  EXPECT_FALSE(teacher.grad().defined()) << "the teacher does not learn";
  for (int64_t i = 0; i < kRows; ++i) {
    const Row t = row_of(teacher.detach(), i);
    EXPECT_NEAR(each[i].item<double>(), static_cast<double>(slow(GetParam(), row_of(student.detach(), i), t)), 1e-13);
    EXPECT_GT(each[i].item<double>(), 0.01) << "the test must have something to measure";
    for (int64_t v = 0; v < kVocabulary; ++v) {
      constexpr long double kStep = 1e-5L;
      Row up = row_of(student.detach(), i), down = up;
      up[static_cast<size_t>(v)] += kStep, down[static_cast<size_t>(v)] -= kStep;
      const long double slope = (slow(GetParam(), up, t) - slow(GetParam(), down, t)) / (2 * kStep);
      EXPECT_NEAR(student.grad()[i][v].item<double>(), weights[i].item<double>() * static_cast<double>(slope), 1e-9);
    }
  }
}

TEST_P(DivergenceTest, EqualDistributionsAreNowhereApart) {
  const at::Tensor student = random({4, 9}, 1, 3).requires_grad_();
  const at::Tensor each = divergence(GetParam(), student, student.detach() + 5);  // the same after the softmax
  each.sum().backward();
  EXPECT_LT(each.abs().max().item<double>(), 1e-14);
  EXPECT_LT(student.grad().abs().max().item<double>(), 1e-14);
}

INSTANTIATE_TEST_SUITE_P(All, DivergenceTest,
                         ::testing::Values(DistillationSpec{Divergence::kForwardKl, 0.5, 1},
                                           DistillationSpec{Divergence::kForwardKl, 0.5, 2.5},
                                           DistillationSpec{Divergence::kReverseKl, 0.5, 1},
                                           DistillationSpec{Divergence::kReverseKl, 0.5, 0.7},
                                           DistillationSpec{Divergence::kJsd, 0.5, 1},
                                           DistillationSpec{Divergence::kJsd, 0.1, 2},
                                           DistillationSpec{Divergence::kJsd, 0.9, 1}));

TEST(Divergence, JsdIsSymmetricAtOneHalfAndAtMostLogTwo) {
  const at::Tensor a = random({6, 5}, 1, 30), b = random({6, 5}, 2, 30);
  const DistillationSpec jsd{Divergence::kJsd};
  EXPECT_TRUE(at::allclose(divergence(jsd, a, b), divergence(jsd, b, a), 0, 1e-14));
  EXPECT_LE(divergence(jsd, a, b).max().item<double>(), std::log(2.0));
  EXPECT_TRUE(at::isfinite(divergence(jsd, a * 100, b * 100)).all().item<bool>()) << "a probability of 0 is no NaN";
}

TEST(Divergence, JsdOverBetaTendsToForwardAndOverOneMinusBetaToReverseKl) {  // Agarwal et al. 2023, section 2
  const at::Tensor a = random({6, 5}, 1), b = random({6, 5}, 2);
  const double small = 1e-6;
  EXPECT_TRUE(at::allclose(divergence({Divergence::kJsd, small}, a, b) / small,
                           divergence({Divergence::kForwardKl}, a, b), 1e-4, 1e-4));
  EXPECT_TRUE(at::allclose(divergence({Divergence::kJsd, 1 - small}, a, b) / small,
                           divergence({Divergence::kReverseKl}, a, b), 1e-4, 1e-4));
}

// --- the update -------------------------------------------------------------------------------------------------

std::vector<TokenDocument> documents() {
  std::vector<TokenDocument> out;
  for (int32_t d = 0; d < 9; ++d) {
    TokenDocument doc{{}, 1 + d % 3};
    for (int32_t t = 0; t < 4 + d % 5; ++t) doc.tokens.push_back((7 * d + 3 * t) % 30);
    out.push_back(doc);
  }
  return out;
}

TEST(Distillation, GradientIsTheWeightedSumAndIgnoresTheSplitIntoParts) {
  const auto student = Policy::random(small(Architecture::kLlama), 0.3, 1);
  const auto teacher = Policy::random(small(Architecture::kDeepseekV3), 0.3, 2);
  student->set_requires_grad(true);
  const Batch batch = make_batch(documents());
  for (const Divergence kind : {Divergence::kForwardKl, Divergence::kReverseKl, Divergence::kJsd}) {
    const DistillationSpec spec{kind};
    const Rows rows = pack_rows(batch.lengths);
    const auto logits = [&](const Policy& p) {
      const at::Tensor hidden = p.forward(at::tensor(batch.inputs), {.rows = rows});
      return p.logits(hidden.index_select(0, at::tensor(batch.rows)));
    };
    const at::Tensor expected = divergence(spec, logits(*student), logits(*teacher)).mean();
    expected.backward();
    const at::Tensor whole = flat_gradient(*student);
    for (const int64_t part_tokens : {1000, 12}) {
      for (const Parameter& p : student->parameters().all()) p.tensor.mutable_grad().reset();
      const UpdateStats stats =
          accumulate_distillation_gradient(*student, *teacher, batch, spec, {.part_tokens = part_tokens});
      EXPECT_NEAR(stats.loss, expected.item<double>(), 1e-6);
      EXPECT_LT((flat_gradient(*student) - whole).norm().item<double>(), 1e-6 * whole.norm().item<double>() + 1e-9);
    }
    for (const Parameter& p : student->parameters().all()) p.tensor.mutable_grad().reset();
  }
}

TEST(Distillation, SpecTakesTheRecipesWords) {
  SftConfig c;
  c.distil_loss = "jsd", c.distil_beta = 0.3, c.distil_temperature = 2;
  EXPECT_EQ(distillation_spec(c).divergence, Divergence::kJsd);
  EXPECT_EQ(distillation_spec(c).beta, 0.3);
  EXPECT_EQ(distillation_spec(c).temperature, 2);
  c.distil_loss = "kl";
  EXPECT_THROW(distillation_spec(c), std::invalid_argument);
}

}  // namespace
}  // namespace hone
