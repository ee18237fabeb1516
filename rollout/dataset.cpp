#include "rollout/dataset.h"

#include <fstream>
#include <limits>
#include <stdexcept>
#include <unordered_map>
#include <utility>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "rollout/random.h"

namespace hone {
namespace {

using nlohmann::json;

constexpr int kMaxNesting = 64;  // of a row's columns; deeper ones are no data and would exhaust the stack

json parse_row(const std::string& line) {
  const auto check_depth = [](int depth, json::parse_event_t, json&) {
    if (depth > kMaxNesting) throw std::runtime_error(fmt::format("nested deeper than {} levels", kMaxNesting));
    return true;
  };
  json row;
  try {
    row = json::parse(line, check_depth);
  } catch (const json::parse_error& e) {
    throw std::runtime_error(
        fmt::format("not valid JSON near character {}; write one JSON object a line, or remove the line", e.byte));
  } catch (const json::out_of_range&) {
    throw std::runtime_error("a number is too large for JSON's double precision; write it as a string");
  }
  if (!row.is_object()) {
    throw std::runtime_error(
        fmt::format("found a JSON {}, not an object; write {{\"prompt\": \"..\"}}", row.type_name()));
  }
  return row;
}

/// Removes a key from the row and returns its value, null when absent.
json take(json& row, const char* key) {
  json value = row.contains(key) ? std::move(row[key]) : json();
  row.erase(key);
  return value;
}

bool has(const json& row, const char* key) { return row.contains(key) && !row[key].is_null(); }

bool fits(const json& value, int64_t high) {
  return value.is_number_integer() && (value.is_number_unsigned() || value.get<int64_t>() >= 0) &&
         value.get<uint64_t>() <= static_cast<uint64_t>(high);
}

int64_t row_id(const json& value, int64_t row_number) {
  if (value.is_null()) return row_number;
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  if (!fits(value, kMax)) {
    throw std::runtime_error(fmt::format("\"id\" is {}; it must be an integer from 0 to {}", value.dump(), kMax));
  }
  return value.get<int64_t>();
}

/// The messages of the row as the file has them: the order of an object's keys shows in what a template writes.
std::string messages_text(const std::string& line, const char* key) {
  return nlohmann::ordered_json::parse(line).at(key).dump();
}

EncodedPrompt encoded(const json& row, const std::string& line, const PromptEncoder& encoder) {
  const char* key = has(row, "prompt") ? "prompt" : "messages";
  if (row[key].is_string()) return encoder.text(row[key].get_ref<const std::string&>());
  if (!row[key].is_array()) {
    throw std::runtime_error(
        fmt::format("\"{}\" is a {}; it must be a string or a list of chat messages", key, row[key].type_name()));
  }
  if (encoder.chat) return encoder.chat(messages_text(line, key));
  throw std::runtime_error(fmt::format(
      "\"{}\" is a list of chat messages, and the model has no chat template; give \"prompt\" as a string", key));
}

std::vector<int32_t> prompt_ids(const json& value) {
  if (!value.is_array()) {
    throw std::runtime_error(fmt::format("\"prompt_ids\" is a {}; it must be a list of token ids", value.type_name()));
  }
  std::vector<int32_t> ids;
  for (const json& id : value) {
    if (!fits(id, std::numeric_limits<int32_t>::max())) {
      throw std::runtime_error(fmt::format("\"prompt_ids\" holds {}; token ids are integers from 0", id.dump()));
    }
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

Prompt to_prompt(const std::string& line, int64_t row_number, const PromptEncoder& encoder) {
  json row = parse_row(line);
  const bool has_text = has(row, "prompt") || has(row, "messages");
  EncodedPrompt prompt = has_text ? encoded(row, line, encoder) : EncodedPrompt();
  if (has(row, "prompt_ids")) prompt.token_ids = prompt_ids(row["prompt_ids"]);
  else if (!has_text) throw std::runtime_error("the row has neither \"prompt\" nor \"prompt_ids\"; add one of them");
  if (prompt.token_ids.empty()) {
    throw std::runtime_error("the prompt has no tokens; a completion needs at least one to start from");
  }
  const int64_t id = row_id(take(row, "id"), row_number);
  for (const char* key : {"prompt", "messages", "prompt_ids"}) row.erase(key);
  return {.id = id, .text = std::move(prompt.text), .token_ids = std::move(prompt.token_ids), .columns = row.dump()};
}

bool is_blank(const std::string& line) { return line.find_first_not_of(" \t\r\n") == std::string::npos; }

std::runtime_error at_line(const std::string& path, int64_t line, const char* what) {
  return std::runtime_error(fmt::format("{}:{}: {}", path, line, what));
}

}  // namespace

std::vector<Prompt> load_prompts(const std::string& path, const PromptEncoder& encoder) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + ": cannot be opened; give the path of a readable JSONL file");
  std::vector<Prompt> prompts;
  std::unordered_map<int64_t, int64_t> line_of_id;
  std::string line;
  for (int64_t number = 1; std::getline(file, line); ++number) {
    if (is_blank(line)) continue;
    try {
      prompts.push_back(to_prompt(line, static_cast<int64_t>(prompts.size()), encoder));
      const auto [seen, is_new] = line_of_id.emplace(prompts.back().id, number);
      if (!is_new) {
        throw std::runtime_error(fmt::format("id {} is already used on line {}; give every row its own \"id\", or none",
                                             seen->first, seen->second));
      }
    } catch (const std::exception& e) {
      throw at_line(path, number, e.what());
    }
  }
  if (file.bad())
    throw std::runtime_error(path + ": reading stopped in the middle; is it a file, and is the disk sound?");
  if (prompts.empty())
    throw std::runtime_error(path + ": holds no rows; write one JSON object with a \"prompt\" a line");
  return prompts;
}

std::vector<int64_t> prompt_indices(uint64_t seed, std::string_view purpose, int64_t drawn, int64_t count,
                                    int64_t num_prompts) {
  if (num_prompts < 1 || drawn < 0 || count < 0) {
    throw std::invalid_argument(
        fmt::format("prompt_indices: {} prompts after {}, {} in all; at least 0, 0, 1", count, drawn, num_prompts));
  }
  const uint64_t order_seed = derive_seed(seed, purpose);
  const int64_t end = drawn + count;
  std::vector<int64_t> indices;
  while (drawn < end) {
    const int64_t epoch = drawn / num_prompts;
    const auto order = permutation(num_prompts, order_seed, Purpose::kPromptOrder, static_cast<uint64_t>(epoch));
    for (; drawn < end && drawn / num_prompts == epoch; ++drawn) {
      indices.push_back(order[static_cast<size_t>(drawn % num_prompts)]);
    }
  }
  return indices;
}

}  // namespace hone
