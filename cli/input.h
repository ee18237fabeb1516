// What the verbs read: model folders, prompts, rows. Anything wrong with these is a std::invalid_argument here (exit
// status 2), whatever the reader below threw, so that it cannot be mistaken for a run that failed (1).
#pragma once

#include <cstdint>
#include <exception>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "cli/verbs.h"
#include "rl/checkpoint.h"
#include "rl/prompts.h"
#include "rl/run.h"
#include "rollout/sampler.h"

namespace hone {

/// The message as one line: LibTorch's without its backtrace.
std::string one_line(const std::exception& error);

/// read(), with its exceptions as std::invalid_argument. Running out of memory stays what it is.
template <class Read>
auto as_input(const Read& read) {
  try {
    return read();
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    throw std::invalid_argument(one_line(error));
  }
}

/// The folder that holds config.json: `path`, or final/ in it when it is a stage of a run.
std::filesystem::path model_folder(const std::string& path);
Model read_model(const std::string& path, const LoadOptions& options);

/// Prompts of a data file, each of which the model can go on with by at least one token.
std::vector<Prompt> read_prompts(const std::string& file, const Model& model, const PromptEncoder& encoder);
/// The one prompt of --prompt.
std::vector<Prompt> text_prompt(const std::string& text, const Model& model, const PromptEncoder& encoder);

/// Flags, else generation_config.json, else the defaults; max_new_tokens as for a prompt of `prompt_tokens`. Throws
/// std::invalid_argument when a flag asks for more than max_position_embeddings has room for.
SamplingOptions sampling_options(const SamplingArgs& args, const Model& model, int64_t prompt_tokens);

/// Throws std::invalid_argument unless every id is one of the model's vocabulary. `place` begins the message.
void check_token_ids(const std::vector<int32_t>& ids, const ModelConfig& config, const std::string& place);

/// Calls body for each JSON object of a JSONL stream, blank lines left out. Throws std::invalid_argument for a line
/// that is none; a std::invalid_argument of body gets "source:line: " in front.
void for_each_row(std::istream& in, const std::string& source,
                  const std::function<void(const nlohmann::json& row)>& body);

/// The token ids of a row's `token_ids`. Throws std::invalid_argument unless it is a list of integers from 0.
std::vector<int32_t> token_ids_of(const nlohmann::json& row);

/// The tasks that recipes and --task can name.
const Tasks& known_tasks();
/// Throws std::invalid_argument for an unknown one, with the nearest name.
const Task& task_named(const std::string& name);

}  // namespace hone
