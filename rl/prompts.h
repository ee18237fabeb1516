// Prompts as a model reads them: text, or chat messages through the model's own template with the assistant's turn
// opened.
#pragma once

#include <ctime>
#include <filesystem>
#include <string>
#include <vector>

#include "rl/checkpoint.h"
#include "rollout/dataset.h"

namespace hone {

/// The date that chat templates see in a run, 2025-01-01: a run is a function of recipe and seed, not of the day.
std::tm fixed_date();

/// Messages are refused when the model has no chat template. Keeps a tokenizer and a template, not the model. With
/// `wraps_text` a text counts as one message of the user.
PromptEncoder prompt_encoder(const Model& model, const std::tm& date = fixed_date(), bool wraps_text = false);

/// The prompts of a data file.
std::vector<Prompt> load_prompts(const std::filesystem::path& file, const Model& model);

}  // namespace hone
