#include "rl/filter.h"

#include <algorithm>
#include <set>
#include <stdexcept>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "rewards/language.h"
#include "rollout/random.h"

namespace hone {
namespace {

constexpr const char* kReasons[]{"python",    "unfinished", "wrong",    "too_hard",   "too_easy",
                                 "too_short", "too_long",   "language", "repetition", "not_rewritten",
                                 "duplicate", "per_prompt", "balance",  "limit"};

std::string prompt_of(const Row& row) { return row.at(row.contains("prompt") ? "prompt" : "prompt_ids").dump(); }

bool is_correct(const Row& row) { return row.at("verdict") == "correct"; }

bool repeats(const std::vector<int32_t>& ids, size_t n) {
  std::set<std::vector<int32_t>> seen;
  for (size_t at = 0; at + n <= ids.size(); ++at) {
    const auto begin = ids.begin() + static_cast<std::ptrdiff_t>(at);
    if (!seen.emplace(begin, begin + static_cast<std::ptrdiff_t>(n)).second) return true;
  }
  return false;
}

bool wants_pass_rates(const FilterConfig& c) {
  return c.min_pass_rate > 0 || c.max_pass_rate < 1 || c.difficulty_bins > 0;
}

struct PassRate {
  int64_t correct = 0, total = 0;
  double value() const { return static_cast<double>(correct) / static_cast<double>(total); }
};

class Filter {
 public:
  Filter(const FilterConfig& config, uint64_t seed, const Rewriter& rewrite, const RowRule& rule)
      : config_(config), seed_(seed), rewrite_(rewrite), rule_(rule) {
    for (const char* reason : kReasons) result_.dropped[reason] = 0;
  }

  FilterResult run(std::vector<Row> rows) {
    result_.num_read = static_cast<int64_t>(rows.size());
    if (rule_) apply_rule(rows);
    const std::vector<Column> columns = columns_of(config_);
    for (const Row& row : rows) check_columns(row, columns, "a row ");
    if (wants_pass_rates(config_)) count_correct(rows);
    keep_if_sound(std::move(rows));
    if (config_.drop_duplicates) drop_duplicates();
    if (config_.max_per_prompt > 0) drop_beyond_prompt();
    if (config_.difficulty_bins > 0) balance();
    if (config_.limit > 0) keep_random("limit", config_.limit, [](const Row&) { return 0; });
    return std::move(result_);
  }

 private:
  void apply_rule(std::vector<Row>& rows) {
    std::vector<Row> kept;
    for (const Row& row : rows) {
      if (auto own = rule_(row)) kept.push_back(std::move(*own));
      else ++result_.dropped["python"];
    }
    rows = std::move(kept);
  }

  void count_correct(const std::vector<Row>& rows) {
    for (const Row& row : rows) {
      PassRate& rate = pass_rates_[prompt_of(row)];
      rate.correct += is_correct(row);
      ++rate.total;
    }
  }
  double pass_rate(const Row& row) const { return pass_rates_.at(prompt_of(row)).value(); }

  void keep_if_sound(std::vector<Row> rows) {
    for (Row& row : rows) {
      const char* reason = fault(row);
      if (!reason && rewrite_ && !rewritten(row)) reason = "not_rewritten";
      if (reason) ++result_.dropped[reason];
      else result_.rows.push_back(std::move(row));
    }
  }

  // What is wrong with the row itself; null: nothing.
  const char* fault(const Row& row) const {
    if (config_.finished_only && row.contains("finish_reason") && row["finish_reason"] != "eos") return "unfinished";
    if (config_.correct_only && !is_correct(row)) return "wrong";
    if (config_.min_pass_rate > 0 && pass_rate(row) < config_.min_pass_rate) return "too_hard";
    if (config_.max_pass_rate < 1 && pass_rate(row) > config_.max_pass_rate) return "too_easy";
    if (config_.min_length > 0 && length(row) < config_.min_length) return "too_short";
    if (config_.max_length > 0 && length(row) > config_.max_length) return "too_long";
    if (config_.language != "any" && language_share(row) < config_.min_language_share) return "language";
    if (config_.repetition_ngram > 0 && repeats(ids(row), static_cast<size_t>(config_.repetition_ngram))) {
      return "repetition";
    }
    return nullptr;
  }

  static std::vector<int32_t> ids(const Row& row) { return row.at("completion_ids").get<std::vector<int32_t>>(); }
  static int64_t length(const Row& row) { return static_cast<int64_t>(row.at("completion_ids").size()); }

  // Thoughts without words are in every language.
  double language_share(const Row& row) const {
    const auto& text = row.at("completion").get_ref<const std::string&>();
    const LanguageCount count = count_language(thoughts_of(text), config_.language);
    return count.words ? static_cast<double>(count.in_language) / static_cast<double>(count.words) : 1.0;
  }

  bool rewritten(Row& row) const {
    const auto text = rewrite_(row);
    if (!text) return false;
    row["completion"] = *text;
    row["rewritten"] = true;
    row.erase("completion_ids");
    return true;
  }

  template <class Keep>
  void keep_if(const char* reason, Keep keep) {
    std::vector<Row> kept;
    for (Row& row : result_.rows) {
      if (keep(row)) kept.push_back(std::move(row));
      else ++result_.dropped[reason];
    }
    result_.rows = std::move(kept);
  }

  void drop_duplicates() {
    std::set<std::pair<std::string, std::string>> seen;
    keep_if("duplicate",
            [&](const Row& row) { return seen.emplace(prompt_of(row), row.at("completion").dump()).second; });
  }

  void drop_beyond_prompt() {
    std::map<std::string, std::vector<const Row*>> by_prompt;
    for (const Row& row : result_.rows) by_prompt[prompt_of(row)].push_back(&row);
    std::set<const Row*> chosen;
    for (auto& [prompt, rows] : by_prompt) {
      const auto size = [](const Row* row) { return row->at("completion").get_ref<const std::string&>().size(); };
      if (config_.prefer == "short") std::ranges::stable_sort(rows, {}, size);
      if (config_.prefer == "long") std::ranges::stable_sort(rows, std::ranges::greater(), size);
      rows.resize(std::min(rows.size(), static_cast<size_t>(config_.max_per_prompt)));
      chosen.insert(rows.begin(), rows.end());
    }
    keep_if("per_prompt", [&](const Row& row) { return chosen.contains(&row); });
  }

  int bin(const Row& row) const {
    const auto last = static_cast<int>(config_.difficulty_bins) - 1;
    return std::min(last, static_cast<int>(pass_rate(row) * static_cast<double>(config_.difficulty_bins)));
  }

  void balance() {
    std::map<int, int64_t> sizes;
    for (const Row& row : result_.rows) ++sizes[bin(row)];
    if (sizes.empty()) return;
    const auto scarcest = std::ranges::min_element(sizes, {}, [](const auto& s) { return s.second; })->second;
    const auto most = static_cast<int64_t>(config_.balance_ratio * static_cast<double>(scarcest));
    keep_random("balance", most, [&](const Row& row) { return bin(row); });
  }

  // At most so many of every class, drawn at random.
  template <class ClassOf>
  void keep_random(const char* reason, int64_t most, ClassOf class_of) {
    std::map<int, int64_t> taken;
    std::set<const Row*> chosen;
    for (const int64_t i :
         permutation(static_cast<int64_t>(result_.rows.size()), derive_seed(seed_, reason), Purpose::kShuffle)) {
      const Row& row = result_.rows[static_cast<size_t>(i)];
      if (int64_t& count = taken[class_of(row)]; count < most) {
        ++count;
        chosen.insert(&row);
      }
    }
    keep_if(reason, [&](const Row& row) { return chosen.contains(&row); });
  }

  const FilterConfig& config_;
  uint64_t seed_;
  const Rewriter& rewrite_;
  const RowRule& rule_;
  std::map<std::string, PassRate> pass_rates_;
  FilterResult result_;
};

}  // namespace

std::vector<Column> columns_of(const FilterConfig& c) {
  std::vector<Column> columns;
  if (c.correct_only || wants_pass_rates(c))
    columns.push_back({"verdict", ColumnType::kAny, c.correct_only ? "correct_only" : "a pass rate"});
  if (wants_pass_rates(c) || c.drop_duplicates || c.max_per_prompt > 0)
    columns.push_back({"prompt", ColumnType::kAny, "a filter by prompt", "prompt_ids"});
  if (c.min_length > 0 || c.max_length > 0 || c.repetition_ngram > 0)
    columns.push_back({"completion_ids", ColumnType::kTokenIds, "a length or repetition_ngram"});
  const char* reader = c.language != "any"                           ? "language"
                       : !c.rewrite.empty()                          ? "rewrite"
                       : c.max_per_prompt > 0 && c.prefer != "first" ? "prefer"
                                                                     : nullptr;
  if (reader) columns.push_back({"completion", ColumnType::kText, reader});
  else if (c.drop_duplicates) columns.push_back({"completion", ColumnType::kAny, "drop_duplicates"});
  if (!c.rewrite.empty()) columns.push_back({"prompt", ColumnType::kText, "rewrite", "", /*optional=*/true});
  return columns;
}

FilterResult filter_rows(std::vector<Row> rows, const FilterConfig& config, uint64_t seed, const Rewriter& rewrite,
                         const RowRule& rule) {
  return Filter(config, seed, rewrite, rule).run(std::move(rows));
}

std::map<std::string, double> filter_metrics(const FilterResult& result) {
  std::map<std::string, double> metrics{{"rows/in", static_cast<double>(result.num_read)},
                                        {"rows/kept", static_cast<double>(result.rows.size())}};
  for (const auto& [reason, count] : result.dropped) metrics["rows/dropped/" + reason] = static_cast<double>(count);
  return metrics;
}

std::string filter_summary(const FilterResult& result) {
  std::vector<std::string> dropped;
  for (const char* reason : kReasons) {
    if (const int64_t count = result.dropped.at(reason)) dropped.push_back(fmt::format("{} {}", count, reason));
  }
  return fmt::format("{} rows, {} kept; dropped: {}", result.num_read, result.rows.size(),
                     dropped.empty() ? "none" : fmt::format("{}", fmt::join(dropped, ", ")));
}

}  // namespace hone
