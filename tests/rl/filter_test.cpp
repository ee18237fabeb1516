#include "rl/filter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rl/merge.h"
#include "rl/pairs.h"

namespace hone {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Row row(int id, const std::string& prompt, const std::string& completion, bool correct = true, int tokens = 10) {
  std::vector<int> ids;
  for (int i = 0; i < tokens; ++i) ids.push_back(i);
  return {{"prompt", prompt},       {"completion", completion}, {"completion_ids", ids},
          {"finish_reason", "eos"}, {"rollout_id", id},         {"verdict", correct ? "correct" : "wrong"}};
}

std::vector<int> ids_of(const std::vector<Row>& rows) {
  std::vector<int> ids;
  for (const Row& r : rows) ids.push_back(r["rollout_id"]);
  return ids;
}

FilterResult filtered(std::vector<Row> rows, const FilterConfig& config = {}, const Rewriter& rewrite = {}) {
  return filter_rows(std::move(rows), config, /*seed=*/1, rewrite);
}

TEST(Filter, KeepsFinishedCorrectDistinctRowsByDefault) {
  auto cut = row(3, "p", "c");
  cut["finish_reason"] = "length";
  const auto result = filtered({row(1, "p", "a"), row(2, "p", "b", false), cut, row(4, "p", "a"), row(5, "q", "a")});
  EXPECT_THAT(ids_of(result.rows), ElementsAre(1, 5));
  EXPECT_EQ(filter_summary(result), "5 rows, 2 kept; dropped: 1 unfinished, 1 wrong, 1 duplicate");
  const auto metrics = filter_metrics(result);
  EXPECT_EQ(metrics.at("rows/in"), 5);
  EXPECT_EQ(metrics.at("rows/kept"), 2);
  EXPECT_EQ(metrics.at("rows/dropped/wrong"), 1);
  EXPECT_EQ(metrics.at("rows/dropped/language"), 0) << "every reason is there";
}

TEST(Filter, EveryDroppedRowIsCountedOnce) {
  std::vector<Row> rows;
  for (int i = 0; i < 60; ++i)
    rows.push_back(row(i, "p" + std::to_string(i % 7), std::to_string(i % 11), i % 3 != 0, i));
  const auto result = filtered(
      rows,
      {.min_length = 5, .max_length = 50, .min_pass_rate = 0.2, .max_per_prompt = 3, .difficulty_bins = 2, .limit = 6});
  int64_t dropped = 0;
  for (const auto& [reason, count] : result.dropped) dropped += count;
  EXPECT_EQ(dropped + static_cast<int64_t>(result.rows.size()), 60);
  EXPECT_LE(result.rows.size(), 6u);
}

TEST(Filter, LanguageOfTheThoughts) {
  const std::vector<Row> rows{row(1, "p", "<think>3 vs 4 wait</think>"), row(2, "p", "<think>3 vs 4等</think>"),
                              row(3, "p", "<think>3比4等</think>"), row(4, "p", "<think>3+4</think>对")};
  EXPECT_THAT(ids_of(filtered(rows, {.language = "en"}).rows), ElementsAre(1, 4));
  EXPECT_THAT(ids_of(filtered(rows, {.language = "zh"}).rows), ElementsAre(3, 4));
  EXPECT_THAT(ids_of(filtered(rows, {.language = "en", .min_language_share = 0.5}).rows), ElementsAre(1, 2, 4));
  EXPECT_EQ(filtered(rows, {.language = "en"}).dropped.at("language"), 2);
}

TEST(Filter, RepetitionOfTokens) {
  auto again = row(1, "p", "a"), once = row(2, "p", "b");
  again["completion_ids"] = {1, 2, 3, 9, 1, 2, 3};
  once["completion_ids"] = {1, 2, 3, 9, 1, 2, 4};
  EXPECT_THAT(ids_of(filtered({again, once}, {.repetition_ngram = 3}).rows), ElementsAre(2));
  EXPECT_THAT(ids_of(filtered({again, once}, {.repetition_ngram = 4}).rows), ElementsAre(1, 2));
}

TEST(Filter, AtMostSoManyOfAPromptShortestFirstIfWanted) {
  const std::vector<Row> rows{row(1, "p", "long long"), row(2, "p", "short"), row(3, "q", "x"), row(4, "p", "longer")};
  EXPECT_THAT(ids_of(filtered(rows, {.max_per_prompt = 1}).rows), ElementsAre(1, 3));
  EXPECT_THAT(ids_of(filtered(rows, {.max_per_prompt = 1, .prefer = "short"}).rows), ElementsAre(2, 3));
  EXPECT_THAT(ids_of(filtered(rows, {.max_per_prompt = 2, .prefer = "long"}).rows), ElementsAre(1, 3, 4));
}

// Prompt e is solved 4 times of 4, h once of 4.
std::vector<Row> easy_and_hard() {
  std::vector<Row> rows;
  for (int i = 0; i < 4; ++i) rows.push_back(row(i, "e", std::to_string(i)));
  for (int i = 4; i < 8; ++i) rows.push_back(row(i, "h", std::to_string(i), i == 4));
  return rows;
}

TEST(Filter, PassRateOfThePrompt) {
  EXPECT_THAT(ids_of(filtered(easy_and_hard(), {.max_pass_rate = 0.9}).rows), ElementsAre(4));
  EXPECT_THAT(ids_of(filtered(easy_and_hard(), {.min_pass_rate = 0.5}).rows), ElementsAre(0, 1, 2, 3));
  EXPECT_EQ(filtered(easy_and_hard(), {.max_pass_rate = 0.9}).dropped.at("too_easy"), 4);
}

TEST(Filter, BalancesDifficulties) {
  const auto even = filtered(easy_and_hard(), {.difficulty_bins = 2});
  EXPECT_EQ(even.rows.size(), 2u) << "one of each half";
  EXPECT_EQ(even.dropped.at("balance"), 3);
  EXPECT_EQ(filtered(easy_and_hard(), {.difficulty_bins = 2, .balance_ratio = 3}).rows.size(), 4u);
}

TEST(Filter, LimitDrawsAtRandomBySeed) {
  std::vector<Row> rows;
  for (int i = 0; i < 50; ++i) rows.push_back(row(i, "p", std::to_string(i)));
  const FilterConfig config{.limit = 10};
  const auto a = ids_of(filter_rows(rows, config, 1, {}).rows);
  EXPECT_EQ(a.size(), 10u);
  EXPECT_TRUE(std::ranges::is_sorted(a)) << "the order stays";
  EXPECT_EQ(a, ids_of(filter_rows(rows, config, 1, {}).rows));
  EXPECT_NE(a, ids_of(filter_rows(rows, config, 2, {}).rows));
}

TEST(Filter, RewritesOrDrops) {
  const Rewriter rewrite = [](const Row& r) -> std::optional<std::string> {
    if (r["completion"] == "bad") return {};
    return "good";
  };
  const auto result = filtered({row(1, "p", "a"), row(2, "p", "bad"), row(3, "p", "b")}, {}, rewrite);
  ASSERT_THAT(ids_of(result.rows), ElementsAre(1)) << "two become equal";
  EXPECT_EQ(result.rows[0]["completion"], "good");
  EXPECT_EQ(result.rows[0]["rewritten"], true);
  EXPECT_FALSE(result.rows[0].contains("completion_ids"));
  EXPECT_EQ(result.dropped.at("not_rewritten"), 1);
  EXPECT_EQ(result.dropped.at("duplicate"), 1);
}

TEST(Filter, SaysWhatARowLacks) {
  const std::vector<Row> bare{{{"prompt", "p"}, {"completion", "c"}}};
  EXPECT_EQ(filtered(bare, {.correct_only = false}).rows.size(), 1u);
  try {
    filtered(bare);
    FAIL();
  } catch (const std::runtime_error& e) {
    EXPECT_THAT(e.what(), HasSubstr("no \"verdict\""));
  }
}

TEST(Filter, CountsWhatTheUsersRuleDrops) {
  const RowRule even = [](const Row& r) -> std::optional<Row> {
    if (r["rollout_id"].get<int>() % 2) return {};
    Row own = r;
    own["mark"] = true;
    return own;
  };
  const auto result =
      filter_rows({row(1, "p", "a"), row(2, "p", "b"), row(4, "p", "b"), row(3, "p", "c")}, {}, 1, {}, even);
  ASSERT_THAT(ids_of(result.rows), ElementsAre(2));
  EXPECT_EQ(result.rows[0]["mark"], true);
  EXPECT_EQ(filter_summary(result), "4 rows, 1 kept; dropped: 2 python, 1 duplicate");
}

// ---- merge ----------------------------------------------------------------------------------------------------------

TEST(Merge, CountsFollowTheWeights) {
  EXPECT_THAT(merge_counts({100, 50}, {.weights = {3, 1}}), ElementsAre(100, 33));
  EXPECT_THAT(merge_counts({100, 50}, {.weights = {1, 3}}), ElementsAre(17, 49)) << "until the second runs out";
  EXPECT_THAT(merge_counts({100, 50}, {.weights = {3, 1}, .num_rows = 10}), ElementsAre(8, 2));
  EXPECT_THAT(merge_counts({100, 50}, {}), ElementsAre(100, 50)) << "everything";
}

TEST(Merge, MixesWithoutReplacementAndRepeatsWhatIsTooShort) {
  std::vector<Row> a, b;
  for (int i = 0; i < 20; ++i) a.push_back({{"rollout_id", i}});
  for (int i = 20; i < 23; ++i) b.push_back({{"rollout_id", i}});
  const auto rows = merge_rows({a, b}, {.weights = {1, 1}, .num_rows = 12}, 1);
  std::map<int, int> seen;
  for (const int id : ids_of(rows)) ++seen[id];
  int from_a = 0;
  for (const auto& [id, count] : seen) {
    EXPECT_EQ(count, id < 20 ? 1 : 2) << id;
    from_a += id < 20;
  }
  EXPECT_EQ(from_a, 6);
  EXPECT_EQ(rows, merge_rows({a, b}, {.weights = {1, 1}, .num_rows = 12}, 1));
  EXPECT_NE(rows, merge_rows({a, b}, {.weights = {1, 1}, .num_rows = 12}, 2));
}

TEST(Merge, GivesRowsTheColumnsOfTheirSet) {
  const std::vector<Row> a{row(1, "p", "a")}, b{row(2, "p", "b")};
  const auto rows = merge_rows({a, b}, {.columns = {{{"reward_funcs", {"countdown"}}}, {{"prompt", "q"}}}}, 1);
  for (const Row& r : rows) {
    EXPECT_EQ(r.contains("reward_funcs"), r["rollout_id"] == 1);
    EXPECT_EQ(r["prompt"], r["rollout_id"] == 1 ? "p" : "q");
  }
}

// ---- pairs ----------------------------------------------------------------------------------------------------------

std::vector<std::pair<int, int>> ids_of_pairs(const std::vector<Row>& rows, const PairsConfig& config) {
  std::vector<std::pair<int, int>> ids;
  for (const Row& r : preference_pairs(rows, config).rows) ids.emplace_back(r["rollout_id"], r["rejected_rollout_id"]);
  return ids;
}

TEST(Pairs, TakesTheBestWithTheWorst) {
  std::vector<Row> rows;
  const double rewards[]{1, 0, 0.5, 1.5, 2, 2};
  for (int i = 0; i < 6; ++i) {
    rows.push_back(row(i, i < 4 ? "p" : "q", std::to_string(i)));
    rows.back()["reward"] = rewards[i];
  }
  EXPECT_THAT(ids_of_pairs(rows, {}), ElementsAre(testing::Pair(3, 1))) << "q's completions are equally good";
  EXPECT_THAT(ids_of_pairs(rows, {.max_per_prompt = 9}), ElementsAre(testing::Pair(3, 1), testing::Pair(0, 2)));
  EXPECT_THAT(ids_of_pairs(rows, {.min_margin = 1, .max_per_prompt = 9}), ElementsAre(testing::Pair(3, 1)));
  const auto result = preference_pairs(rows, {});
  EXPECT_EQ(result.num_prompts, 2);
  EXPECT_EQ(result.num_without, 1);
  EXPECT_EQ(result.rows[0].dump(),
            R"({"prompt":"p","chosen":"3","rejected":"1","margin":1.5,"rollout_id":3,"rejected_rollout_id":1})");
}

TEST(Pairs, ComparesLengthsOfCorrectOnesAlone) {
  const std::vector<Row> rows{row(1, "p", "a", true, 9), row(2, "p", "b", false, 1), row(3, "p", "c", true, 4)};
  EXPECT_THAT(ids_of_pairs(rows, {.prefer = "short"}), ElementsAre(testing::Pair(3, 1)));
  EXPECT_THAT(ids_of_pairs(rows, {.prefer = "long"}), ElementsAre(testing::Pair(1, 3)));
  EXPECT_THAT(ids_of_pairs(rows, {.prefer = "short", .min_margin = 6}), ElementsAre());
  EXPECT_THROW(preference_pairs(rows, {}), std::runtime_error) << "no reward in these rows";
  auto scored = rows;
  for (Row& r : scored) r["reward"] = r["rollout_id"] == 2 ? Row() : r["rollout_id"];
  EXPECT_THAT(ids_of_pairs(scored, {.max_per_prompt = 9}), ElementsAre(testing::Pair(3, 1))) << "2 was not scored";
  auto rewritten = rows;
  rewritten[2]["rewritten"] = true;
  EXPECT_THAT(ids_of_pairs(rewritten, {.prefer = "rewritten"}), ElementsAre(testing::Pair(3, 1)));
}

}  // namespace
}  // namespace hone
