// Byte-level and other BPE tokenizers against what PyPI `tokenizers` made of the same texts.
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "models/atomic_file.h"
#include "models/text/unicode.h"
#include "models/tokenizer.h"

namespace hone {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

json cases() { return json::parse(read_file(HONE_SOURCE_DIR "/tests/golden/tokenizer_bpe.json")).at("cases"); }
Tokenizer make(const json& spec) { return Tokenizer::from_json(spec.dump(), "tokenizer.json"); }

Tokenizer family(const std::string& name) {
  const json all = cases();
  for (const json& entry : all) {
    if (entry["name"] == name) return make(entry["tokenizer"]);
  }
  throw std::invalid_argument(name);
}

std::string streamed(const Tokenizer& tokenizer, const Ids& ids) {
  StreamDecoder stream(tokenizer);
  std::string text;
  for (const int32_t id : ids) {
    const std::string piece = stream.push(id);
    EXPECT_TRUE(text::is_utf8(piece));
    text += piece;
  }
  return text + stream.finish();
}

TEST(TokenizerFamilies, GiveTheIdsAndTextsOfTheReferenceLibrary) {
  size_t rows = 0;
  const json all = cases();
  for (const json& entry : all) {
    const Tokenizer tokenizer = make(entry["tokenizer"]);
    for (const json& row : entry["rows"]) {
      SCOPED_TRACE(entry["name"].get<std::string>() + " on " + row["text"].dump());
      const auto ids = row["ids"].get<Ids>();
      ASSERT_EQ(tokenizer.encode(row["text"].get<std::string>()), ids);
      ASSERT_EQ(tokenizer.decode(ids), row["decoded"]);
      ASSERT_EQ(streamed(tokenizer, ids), row["decoded"]);
      ++rows;
    }
  }
  EXPECT_GE(all.size(), 25u);
  EXPECT_GE(rows, 600u);
}

/// Ids that no text has: characters begin, break off and go on in odd places.
std::vector<Ids> random_ids(int32_t vocabulary) {
  std::vector<Ids> rows;
  for (int32_t i = 0; i < 300; ++i) {
    Ids row;
    for (int32_t j = 0; j <= i % 11; ++j) row.push_back((7919 * i + 104729 * j) % vocabulary);
    rows.push_back(row);
  }
  return rows;
}

TEST(TokenizerFamilies, StreamsAnyIdsAsTheyAreDecoded) {
  const json all = cases();
  for (const json& entry : all) {
    const Tokenizer tokenizer = make(entry["tokenizer"]);
    for (const Ids& ids : random_ids(tokenizer.vocab_size())) {
      ASSERT_EQ(streamed(tokenizer, ids), tokenizer.decode(ids)) << entry["name"] << " " << json(ids);
    }
  }
}

TEST(TokenizerFamilies, TheBytesOfTheIdsAreTheText) {
  for (const char* name : {"gpt2", "smollm2", "qwen2", "llama3", "deepseek_v3"}) {
    const Tokenizer tokenizer = family(name);
    for (const Ids& ids : random_ids(tokenizer.vocab_size())) {
      std::string bytes;
      for (const int32_t id : ids) bytes += tokenizer.id_to_bytes(id);
      ASSERT_EQ(tokenizer.decode(ids), text::to_valid_utf8(bytes)) << name << " " << json(ids);
    }
  }
  const Tokenizer llama2 = family("llama2");
  EXPECT_EQ(llama2.id_to_bytes(*llama2.token_to_id("<0xE2>")), "\xe2");
  EXPECT_EQ(llama2.id_to_bytes(*llama2.token_to_id("▁")), " ");
}

TEST(TokenizerFamilies, ByteLevelTextSurvivesEncodingAndDecoding) {
  for (const char* name : {"gpt2", "smollm2", "llama3", "deepseek_v3"}) {
    const Tokenizer tokenizer = family(name);
    for (const char* text :
         {"", " ", "a\r\n\tb", "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7", "漢字かな交じり文", "x\x7f\x01",
          "e\u0301 \u1100\u1161", "1234567890 12,5", "  \n \n\n  end  ", "\ufffd\u202e\U0010fffd"}) {
      EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, false)), text) << name;
    }
    const std::string zeros("\0\0a\0", 4);
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(zeros, false)), zeros);
  }
}

TEST(TokenizerFamilies, LongTextsWithoutSpacesTakeNearLinearTime) {
  std::string letters, marks = "a";
  for (uint32_t i = 0, state = 1; i < 1'000'000; ++i) {
    state = state * 1664525 + 1013904223;
    letters += static_cast<char>('a' + (state >> 24) % 26);
  }
  for (int i = 0; i < 200'000; ++i) marks += i < 100'000 ? "\u0301" : "\u0323";  // sorted by the normalizer of qwen2
  for (const char* name : {"gpt2", "qwen2", "llama2", "metaspace"}) {
    const Tokenizer tokenizer = family(name);
    for (const std::string& text : {letters, std::string(1'000'000, 'a'), std::string(500'000, ' ') + "x", marks}) {
      EXPECT_GT(tokenizer.encode(text).size(), text.size() / 100);
    }
  }
}

TEST(TokenizerFamilies, SkippedSpecialTokensLeaveNoTrace) {
  const Tokenizer tokenizer = family("qwen2");
  const Ids ids = tokenizer.encode("<|im_start|>a<think> b<|im_end|>");
  EXPECT_EQ(tokenizer.decode(ids), "<|im_start|>a<think> b<|im_end|>");
  EXPECT_EQ(tokenizer.decode(ids, true), "a<think> b");
  StreamDecoder stream(tokenizer, true);
  std::string text;
  for (const int32_t id : ids) text += stream.push(id);
  EXPECT_EQ(text + stream.finish(), "a<think> b");
}

TEST(TokenizerFamilies, TheStreamGivesCharactersAsSoonAsTheyAreWhole) {
  const Tokenizer tokenizer = family("gpt2");
  StreamDecoder stream(tokenizer);
  std::vector<std::string> pieces;
  for (const char* token : {"h", "i", "â", "Ĥ", "¬", "x", "â"})
    pieces.push_back(stream.push(*tokenizer.token_to_id(token)));
  EXPECT_EQ(pieces, (std::vector<std::string>{"h", "i", "", "", "€", "x", ""}));
  EXPECT_EQ(stream.finish(), "\ufffd");
}

TEST(TokenizerFamilies, AWrongIdLeavesTheStreamAsItWas) {
  StreamDecoder stream(family("gpt2"));
  EXPECT_THROW(stream.push(1 << 20), std::invalid_argument);
  EXPECT_EQ(stream.push(family("gpt2").encode("a")[0]), "a");
}

}  // namespace
}  // namespace hone
