// The pre-tokenizers that tokenizer.ggml.pre names, each as the tokenizer.json of its family has it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace hone {

struct GgufSplitStep {
  enum Kind { kSplit, kDigits, kByteLevel, kByteLevelWords };  ///< kByteLevelWords: with GPT-2's own pattern
  Kind kind;
  std::string_view pattern = {};  ///< kSplit: each match is a piece of its own
};

struct GgufPreTokenizer {
  std::vector<std::string_view> words;  ///< the first is the one we write
  std::vector<GgufSplitStep> steps;
  bool nfc = false;  ///< the family's tokenizer.json normalizes; llama.cpp does not
  bool ignore_merges = false;
  bool adds_bos = false;  ///< unless the file says otherwise
};

/// Null for a word that is not known.
const GgufPreTokenizer* find_pre_tokenizer(std::string_view word);

/// The one that `pre_tokenizer` of a tokenizer.json is, together with its model's ignore_merges; null when it is none.
const GgufPreTokenizer* matching_pre_tokenizer(const nlohmann::json& pre_tokenizer, bool ignore_merges);

/// The other way.
nlohmann::json pre_tokenizer_json(const GgufPreTokenizer& pre_tokenizer);

/// Every word, for messages.
std::vector<std::string> known_pre_tokenizers();

}  // namespace hone
