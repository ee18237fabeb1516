#include "rl/prompts.h"

#include <stdexcept>

#include <nlohmann/json.hpp>

namespace hone {
namespace {

using Messages = nlohmann::ordered_json;

/// The template writes every special token itself, so the post-processor must not.
EncodedPrompt encode_chat(const Tokenizer& tokenizer, const ChatTemplate& chat, const std::tm& date,
                          Messages messages) {
  std::string text = chat.apply({.messages = std::move(messages), .add_generation_prompt = true, .now = date}).text;
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

std::vector<Prompt> load_prompts(const std::filesystem::path& file, const Model& model) {
  return load_prompts(file.string(), prompt_encoder(model));
}

}  // namespace hone
