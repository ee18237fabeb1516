// Renders what tests/python/chat_template_parity_test.py sends, one JSON object a line:
//   {"template", "variables", "mark"?}   a bare template    -> {"text", "spans"} | {"kind", "error", "line"}
//   {"folder", "request": {"messages", "tools"?, "documents"?, "add_generation_prompt"?, "variables"?}, "mark"?}
// The time is 2024-07-26 14:05:06, so that both sides write the same.
#include <iostream>

#include "models/text/chat_template.h"
#include "models/text/jinja_json.h"

namespace {

using Json = nlohmann::ordered_json;

std::tm fixed_time() {
  std::tm now{.tm_sec = 6, .tm_min = 5, .tm_hour = 14, .tm_mday = 26, .tm_mon = 6, .tm_year = 124};
  now.tm_isdst = -1;
  std::mktime(&now);
  return now;
}

Json answer(const std::string& text, const std::vector<hone::jinja::Span>& spans) {
  Json out{{"text", text}, {"spans", Json::array()}};
  for (const auto& span : spans) out["spans"].push_back({span.begin, span.end});
  return out;
}

Json render(const Json& row) {
  hone::jinja::Meter meter(hone::jinja::Limits{.max_steps = INT64_MAX, .max_built_bytes = INT64_MAX});
  hone::jinja::Dict variables;
  for (const auto& [name, value] : row["variables"].items()) {
    set_item(meter, variables, hone::jinja::Value(name), from_json(meter, value));
  }
  const auto parsed = hone::jinja::Template::parse(row["template"].get<std::string>());
  const auto rendered = parsed.render(variables, {.now = fixed_time(), .tracks_generation = row.value("mark", false)});
  return answer(rendered.text, rendered.generation);
}

Json chat(const Json& row) {
  const auto folder = hone::ChatTemplate::from_folder(row["folder"].get<std::string>());
  const Json& r = row["request"];
  const auto text = folder.apply({.messages = r["messages"],
                                  .tools = r.value("tools", Json(nullptr)),
                                  .documents = r.value("documents", Json(nullptr)),
                                  .add_generation_prompt = r.value("add_generation_prompt", false),
                                  .variables = r.value("variables", Json::object()),
                                  .now = fixed_time(),
                                  .marks_assistant = row.value("mark", false)});
  return answer(text.text, text.assistant);
}

}  // namespace

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    Json out;
    try {
      const Json row = Json::parse(line);
      out = row.contains("folder") ? chat(row) : render(row);
    } catch (const hone::jinja::Error& e) {
      const char* kinds[] = {"syntax", "runtime", "limit"};
      out = {{"kind", kinds[static_cast<int>(e.kind())]}, {"error", e.message()}, {"line", e.line()}};
    } catch (const std::exception& e) {
      out = {{"kind", "refused"}, {"error", e.what()}, {"line", 0}};
    }
    std::cout << out.dump(-1, ' ', false, Json::error_handler_t::replace) << '\n' << std::flush;
  }
}
