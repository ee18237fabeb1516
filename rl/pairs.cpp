#include "rl/pairs.h"

#include <algorithm>
#include <map>

namespace hone {
namespace {

/// What is larger for a better completion.
double merit(const Row& row, const std::string& prefer) {
  if (prefer == "reward") return row.at("reward").get<double>();
  if (prefer == "rewritten") return row.contains("rewritten") && row["rewritten"] == true ? 1 : 0;
  const auto length = static_cast<double>(row.at("completion_ids").size());
  return prefer == "long" ? length : -length;
}

void add_pairs(std::vector<const Row*> group, const PairsConfig& config, std::vector<Row>& pairs) {
  std::ranges::stable_sort(group, std::ranges::greater(), [&](const Row* row) { return merit(*row, config.prefer); });
  const size_t most = std::min(group.size() / 2, static_cast<size_t>(config.max_per_prompt));
  for (size_t i = 0; i < most; ++i) {
    const Row &chosen = *group[i], &rejected = *group[group.size() - 1 - i];
    const double margin = merit(chosen, config.prefer) - merit(rejected, config.prefer);
    const Row &better = chosen.at("completion"), &worse = rejected.at("completion");
    if (margin < config.min_margin || better == worse) return;
    pairs.push_back({{"prompt", chosen.at("prompt")},
                     {"chosen", better},
                     {"rejected", worse},
                     {"margin", margin},
                     {"rollout_id", chosen.at("rollout_id")},
                     {"rejected_rollout_id", rejected.at("rollout_id")}});
  }
}

}  // namespace

std::vector<Column> columns_of(const PairsConfig& config) {
  std::vector<Column> columns{{"prompt", ColumnType::kAny, "a pair"},
                              {"completion", ColumnType::kText, "a pair"},
                              {"rollout_id", ColumnType::kAny, "a pair"}};
  if (config.prefer == "reward") columns.push_back({"reward", ColumnType::kNumber, "prefer: reward"});
  else columns.push_back({"verdict", ColumnType::kAny, "a preference among the correct"});
  if (config.prefer == "short" || config.prefer == "long")
    columns.push_back({"completion_ids", ColumnType::kTokenIds, "prefer: " + config.prefer});
  return columns;
}

PairsResult preference_pairs(const std::vector<Row>& rows, const PairsConfig& config) {
  std::map<std::string, size_t> places;
  std::vector<std::vector<const Row*>> groups;
  const std::vector<Column> columns = columns_of(config);
  for (const Row& row : rows) {
    check_columns(row, columns, "a row ");
    const auto [place, is_new] = places.emplace(row.at("prompt").dump(), groups.size());
    if (is_new) groups.emplace_back();
    const bool counts = config.prefer == "reward" ? !row.at("reward").is_null() : row.at("verdict") == "correct";
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
