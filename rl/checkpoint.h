// Model folders and resumable checkpoints. Both are written under a temporary name and renamed: they are whole or not
// there. A checkpoint is a model folder with trainer/ beside it: optimizer.safetensors, state.json, reference/.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "models/policy.h"
#include "models/text/chat_template.h"
#include "models/tokenizer.h"
#include "rl/optimizer.h"

namespace hone {

/// A policy with all that its folder holds.
struct Model {
  std::unique_ptr<Policy> policy;
  Tokenizer tokenizer;
  std::shared_ptr<const ChatTemplate> chat;       ///< null when the folder has none
  std::map<std::string, std::string> side_files;  ///< tokenizer_config.json, generation_config.json, ... as text
};

/// Reads a Hugging Face folder, or one that has it in final/. Throws std::runtime_error naming what is missing.
Model load_model(const std::filesystem::path& folder, const LoadOptions& options = {});
/// The side files of a model made here: tokenizer_config.json, generation_config.json.
std::map<std::string, std::string> make_side_files(const ModelConfig& config, const Tokenizer& tokenizer);
/// Writes config.json, model.safetensors, tokenizer.json and the side files into an existing folder; of a policy with
/// adapters the merged weights, and adapter/ (models/lora.h).
void write_model(const Model& model, const std::filesystem::path& folder);
/// The same as a whole folder, atomically.
void save_model(const Model& model, const std::filesystem::path& folder);

/// What a stage needs besides weights to go on as if it had never stopped.
struct TrainerState {
  int64_t step = 0;         ///< optimizer steps done
  int64_t num_tokens = 0;   ///< tokens trained on so far
  int64_t num_prompts = 0;  ///< prompts drawn from the data so far
};
struct Checkpoint {
  std::filesystem::path folder;
  TrainerState state;
};

/// What the config says is trained, of a policy that a stage starts with: all of it, or adapters.
void add_adapters(Policy& policy, const OptimConfig& config, uint64_t seed);
/// The weights of a checkpoint, into the policy that its stage started with.
void restore_policy(Policy& policy, const std::filesystem::path& checkpoint);

/// stages/NAME/checkpoints/step-000123; `reference` may be null.
void save_checkpoint(const std::filesystem::path& stage_dir, const Model& model, const Optimizer& optimizer,
                     const Policy* reference, const TrainerState& state);
/// The newest whole checkpoint of a stage, if any. Leftovers of killed writers are removed.
std::optional<Checkpoint> latest_checkpoint(const std::filesystem::path& stage_dir);
/// The newest one of at most `step` steps; reads only.
std::optional<Checkpoint> checkpoint_at_most(const std::filesystem::path& stage_dir, int64_t step);

}  // namespace hone
