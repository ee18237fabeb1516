#include "rewards/options.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <utility>

#include <fmt/core.h>
#include <fmt/ranges.h>

namespace hone {
namespace {

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      diagonal = std::exchange(row[j + 1], std::min({diagonal + (a[i] != b[j]), row[j] + 1, row[j + 1] + 1}));
    }
  }
  return row.back();
}

template <class Number>
bool read_number(const std::string& text, Number& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

RewardName parse_reward_name(std::string_view text) {
  const size_t colon = text.find(':');
  RewardName parsed{std::string(text.substr(0, colon)), {}};
  if (colon == std::string_view::npos) return parsed;
  for (std::string_view rest = text.substr(colon + 1);;) {
    const size_t comma = rest.find(',');
    const auto option = rest.substr(0, comma);
    const size_t equals = option.find('=');
    if (equals == 0 || equals == std::string_view::npos) {
      throw std::invalid_argument(
          fmt::format("reward '{}': '{}' is no option; write {}:key=value,key=value", text, option, parsed.name));
    }
    const bool is_new = parsed.options.emplace(option.substr(0, equals), option.substr(equals + 1)).second;
    if (!is_new) throw std::invalid_argument(fmt::format("reward '{}' gives an option twice; keep one", text));
    if (comma == std::string_view::npos) return parsed;
    rest.remove_prefix(comma + 1);
  }
}

std::string nearest_name(std::string_view name, const std::vector<std::string>& known) {
  const auto distance = [&](const std::string& other) { return edit_distance(name, other); };
  const auto nearest = std::ranges::min_element(known, {}, distance);
  // a guess helps only where most letters agree
  return nearest != known.end() && distance(*nearest) <= 1 + name.size() / 3 ? *nearest : "";
}

const std::string* OptionReader::find(const char* name) {
  known_.emplace_back(name);
  const auto option = text_.options.find(name);
  return option == text_.options.end() ? nullptr : &option->second;
}

void OptionReader::refuse(const char* name, const std::string& value, const std::string& allowed) const {
  throw std::invalid_argument(
      fmt::format("reward '{}': option {} is '{}'; it must be {}", text_.name, name, value, allowed));
}

void OptionReader::operator()(const char* name, double& value, double low, double high) {
  const auto* text = find(name);
  if (!text) return;
  if (!read_number(*text, value) || !std::isfinite(value) || value < low || value > high) {
    refuse(name, *text, fmt::format("a number from {} to {}", low, high));
  }
}

void OptionReader::operator()(const char* name, int64_t& value, int64_t low, int64_t high) {
  const auto* text = find(name);
  if (!text) return;
  if (!read_number(*text, value) || value < low || value > high) {
    refuse(name, *text, fmt::format("an integer from {} to {}", low, high));
  }
}

void OptionReader::operator()(const char* name, bool& value) {
  const auto* text = find(name);
  if (!text) return;
  if (*text != "true" && *text != "false") refuse(name, *text, "true or false");
  value = *text == "true";
}

void OptionReader::operator()(const char* name, std::string& value, const std::vector<std::string>& allowed) {
  const auto* text = find(name);
  if (!text) return;
  if (std::ranges::find(allowed, *text) == allowed.end()) {
    refuse(name, *text, fmt::format("one of {}", fmt::join(allowed, ", ")));
  }
  value = *text;
}

void OptionReader::finish() const {
  for (const auto& [name, value] : text_.options) {
    if (std::ranges::find(known_, name) != known_.end()) continue;
    if (known_.empty()) throw std::invalid_argument(fmt::format("reward '{}' has no options", text_.name));
    const auto near = nearest_name(name, known_);
    throw std::invalid_argument(fmt::format("reward '{}' has no option '{}'; {}there are: {}", text_.name, name,
                                            near.empty() ? "" : fmt::format("did you mean '{}'? ", near),
                                            fmt::join(known_, ", ")));
  }
}

}  // namespace hone
