#include "models/text/chat_template.h"

#include <algorithm>
#include <fstream>
#include <stdexcept>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "models/text/jinja_json.h"

namespace hone {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::ordered_json;
using jinja::Meter;
using jinja::Value;

constexpr int kMaxNesting = 100;
constexpr std::streamoff kMaxConfigBytes = 256 << 20;  // added tokens make it large

std::string read_text(const fs::path& file) {
  std::ifstream in(file, std::ios::binary | std::ios::ate);
  if (!in) throw std::runtime_error(fmt::format("{}: cannot be opened", file.string()));
  const std::streamoff size = in.tellg();
  if (size > kMaxConfigBytes) {
    throw std::runtime_error(fmt::format("{}: {} bytes; at most {} are read", file.string(), size, kMaxConfigBytes));
  }
  std::string text(static_cast<size_t>(size), '\0');
  in.seekg(0).read(text.data(), size);
  if (!in) throw std::runtime_error(fmt::format("{}: reading stopped in the middle", file.string()));
  return text;
}

// An empty object when the file is not there.
Json read_object(const fs::path& file) {
  if (!fs::exists(file)) return Json::object();
  Json out = Json::parse(read_text(file), nullptr, /*allow_exceptions=*/false);
  if (!out.is_object()) throw std::runtime_error(fmt::format("{}: not a JSON object; repair the file", file.string()));
  return out;
}

// A special token is its text or an object around it.
std::optional<std::string> token_text(const Json& config, const std::string& name) {
  const auto found = config.find(name);
  if (found == config.end()) return {};
  if (found->is_string()) return found->get<std::string>();
  if (!found->is_object()) return {};
  const auto content = found->find("content");
  if (content == found->end() || !content->is_string()) return {};
  return content->get<std::string>();
}

std::map<std::string, std::string> special_tokens(const Json& config, const Json& legacy) {
  std::map<std::string, std::string> out;
  for (const char* name :
       {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}) {
    auto text = token_text(config, name);
    if (!text && !config.contains(name)) text = token_text(legacy, name);
    if (text) out[name] = *text;
  }
  return out;
}

std::vector<fs::path> named_files(const fs::path& folder) {
  std::vector<fs::path> files;
  if (!fs::is_directory(folder / "chat_templates")) return files;
  for (const auto& entry : fs::directory_iterator(folder / "chat_templates")) {
    if (entry.path().extension() == ".jinja") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

// Null keys go, and the reasoning goes under each of its names.
Json prepared_message(const Json& message) {
  if (!message.is_object()) {
    throw std::invalid_argument(
        fmt::format("a message is a JSON {}; it must be an object with role and content", message.type_name()));
  }
  Json out = Json::object();
  for (const auto& [key, value] : message.items()) {
    if (!value.is_null()) out[key] = value;
  }
  for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
    if (!out.contains(name)) continue;
    const Json reasoning = out[name];
    if (!out.contains("thinking")) {
      Json first = Json::object({{"thinking", reasoning}});
      first.update(out);
      out = std::move(first);
    }
    out["reasoning_content"] = reasoning;
    break;
  }
  return out;
}

Json prepared_messages(const Json& messages) {
  if (!messages.is_array()) {
    throw std::invalid_argument(fmt::format("\"messages\" is a JSON {}; it must be a list", messages.type_name()));
  }
  if (messages.empty()) throw std::invalid_argument("\"messages\" is empty; provide at least one message");
  Json out = Json::array();
  for (const Json& message : messages) out.push_back(prepared_message(message));
  return out;
}

// Before anything copies it, which recurses.
void check_depth(const Json& json, int level = 0) {
  if (level > kMaxNesting) {
    throw std::invalid_argument(fmt::format("a chat nested deeper than {} levels; make it flatter", kMaxNesting));
  }
  if (!json.is_structured()) return;
  for (const Json& child : json) check_depth(child, level + 1);
}

void check_list(const Json& list, const char* name) {
  const auto is_object = [](const Json& item) { return item.is_object(); };
  if (list.is_null() || (list.is_array() && std::all_of(list.begin(), list.end(), is_object))) return;
  throw std::invalid_argument(fmt::format("\"{}\" must be a list of objects", name));
}

}  // namespace

bool ChatTemplate::is_in(const fs::path& folder) {
  if (fs::exists(folder / "chat_template.jinja") || !named_files(folder).empty()) return true;
  const Json config = read_object(folder / "tokenizer_config.json");
  return config.contains("chat_template") && !config["chat_template"].is_null();
}

ChatTemplate ChatTemplate::from_text(std::string_view text, const std::string& origin,
                                     std::map<std::string, std::string> special_tokens) {
  ChatTemplate out;
  out.special_tokens_ = std::move(special_tokens);
  out.add("default", text, origin);
  return out;
}

ChatTemplate ChatTemplate::from_folder(const fs::path& folder) {
  const fs::path config_file = folder / "tokenizer_config.json", jinja_file = folder / "chat_template.jinja";
  const Json config = read_object(config_file);
  ChatTemplate out;
  out.special_tokens_ = special_tokens(config, read_object(folder / "special_tokens_map.json"));
  if (fs::exists(jinja_file)) out.add("default", read_text(jinja_file), jinja_file.string());
  for (const fs::path& file : named_files(folder)) out.add(file.stem().string(), read_text(file), file.string());
  if (!out.templates_.empty()) return out;

  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) {
    throw std::runtime_error(
        fmt::format("{}: no chat template there; it has neither chat_template.jinja nor a "
                    "\"chat_template\" in tokenizer_config.json",
                    folder.string()));
  }
  if (found->is_string()) {
    out.add("default", found->get<std::string>(), config_file.string());
    return out;
  }
  const auto fail = [&] {
    throw std::runtime_error(fmt::format("{}: \"chat_template\" must be a text or a list of {{\"name\", \"template\"}}",
                                         config_file.string()));
  };
  if (!found->is_array() || found->empty()) fail();
  for (const Json& entry : *found) {
    const bool is_named = entry.is_object() && entry.contains("name") && entry["name"].is_string() &&
                          entry.contains("template") && entry["template"].is_string();
    if (!is_named) fail();
    const auto name = entry["name"].get<std::string>();
    out.add(name, entry["template"].get<std::string>(), fmt::format("{}: template '{}'", config_file.string(), name));
  }
  return out;
}

void ChatTemplate::add(const std::string& name, std::string_view text, const std::string& origin) {
  Named named{.origin = origin, .parsed = std::nullopt, .error = ""};
  try {
    named.parsed = jinja::Template::parse(text);
  } catch (const jinja::Error& e) {
    named.error = fmt::format("{}: {}", origin, e.what());
  }
  templates_[name] = std::move(named);
}

const ChatTemplate::Named& ChatTemplate::choose(bool has_tools) const {
  const auto tool_use = templates_.find("tool_use"), standard = templates_.find("default");
  if (has_tools && tool_use != templates_.end()) return tool_use->second;
  if (standard != templates_.end()) return standard->second;
  std::vector<std::string> names;
  for (const auto& [name, unused] : templates_) names.push_back(name);
  throw std::runtime_error(fmt::format("{}: the model has several chat templates ({}) and none is called default",
                                       templates_.begin()->second.origin, fmt::join(names, ", ")));
}

ChatText ChatTemplate::apply(const ChatRequest& request) const {
  for (const Json* part : {&request.messages, &request.tools, &request.documents, &request.variables})
    check_depth(*part);
  check_list(request.tools, "tools");
  check_list(request.documents, "documents");
  if (!request.variables.is_object())
    throw std::invalid_argument("the extra variables of a chat must be a JSON object");
  const Named& chosen = choose(!request.tools.is_null());
  if (!chosen.parsed) throw std::runtime_error(chosen.error);
  try {
    const jinja::RenderOptions options{.now = request.now, .tracks_generation = request.marks_assistant};
    Meter meter(jinja::Limits{.max_steps = INT64_MAX, .max_built_bytes = INT64_MAX});  // the input costs nothing
    jinja::Dict variables;
    const auto set = [&](const std::string& name, Value value) {
      set_item(meter, variables, Value(name), std::move(value));
    };
    for (const auto& [name, token] : special_tokens_) set(name, Value(token));
    for (const auto& [name, value] : request.variables.items()) set(name, from_json(meter, value));
    set("messages", from_json(meter, prepared_messages(request.messages)));
    set("tools", from_json(meter, request.tools));
    set("documents", from_json(meter, request.documents));
    set("add_generation_prompt", Value(request.add_generation_prompt));
    jinja::Rendered rendered = chosen.parsed->render(variables, options);
    return {std::move(rendered.text), std::move(rendered.generation)};
  } catch (const jinja::Error& e) {
    throw std::runtime_error(fmt::format("{}: {}", chosen.origin, e.what()));
  }
}

}  // namespace hone
