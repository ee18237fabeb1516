#include "models/gguf/pre_tokenizers.h"

#include <algorithm>
#include <optional>

#include <nlohmann/json.hpp>

namespace hone {
namespace {

using nlohmann::json;

constexpr std::string_view kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen35 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kTekken = R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
                                     R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
                                     R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kGpt4o =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kDeepseekV3 =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";

std::vector<GgufSplitStep> split_then_bytes(std::string_view pattern) {
  return {{GgufSplitStep::kSplit, pattern}, {GgufSplitStep::kByteLevel}};
}

std::vector<GgufPreTokenizer> make_pre_tokenizers() {
  return {
      {.words = {"gpt-2", "phi-2", "olmo", "mpt", "jais", "trillion", "mellum", "exaone4", "gigachat", "a.x-4.0"},
       .steps = {{GgufSplitStep::kByteLevelWords}}},
      {.words = {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"},
       .steps = {{GgufSplitStep::kDigits}, {GgufSplitStep::kByteLevelWords}}},
      {.words = {"qwen2", "deepseek-r1-qwen", "megrez", "kormo", "f2llmv2"},
       .steps = split_then_bytes(kQwen2),
       .nfc = true},
      {.words = {"qwen35"}, .steps = split_then_bytes(kQwen35), .nfc = true},
      {.words = {"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"},
       .steps = split_then_bytes(kLlama3),
       .ignore_merges = true,
       .adds_bos = true},
      {.words = {"smaug-bpe", "dbrx"}, .steps = split_then_bytes(kLlama3)},
      {.words = {"tekken"}, .steps = split_then_bytes(kTekken), .ignore_merges = true, .adds_bos = true},
      {.words = {"gpt-4o", "llama4", "kanana2", "talkie"}, .steps = split_then_bytes(kGpt4o)},
      {.words = {"deepseek-v3"},
       .steps = {{GgufSplitStep::kSplit, R"(\p{N}{1,3})"},
                 {GgufSplitStep::kSplit, "[一-龥぀-ゟ゠-ヿ]+"},
                 {GgufSplitStep::kSplit, kDeepseekV3},
                 {GgufSplitStep::kByteLevel}}},
  };
}

const std::vector<GgufPreTokenizer>& pre_tokenizers() {
  static const std::vector<GgufPreTokenizer> table = make_pre_tokenizers();
  return table;
}

json step_json(const GgufSplitStep& step) {
  switch (step.kind) {
    case GgufSplitStep::kSplit:
      return {{"type", "Split"}, {"pattern", {{"Regex", step.pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
    case GgufSplitStep::kDigits:
      return {{"type", "Digits"}, {"individual_digits", true}};
    case GgufSplitStep::kByteLevel:
    case GgufSplitStep::kByteLevelWords:
      break;
  }
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", true},
          {"use_regex", step.kind == GgufSplitStep::kByteLevelWords}};
}

/// Line breaks written as themselves or as \r and \n mean the same in a pattern.
std::string with_escaped_breaks(std::string_view pattern) {
  std::string out;
  for (char c : pattern) out += c == '\r' ? "\\r" : c == '\n' ? "\\n" : std::string(1, c);
  return out;
}

/// A step of tokenizer.json, with its pattern beside it, or nothing when it is of no kind that the table has.
struct ReadStep {
  GgufSplitStep::Kind kind;
  std::string pattern;
};

std::optional<ReadStep> read_step(const json& step) {
  const std::string type = step.value("type", "");
  if (type == "Digits" && step.value("individual_digits", false)) return ReadStep{GgufSplitStep::kDigits, ""};
  if (type == "ByteLevel" && !step.value("add_prefix_space", true)) {
    return ReadStep{step.value("use_regex", true) ? GgufSplitStep::kByteLevelWords : GgufSplitStep::kByteLevel, ""};
  }
  if (type != "Split") return std::nullopt;
  const std::string behavior = step.value("behavior", "");
  const bool invert = step.value("invert", false);
  // to drop what is between the matches is to keep them as pieces where a pattern covers every text, as these do
  if (!(behavior == "Isolated" && !invert) && !(behavior == "Removed" && invert)) return std::nullopt;
  const auto pattern = step.find("pattern");
  if (pattern == step.end() || !pattern->contains("Regex")) return std::nullopt;
  return ReadStep{GgufSplitStep::kSplit, with_escaped_breaks(pattern->at("Regex").get<std::string>())};
}

/// The steps of a Sequence, or of one step by itself; false when one of them is unknown.
bool collect_steps(const json& pre, std::vector<ReadStep>& steps, bool inside = false) {
  if (!inside && pre.is_object() && pre.value("type", "") == "Sequence") {
    const auto inner = pre.find("pretokenizers");
    return inner != pre.end() && std::all_of(inner->begin(), inner->end(),
                                             [&](const json& step) { return collect_steps(step, steps, true); });
  }
  const auto step = pre.is_object() ? read_step(pre) : std::nullopt;
  if (step) steps.push_back(*step);
  return step.has_value();
}

}  // namespace

const GgufPreTokenizer* find_pre_tokenizer(std::string_view word) {
  for (const GgufPreTokenizer& known : pre_tokenizers()) {
    if (std::find(known.words.begin(), known.words.end(), word) != known.words.end()) return &known;
  }
  return nullptr;
}

const GgufPreTokenizer* matching_pre_tokenizer(const json& pre, bool ignore_merges) {
  std::vector<ReadStep> steps;
  if (!collect_steps(pre, steps)) return nullptr;
  for (const GgufPreTokenizer& known : pre_tokenizers()) {
    const bool same = std::equal(
        steps.begin(), steps.end(), known.steps.begin(), known.steps.end(),
        [](const ReadStep& a, const GgufSplitStep& b) { return a.kind == b.kind && a.pattern == b.pattern; });
    if (same && known.ignore_merges == ignore_merges) return &known;
  }
  return nullptr;
}

json pre_tokenizer_json(const GgufPreTokenizer& pre) {
  if (pre.steps.size() == 1) return step_json(pre.steps[0]);
  json steps = json::array();
  for (const GgufSplitStep& step : pre.steps) steps.push_back(step_json(step));
  return {{"type", "Sequence"}, {"pretokenizers", steps}};
}

std::vector<std::string> known_pre_tokenizers() {
  std::vector<std::string> words;
  for (const GgufPreTokenizer& known : pre_tokenizers())
    words.insert(words.end(), known.words.begin(), known.words.end());
  return words;
}

}  // namespace hone
