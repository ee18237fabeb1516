#include "rewards/math_reward.h"

#include <algorithm>
#include <stdexcept>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "rewards/answer.h"
#include "rewards/options.h"

namespace hone {
namespace {

using nlohmann::json;

[[noreturn]] void refuse(const std::string& key, const json& value, std::string_view wanted) {
  throw std::runtime_error(
      fmt::format("config key '{}' is {}; it must be {}", key, value.dump().substr(0, 80), wanted));
}

/// Reads the keys of a config one by one. What it cannot take is an error.
class ConfigReader {
 public:
  explicit ConfigReader(const json& config) : config_(config) {
    if (!config.is_object()) throw std::runtime_error("column 'config' is not a JSON object");
  }

  void operator()(const char* key, bool& value) {
    if (const auto* found = find(key))
      value = found->is_boolean() ? found->get<bool>() : refuse_as(key, "true or false");
  }
  void operator()(const char* key, int& value, int low, int high) {
    const auto* found = find(key);
    if (!found) return;
    const bool fits = found->is_number_integer() && *found >= low && *found <= high;
    if (!fits) refuse(key, *found, fmt::format("an integer from {} to {}", low, high));
    value = found->get<int>();
  }
  void operator()(const char* key, std::vector<std::string>& value) {
    const auto* found = find(key);
    if (!found) return;
    if (!found->is_array()) refuse(key, *found, "a list of strings");
    value.clear();
    for (const auto& item : *found) {
      if (!item.is_string() || item.get_ref<const std::string&>().empty())
        refuse(key, item, "a string that is not empty");
      value.push_back(item.get<std::string>());
    }
  }
  /// One of two words; true for the first.
  void operator()(const char* key, bool& value, const char* yes, const char* no) {
    const auto* found = find(key);
    if (!found) return;
    if (*found != yes && *found != no) refuse(key, *found, fmt::format("\"{}\" or \"{}\"", yes, no));
    value = *found == yes;
  }
  void finish() const {
    for (const auto& [key, value] : config_.items()) {
      if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
      const auto near = nearest_name(key, known_);
      throw std::runtime_error(fmt::format("config has an unknown key '{}'{}", key,
                                           near.empty() ? "" : fmt::format("; did you mean '{}'?", near)));
    }
  }

 private:
  const json* find(const char* key) {
    known_.emplace_back(key);
    const auto found = config_.find(key);
    return found == config_.end() || found->is_null() ? nullptr : &*found;
  }
  [[noreturn]] bool refuse_as(const char* key, std::string_view wanted) { refuse(key, config_.at(key), wanted); }

  const json& config_;
  std::vector<std::string> known_;
};

MatchType match_type(const std::string& word) {
  if (word == "latex") return MatchType::kLatex;
  if (word == "expr") return MatchType::kExpr;
  if (word == "string") return MatchType::kString;
  refuse("match_types", word, "\"latex\", \"expr\" or \"string\"");
}

/// The gold answer: a string, or a number as written.
std::optional<std::string> gold_text(const json& row) {
  for (const char* name : {"gold", "answer", "solution"}) {
    const auto value = row.find(name);
    if (value == row.end() || value->is_null()) continue;
    if (value->is_number()) return value->dump();
    if (!value->is_string()) {
      throw std::runtime_error(
          fmt::format("column '{}' is a {}; it must be a string or a number", name, value->type_name()));
    }
    return value->get<std::string>();
  }
  return {};
}

MathConfig config_of(const json& row, const MathRewardOptions& options) {
  MathConfig config;
  config.compare.upstream_quirks = options.upstream_quirks;
  config.flags = {options.require_box, options.closed_form, options.box_after_think, options.stop_at_answer_end};
  const auto found = row.find("config");
  return found == row.end() || found->is_null() ? config : read_math_config(*found, std::move(config));
}

Score score_math(const Gold& gold, std::string_view completion, bool explain) {
  if (!explain) return gold.verify(completion);
  auto explained = gold.explain(completion);
  explained.score.reason += "\n" + explained.explanation;
  return explained.score;
}

}  // namespace

MathConfig read_math_config(const json& json_config, MathConfig config) {
  ConfigReader read(json_config);
  std::vector<std::string> types;
  read("match_types", types);
  if (!types.empty()) config.extract.match_types.clear();
  for (const auto& word : types) config.extract.match_types.push_back(match_type(word));
  read("strings", config.extract.strings);
  read("lowercase", config.lowercase);
  read("try_extract_without_anchor", config.extract.without_anchor);
  read("boxed_match_priority", config.extract.boxed_match_priority, -1, 1000);
  read("extraction_mode", config.first_match_only, "first_match", "any_match");
  read("fallback_mode", config.text_fallback, "first_match", "no_fallback");
  read("float_rounding", config.compare.float_rounding, 0, 30);
  read("numeric_precision", config.compare.numeric_precision, 1, 1000);
  read("strict", config.compare.strict);
  read("allow_set_relation_comp", config.compare.allow_set_relation_comp);
  read("upstream_quirks", config.compare.upstream_quirks);
  read("require_box", config.flags.require_box);
  read("closed_form", config.flags.closed_form);
  read("box_after_think", config.flags.box_after_think);
  read("stop_at_answer_end", config.flags.stop_at_answer_end);
  read.finish();
  return config;
}

RewardFn math_reward(const MathRewardOptions& options) {
  return [options](const Prompt& prompt, std::span<const Rollout> rollouts) {
    const auto row = json::parse(prompt.columns);
    const auto text = gold_text(row);
    if (!text) {
      return std::vector<Score>(rollouts.size(),
                                Score::not_applicable("the row has no column 'answer', 'solution' or 'gold'"));
    }
    const Gold gold(*text, config_of(row, options));
    std::vector<Score> scores;
    for (const auto& rollout : rollouts) scores.push_back(score_math(gold, rollout.text, options.explain));
    return scores;
  };
}

}  // namespace hone
