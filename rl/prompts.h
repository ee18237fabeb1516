// Prompts as a model reads them: text, or chat messages through the model's own template with the assistant's turn
// opened.
#pragma once

#include <ctime>
#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "rl/checkpoint.h"
#include "rollout/dataset.h"

namespace hone {

/// The date that chat templates see in a run, 2025-01-01: a run is a function of recipe and seed, not of the day.
std::tm fixed_date();

/// Messages are refused when the model has no chat template. Keeps a tokenizer and a template, not the model. With
/// `wraps_text` a text counts as one message of the user.
PromptEncoder prompt_encoder(const Model& model, const std::tm& date = fixed_date(), bool wraps_text = false);

/// Token ids of a conversation: `prompt`'s messages with the assistant's turn opened, and `completion`'s up to the last
/// end token (what a template writes behind it is never sampled). Lists of messages; without a prompt all is
/// completion. Throws std::runtime_error when the model has no template, or one that writes the prompt otherwise when a
/// completion follows.
struct Conversation {
  std::vector<int32_t> prompt, completion;
};
Conversation encode_conversation(const Model& model, const nlohmann::ordered_json& prompt,
                                 const nlohmann::ordered_json& completion);

/// The prompts of a data file.
std::vector<Prompt> load_prompts(const std::filesystem::path& file, const Model& model);

}  // namespace hone
