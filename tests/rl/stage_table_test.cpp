#include "rl/stage_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rl/report.h"
#include "tests/rl/groups.h"

namespace hone {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using testing::TemporaryDir;

void write_eval(RunStore& store, const std::string& stage, double pass, std::map<std::string, double> more = {}) {
  more.insert({{"eval_pass@1", pass},
               {"eval_pass@1_low", pass - 0.02},
               {"eval_pass@1_high", pass + 0.02},
               {"eval_mean_length", 100}});
  store.write({.stage = stage, .step = 0, .groups = {}, .advantages = {}, .metrics = more});
}

void write_pipeline(const std::filesystem::path& dir) {
  const auto store = RunStore::open(dir);
  write_eval(*store, "base_eval", 0.25, {{"eval_mixed", 0.4}});
  store->write({.stage = "rl", .step = 1, .groups = {}, .advantages = {}, .metrics = {{"reward", 0.5}}});
  store->write({.stage = "keep",
                .step = 0,
                .groups = {},
                .advantages = {},
                .metrics = {{"rows/in", 10}, {"rows/kept", 6}, {"rows/dropped/wrong", 4}, {"rows/dropped/limit", 0}}});
  store->write({.stage = "mix", .step = 0, .groups = {}, .advantages = {}, .metrics = {{"rows/kept", 8}}});
  write_eval(*store, "zero_eval", 0.75, {{"eval_mixed", 0.5}});
  write_eval(*store, "r1_eval", 0.875);
  store->flush();
}

TEST(StageTable, HasARowForEveryEvaluationAndOnlyTheColumnsThatAreThere) {
  TemporaryDir dir;
  write_pipeline(dir.path());
  EXPECT_EQ(stage_markdown(RunReader(dir.path())),
            "| stage | pass@1 | length | mixed |\n|---|---|---|---|\n"
            "| base_eval | 0.25 (0.23–0.27) | 100 | 0.4 |\n"
            "| zero_eval | 0.75 (0.73–0.77) | 100 | 0.5 |\n"
            "| r1_eval | 0.875 (0.855–0.895) | 100 | – |\n"
            "\n- `keep`: 10 rows, 6 kept; dropped: 4 wrong\n- `mix`: 8 rows\n");
}

TEST(StageTable, DrawsBarsAsLongAsTheValues) {
  TemporaryDir dir;
  write_pipeline(dir.path());
  const std::string svg = stage_svg(RunReader(dir.path()));
  EXPECT_THAT(svg, HasSubstr("width=\"90.0\""));   // 0.25 of 360
  EXPECT_THAT(svg, HasSubstr("width=\"315.0\""));  // 0.875
  EXPECT_THAT(svg, HasSubstr("mix languages"));
  EXPECT_THAT(svg, Not(HasSubstr("Readable")));
}

TEST(StageTable, StandsInTheReportOfAPipelineAndAsksNothingOfTheNetwork) {
  TemporaryDir dir;
  write_pipeline(dir.path());
  const std::string page = report_html(RunReader(dir.path()), "r1");
  EXPECT_THAT(page, HasSubstr("<h2>Stages</h2>"));
  EXPECT_THAT(page, HasSubstr("keep: 10 rows, 6 kept; dropped: 4 wrong"));
  EXPECT_THAT(page, Not(HasSubstr("http:")));
  EXPECT_THAT(page, Not(HasSubstr("last / first"))) << "the last stage is not the first one's successor";
}

TEST(StageTable, NeedsAnEvaluationToDraw) {
  TemporaryDir dir;
  RunStore::open(dir.path())
      ->write({.stage = "rl", .step = 1, .groups = {}, .advantages = {}, .metrics = {{"reward", 1}}});
  EXPECT_THROW(stage_svg(RunReader(dir.path())), std::invalid_argument);
}

}  // namespace
}  // namespace hone
