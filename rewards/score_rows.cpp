#include "rewards/score_rows.h"

#include <algorithm>
#include <cstdint>
#include <istream>
#include <ostream>
#include <stdexcept>
#include <utility>
#include <vector>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "rewards/parallel.h"

namespace hone {
namespace {

using nlohmann::json;

constexpr int kMaxNesting = 64;      // of a row; deeper ones are no data and would exhaust the stack
constexpr size_t kBatchRows = 1024;  // a batch ends at either limit
constexpr size_t kBatchBytes = 8u << 20;

json parse_row(const std::string& line) {
  const auto check_depth = [](int depth, json::parse_event_t, json&) {
    if (depth > kMaxNesting) throw std::runtime_error(fmt::format("nested deeper than {} levels", kMaxNesting));
    return true;
  };
  try {
    return json::parse(line, check_depth);
  } catch (const json::parse_error& e) {
    throw std::runtime_error(
        fmt::format("not valid JSON near character {}; write one JSON object a line, or remove the line", e.byte));
  } catch (const json::out_of_range&) {
    throw std::runtime_error("a number is too large for JSON's double precision; write it as a string");
  }
}

/// Removes a key from the row and returns its value, null when absent.
json take(json& row, const char* key) {
  json value = row.contains(key) ? std::move(row[key]) : json();
  row.erase(key);
  return value;
}

FinishReason finish_reason(const json& value) {
  if (value.is_null() || value == "eos") return FinishReason::kEos;
  if (value == "length") return FinishReason::kLength;
  if (value == "stop") return FinishReason::kStop;
  throw std::runtime_error(
      fmt::format("\"finish_reason\" is {}; it must be \"eos\", \"length\" or \"stop\"", value.dump()));
}

std::string completion_text(const json& value) {
  if (value.is_null()) throw std::runtime_error("the row has no \"completion\"; add it as a string");
  if (!value.is_string()) {
    throw std::runtime_error(fmt::format("\"completion\" is a {}; it must be a string", value.type_name()));
  }
  return value.get<std::string>();
}

std::vector<int32_t> token_ids(const json& value) {
  const auto is_id = [](const json& id) { return id.is_number_integer() && id >= 0 && id <= INT32_MAX; };
  if (value.is_null()) return {};
  if (!value.is_array() || !std::all_of(value.begin(), value.end(), is_id)) {
    throw std::runtime_error("\"token_ids\" must be a list of token ids, integers from 0");
  }
  return value.get<std::vector<int32_t>>();
}

std::string to_line(json id, const Score& score) {
  nlohmann::ordered_json row;
  row["id"] = std::move(id);
  row["score"] = score.value ? nlohmann::ordered_json(*score.value) : nlohmann::ordered_json();
  row["verdict"] = to_string(score.verdict);
  row["reason"] = score.reason;
  return row.dump(-1, ' ', false, json::error_handler_t::replace);
}

struct Line {
  int64_t number = 0;
  std::string text;
};

/// The next lines that are not blank; empty at the end of the input.
std::vector<Line> next_batch(std::istream& in, int64_t& line_number) {
  std::vector<Line> batch;
  size_t bytes = 0;
  std::string text;
  while (batch.size() < kBatchRows && bytes < kBatchBytes && std::getline(in, text)) {
    ++line_number;
    if (text.find_first_not_of(" \t\r\n") == std::string::npos) continue;
    bytes += text.size();
    batch.push_back({line_number, std::move(text)});
  }
  return batch;
}

}  // namespace

std::string score_row(const RewardFn& reward, const json& row) {
  if (!row.is_object()) throw std::runtime_error(fmt::format("found a JSON {}, not an object", row.type_name()));
  json columns = row;
  json id = take(columns, "id");
  const json prompt_text = take(columns, "prompt");
  Rollout rollout;
  rollout.text = completion_text(take(columns, columns.contains("completion") ? "completion" : "pred"));
  rollout.token_ids = token_ids(take(columns, "token_ids"));
  rollout.finish_reason = finish_reason(take(columns, "finish_reason"));
  Prompt prompt;
  if (prompt_text.is_string()) prompt.text = prompt_text.get<std::string>();
  prompt.columns = columns.dump();
  return to_line(std::move(id), reward(prompt, {&rollout, 1}).at(0));
}

void score_stream(std::istream& in, std::ostream& out, const RewardFn& reward, int threads, std::string_view source) {
  int64_t line_number = 0;
  for (auto batch = next_batch(in, line_number); !batch.empty(); batch = next_batch(in, line_number)) {
    std::vector<std::string> results(batch.size()), problems(batch.size());
    for_each_index(batch.size(), threads, [&](size_t i) {
      try {
        results[i] = score_row(reward, parse_row(batch[i].text));
      } catch (const std::runtime_error& e) {
        problems[i] = e.what();
      }
    });
    for (size_t i = 0; i < batch.size(); ++i) {
      if (!problems[i].empty()) {
        throw std::runtime_error(fmt::format("{}:{}: {}", source, batch[i].number, problems[i]));
      }
      out << results[i] << '\n';
    }
    out.flush();
  }
  if (in.bad()) throw std::runtime_error(fmt::format("{}: reading stopped after line {}", source, line_number));
  if (!out) throw std::runtime_error("the results could not be written; is the disk full, or the reader gone?");
}

}  // namespace hone
