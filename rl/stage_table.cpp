#include "rl/stage_table.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "rl/chart.h"

namespace hone {
namespace {

using Metrics = std::map<std::string, RunReader::Series>;

const std::vector<StageTable::Column> kColumns{
    {"pass@1", "eval_pass@1"},         {"length", "eval_mean_length"},
    {"re-checks", "eval_reflections"}, {"cut", "eval_truncated"},
    {"format", "eval_format"},         {"mixed", "eval_mixed"},
    {"English", "eval_english"},       {"summary", "eval_summary"},
    {"readable", "eval_readable"},     {"arithmetic", "eval_step_arithmetic"},
    {"verdict", "eval_verdict"}};

std::optional<double> last_value(const Metrics& metrics, const std::string& name) {
  const auto found = metrics.find(name);
  if (found == metrics.end() || found->second.empty() || !std::isfinite(found->second.back().second)) return {};
  return found->second.back().second;
}

StageTable::Line line_of(const std::string& stage, const Metrics& metrics) {
  StageTable::Line line{stage, {}};
  for (const auto& column : kColumns) line.values.push_back(last_value(metrics, column.metric));
  line.low = last_value(metrics, "eval_pass@1_low").value_or(0);
  line.high = last_value(metrics, "eval_pass@1_high").value_or(0);
  return line;
}

std::string cell(const StageTable::Line& line, size_t column) {
  if (!line.values[column]) return "–";
  const std::string text = format_value(*line.values[column]);
  return column == 0 ? fmt::format("{} ({}–{})", text, format_value(line.low), format_value(line.high)) : text;
}

// ---- figure ---------------------------------------------------------------------------------------------------------

constexpr double kNames = 190, kBar = 360, kNumber = 60, kRow = 22, kTop = 34;

struct Panel {
  const char* title;
  const char* metric;
};
constexpr Panel kPanels[]{{"Held-out pass@1", "eval_pass@1"},
                          {"Completions that mix languages", "eval_mixed"},
                          {"Readable completions", "eval_readable"}};

std::string bar(const StageTable::Line& line, size_t column, double x, double y) {
  if (!line.values[column]) return "";
  const double value = *line.values[column];
  std::string text = fmt::format(
      "<rect class=\"bar\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{}\"/><text class=\"tick\" x=\"{:.1f}\" "
      "y=\"{:.1f}\">{}</text>\n",
      x, y + 4, std::max(0.5, value * kBar), kRow - 8, x + kBar + 8, y + 15, format_value(value));
  if (column == 0) {
    text += fmt::format("<path class=\"whisker\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>\n", x + line.low * kBar, y + kRow / 2,
                        x + line.high * kBar);
  }
  return text;
}

// ---- data -----------------------------------------------------------------------------------------------------------

std::string dropped_text(const Metrics& metrics) {
  std::vector<std::string> reasons;
  const std::string prefix = "rows/dropped/";
  for (const auto& [name, series] : metrics) {
    if (!name.starts_with(prefix) || series.back().second == 0) continue;
    reasons.push_back(fmt::format("{:.0f} {}", series.back().second, name.substr(prefix.size())));
  }
  return fmt::format("{}", fmt::join(reasons, ", "));
}

}  // namespace

StageTable stage_table(const RunReader& run) {
  StageTable table{kColumns, {}};
  for (const auto& stage : run.stages()) {
    const Metrics metrics = run.steps(stage);
    if (metrics.contains("eval_pass@1")) table.lines.push_back(line_of(stage, metrics));
  }
  for (size_t c = table.columns.size(); c-- > 0;) {
    const auto here = static_cast<std::ptrdiff_t>(c);
    if (std::ranges::any_of(table.lines, [&](const auto& line) { return line.values[c].has_value(); })) continue;
    table.columns.erase(table.columns.begin() + here);
    for (auto& line : table.lines) line.values.erase(line.values.begin() + here);
  }
  return table;
}

std::string data_stage_line(const RunReader& run, const std::string& stage) {
  const Metrics metrics = run.steps(stage);
  const auto kept = last_value(metrics, "rows/kept"), read = last_value(metrics, "rows/in");
  if (!kept) return "";
  if (!read) return fmt::format("{:.0f} rows", *kept);
  const std::string dropped = dropped_text(metrics);
  return fmt::format("{:.0f} rows, {:.0f} kept{}", *read, *kept, dropped.empty() ? "" : "; dropped: " + dropped);
}

std::string stage_markdown(const RunReader& run) {
  const StageTable table = stage_table(run);
  std::string head = "| stage |", rule = "|---|", text;
  for (const auto& column : table.columns) {
    head += fmt::format(" {} |", column.title);
    rule += "---|";
  }
  text = head + "\n" + rule + "\n";
  for (const auto& line : table.lines) {
    text += fmt::format("| {} |", line.stage);
    for (size_t c = 0; c < table.columns.size(); ++c) text += fmt::format(" {} |", cell(line, c));
    text += "\n";
  }
  for (const auto& stage : run.stages()) {
    const std::string data = data_stage_line(run, stage);
    if (!data.empty()) text += fmt::format("\n- `{}`: {}", stage, data);
  }
  return text + "\n";
}

std::string stage_svg(const RunReader& run, bool in_page) {
  const StageTable table = stage_table(run);
  if (table.lines.empty()) {
    throw std::invalid_argument("the run has no evaluation to draw; add stages of kind eval");
  }
  std::string out;
  double y = 0;
  for (const Panel& panel : kPanels) {
    const auto found = std::ranges::find(table.columns, std::string(panel.metric), &StageTable::Column::metric);
    if (found == table.columns.end()) continue;
    const auto column = static_cast<size_t>(found - table.columns.begin());
    out += fmt::format("<text class=\"title\" x=\"12\" y=\"{:.1f}\">{}</text>\n", y + 22, panel.title);
    y += kTop;
    for (const auto& line : table.lines) {
      out += fmt::format("<text class=\"tick\" x=\"12\" y=\"{:.1f}\">{}</text>\n", y + 15, escape_xml(line.stage));
      out += bar(line, column, kNames, y);
      y += kRow;
    }
    y += 10;
  }
  return fmt::format(
      "<svg{4} width=\"{0:.0f}\" height=\"{1:.0f}\" viewBox=\"0 0 {0:.0f} {1:.0f}\">\n"
      "<style>{2}.bar {{ fill: #0b6bcb; opacity: .75; }} .whisker {{ stroke: #5b6470; stroke-width: 2; }}</style>\n"
      "<g class=\"chart\">\n{3}</g></svg>\n",
      kNames + kBar + kNumber, y, chart_style(), out, in_page ? "" : " xmlns=\"http://www.w3.org/2000/svg\"");
}

}  // namespace hone
