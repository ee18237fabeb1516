// Line charts as SVG text: one metric over steps, axes with round ticks, a tooltip (<title>) at each point.
//
//   chart_svg({.title = "Accuracy", .points = {{1, .26}, {2, .31}}})  ->  <g class="chart">...</g>, 360 x 200
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace hone {

inline constexpr int kChartWidth = 360, kChartHeight = 200;

struct Chart {
  std::string title;
  std::vector<std::pair<int64_t, double>> points;  ///< (step, value) by step; what is not finite is left out
  bool from_zero = false;                          ///< the axis starts at 0 even when the values do not
};

/// A <g> of kChartWidth x kChartHeight with its corner at (x, y). Long series are averaged down to a few hundred
/// points; noisy ones get a centred mean over the raw line.
std::string chart_group(const Chart& chart, int x, int y);

/// The style sheet of chart_group, for light and dark.
std::string chart_style();

/// "0.797", "143", "2.4e-06": three digits that matter.
std::string format_value(double value);

/// & < > " ' as entities.
std::string escape_xml(const std::string& text);

}  // namespace hone
