#include "rl/report.h"

#include <cmath>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rl/chart.h"
#include "rl/metrics.h"
#include "tests/rl/groups.h"

namespace hone {
namespace {

using ::testing::HasSubstr;
using testing::make_group;
using ::testing::Not;
using testing::TemporaryDir;

void write_training(RunStore& store, const std::string& stage, int64_t steps) {
  for (int64_t step = 1; step <= steps; ++step) {
    const double t = double(step) / double(steps);
    StepRecord record{
        .stage = stage, .step = step, .groups = {make_group(step, {1.0, 0.0})}, .advantages = {}, .metrics = {}};
    record.metrics = {{"reward", 0.3 + 0.5 * t + 0.03 * std::sin(5.0 * double(step))},
                      {"rewards/countdown/mean", 0.25 + 0.55 * t},
                      {"completions/mean_length", 60 + 80 * t},
                      {"completions/reflections", 0.6 + 2 * t},
                      {"entropy", 0.6 - 0.3 * t},
                      {"sampling/sampling_logp_difference/max", 2.4e-6},
                      {"moe/max_vio", 0.4},
                      {"kl", step == 3 ? std::nan("") : 0.1}};
    store.write(record);
  }
}

void write_eval(RunStore& store, const std::string& stage, bool good) {
  StepRecord record{.stage = stage, .step = 0, .groups = {}, .advantages = {}, .metrics = {}};
  for (int64_t p = 0; p < 8; ++p) {
    Group group = make_group(p, {good ? 1.0 : 0.0, p == 0 ? 1.0 : 0.0});
    group.rollouts[0].text = good ? "<think>7 x 3 wait no, awaiting</think>" : "<script>alert(\"&'\")</script>";
    record.groups.push_back(group);
  }
  record.metrics = eval_metrics(record.groups, {" wait"});
  store.write(record);
}

void write_run(const std::filesystem::path& dir) {
  const auto store = RunStore::open(dir);
  for (int64_t step = 0; step < 60; ++step) {
    store->write({.stage = "base",
                  .step = step,
                  .groups = {},
                  .advantages = {},
                  .metrics = {{"loss", 4 * std::exp(-double(step) / 90) + 0.3 * std::sin(double(step) * 7)},
                              {"learning_rate", 4e-3}}});
  }
  write_eval(*store, "before", false);
  write_training(*store, "rl", 40);
  write_eval(*store, "after", true);
  store->flush();
}

std::string text_of(const std::filesystem::path& path) {
  std::ostringstream out;
  out << std::ifstream(path).rdbuf();
  return out.str();
}

int64_t count(const std::string& text, const std::string& word) { return count_words(text, {word}); }

class Report : public ::testing::Test {
 protected:
  Report() {
    const auto run = dir_.path() / "a<b";
    write_run(run);
    write_report(run, dir_.path() / "report.html");
    page_ = text_of(dir_.path() / "report.html");
  }
  TemporaryDir dir_;
  std::string page_;
};

TEST_F(Report, AsksNothingOfTheNetwork) {
  for (const char* word : {"http:", "https:", "src=", "href=", "url(", "@import", "<script", "<link", "<iframe"}) {
    EXPECT_THAT(page_, Not(HasSubstr(word)));
  }
}

TEST_F(Report, DrawsEveryCurveOfTheRun) {
  for (const char* title :
       {"Reward<", "Accuracy<", "Completion length, tokens<", "Reflections per completion<", "Entropy, nats per token<",
        "Sampler to trainer gap, max nats<", "Expert load, max violation<", "Loss<", "Learning rate<"}) {
    EXPECT_THAT(page_, HasSubstr(title));
  }
  EXPECT_THAT(page_, HasSubstr("<title>step 40: 0.8</title>"));
  EXPECT_THAT(page_, HasSubstr("<title>step 40: 2.4e-06</title>"));
  EXPECT_THAT(page_, Not(HasSubstr("nan")));
  EXPECT_THAT(page_, Not(HasSubstr("Gradient norm"))) << "this run has none";
}

TEST_F(Report, TablesTheEvaluationsSideBySide) {
  EXPECT_THAT(page_, HasSubstr("<th>before</th><th>after</th>"));
  EXPECT_THAT(page_, HasSubstr("<b>0.0625 → 0.562</b>"));
  EXPECT_THAT(page_, HasSubstr("× 9.00"));
  EXPECT_THAT(page_, Not(HasSubstr("pass@1_low")));
}

TEST_F(Report, ShowsTheSamePromptsBeforeAndAfterEscaped) {
  EXPECT_EQ(count(page_, "class=\"card sample\""), 12);
  EXPECT_EQ(count(page_, "<span class=\"prompt\">1 2 3:5\n</span>"), 2);
  EXPECT_THAT(page_, HasSubstr("&lt;script&gt;alert(&quot;&amp;&#39;&quot;)&lt;/script&gt;"));
  EXPECT_THAT(page_, HasSubstr("7 x 3 <mark>wait</mark> no, awaiting"));
  EXPECT_THAT(page_, HasSubstr("<h1>a&lt;b</h1>"));
}

TEST_F(Report, TagsAreClosed) {
  for (const char* tag :
       {"div", "section", "svg", "g", "table", "tr", "td", "th", "pre", "span", "p", "text", "circle", "style"}) {
    const std::string name = tag;
    EXPECT_EQ(count(page_, "<" + name + ">") + count(page_, "<" + name + " "), count(page_, "</" + name + ">")) << tag;
  }
}

TEST_F(Report, SvgOfAStageStandsAlone) {
  const RunReader run(dir_.path() / "a<b");
  const std::string svg = curve_svg(run, "rl");
  EXPECT_THAT(svg, ::testing::StartsWith("<svg xmlns="));
  EXPECT_EQ(count(svg, "class=\"chart\""), 3);
  EXPECT_THROW(curve_svg(run, "base"), std::invalid_argument);
  EXPECT_THROW(curve_svg(run, "none"), std::invalid_argument);
}

TEST(ReportOfTraining, WithoutEvaluationsShowsFirstAndLastStep) {
  TemporaryDir dir;
  {
    const auto store = RunStore::open(dir.path());
    write_training(*store, "rl", 5);
  }
  const std::string page = report_html(RunReader(dir.path()), "x");
  EXPECT_THAT(page, HasSubstr("rl, first step"));
  EXPECT_THAT(page, HasSubstr("rl, last step"));
  EXPECT_EQ(count(page, "class=\"card sample\""), 2);
}

TEST(ReportErrors, NoRunNoStepNoFolder) {
  TemporaryDir dir;
  EXPECT_THROW(write_report(dir.path() / "none", dir.path() / "x.html"), std::runtime_error);
  RunStore::open(dir.path())->flush();
  EXPECT_THROW(write_report(dir.path(), dir.path() / "x.html"), std::runtime_error);
  write_run(dir.path());
  EXPECT_THROW(write_report(dir.path(), dir.path() / "none" / "x.html"), std::runtime_error);
  EXPECT_FALSE(std::filesystem::exists(dir.path() / "x.html"));
}

TEST(Chart, ConstantSingleAndEmptySeriesAreDrawn) {
  for (const Chart& chart : {Chart{"c", {{0, 0.0}, {1, 0.0}}}, Chart{"c", {{3, 5.0}}},
                             Chart{"c", {{0, -1e300}, {1, 1e-300}}}, Chart{"c", {{0, 1e15}, {1, 1e15}}}}) {
    const std::string svg = chart_group(chart, 0, 0);
    EXPECT_THAT(svg, Not(HasSubstr("nan")));
    EXPECT_THAT(svg, Not(HasSubstr("inf")));
    EXPECT_LT(count(svg, "class=\"grid\""), 12);
  }
  EXPECT_THAT(chart_group({"c", {{0, std::nan("")}}}, 0, 0), HasSubstr("no finite value"));
}

TEST(Chart, LongSeriesAreThinnedOut) {
  Chart chart{"c", {}};
  for (int64_t step = 0; step < 100000; ++step) chart.points.emplace_back(step, double(step % 7));
  const std::string svg = chart_group(chart, 0, 0);
  EXPECT_LE(count(svg, "<circle"), 300);
  EXPECT_THAT(svg, HasSubstr("step 99999"));
}

TEST(Chart, OnlyNoiseIsSmoothed) {
  Chart noise{"c", {}}, schedule{"c", {}};
  for (int64_t step = 0; step < 200; ++step) {
    noise.points.emplace_back(step, double(step % 2));
    schedule.points.emplace_back(step, std::min(1.0, double(step) / 30));
  }
  EXPECT_EQ(count(chart_group(noise, 0, 0), "<polyline"), 2);
  EXPECT_EQ(count(chart_group(schedule, 0, 0), "<polyline"), 1);
}

TEST(Chart, ValuesHaveThreeDigits) {
  EXPECT_EQ(format_value(0.79738), "0.797");
  EXPECT_EQ(format_value(143.4), "143");
  EXPECT_EQ(format_value(12345), "12345");
  EXPECT_EQ(format_value(2.4e-6), "2.4e-06");
  EXPECT_EQ(format_value(0), "0");
}

}  // namespace
}  // namespace hone
