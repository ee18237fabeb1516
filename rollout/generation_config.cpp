#include "rollout/generation_config.h"

#include <limits>
#include <stdexcept>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hone {
namespace {

using nlohmann::json;

class Reader {
 public:
  Reader(const json& config, const std::string& origin) : config_(config), origin_(origin) {}

  /// Null for a key that is absent or null.
  const json* value(const char* key) const {
    const auto found = config_.find(key);
    return found == config_.end() || found->is_null() ? nullptr : &*found;
  }

  [[noreturn]] void fail(const char* key, const std::string& wanted) const {
    throw std::runtime_error(
        fmt::format("{}: {} is {}; it must be {}, or be removed", origin_, key, config_.at(key).dump(), wanted));
  }

  std::optional<bool> boolean(const char* key) const {
    const json* v = value(key);
    if (!v) return {};
    if (!v->is_boolean()) fail(key, "true or false");
    return v->get<bool>();
  }

  std::optional<double> number(const char* key, double low, double high) const {
    const json* v = value(key);
    if (!v) return {};
    const bool is_valid = v->is_number() && v->get<double>() >= low && v->get<double>() <= high;
    if (!is_valid) fail(key, fmt::format("a number from {} to {}", low, high));
    return v->get<double>();
  }

  std::optional<int64_t> integer(const char* key, int64_t low) const {
    const json* v = value(key);
    if (!v) return {};
    const bool is_valid = v->is_number_integer() && v->get<double>() >= static_cast<double>(low) &&
                          v->get<double>() <= std::numeric_limits<int32_t>::max();
    if (!is_valid) fail(key, fmt::format("an integer from {} to {}", low, std::numeric_limits<int32_t>::max()));
    return v->get<int64_t>();
  }

  std::vector<std::string> texts(const char* key) const {
    std::vector<std::string> out;
    for (const json& item : list(key)) {
      if (!item.is_string() || item.get<std::string>().empty()) fail(key, "a text or a list of texts, none empty");
      out.push_back(item.get<std::string>());
    }
    return out;
  }

  std::vector<int32_t> ids(const char* key) const {
    std::vector<int32_t> out;
    for (const json& item : list(key)) {
      const bool is_id = item.is_number_unsigned() && item.get<uint64_t>() <= std::numeric_limits<int32_t>::max();
      if (!is_id) fail(key, "a token id or a list of them");
      out.push_back(item.get<int32_t>());
    }
    return out;
  }

 private:
  json list(const char* key) const {
    const json* v = value(key);
    if (!v) return json::array();
    return v->is_array() ? *v : json::array({*v});
  }

  const json& config_;
  const std::string& origin_;
};

// Options of transformers that change what is drawn, with the values at which they do nothing.
std::vector<std::string> ignored_options(const Reader& reader) {
  static const std::vector<std::pair<const char*, std::vector<json>>> kOptions{
      {"num_beams", {1}},
      {"typical_p", {1, 1.0}},
      {"epsilon_cutoff", {0, 0.0}},
      {"eta_cutoff", {0, 0.0}},
      {"top_h", {}},
      {"penalty_alpha", {0, 0.0}},
      {"no_repeat_ngram_size", {0}},
      {"encoder_repetition_penalty", {1, 1.0}},
      {"encoder_no_repeat_ngram_size", {0}},
      {"bad_words_ids", {}},
      {"sequence_bias", {}},
      {"suppress_tokens", {json::array()}},
      {"begin_suppress_tokens", {json::array()}},
      {"forced_bos_token_id", {}},
      {"forced_eos_token_id", {}},
      {"exponential_decay_length_penalty", {}},
      {"guidance_scale", {1, 1.0}},
      {"watermarking_config", {}},
      {"dola_layers", {}},
      {"min_length", {0}}};
  std::vector<std::string> out;
  for (const auto& [key, neutral] : kOptions) {
    const json* v = reader.value(key);
    if (v && std::find(neutral.begin(), neutral.end(), *v) == neutral.end()) out.emplace_back(key);
  }
  return out;
}

}  // namespace

GenerationConfig parse_generation_config(std::string_view text, const std::string& origin) {
  const json config = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) throw std::runtime_error(fmt::format("{}: not a JSON object; repair or remove it", origin));
  const Reader reader(config, origin);
  GenerationConfig out{.do_sample = reader.boolean("do_sample"),
                       .temperature = reader.number("temperature", 0, 1e6),
                       .top_p = reader.number("top_p", 1e-6, 1),
                       .min_p = reader.number("min_p", 0, 1),
                       .repetition_penalty = reader.number("repetition_penalty", 1e-3, 1e3),
                       .top_k = reader.integer("top_k", 0),
                       .max_new_tokens = reader.integer("max_new_tokens", 1),
                       .min_new_tokens = reader.integer("min_new_tokens", 0),
                       .stop_strings = reader.texts("stop_strings"),
                       .eos_token_ids = reader.ids("eos_token_id"),
                       .ignored = ignored_options(reader)};
  return out;
}

SamplingOptions sampling_defaults(const GenerationConfig& config) {
  SamplingOptions out;
  out.temperature = config.do_sample == false ? 0.0 : config.temperature.value_or(out.temperature);
  out.top_k = config.top_k.value_or(out.top_k);
  out.top_p = config.top_p.value_or(out.top_p);
  out.min_p = config.min_p.value_or(out.min_p);
  out.repetition_penalty = config.repetition_penalty.value_or(out.repetition_penalty);
  out.max_new_tokens = config.max_new_tokens.value_or(out.max_new_tokens);
  out.min_new_tokens = config.min_new_tokens.value_or(out.min_new_tokens);
  out.stop = config.stop_strings;
  return out;
}

}  // namespace hone
