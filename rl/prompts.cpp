#include "rl/prompts.h"

#include <algorithm>
#include <stdexcept>

#include "rollout/engine.h"

namespace hone {
namespace {

using Messages = nlohmann::ordered_json;

/// The messages with the assistant's turn opened.
std::string open_turn(const ChatTemplate& chat, const std::tm& date, Messages messages) {
  return chat.apply({.messages = std::move(messages), .add_generation_prompt = true, .now = date}).text;
}

/// The template writes every special token itself, so the post-processor must not.
EncodedPrompt encode_chat(const Tokenizer& tokenizer, const ChatTemplate& chat, const std::tm& date,
                          Messages messages) {
  std::string text = open_turn(chat, date, std::move(messages));
  std::vector<int32_t> ids = tokenizer.encode(text, /*add_special_tokens=*/false);
  return {std::move(text), std::move(ids)};
}

}  // namespace

std::tm fixed_date() {
  std::tm date{};
  date.tm_year = 125;
  date.tm_mday = 1;
  date.tm_wday = 3;
  return date;
}

PromptEncoder prompt_encoder(const Model& model, const std::tm& date, bool wraps_text) {
  PromptEncoder encoder{[tokenizer = model.tokenizer](std::string_view text) {
                          return EncodedPrompt{std::string(text), tokenizer.encode(text)};
                        },
                        {}};
  if (!model.chat) {
    if (wraps_text) throw std::invalid_argument("the model has no chat template; leave --chat out");
    return encoder;
  }
  const auto chat = [tokenizer = model.tokenizer, chat = model.chat, date](Messages messages) {
    return encode_chat(tokenizer, *chat, date, std::move(messages));
  };
  encoder.chat = [chat](std::string_view messages) { return chat(Messages::parse(messages)); };
  if (wraps_text) {
    encoder.text = [chat](std::string_view text) { return chat({{{"role", "user"}, {"content", std::string(text)}}}); };
  }
  return encoder;
}

Conversation encode_conversation(const Model& model, const Messages& prompt, const Messages& completion) {
  if (!model.chat) throw std::runtime_error("holds chat messages, and the model has no chat template");
  Messages all = prompt;
  all.insert(all.end(), completion.begin(), completion.end());
  const std::string opened = prompt.empty() ? "" : open_turn(*model.chat, fixed_date(), prompt);
  const std::string whole = model.chat->apply({.messages = std::move(all), .now = fixed_date()}).text;
  if (!whole.starts_with(opened))
    throw std::runtime_error(
        "has a prompt that the chat template writes otherwise when a completion follows; give texts");
  Conversation ids{model.tokenizer.encode(opened, false), model.tokenizer.encode(whole.substr(opened.size()), false)};
  const auto ends = end_tokens(model.policy->config());
  const auto last = std::find_first_of(ids.completion.rbegin(), ids.completion.rend(), ends.begin(), ends.end());
  ids.completion.erase(last == ids.completion.rend() ? ids.completion.end() : last.base(), ids.completion.end());
  return ids;
}

std::vector<Prompt> load_prompts(const std::filesystem::path& file, const Model& model) {
  return load_prompts(file.string(), prompt_encoder(model));
}

}  // namespace hone
