#include "rollout/random.h"

#include <numeric>
#include <stdexcept>
#include <utility>

#include <fmt/core.h>

namespace hone {
namespace {

__extension__ using uint128 = unsigned __int128;

constexpr uint32_t kUpperHalf = uint32_t{1} << 31;  // blocks of wide() start here, those of bits() end below it

/// Finalizer of splitmix64 (Stafford's variant 13): a bijection in which each input bit flips half of the output's.
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

/// Takes one more field into a hash. The odd constant separates a field of 0 from no field.
uint64_t absorb(uint64_t hash, uint64_t field) {
  return mix(hash * 0xd1342543de82ef95 + mix(field + 0x9e3779b97f4a7c15));
}

uint32_t low(uint64_t x) { return static_cast<uint32_t>(x); }
uint32_t high(uint64_t x) { return static_cast<uint32_t>(x >> 32); }

}  // namespace

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * counter[2];
    counter = {high(b) ^ counter[1] ^ key[0], low(b), high(a) ^ counter[3] ^ key[1], low(a)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

CounterRandom::CounterRandom(uint64_t seed, Purpose purpose, uint64_t step, uint64_t prompt, uint32_t sample) {
  uint64_t a = 0x243f6a8885a308d3, b = 0x13198a2e03707344;  // two independent hashes: digits of pi
  for (const uint64_t field : {seed, static_cast<uint64_t>(purpose), step, prompt}) {
    a = absorb(a, field);
    b = absorb(b, field);
  }
  key_ = {low(a), high(a)};
  counter_ = {sample, low(b), high(b)};
}

uint32_t CounterRandom::bits(uint32_t position) const {
  return philox4x32({position / 4, counter_[0], counter_[1], counter_[2]}, key_)[position % 4];
}

uint64_t CounterRandom::wide(uint32_t position) const {
  const auto block = philox4x32({kUpperHalf | (position / 2), counter_[0], counter_[1], counter_[2]}, key_);
  const size_t first = 2 * (position % 2);
  return uint64_t{block[first + 1]} << 32 | block[first];
}

double CounterRandom::uniform(uint32_t position) const { return static_cast<double>(wide(position) >> 11) * 0x1p-53; }

uint64_t CounterRandom::below(uint32_t position, uint64_t n) const {
  return static_cast<uint64_t>(uint128{wide(position)} * n >> 64);
}

uint64_t derive_seed(uint64_t seed, std::string_view name) {
  uint64_t hash = absorb(0xa4093822299f31d0, seed);
  for (const char c : name) hash = absorb(hash, static_cast<unsigned char>(c));
  return absorb(hash, name.size());
}

std::vector<int64_t> permutation(int64_t n, uint64_t seed, Purpose purpose, uint64_t epoch) {
  if (n < 0 || n > int64_t{UINT32_MAX}) {
    throw std::invalid_argument(fmt::format("permutation: {} elements, but 0 to {} are possible", n, UINT32_MAX));
  }
  const CounterRandom random(seed, purpose, epoch);
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  for (size_t i = order.size(); i > 1; --i)
    std::swap(order[i - 1], order[random.below(static_cast<uint32_t>(i - 1), i)]);
  return order;
}

}  // namespace hone
