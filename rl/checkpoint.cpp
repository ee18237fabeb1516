#include "rl/checkpoint.h"

#include <array>
#include <limits>
#include <stdexcept>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "models/atomic_file.h"
#include "models/lora.h"

namespace hone {
namespace fs = std::filesystem;
namespace {

constexpr std::array kSideFiles{"tokenizer_config.json", "generation_config.json", "special_tokens_map.json",
                                "chat_template.jinja"};

std::optional<std::string> token_of(const Tokenizer& tokenizer, std::optional<int64_t> id) {
  if (!id) return std::nullopt;
  return std::string(tokenizer.id_to_token(static_cast<int32_t>(*id)));
}

}  // namespace

Model load_model(const fs::path& folder, const LoadOptions& options) {
  const fs::path dir =
      !fs::exists(folder / "config.json") && fs::exists(folder / "final" / "config.json") ? folder / "final" : folder;
  if (!fs::exists(dir / "config.json")) {
    throw std::runtime_error(
        fmt::format("{}: no config.json there; name a Hugging Face model folder or a stage of a run", folder.string()));
  }
  Model model{Policy::load(dir, options), Tokenizer::from_file(dir / "tokenizer.json"), nullptr, {}};
  if (ChatTemplate::is_in(dir)) model.chat = std::make_shared<ChatTemplate>(ChatTemplate::from_folder(dir));
  for (const char* name : kSideFiles) {
    if (fs::exists(dir / name)) model.side_files[name] = read_file(dir / name);
  }
  return model;
}

std::map<std::string, std::string> make_side_files(const ModelConfig& config, const Tokenizer& tokenizer) {
  nlohmann::json tok{{"tokenizer_class", "PreTrainedTokenizerFast"},
                     {"clean_up_tokenization_spaces", false},
                     {"model_max_length", config.max_position_embeddings}};
  nlohmann::json gen{
      {"do_sample", true}, {"temperature", 1.0}, {"top_k", 0}, {"top_p", 1.0}, {"eos_token_id", config.eos_token_id}};
  if (!config.eos_token_id.empty()) tok["eos_token"] = token_of(tokenizer, config.eos_token_id[0]).value();
  if (const auto pad = token_of(tokenizer, config.pad_token_id)) {
    tok["pad_token"] = *pad;
    gen["pad_token_id"] = *config.pad_token_id;
  }
  return {{"tokenizer_config.json", tok.dump(2) + "\n"}, {"generation_config.json", gen.dump(2) + "\n"}};
}

void write_model(const Model& model, const fs::path& folder) {
  model.policy->save(folder);
  write_file_atomic(folder / "tokenizer.json", model.tokenizer.json());
  for (const auto& [name, text] : model.side_files) write_file_atomic(folder / name, text);
  if (model.policy->parameters().adapters().empty()) return;
  // not beside config.json, where transformers would add it to weights that have it already
  fs::create_directories(folder / "adapter");
  save_adapter(*model.policy, folder / "adapter");
}

void add_adapters(Policy& policy, const OptimConfig& config, uint64_t seed) {
  if (config.lora.rank > 0) add_lora(policy, config.lora, seed);
}

void restore_policy(Policy& policy, const fs::path& checkpoint) {
  policy.copy_from(*Policy::load(checkpoint));
  if (!policy.parameters().adapters().empty()) load_adapter(policy, checkpoint / "adapter");
}

void save_model(const Model& model, const fs::path& folder) {
  AtomicDirectory directory(folder);
  write_model(model, directory.temporary());
  directory.commit();
}

void save_checkpoint(const fs::path& stage_dir, const Model& model, const Optimizer& optimizer, const Policy* reference,
                     const TrainerState& state) {
  AtomicDirectory directory(stage_dir / "checkpoints" / fmt::format("step-{:06}", state.step));
  const fs::path trainer = directory.temporary() / "trainer";
  write_model(model, directory.temporary());
  fs::create_directories(trainer);
  optimizer.save(trainer / "optimizer.safetensors");
  if (reference) {
    fs::create_directories(trainer / "reference");
    reference->save(trainer / "reference");
  }
  const nlohmann::json json{{"step", state.step}, {"num_tokens", state.num_tokens}, {"num_prompts", state.num_prompts}};
  write_file_atomic(trainer / "state.json", json.dump(2) + "\n");
  directory.commit();
}

std::optional<Checkpoint> latest_checkpoint(const fs::path& stage_dir) {
  remove_stale_temporaries(stage_dir / "checkpoints");
  return checkpoint_at_most(stage_dir, std::numeric_limits<int64_t>::max());
}

std::optional<Checkpoint> checkpoint_at_most(const fs::path& stage_dir, int64_t step) {
  const fs::path folder = stage_dir / "checkpoints";
  if (!fs::exists(folder)) return std::nullopt;
  std::optional<Checkpoint> newest;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (!entry.path().filename().string().starts_with("step-")) continue;
    const auto json = nlohmann::json::parse(read_file(entry.path() / "trainer" / "state.json"));
    const TrainerState state{json.at("step").get<int64_t>(), json.at("num_tokens").get<int64_t>(),
                             json.at("num_prompts").get<int64_t>()};
    if (state.step <= step && (!newest || state.step > newest->state.step)) newest = {entry.path(), state};
  }
  return newest;
}

}  // namespace hone
