#include "rollout/random.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <set>
#include <stdexcept>

#include <gtest/gtest.h>

namespace hone {
namespace {

using Block = std::array<uint32_t, 4>;

// known answers of Random123 1.14 (kat_vectors, philox4x32 10)
TEST(Philox, KnownAnswersOfItsAuthors) {
  constexpr uint32_t kOnes = 0xffffffff;
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(CounterRandom, EveryFieldOfTheKeyMatters) {
  const CounterRandom base(1, Purpose::kRollout, 2, 3, 4);
  const CounterRandom others[]{{2, Purpose::kRollout, 2, 3, 4}, {1, Purpose::kEval, 2, 3, 4},
                               {1, Purpose::kRollout, 3, 3, 4}, {1, Purpose::kRollout, 2, 4, 4},
                               {1, Purpose::kRollout, 2, 3, 5}, {1, Purpose::kRollout, 3, 2, 4},
                               {2, Purpose::kRollout, 1, 3, 4}, {1, Purpose::kRollout, 4, 3, 2}};
  for (const auto& other : others) {
    EXPECT_NE(base.wide(0), other.wide(0));
    EXPECT_NE(base.bits(0), other.bits(0));
  }
  EXPECT_EQ(base.wide(7),
            CounterRandom(1, Purpose::kRollout, 2, 3, 4).wide(7));  // control: the same key, the same draw
}

TEST(CounterRandom, DrawsStayWhatTheyAre) {  // a changed value would change the meaning of every seed
  const CounterRandom random(1, Purpose::kRollout, 2, 3, 4);
  EXPECT_EQ(random.wide(0), 0x68d816f3415f2f44u);
  EXPECT_EQ(random.bits(5), 0x1a832783u);
  EXPECT_EQ(derive_seed(1, "rl"), 0xe228fab9e7b018ffu);
}

TEST(CounterRandom, NoDrawIsUsedTwice) {
  std::set<uint64_t> wide;
  std::set<uint32_t> words;
  for (uint32_t sample = 0; sample < 20; ++sample) {
    const CounterRandom random(7, Purpose::kRollout, 1, 1, sample);
    for (uint32_t position = 0; position < 1000; ++position) {
      wide.insert(random.wide(position));
      if (sample < 2) words.insert(random.bits(position));
    }
  }
  EXPECT_EQ(wide.size(), 20000u);
  EXPECT_GE(words.size(), 1998u);  // 32 bits: a collision or two are possible
}

TEST(CounterRandom, UniformHasMeanAndVarianceOfTheUnitInterval) {
  double sum = 0, squares = 0;
  constexpr int kDraws = 200000;
  for (int i = 0; i < kDraws; ++i) {  // one draw per key: the hash is tested, not only Philox
    const double u =
        CounterRandom(3, Purpose::kRollout, static_cast<uint64_t>(i % 100), static_cast<uint64_t>(i)).uniform(0);
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    sum += u;
    squares += u * u;
  }
  const double mean = sum / kDraws, variance = squares / kDraws - mean * mean;
  EXPECT_NEAR(mean, 0.5, 5 * std::sqrt(1.0 / 12 / kDraws));
  EXPECT_NEAR(variance, 1.0 / 12, 5 * std::sqrt(1.0 / 180 / kDraws));
}

double chi_square(const std::vector<int64_t>& counts) {
  const double expected = static_cast<double>(std::accumulate(counts.begin(), counts.end(), int64_t{0})) /
                          static_cast<double>(counts.size());
  double sum = 0;
  for (const auto count : counts)
    sum += (static_cast<double>(count) - expected) * (static_cast<double>(count) - expected) / expected;
  return sum;
}

TEST(CounterRandom, LowBitsAndHighBitsAreEvenlyFilled) {
  const CounterRandom random(5, Purpose::kCorpus, 1);
  std::vector<int64_t> low(256), high(256), word(256), below(256);
  for (uint32_t i = 0; i < 100000; ++i) {
    ++low[random.wide(i) & 255];
    ++high[random.wide(i) >> 56];
    ++word[random.bits(i) & 255];
    ++below[random.below(i, 256)];
  }
  // 255 degrees of freedom: mean 255, standard deviation 22.6
  for (const auto* counts : {&low, &high, &word, &below}) {
    EXPECT_GT(chi_square(*counts), 255 - 6 * 22.6);
    EXPECT_LT(chi_square(*counts), 255 + 6 * 22.6);
  }
  low[0] += 1000;  // control: the statistic sees one cell that is too full
  EXPECT_GT(chi_square(low), 255 + 6 * 22.6);
}

TEST(CounterRandom, NeighbouringKeysDifferInHalfOfTheBits) {
  int64_t flipped = 0, draws = 0;
  std::vector<int64_t> per_bit(64);
  const auto compare = [&](const CounterRandom& a, const CounterRandom& b) {
    const uint64_t difference = a.wide(0) ^ b.wide(0);
    flipped += std::popcount(difference);
    ++draws;
    for (size_t bit = 0; bit < 64; ++bit) per_bit[bit] += (difference >> bit) & 1;
  };
  for (uint64_t i = 0; i < 4000; ++i) {
    compare({i, Purpose::kRollout, 0, 0}, {i + 1, Purpose::kRollout, 0, 0});
    compare({1, Purpose::kRollout, i, 0}, {1, Purpose::kRollout, i + 1, 0});
    compare({1, Purpose::kRollout, 0, i}, {1, Purpose::kRollout, 0, i ^ 1});
    compare({1, Purpose::kRollout, i, i + 1}, {1, Purpose::kRollout, i + 1, i});
  }
  const auto n = static_cast<double>(draws);
  EXPECT_NEAR(static_cast<double>(flipped) / n, 32.0, 5 * 4.0 / std::sqrt(n));
  for (const auto count : per_bit) EXPECT_NEAR(static_cast<double>(count) / n, 0.5, 6 * 0.5 / std::sqrt(n));
}

TEST(CounterRandom, NeighbouringPositionsAreUncorrelated) {
  const CounterRandom random(11, Purpose::kRollout, 1, 2, 3);
  double sum = 0;
  constexpr uint32_t kDraws = 100000;
  for (uint32_t i = 0; i < kDraws; ++i) sum += (random.uniform(i) - 0.5) * (random.uniform(i + 1) - 0.5);
  EXPECT_NEAR(sum / kDraws, 0, 5.0 / 12 / std::sqrt(kDraws));
}

TEST(CounterRandom, BelowStaysBelow) {
  const CounterRandom random(1, Purpose::kInit);
  for (uint32_t i = 0; i < 1000; ++i) {
    EXPECT_EQ(random.below(i, 1), 0u);
    EXPECT_LT(random.below(i, 3), 3u);
  }
  EXPECT_LT(random.uniform(UINT32_MAX), 1.0);  // the last position exists
}

TEST(Permutation, HoldsEveryElementOnceAndDependsOnItsKey) {
  auto order = permutation(1000, 1, Purpose::kPromptOrder, 0);
  EXPECT_EQ(order, permutation(1000, 1, Purpose::kPromptOrder, 0));
  EXPECT_NE(order, permutation(1000, 2, Purpose::kPromptOrder, 0));
  EXPECT_NE(order, permutation(1000, 1, Purpose::kShuffle, 0));
  EXPECT_NE(order, permutation(1000, 1, Purpose::kPromptOrder, 1));
  EXPECT_FALSE(std::ranges::is_sorted(order));
  std::ranges::sort(order);
  for (int64_t i = 0; i < 1000; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
}

TEST(Permutation, EveryOrderOfFourIsEquallyLikely) {
  std::vector<int64_t> counts(256);
  constexpr int kDraws = 48000;
  for (uint64_t epoch = 0; epoch < kDraws; ++epoch) {
    const auto p = permutation(4, 9, Purpose::kShuffle, epoch);
    ++counts[static_cast<size_t>(p[0] * 64 + p[1] * 16 + p[2] * 4 + p[3])];
  }
  std::erase(counts, 0);
  ASSERT_EQ(counts.size(), 24u);
  EXPECT_LT(chi_square(counts), 23 + 6 * std::sqrt(46.0));
}

TEST(Permutation, RefusesImpossibleSizes) {
  EXPECT_TRUE(permutation(0, 1, Purpose::kShuffle).empty());
  EXPECT_THROW(permutation(-1, 1, Purpose::kShuffle), std::invalid_argument);
  EXPECT_THROW(permutation(int64_t{1} << 32, 1, Purpose::kShuffle), std::invalid_argument);
}

TEST(DeriveSeed, NamesAndSeedsAreKeptApart) {
  EXPECT_EQ(derive_seed(1, "rl"), derive_seed(1, "rl"));
  EXPECT_NE(derive_seed(1, "rl"), derive_seed(2, "rl"));
  EXPECT_NE(derive_seed(1, "rl"), derive_seed(1, "rl2"));
  EXPECT_NE(derive_seed(1, ""), derive_seed(1, std::string_view("\0", 1)));
}

}  // namespace
}  // namespace hone
