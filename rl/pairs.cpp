#include "rl/pairs.h"

#include <algorithm>
#include <map>

namespace hone {
namespace {

/// What is larger for a better completion.
double merit(const Row& row, const std::string& prefer) {
  if (prefer == "reward") return field(row, "reward", "a pair").get<double>();
  if (prefer == "rewritten") return row.value("rewritten", false) ? 1 : 0;
  const auto length = static_cast<double>(field(row, "completion_ids", "a pair").size());
  return prefer == "long" ? length : -length;
}

void add_pairs(std::vector<const Row*> group, const PairsConfig& config, std::vector<Row>& pairs) {
  std::ranges::stable_sort(group, std::ranges::greater(), [&](const Row* row) { return merit(*row, config.prefer); });
  const size_t most = std::min(group.size() / 2, static_cast<size_t>(config.max_per_prompt));
  for (size_t i = 0; i < most; ++i) {
    const Row &chosen = *group[i], &rejected = *group[group.size() - 1 - i];
    const double margin = merit(chosen, config.prefer) - merit(rejected, config.prefer);
    const Row &better = field(chosen, "completion", "a pair"), &worse = field(rejected, "completion", "a pair");
    if (margin < config.min_margin || better == worse) return;
    pairs.push_back({{"prompt", field(chosen, "prompt", "a pair")},
                     {"chosen", better},
                     {"rejected", worse},
                     {"margin", margin},
                     {"rollout_id", field(chosen, "rollout_id", "a pair")},
                     {"rejected_rollout_id", field(rejected, "rollout_id", "a pair")}});
  }
}

}  // namespace

PairsResult preference_pairs(const std::vector<Row>& rows, const PairsConfig& config) {
  std::map<std::string, size_t> places;
  std::vector<std::vector<const Row*>> groups;
  for (const Row& row : rows) {
    const auto [place, is_new] = places.emplace(field(row, "prompt", "a pair").dump(), groups.size());
    if (is_new) groups.emplace_back();
    const bool counts = config.prefer == "reward" || field(row, "verdict", "a pair") == "correct";
    if (counts) groups[place->second].push_back(&row);
  }
  PairsResult result{.rows = {}, .num_prompts = static_cast<int64_t>(groups.size())};
  for (auto& group : groups) {
    const size_t before = result.rows.size();
    add_pairs(std::move(group), config, result.rows);
    result.num_without += result.rows.size() == before;
  }
  return result;
}

}  // namespace hone
