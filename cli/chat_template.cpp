// hone chat-template --model DIR: {"messages", "tools"?, "add_generation_prompt"?} -> {"text"} on standard input.
#include "models/text/chat_template.h"

#include <ctime>
#include <iostream>
#include <stdexcept>

#include <fmt/format.h>

#include "cli/input.h"
#include "cli/output.h"
#include "cli/verbs.h"

namespace hone {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMaxNesting = 64;  // of a row; deeper ones are no chats and would exhaust the stack

// Not for_each_row: the order of an object's keys shows in what a template writes.
Json parse_row(const std::string& line) {
  const auto check_depth = [](int depth, Json::parse_event_t, Json&) {
    if (depth > kMaxNesting) throw std::invalid_argument(fmt::format("nested deeper than {} levels", kMaxNesting));
    return true;
  };
  Json row = Json::parse(line, check_depth, /*allow_exceptions=*/false);
  if (row.is_discarded()) throw std::invalid_argument("not valid JSON; write one JSON object a line");
  if (!row.is_object()) throw std::invalid_argument(fmt::format("found a JSON {}, not an object", row.type_name()));
  return row;
}

Json take(const Json& row, const char* key, Json fallback) {
  const auto found = row.find(key);
  return found == row.end() ? std::move(fallback) : *found;
}

ChatRequest request_of(const Json& row, const std::tm& now) {
  if (!row.contains("messages")) throw std::invalid_argument("the row has no \"messages\"; add a list of messages");
  const Json prompt = take(row, "add_generation_prompt", false);
  if (!prompt.is_boolean()) throw std::invalid_argument("\"add_generation_prompt\" must be true or false");
  return {.messages = row["messages"],
          .tools = take(row, "tools", nullptr),
          .documents = take(row, "documents", nullptr),
          .add_generation_prompt = prompt.get<bool>(),
          .variables = take(row, "chat_template_kwargs", Json::object()),
          .now = now};
}

}  // namespace

int chat_template(const ChatTemplateArgs& args) {
  const auto chat = as_input([&] { return ChatTemplate::from_folder(model_folder(args.model)); });
  const std::time_t time = std::time(nullptr);
  std::tm now{};
  localtime_r(&time, &now);
  std::string line;
  for (int64_t number = 1; std::getline(std::cin, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    try {
      std::cout << "{\"text\":" << json_text(chat.apply(request_of(parse_row(line), now)).text) << "}\n";
    } catch (const std::bad_alloc&) {
      throw;
    } catch (const std::exception& error) {
      throw std::invalid_argument(fmt::format("standard input:{}: {}", number, one_line(error)));
    }
    // a caller that sends rows one by one gets each answer at once
    if (std::cin.rdbuf()->in_avail() <= 0) std::cout.flush();
  }
  return 0;
}

}  // namespace hone
