// Conversations to the text that a chat model reads, as transformers' apply_chat_template(tokenize=False) renders it.
//
//   const ChatTemplate chat = ChatTemplate::from_folder("models/smollm2");
//   chat.apply({.messages = R"([{"role": "user", "content": "Hi"}])"_json, .add_generation_prompt = true}).text
//
// The template is chat_template.jinja (and chat_templates/NAME.jinja) of the folder, else "chat_template" of
// tokenizer_config.json: a text, or a list of {"name", "template"}. Among named ones "tool_use" serves conversations
// with tools, "default" the others. The template sees messages, tools, documents, add_generation_prompt, the special
// tokens by name (bos_token ..) and the extra variables. As in transformers, keys of a message that are null are left
// out, and `reasoning_content` is filled from `thinking` or `reasoning`. Limits and language: models/text/jinja.h.
// Not supported: continue_final_message, chat_template.json of processors, and special tokens that only the
// tokenizer's Python class knows.
#pragma once

#include <ctime>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "models/text/jinja.h"

namespace hone {

struct ChatRequest {
  nlohmann::ordered_json messages;         ///< a list of objects; the order of keys shows in what is rendered
  nlohmann::ordered_json tools = nullptr;  ///< a list of JSON schemas
  nlohmann::ordered_json documents = nullptr;
  bool add_generation_prompt = false;
  nlohmann::ordered_json variables = nlohmann::ordered_json::object();  ///< enable_thinking and the like
  std::optional<std::tm> now;    ///< local time, for templates that write the date
  bool marks_assistant = false;  ///< report what stands in {% generation %}
};

struct ChatText {
  std::string text;
  std::vector<jinja::Span> assistant;  ///< byte ranges to train on; only with marks_assistant
};

/// Immutable; safe to use from several threads.
class ChatTemplate {
 public:
  /// Throws std::runtime_error naming the file and what is wrong with it, also when there is no template at all. A
  /// template that cannot be parsed fails when it is used.
  static ChatTemplate from_folder(const std::filesystem::path& folder);
  /// `origin` begins messages; `special_tokens` by name, e.g. {"eos_token", "</s>"}.
  static ChatTemplate from_text(std::string_view text, const std::string& origin,
                                std::map<std::string, std::string> special_tokens = {});

  /// Whether the folder has a template that from_folder would read.
  static bool is_in(const std::filesystem::path& folder);

  /// Throws std::invalid_argument for a request of the wrong shape, and std::runtime_error "origin: line N: .." for
  /// what the template refuses, cannot do, or does beyond the limits.
  ChatText apply(const ChatRequest& request) const;

 private:
  struct Named {
    std::string origin;
    std::optional<jinja::Template> parsed;
    std::string error;  ///< why it could not be parsed
  };

  void add(const std::string& name, std::string_view text, const std::string& origin);
  const Named& choose(bool has_tools) const;

  std::map<std::string, Named> templates_;
  std::map<std::string, std::string> special_tokens_;
};

}  // namespace hone
