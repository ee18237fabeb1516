#include "cli/output.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hone {
namespace {

template <class T, class Print>
std::string list(std::span<const T> values, const Print& print) {
  fmt::memory_buffer out;
  for (size_t i = 0; i < values.size(); ++i) {
    out.push_back(i == 0 ? '[' : ',');
    print(std::back_inserter(out), values[i]);
  }
  return values.empty() ? "[]" : fmt::to_string(out) + "]";
}

std::string shown(const std::string& cell) {
  std::string text;
  for (char c : cell) text += c == '\n' ? std::string("\\n") : std::string(1, c);
  const std::string start = fmt::format("{:.60}", text);
  return start == text ? text : start + "..";
}

}  // namespace

std::string json_list(std::span<const float> values) {
  return list(values, [](auto out, float value) {
    if (std::isfinite(value)) fmt::format_to(out, "{:.9g}", value);
    else fmt::format_to(out, "null");
  });
}

std::string json_list(std::span<const double> values) {
  return list(values, [](auto out, double value) {
    if (std::isfinite(value)) fmt::format_to(out, "{:.17g}", value);
    else fmt::format_to(out, "null");
  });
}

std::string json_list(std::span<const int32_t> values) {
  return list(values, [](auto out, int32_t value) { fmt::format_to(out, "{}", value); });
}

std::string json_list(std::span<const int64_t> values) {
  return list(values, [](auto out, int64_t value) { fmt::format_to(out, "{}", value); });
}

std::string json_text(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::vector<std::string>> lines{header};
  lines.insert(lines.end(), rows.begin(), rows.end());
  std::vector<size_t> widths(header.size());
  for (auto& line : lines) {
    for (size_t c = 0; c < line.size(); ++c) {
      line[c] = shown(line[c]);
      widths[c] = std::max(widths[c], line[c].size());
    }
  }
  std::string text;
  for (const auto& line : lines) {
    std::string row;
    for (size_t c = 0; c < line.size(); ++c) row += fmt::format("{:<{}}  ", line[c], widths[c]);
    text += row.substr(0, row.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

}  // namespace hone
