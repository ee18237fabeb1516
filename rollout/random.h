// Random numbers without state: every draw is a pure function of (seed, purpose, step, prompt, sample, position), so a
// draw never depends on what else was drawn, on batch size, or on the order in which threads ran.
//
//   CounterRandom random(/*seed=*/1, Purpose::kRollout, /*step=*/12, /*prompt=*/3, /*sample=*/7);
//   double u = random.uniform(/*position=*/41);  // the 42nd token of that completion, the same in every run
//
// The generator is Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011),
// checked against the known answers of its authors. Not for cryptography.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace hone {

/// What a number is drawn for; draws for different purposes are independent. Append only: the values are part of
/// what a seed means.
enum class Purpose : uint32_t { kPromptOrder, kRollout, kEval, kCorpus, kInit, kShuffle, kGenerate };

/// One block of Philox4x32 with ten rounds: 128 counter bits and 64 key bits in, 128 random bits out.
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

/// The draws of one key. Cheap to copy; thread-safe. (seed, purpose, step, prompt) are hashed to 128 bits, 64 of which
/// become Philox's key; sample and position enter its counter as they are, so draws of one prompt never collide.
class CounterRandom {
 public:
  CounterRandom(uint64_t seed, Purpose purpose, uint64_t step = 0, uint64_t prompt = 0, uint32_t sample = 0);

  /// 32 random bits. Never the bits that the functions below use at any position.
  uint32_t bits(uint32_t position) const;
  /// 64 random bits; uniform and below are made of them, so one position gives one of these three.
  uint64_t wide(uint32_t position) const;
  /// In [0, 1): a multiple of 2^-53.
  double uniform(uint32_t position) const;
  /// In 0 .. n-1, for n >= 1; no number is preferred by more than n / 2^64.
  uint64_t below(uint32_t position, uint64_t n) const;

 private:
  std::array<uint32_t, 2> key_;
  std::array<uint32_t, 3> counter_;  ///< words 1..3 of Philox's counter; word 0 is the block
};

/// A seed of its own for a named part of a run (a stage, say).
uint64_t derive_seed(uint64_t seed, std::string_view name);

/// 0 .. n-1 in an order that depends on the arguments alone. Throws std::invalid_argument unless 0 <= n < 2^32.
std::vector<int64_t> permutation(int64_t n, uint64_t seed, Purpose purpose, uint64_t epoch = 0);

}  // namespace hone
