#include "rl/merge.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "rollout/dataset.h"
#include "rollout/random.h"

namespace hone {

std::vector<int64_t> merge_counts(const std::vector<int64_t>& sizes, const MergeConfig& config) {
  std::vector<double> shares = config.weights;
  if (shares.empty()) shares.assign(sizes.begin(), sizes.end());
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  double total = config.num_rows > 0 ? static_cast<double>(config.num_rows) : 1e300;
  for (size_t i = 0; i < sizes.size(); ++i) {
    shares[i] /= sum;
    if (config.num_rows == 0) total = std::min(total, static_cast<double>(sizes[i]) / shares[i]);
  }
  total = std::floor(total + 1e-9);
  std::vector<int64_t> counts;
  for (const double share : shares) counts.push_back(static_cast<int64_t>(std::floor(total * share + 1e-9)));
  std::vector<size_t> order(counts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, std::ranges::greater(),
                           [&](size_t i) { return total * shares[i] - static_cast<double>(counts[i]); });
  auto left = static_cast<int64_t>(total) - std::accumulate(counts.begin(), counts.end(), int64_t{0});
  for (size_t k = 0; left > 0; ++k, --left) ++counts[order[k % order.size()]];
  return counts;
}

std::vector<Row> merge_rows(const std::vector<std::vector<Row>>& sets, const MergeConfig& config, uint64_t seed) {
  std::vector<int64_t> sizes;
  for (const auto& set : sets) sizes.push_back(static_cast<int64_t>(set.size()));
  const auto counts = merge_counts(sizes, config);
  std::vector<Row> mixed;
  for (size_t s = 0; s < sets.size(); ++s) {
    for (const int64_t i : prompt_indices(seed, "merge" + std::to_string(s), 0, counts[s], sizes[s])) {
      mixed.push_back(sets[s][static_cast<size_t>(i)]);
      if (!config.columns.empty()) mixed.back().update(config.columns[s]);
    }
  }
  std::vector<Row> rows;
  for (const int64_t i : permutation(static_cast<int64_t>(mixed.size()), seed, Purpose::kShuffle)) {
    rows.push_back(std::move(mixed[static_cast<size_t>(i)]));
  }
  return rows;
}

}  // namespace hone
