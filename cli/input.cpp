#include "cli/input.h"

#include <algorithm>
#include <istream>
#include <limits>

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include "recipes/countdown/countdown.h"
#include "recipes/one_liner/one_liner.h"
#include "rl/suggest.h"
#include "rollout/generation_config.h"

namespace hone {
namespace fs = std::filesystem;
namespace {

using nlohmann::json;

constexpr int kMaxNesting = 64;  // of a row; deeper ones are no data and would exhaust the stack

json parse_row(const std::string& line) {
  const auto check_depth = [](int depth, json::parse_event_t, json&) {
    if (depth > kMaxNesting) throw std::invalid_argument(fmt::format("nested deeper than {} levels", kMaxNesting));
    return true;
  };
  json row;
  try {
    row = json::parse(line, check_depth);
  } catch (const json::parse_error& e) {
    throw std::invalid_argument(
        fmt::format("not valid JSON near character {}; write one JSON object a line, or remove the line", e.byte));
  } catch (const json::out_of_range&) {
    throw std::invalid_argument("a number is too large for JSON's double precision; write it as a string");
  }
  if (!row.is_object()) throw std::invalid_argument(fmt::format("found a JSON {}, not an object", row.type_name()));
  return row;
}

int64_t room_after(int64_t prompt_tokens, const ModelConfig& config) {
  return config.max_position_embeddings - prompt_tokens;
}

void check_prompt(const Prompt& prompt, const ModelConfig& config, const std::string& place) {
  if (prompt.token_ids.empty()) {
    throw std::invalid_argument(place + ": the prompt has no tokens; a completion needs at least one to start from");
  }
  check_token_ids(prompt.token_ids, config, place);
  const auto length = static_cast<int64_t>(prompt.token_ids.size());
  if (room_after(length, config) >= 1) return;
  throw std::invalid_argument(
      fmt::format("{}: the prompt has {} tokens, which leaves no room for a completion in the "
                  "model's max_position_embeddings of {}; shorten it",
                  place, length, config.max_position_embeddings));
}

SamplingOptions defaults_of(const Model& model) {
  const auto found = model.side_files.find("generation_config.json");
  if (found == model.side_files.end()) return {};
  return as_input([&] { return sampling_defaults(parse_generation_config(found->second, found->first)); });
}

/// What was asked for must fit; what is a default is cut to fit.
int64_t max_new_tokens(const SamplingArgs& args, const SamplingOptions& options, int64_t room, int64_t prompt_tokens) {
  const int64_t wanted = args.max_new_tokens.value_or(std::max(options.max_new_tokens, options.min_new_tokens));
  if (wanted <= room) return wanted;
  if (!args.max_new_tokens && options.min_new_tokens <= room) return room;
  throw std::invalid_argument(
      fmt::format("a prompt of {} tokens and {} new ones do not fit the model's max_position_embeddings of {}; ask for "
                  "at most {}",
                  prompt_tokens, wanted, prompt_tokens + room, room));
}

}  // namespace

std::string one_line(const std::exception& error) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  std::string text = torch_error ? torch_error->what_without_backtrace() : error.what();
  text.erase(text.find_last_not_of(" \n\r") + 1);
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  return text;
}

fs::path model_folder(const std::string& path) {
  const fs::path folder(path);
  for (const fs::path& candidate : {folder, folder / "final"}) {
    if (fs::exists(candidate / "config.json")) return candidate;
  }
  throw std::invalid_argument(
      fmt::format("{}: no config.json there; name a Hugging Face model folder or a stage of a run", path));
}

Model read_model(const std::string& path, const LoadOptions& options) {
  return as_input([&] { return load_model(model_folder(path), options); });
}

std::vector<Prompt> read_prompts(const std::string& file, const Model& model, const PromptEncoder& encoder) {
  auto prompts = as_input([&] { return load_prompts(file, encoder); });
  for (size_t i = 0; i < prompts.size(); ++i) {
    check_prompt(prompts[i], model.policy->config(), fmt::format("{}, row {} (from 0)", file, i));
  }
  return prompts;
}

std::vector<Prompt> text_prompt(const std::string& text, const Model& model, const PromptEncoder& encoder) {
  EncodedPrompt encoded;
  try {
    encoded = encoder.text(text);
  } catch (const std::exception& error) {
    throw std::invalid_argument(fmt::format("--prompt: {}", one_line(error)));
  }
  const Prompt prompt{.text = std::move(encoded.text), .token_ids = std::move(encoded.token_ids)};
  check_prompt(prompt, model.policy->config(), "--prompt");
  return {prompt};
}

SamplingOptions sampling_options(const SamplingArgs& args, const Model& model, int64_t prompt_tokens) {
  SamplingOptions options = defaults_of(model);
  const auto set = [](auto& option, const auto& flag) {
    if (flag) option = *flag;
  };
  set(options.temperature, args.temperature);
  set(options.top_k, args.top_k);
  set(options.top_p, args.top_p);
  set(options.min_p, args.min_p);
  set(options.repetition_penalty, args.repetition_penalty);
  set(options.min_new_tokens, args.min_new_tokens);
  if (args.greedy) options.temperature = 0;
  if (!args.stop.empty()) options.stop = args.stop;
  options.max_new_tokens =
      max_new_tokens(args, options, room_after(prompt_tokens, model.policy->config()), prompt_tokens);
  if (options.min_new_tokens <= options.max_new_tokens) return options;
  throw std::invalid_argument(
      fmt::format("--min-new-tokens {} is above --max-new-tokens {}", options.min_new_tokens, options.max_new_tokens));
}

void check_token_ids(const std::vector<int32_t>& ids, const ModelConfig& config, const std::string& place) {
  const auto bad = std::find_if(ids.begin(), ids.end(), [&](int32_t id) { return id < 0 || id >= config.vocab_size; });
  if (bad == ids.end()) return;
  throw std::invalid_argument(
      fmt::format("{}: token id {} is not in the model's vocabulary, 0 to {}; was the row made "
                  "with another tokenizer?",
                  place, *bad, config.vocab_size - 1));
}

void for_each_row(std::istream& in, const std::string& source, const std::function<void(const json& row)>& body) {
  std::string line;
  for (int64_t number = 1; std::getline(in, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    try {
      body(parse_row(line));
    } catch (const std::invalid_argument& error) {
      throw std::invalid_argument(fmt::format("{}:{}: {}", source, number, error.what()));
    }
  }
  if (in.bad()) throw std::invalid_argument(source + ": reading stopped in the middle; is it a file?");
}

std::vector<int32_t> token_ids_of(const json& row) {
  const auto found = row.find("token_ids");
  if (found == row.end()) throw std::invalid_argument("the row has no \"token_ids\"; add a list of token ids");
  if (!found->is_array()) {
    throw std::invalid_argument(
        fmt::format("\"token_ids\" is a {}; it must be a list of token ids", found->type_name()));
  }
  std::vector<int32_t> ids;
  for (const json& id : *found) {
    const bool fits = id.is_number_unsigned() && id.get<uint64_t>() <= std::numeric_limits<int32_t>::max();
    if (!fits)
      throw std::invalid_argument(fmt::format("\"token_ids\" holds {}; token ids are integers from 0", id.dump()));
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

const Tasks& known_tasks() {
  static const Tasks tasks{{"countdown", countdown_task()},
                           {"countdown_bilingual", bilingual_countdown_task()},
                           {"one_liner", one_liner_task()}};
  return tasks;
}

const Task& task_named(const std::string& name) {
  const auto found = known_tasks().find(name);
  if (found != known_tasks().end()) return found->second;
  std::vector<std::string> known;
  for (const auto& [key, task] : known_tasks()) known.push_back(key);
  throw std::invalid_argument(fmt::format("task '{}' is unknown; {}", name, did_you_mean(name, known)));
}

}  // namespace hone
