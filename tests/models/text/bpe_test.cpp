#include "models/text/bpe.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "models/tokenizer.h"

namespace hone::text {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using Ids = std::vector<int32_t>;

json model(std::vector<std::string> tokens, json merges, const json& options = json::object()) {
  json vocabulary = json::object();
  for (size_t i = 0; i < tokens.size(); ++i) vocabulary[tokens[i]] = i;
  json result = {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", std::move(merges)}};
  result.update(options);
  return result;
}

Ids ids(const json& spec, std::string_view piece) {
  const Bpe bpe(spec, "model", false);
  Ids result;
  bpe.start(piece.size())->append_ids(piece, result);
  return result;
}

std::string refusal(const json& spec) {
  try {
    Bpe(spec, "t.json: model", false);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

/// The definition: again and again the pair with the lowest rank, the leftmost of equal ones.
std::vector<std::string> slow_bpe(std::string_view text,
                                  const std::vector<std::pair<std::string, std::string>>& merges) {
  std::vector<std::string> parts;
  for (const char c : text) parts.emplace_back(1, c);
  while (true) {
    size_t best = merges.size(), place = 0;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto found = std::find(merges.begin(), merges.end(), std::pair(parts[i], parts[i + 1]));
      const auto rank = static_cast<size_t>(found - merges.begin());
      if (rank < best) best = rank, place = i;
    }
    if (best == merges.size()) return parts;
    parts[place] += parts[place + 1];
    parts.erase(parts.begin() + static_cast<ptrdiff_t>(place) + 1);
  }
}

TEST(Bpe, MergesAsItsDefinition) {
  const std::vector<std::pair<std::string, std::string>> merges = {{"a", "b"},   {"b", "a"},    {"c", "c"},
                                                                   {"ab", "ab"}, {"a", "a"},    {"ba", "c"},
                                                                   {"cc", "c"},  {"abab", "a"}, {"aa", "aa"}};
  std::vector<std::string> tokens = {"a", "b", "c"};
  json list = json::array();
  for (const auto& [left, right] : merges) {
    tokens.push_back(left + right);
    list.push_back(left + " " + right);
  }
  const Bpe bpe(model(tokens, list), "model", false);
  uint32_t state = 1;
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (int i = 0; i <= round % 40; ++i) text += "abc"[((state = state * 1664525 + 1013904223) >> 20) % 3];
    Ids expected, given;
    for (const std::string& part : slow_bpe(text, merges)) expected.push_back(bpe.vocabulary().at(part));
    bpe.start(text.size())->append_ids(text, given);
    ASSERT_EQ(given, expected) << text;
  }
}

TEST(Bpe, AWordThatComesAgainGetsTheSameIds) {
  const Bpe bpe(model({"a", "b", "ab", "c"}, {"a b"}), "model", false);
  const auto encoder = bpe.start(1 << 20);
  Ids given;
  for (int i = 0; i < 3; ++i) {
    for (const char* word : {"abc", "cab", "abababababababababababababababab"}) encoder->append_ids(word, given);
  }
  const Ids once(given.begin(), given.begin() + static_cast<ptrdiff_t>(given.size() / 3));
  EXPECT_EQ(once.size(), 2u + 2u + 16u);
  for (size_t i = 0; i < given.size(); ++i) EXPECT_EQ(given[i], once[i % once.size()]);
}

TEST(Bpe, ReadsBothSpellingsOfMerges) {
  const std::vector<std::string> tokens = {"a", "b", "ab"};
  EXPECT_EQ(ids(model(tokens, {"#version: 0.2", "a b"}), "ab"), (Ids{2}));
  EXPECT_EQ(ids(model(tokens, json::array({json::array({"a", "b"})})), "ab"), (Ids{2}));
  EXPECT_EQ(ids(model(tokens, json::array()), "ab"), (Ids{0, 1}));
}

TEST(Bpe, IgnoreMergesTakesWholeWords) {
  const std::vector<std::string> tokens = {"a", "b", "c", "ab", "abc"};
  EXPECT_EQ(ids(model(tokens, {"a b"}), "abc"), (Ids{3, 2}));
  EXPECT_EQ(ids(model(tokens, {"a b"}, {{"ignore_merges", true}}), "abc"), (Ids{4}));
}

TEST(Bpe, CharactersWithoutATokenAreUnknownOrBytesOrLeftOut) {
  const std::vector<std::string> tokens = {"a", "<unk>", "<0xC3>", "<0xA9>"};
  const json unk = {{"unk_token", "<unk>"}}, fused = {{"unk_token", "<unk>"}, {"fuse_unk", true}};
  EXPECT_EQ(ids(model(tokens, json::array()), "axya"), (Ids{0, 0}));
  EXPECT_EQ(ids(model(tokens, json::array(), unk), "axya"), (Ids{0, 1, 1, 0}));
  EXPECT_EQ(ids(model(tokens, json::array(), fused), "axya"), (Ids{0, 1, 0}));
  EXPECT_EQ(ids(model(tokens, json::array(), {{"byte_fallback", true}}), "a\xc3\xa9"), (Ids{0, 2, 3}));
  EXPECT_EQ(ids(model(tokens, json::array(), {{"byte_fallback", true}}), "a\xc3\xa8"), (Ids{0}));
  EXPECT_THROW(ids(model(tokens, json::array(), {{"unk_token", "<none>"}}), "x"), std::invalid_argument);
}

TEST(Bpe, PrefixesAndSuffixesMarkThePlaceInTheWord) {
  const std::vector<std::string> tokens = {"a", "##b", "##c</w>", "a##b", "ab", "c</w>"};
  const json options = {{"continuing_subword_prefix", "##"}, {"end_of_word_suffix", "</w>"}};
  EXPECT_EQ(ids(model(tokens, {"a ##b"}, options), "abc"), (Ids{4, 2}));
  EXPECT_EQ(ids(model(tokens, {"a ##b"}, options), "c"), (Ids{5}));
}

TEST(Bpe, RefusesBrokenMergesByPlace) {
  const std::vector<std::string> tokens = {"a", "b", "ab"};
  EXPECT_EQ(refusal(model(tokens, {"a b"})), "");
  for (const json& merge : {json("a"), json("a b c"), json(7), json::array({"a"}), json::array({"a", 1})}) {
    EXPECT_THAT(refusal(model(tokens, json::array({"a b", merge}))),
                AllOf(HasSubstr("t.json: model.merges[1]"), HasSubstr("a merge is a string of two tokens")));
  }
  EXPECT_THAT(refusal(model(tokens, {"a q"})), HasSubstr("model.merges[0]: \"q\" is not in the vocabulary"));
  EXPECT_THAT(refusal(model(tokens, {"b a"})), HasSubstr("\"ba\" is not in the vocabulary"));
  EXPECT_THAT(refusal(model(tokens, {"a b"}, {{"dropout", 0.1}})), HasSubstr("dropout is not supported"));
  EXPECT_THAT(refusal(model(tokens, {{"a", 1}})), HasSubstr("merges must be a list"));
}

}  // namespace
}  // namespace hone::text
