#include "rl/shared_prefix.h"

#include <gtest/gtest.h>

#include "rl/update.h"
#include "tests/rl/torch/toy.h"

namespace hone {
namespace {

struct Sequences {
  std::vector<int64_t> lengths, inputs;

  // Each as its first tokens and its own.
  void add(int64_t shared, int64_t seed, int64_t own) {
    lengths.push_back(shared + own);
    for (int64_t i = 0; i < shared; ++i) inputs.push_back(i * 7 % 30);
    for (int64_t i = 0; i < own; ++i) inputs.push_back((seed + i * i) % 30);
  }
};

// What passes, read back through row_of, is what was there; and how many rows that takes.
int64_t rows_that_pass(const Sequences& s) {
  const SharedPrefixes shared = share_prefixes(s.lengths, s.inputs);
  EXPECT_EQ(shared.row_of.size(), s.inputs.size());
  EXPECT_EQ(shared.rows.count(), static_cast<int64_t>(shared.inputs.size()));
  size_t row = 0;
  for (const int64_t length : s.lengths) {
    for (int64_t position = 0; position < length; ++position, ++row) {
      const auto passes = static_cast<size_t>(shared.row_of[row]);
      EXPECT_EQ(shared.inputs[passes], s.inputs[row]) << row;
      EXPECT_EQ(shared.rows.positions[passes], position) << row;
    }
  }
  return shared.rows.count();
}

TEST(SharePrefixes, WholeBlocksPassOnce) {
  Sequences s;
  for (int64_t i = 0; i < 3; ++i) s.add(40, i + 1, 20 + i);
  EXPECT_EQ(rows_that_pass(s), 32 + 3 * 8 + 20 + 21 + 22);
}

TEST(SharePrefixes, ASequenceKeepsARowOfItsOwn) {
  Sequences s;
  s.add(32, 0, 0);
  s.add(32, 0, 0);
  EXPECT_EQ(rows_that_pass(s), 16 + 16 + 16);
  Sequences shorter;
  shorter.add(48, 1, 5);
  shorter.add(17, 0, 0);
  EXPECT_EQ(rows_that_pass(shorter), 16 + 37 + 1);
}

TEST(SharePrefixes, NothingInCommonPassesAsItIs) {
  Sequences s;
  s.add(15, 3, 9);
  s.add(15, 4, 9);
  EXPECT_EQ(rows_that_pass(s), 48) << "less than a block";
  Sequences other;
  other.add(40, 1, 4);
  other.add(40, 2, 4);
  other.inputs[44 + 3] += 1;
  EXPECT_EQ(rows_that_pass(other), 88) << "position 3 differs";
}

// Two prompts under one system prompt of a block: sharing that alone among all six would spare less.
TEST(SharePrefixes, TheRunsThatSpareMostAreChosen) {
  Sequences s;
  for (int64_t i = 0; i < 6; ++i) {
    s.add(64, i + 1, 6);
    if (i >= 3) s.inputs[s.inputs.size() - 70 + 20] = 29;
  }
  EXPECT_EQ(rows_that_pass(s), 2 * (64 + 3 * 6));
}

class SharedPrefixTest : public ::testing::TestWithParam<Architecture> {};
INSTANTIATE_TEST_SUITE_P(All, SharedPrefixTest, ::testing::Values(Architecture::kLlama, Architecture::kDeepseekV3));

// Hidden states bit for bit; gradients up to the order of sums.
TEST_P(SharedPrefixTest, GivesTheBitsOfWholeSequences) {
  Sequences s;
  for (int64_t i = 0; i < 4; ++i) s.add(40, i + 1, 13 + 9 * i);
  s.add(3, 8, 20);
  const SharedPrefixes shared = share_prefixes(s.lengths, s.inputs);
  ASSERT_LT(shared.rows.count(), static_cast<int64_t>(s.inputs.size()));
  const auto policy = Policy::random(small(GetParam()), 0.3, 3);
  policy->set_requires_grad(true);
  const auto n = static_cast<int64_t>(s.inputs.size());
  const at::Tensor weights = random({n, 30}, 5).to(at::kFloat), map = at::tensor(shared.row_of);
  std::vector<at::Tensor> hidden, gradients;
  for (const bool share : {false, true}) {
    const Rows rows = share ? shared.rows : pack_rows(s.lengths);
    at::Tensor h = policy->forward(at::tensor(share ? shared.inputs : s.inputs), {.rows = rows});
    if (share) h = h.index_select(0, map);
    (policy->logits(h) * weights).sum().backward();
    hidden.push_back(h.detach());
    gradients.push_back(flat_gradient(*policy).clone());
    for (const Parameter& p : policy->parameters().all()) p.tensor.mutable_grad().reset();
  }
  EXPECT_TRUE(at::equal(hidden[0], hidden[1]));
  const double scale = gradients[0].abs().max().item<double>();
  EXPECT_GT(scale, 0.1);
  EXPECT_LT((gradients[0] - gradients[1]).abs().max().item<double>(), 2e-5 * scale);
}

// The update, which shares, against its parts of one sequence each, which have no one to share with.
TEST(SharedPrefix, ChangesNoLogprobOfAnUpdate) {
  Sequences s;
  for (int64_t i = 0; i < 4; ++i) s.add(40, i + 1, 13 + 9 * i);
  Batch batch{.lengths = s.lengths, .inputs = s.inputs};
  int64_t row = 0;
  for (size_t b = 0; b < s.lengths.size(); ++b) {
    for (int64_t i = 39; i < s.lengths[b]; ++i) {
      batch.rows.push_back(row + i);
      batch.targets.push_back(i % 30);
      batch.sequence.push_back(static_cast<int64_t>(b));
    }
    row += s.lengths[b];
  }
  batch.forbidden.assign(batch.rows.size(), -1);
  const auto policy = Policy::random(small(Architecture::kLlama), 0.3, 3);
  EXPECT_EQ(token_logprobs(*policy, batch, {.part_tokens = 1000}), token_logprobs(*policy, batch, {.part_tokens = 1}));
}

}  // namespace
}  // namespace hone
