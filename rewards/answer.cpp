#include "rewards/answer.h"

#include <stdexcept>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

namespace hone {
namespace {

constexpr std::string_view kOpen = "<answer>", kClose = "</answer>", kEndOfThoughts = "</think>";

std::string_view after_thoughts(std::string_view completion) {
  const size_t end = completion.rfind(kEndOfThoughts);
  return end == std::string_view::npos ? completion : completion.substr(end + kEndOfThoughts.size());
}

}  // namespace

std::vector<std::string_view> answer_blocks(std::string_view completion) {
  auto rest = after_thoughts(completion);
  std::vector<std::string_view> blocks;
  for (size_t open; (open = rest.find(kOpen)) != std::string_view::npos;) {
    rest.remove_prefix(open + kOpen.size());
    const size_t close = rest.find(kClose);
    if (close == std::string_view::npos) break;
    blocks.push_back(trim(rest.substr(0, close)));
    rest.remove_prefix(close + kClose.size());
  }
  return blocks;
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\v\f";
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

std::optional<std::string> gold_answer(const std::string& columns) {
  const auto row = nlohmann::json::parse(columns);
  for (const char* name : {"answer", "solution"}) {
    const auto value = row.find(name);
    if (value == row.end() || value->is_null()) continue;
    if (value->is_number_integer()) return value->dump();
    if (!value->is_string()) {
      throw std::runtime_error(
          fmt::format("column '{}' is a {}; it must be a string or an integer", name, value->type_name()));
    }
    const auto text = trim(value->get_ref<const std::string&>());
    return text.empty() ? std::nullopt : std::optional<std::string>(text);
  }
  return {};
}

}  // namespace hone
