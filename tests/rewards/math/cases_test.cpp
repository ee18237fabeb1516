// The published cases, as judged by Math-Verify and by construction: tests/data/math/README.md.
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "rewards/math/verify.h"
#include "rewards/math_reward.h"

namespace hone {
namespace {

using nlohmann::json;

std::vector<json> read_rows(const std::string& name) {
  std::ifstream file(HONE_SOURCE_DIR "/tests/data/math/" + name);
  std::vector<json> rows;
  for (std::string line; std::getline(file, line);) rows.push_back(json::parse(line));
  return rows;
}

MathConfig config_of(const json& row, bool quirks) {
  MathConfig config = read_math_config(row.at("config"), {});
  config.compare.upstream_quirks = quirks;
  return config;
}

Score judge(const json& row, bool quirks) {
  const Gold gold(row.at("gold").get<std::string>(), config_of(row, quirks));
  return gold.verify(row.at("pred").get<std::string>());
}

struct Tally {
  int rows = 0, agree = 0;
  std::string misses;

  void add(const json& row, const Score& score) {
    ++rows;
    const bool accepted = score.verdict == Verdict::kCorrect;
    agree += accepted == row.at("expected").get<bool>();
    if (accepted != row.at("expected").get<bool>()) {
      misses += row.at("id").get<std::string>() + " " + row.at("gold").dump() + " | " + row.at("pred").dump() + " -> " +
                to_string(score.verdict) + ", " + score.reason + "\n";
    }
  }
  double share() const { return static_cast<double>(agree) / rows; }
};

Tally tally_cases(bool quirks) {
  Tally tally;
  for (const auto& row : read_rows("cases.jsonl")) tally.add(row, judge(row, quirks));
  return tally;
}

/// Rows whose verdict is a matter of policy or right; where upstream is wrong either verdict will do.
Tally tally_oracle(bool quirks) {
  Tally tally;
  for (const auto& row : read_rows("oracle_cases.jsonl")) {
    if (row.at("truth").is_null() || row.at("truth") == row.at("expected")) tally.add(row, judge(row, quirks));
  }
  return tally;
}

TEST(MathCases, AgreesWithUpstreamsOwnTests) {
  for (const bool quirks : {true, false}) {
    const auto tally = tally_cases(quirks);
    EXPECT_EQ(tally.rows, 177);
    EXPECT_GE(tally.agree, 170) << "quirks " << quirks << "\n" << tally.misses;
  }
}

TEST(MathCases, AgreesWithTheOracle) {
  for (const bool quirks : {true, false}) {
    const auto tally = tally_oracle(quirks);
    EXPECT_GE(tally.rows, 3100);
    EXPECT_GE(tally.share(), 0.985) << "quirks " << quirks << "\n" << tally.misses;
  }
}

TEST(MathCases, AcceptsNothingThatIsKnownToDiffer) {
  int rows = 0;
  for (const auto& row : read_rows("oracle_cases.jsonl")) {
    if (row.at("truth") != false) continue;
    ++rows;
    for (const bool quirks : {true, false}) {
      EXPECT_NE(judge(row, quirks).verdict, Verdict::kCorrect) << row.dump();
    }
  }
  EXPECT_GE(rows, 500);
}

TEST(MathCases, ExtractsWhatUpstreamExtracts) {
  for (const auto& row : read_rows("extraction_cases.jsonl")) {
    const auto found = extract_answer(row.at("pred").get<std::string>(), config_of(row, /*quirks=*/true));
    EXPECT_EQ(json(found), row.at("expected")) << row.dump();
  }
}

/// Our own cases of every kind: for training what is right by mathematics, with quirks what upstream says, where it is
/// right or that is a matter of policy. A handful are decided otherwise on purpose (docs/limits.md).
TEST(MathCases, JudgesTheWrittenCases) {
  Tally right, agreeing;
  for (auto row : read_rows("written_cases.jsonl")) {
    row["config"] = json::object();
    const auto truth = row.at("truth"), upstream = row.at("upstream");
    if (!truth.is_null()) {
      row["expected"] = truth;
      const auto score = judge(row, /*quirks=*/false);
      right.add(row, score);
      EXPECT_FALSE(truth == false && score.verdict == Verdict::kCorrect) << row.dump();
    }
    if (upstream.is_null() || (!truth.is_null() && truth != upstream)) continue;
    row["expected"] = upstream;
    agreeing.add(row, judge(row, /*quirks=*/true));
  }
  EXPECT_GE(right.rows, 950);
  EXPECT_EQ(right.agree, right.rows) << right.misses;
  EXPECT_GE(agreeing.rows, 900);
  EXPECT_GE(agreeing.share(), 0.995) << agreeing.misses;
}

TEST(MathCases, PublishedGsm8kRowsAnswerThemselves) {
  const auto rows = read_rows("gsm8k_rows.jsonl");
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto answer = rows[i].at("answer").get<std::string>(), solution = rows[i].at("solution").get<std::string>();
    const auto other = rows[(i + 1) % rows.size()].at("answer").get<std::string>();
    EXPECT_EQ(Gold(answer, {}).verify(solution).verdict, Verdict::kCorrect) << solution;
    EXPECT_EQ(Gold(solution, {}).verify("So the answer is " + answer + ".").verdict, Verdict::kCorrect) << solution;
    EXPECT_EQ(Gold(solution, {}).verify("\\boxed{" + answer + "}").verdict, Verdict::kCorrect) << solution;
    if (other != answer) {
      EXPECT_EQ(Gold(other, {}).verify(solution).verdict, Verdict::kWrong) << solution;
    }
  }
}

}  // namespace
}  // namespace hone
