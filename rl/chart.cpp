#include "rl/chart.h"

#include <algorithm>
#include <cmath>

#include <fmt/core.h>

namespace hone {
namespace {

using Point = std::pair<double, double>;
using Points = std::vector<Point>;

constexpr double kLeft = 46, kRight = 12, kTop = 34, kBottom = 26;
constexpr size_t kMaxPoints = 300, kSmoothFrom = 80;

/// Finite points; neighbours are averaged until few enough are left to be drawn and hovered.
Points thin_out(const std::vector<std::pair<int64_t, double>>& points) {
  Points finite;
  for (const auto& [step, value] : points) {
    if (std::isfinite(value)) finite.emplace_back(double(step), value);
  }
  const size_t bucket = (finite.size() + kMaxPoints - 1) / kMaxPoints;
  if (bucket <= 1) return finite;
  Points out;
  for (size_t begin = 0; begin < finite.size(); begin += bucket) {
    const size_t end = std::min(finite.size(), begin + bucket);
    double sum = 0;
    for (size_t i = begin; i < end; ++i) sum += finite[i].second;
    out.emplace_back(finite[end - 1].first, sum / double(end - begin));
  }
  return out;
}

/// Up and down so much that a reader needs help to see the trend; a schedule or a steady fall is left as it is.
bool is_noisy(const Points& points) {
  if (points.size() < kSmoothFrom) return false;
  double path = 0, low = points[0].second, high = low;
  for (size_t i = 1; i < points.size(); ++i) {
    path += std::abs(points[i].second - points[i - 1].second);
    low = std::min(low, points[i].second), high = std::max(high, points[i].second);
  }
  return path > 3 * (high - low);
}

/// Mean over a window that is centred, hence never late, and narrows towards the ends.
Points smooth(const Points& points) {
  const size_t half = points.size() / 30;
  Points out;
  for (size_t i = 0; i < points.size(); ++i) {
    const size_t reach = std::min({half, i, points.size() - 1 - i});
    double sum = 0;
    for (size_t j = i - reach; j <= i + reach; ++j) sum += points[j].second;
    out.emplace_back(points[i].first, sum / double(2 * reach + 1));
  }
  return out;
}

/// An axis from `low` to `high` whose ticks are multiples of 1, 2 or 5 times a power of ten.
struct Axis {
  double low, high, tick;
};

Axis round_axis(double low, double high, int wanted_ticks) {
  if (low == high) {
    const double room = low == 0 ? 1 : std::abs(low) * 0.5;
    low -= low == 0 ? 0 : room, high += room;
  }
  const double rough = (high - low) / wanted_ticks, power = std::pow(10, std::floor(std::log10(rough)));
  double tick = 10 * power;
  for (double factor : {5.0, 2.0, 1.0}) {
    if (factor * power >= rough) tick = factor * power;
  }
  return {std::floor(low / tick) * tick, std::ceil(high / tick) * tick, tick};
}

/// Maps values into the plot area.
struct Frame {
  Axis x, y;
  double at_x(double v) const { return kLeft + (v - x.low) / (x.high - x.low) * (kChartWidth - kLeft - kRight); }
  double at_y(double v) const {
    return kChartHeight - kBottom - (v - y.low) / (y.high - y.low) * (kChartHeight - kTop - kBottom);
  }
};

Frame frame_of(const Points& points, bool from_zero) {
  const auto by_value = [](const Point& a, const Point& b) { return a.second < b.second; };
  const auto [low, high] = std::minmax_element(points.begin(), points.end(), by_value);
  const double floor = from_zero ? std::min(0.0, low->second) : low->second;
  Axis x{points.front().first, points.back().first, 1};
  if (x.low == x.high) x.low -= 1, x.high += 1;
  x.tick = round_axis(x.low, x.high, 5).tick;
  return {x, round_axis(floor, std::max(floor, high->second), 4)};
}

std::string y_ticks(const Frame& f) {
  std::string out;
  for (int i = 0; f.y.low + i * f.y.tick <= f.y.high + f.y.tick / 2; ++i) {
    const double value = std::abs(f.y.low + i * f.y.tick) < f.y.tick / 1e6 ? 0 : f.y.low + i * f.y.tick;
    const double y = f.at_y(value);
    out += fmt::format(R"(<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>)", kLeft, kChartWidth - kRight,
                       y, y);
    out += fmt::format(R"(<text class="tick" x="{}" y="{:.1f}" text-anchor="end">{}</text>)", kLeft - 6, y + 3.5,
                       format_value(value));
  }
  return out;
}

std::string x_ticks(const Frame& f) {
  std::string out = fmt::format(R"(<text class="tick" x="10" y="{}">step</text>)", kChartHeight - 9);
  const double tick = std::max(1.0, std::round(f.x.tick));
  for (double v = std::ceil(f.x.low / tick) * tick; v <= f.x.high; v += tick) {
    out += fmt::format(R"(<text class="tick" x="{:.1f}" y="{}" text-anchor="middle">{:.0f}</text>)", f.at_x(v),
                       kChartHeight - 9, v);
  }
  return out;
}

std::string polyline(const Frame& f, const Points& points, const char* style) {
  std::string path;
  for (const auto& [step, value] : points) path += fmt::format("{:.1f},{:.1f} ", f.at_x(step), f.at_y(value));
  return fmt::format(R"(<polyline class="{}" points="{}"/>)", style, path);
}

std::string tooltips(const Frame& f, const Points& points) {
  std::string out;
  for (const auto& [step, value] : points) {
    out += fmt::format(R"(<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="5"><title>step {:.0f}: {}</title></circle>)",
                       f.at_x(step), f.at_y(value), step, format_value(value));
  }
  return out;
}

std::string plot(const Points& points, bool from_zero) {
  const Frame frame = frame_of(points, from_zero);
  const bool noisy = is_noisy(points);
  std::string out = y_ticks(frame) + x_ticks(frame) + polyline(frame, points, noisy ? "raw" : "line");
  if (noisy) out += polyline(frame, smooth(points), "line");
  return out + tooltips(frame, points);
}

}  // namespace

std::string format_value(double value) {
  const double size = std::abs(value);
  if (size != 0 && (size < 1e-3 || size >= 1e6)) return fmt::format("{:.2g}", value);
  if (size >= 1000) return fmt::format("{:.0f}", value);
  return fmt::format("{:.3g}", value);
}

std::string escape_xml(const std::string& text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string chart_group(const Chart& chart, int x, int y) {
  const Points points = thin_out(chart.points);
  std::string out =
      fmt::format(R"svg(<g class="chart" transform="translate({},{})"><text class="title" x="10" y="18">{}</text>)svg",
                  x, y, escape_xml(chart.title));
  if (points.empty()) return out + R"(<text class="tick" x="10" y="100">no finite value</text></g>)";
  out += fmt::format(R"(<text class="now" x="{}" y="18" text-anchor="end">{}</text>)", kChartWidth - kRight,
                     format_value(points.back().second));
  return out + plot(points, chart.from_zero) + "</g>";
}

std::string chart_style() {
  return R"css(
.chart text { font: 11px system-ui, sans-serif; fill: #5b6470; }
.chart .title { font-size: 13px; font-weight: 600; fill: #1c2430; }
.chart .now { font-size: 13px; font-weight: 600; fill: #0b6bcb; }
.chart .grid { stroke: #e3e7ec; stroke-width: 1; }
.chart polyline { fill: none; stroke: #0b6bcb; stroke-width: 2; stroke-linejoin: round; }
.chart .raw { stroke-width: 1; opacity: .3; }
.chart .dot { fill: #0b6bcb; fill-opacity: 0; }
.chart .dot:hover { fill-opacity: 1; }
@media (prefers-color-scheme: dark) {
  .chart text { fill: #9aa5b4; }
  .chart .title { fill: #e6eaf0; }
  .chart .now { fill: #62b0ff; }
  .chart .grid { stroke: #2a323d; }
  .chart polyline { stroke: #62b0ff; }
  .chart .dot { fill: #62b0ff; }
}
)css";
}

}  // namespace hone
