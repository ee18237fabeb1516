#include "recipes/countdown/vocabulary.h"

#include <iterator>

#include <nlohmann/json.hpp>

namespace hone {
namespace {

using json = nlohmann::ordered_json;

const std::vector<std::string> kSpecials{"<pad>", "<eos>", "<think>", "</think>", "<answer>", "</answer>"};

json added_tokens() {
  json tokens = json::array();
  for (size_t id = 0; id < kSpecials.size(); ++id) {
    tokens.push_back({{"id", id},
                      {"content", kSpecials[id]},
                      {"single_word", false},
                      {"lstrip", false},
                      {"rstrip", false},
                      {"normalized", false},
                      {"special", true}});
  }
  return tokens;
}

json word_level_model(bool bilingual) {
  json vocabulary = json::object();
  for (const auto& token : countdown_vocabulary(bilingual)) vocabulary[token] = vocabulary.size();
  // the unknown token is not in the vocabulary on purpose: unknown text is an error instead of a silent id
  return {{"type", "WordLevel"}, {"vocab", vocabulary}, {"unk_token", "<unk>"}};
}

}  // namespace

std::vector<std::string> countdown_vocabulary(bool bilingual) {
  auto tokens = kSpecials;
  tokens.insert(tokens.end(), {" yes", " no", " wait", " vs "});
  for (int n = 0; n < 100; ++n) tokens.push_back(std::to_string(n));
  tokens.insert(tokens.end(), {"+", "-", "*", "/", "(", ")", "=", ",", ":", " ", "\n"});
  if (bilingual) {
    tokens.emplace_back(kEnglishWords[static_cast<size_t>(Say::kSo)]);
    tokens.insert(tokens.end(), std::begin(kChineseWords), std::end(kChineseWords));
  }
  return tokens;
}

std::string countdown_tokenizer_json(bool bilingual) {
  // [1-9]?[0-9]: a number has no leading zero, so that any digits are tokens of the vocabulary ("07" is 0, 7)
  const std::string words = bilingual ? " wait| vs | yes| no| so " : " wait| vs | yes| no";
  const json pattern = {{"Regex", "[1-9]?[0-9]|" + words + R"(|[\s\S])"}};
  const json tokenizer = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", added_tokens()},
      {"normalizer", nullptr},
      {"pre_tokenizer", {{"type", "Split"}, {"pattern", pattern}, {"behavior", "Isolated"}, {"invert", false}}},
      {"post_processor", nullptr},
      {"decoder", {{"type", "Fuse"}}},
      {"model", word_level_model(bilingual)},
  };
  return tokenizer.dump(2);
}

}  // namespace hone
