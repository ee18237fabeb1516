// generation_config.json of a model folder: the sampling defaults that its makers wrote down.
//
// Read: do_sample (false: the largest logit), temperature, top_k, top_p, min_p, repetition_penalty, max_new_tokens,
// min_new_tokens, stop_strings (a text or a list), eos_token_id (a number or a list). What is absent or null keeps
// hone's default (temperature 1, no filter), not transformers' (which has top_k 50). Flags win over all of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rollout/sampler.h"

namespace hone {

struct GenerationConfig {
  std::optional<bool> do_sample;
  std::optional<double> temperature, top_p, min_p, repetition_penalty;
  std::optional<int64_t> top_k, max_new_tokens, min_new_tokens;
  std::vector<std::string> stop_strings;
  std::vector<int32_t> eos_token_ids;
  std::vector<std::string> ignored;  ///< options that are set, would change what is drawn, and do not exist here
};

/// Throws std::runtime_error naming `origin`, the key, what was found and the range.
GenerationConfig parse_generation_config(std::string_view json, const std::string& origin);

/// hone's defaults with the config's over them; max_new_tokens and min_new_tokens where given.
SamplingOptions sampling_defaults(const GenerationConfig& config);

}  // namespace hone
