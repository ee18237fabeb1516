#include "models/tokenizer.h"

#include <limits>
#include <random>
#include <thread>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "models/atomic_file.h"
#include "models/tokenizer_regex.h"

namespace hone {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

json golden() { return json::parse(read_file(HONE_SOURCE_DIR "/tests/golden/tokenizer_wordlevel.json")); }

json specification(const json& golden, size_t i) {
  json spec = golden["cases"][i]["tokenizer"];
  if (spec["model"]["vocab"] == "letters") spec["model"]["vocab"] = golden["letters"];
  return spec;
}

Tokenizer make(const json& spec) { return Tokenizer::from_json(spec.dump(), "tokenizer.json"); }
Tokenizer task_tokenizer() { return make(specification(golden(), 0)); }

json small() {
  return {{"added_tokens", json::array()},
          {"pre_tokenizer", nullptr},
          {"decoder", nullptr},
          {"model", {{"type", "WordLevel"}, {"vocab", {{"a", 0}, {"b", 3}}}, {"unk_token", "none"}}}};
}

/// The message of the exception that `body` throws, "" when it throws none.
template <class Body>
std::string message(Body body) {
  try {
    body();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}
std::string refusal(const json& spec) {
  return message([&] { make(spec); });
}

TEST(Tokenizer, GivesTheIdsAndTextsOfTheReferenceLibrary) {
  const json all = golden();
  ASSERT_GE(all["cases"].size(), 20u);
  size_t rows = 0, refused = 0;
  for (size_t i = 0; i < all["cases"].size(); ++i) {
    const Tokenizer tokenizer = make(specification(all, i));
    for (const json& row : all["cases"][i]["rows"]) {
      const auto text = row["text"].get<std::string>();
      SCOPED_TRACE("tokenizer " + std::to_string(i) + " on " + row["text"].dump());
      ++rows;
      if (row.contains("refused")) {
        ++refused;
        EXPECT_THROW(tokenizer.encode(text), std::invalid_argument);
        continue;
      }
      const auto ids = row["ids"].get<std::vector<int32_t>>();
      EXPECT_EQ(tokenizer.encode(text), ids);
      EXPECT_EQ(tokenizer.encode(text, false),
                (row.contains("plain_ids") ? row["plain_ids"].get<std::vector<int32_t>>() : ids));
      EXPECT_EQ(tokenizer.decode(ids), row["decoded"]);
      EXPECT_EQ(tokenizer.decode(ids, true), row["decoded_skip"]);
    }
  }
  EXPECT_GE(rows, 1000u);
  EXPECT_GE(refused, 5u);
}

TEST(Tokenizer, TaskTextSurvivesEncodingAndDecoding) {
  const Tokenizer tokenizer = task_tokenizer();
  const std::string text = "7 3 12:33\n<think>7+3=10 vs 33 wait12-3=9 yes</think><answer>(12-3)*7</answer><eos>";
  const auto ids = tokenizer.encode(text);
  EXPECT_EQ(ids.size(), 34u);
  EXPECT_EQ(tokenizer.decode(ids), text);
  EXPECT_EQ(tokenizer.decode(ids, true), "7 3 12:33\n7+3=10 vs 33 wait12-3=9 yes(12-3)*7");
}

TEST(Tokenizer, NamesTheTextThatHasNoTokenAndItsPlace) {
  const Tokenizer tokenizer = task_tokenizer();
  EXPECT_THAT(message([&] { tokenizer.encode("7 3<eos>ab"); }),
              AllOf(HasSubstr("tokenizer.json"), HasSubstr("\"a\" at byte 8"), HasSubstr("no unk_token")));
  EXPECT_THAT(message([&] { tokenizer.encode("12\xff"); }), HasSubstr("not UTF-8 at byte 2 (0xff)"));
}

TEST(Tokenizer, RefusesEveryFormOfBrokenUtf8) {
  const Tokenizer tokenizer = make(small());
  for (const char* text : {"\x80", "\xc0\xaf", "\xc3", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                           "\xf0\x80\x80\x80", "\xf8", "\xe2\x82"}) {
    EXPECT_THAT(message([&] { tokenizer.encode(text); }), HasSubstr("not UTF-8")) << json(text).size();
  }
  EXPECT_EQ(tokenizer.encode("a"), std::vector<int32_t>{0});
}

TEST(Tokenizer, LooksTokensUpBothWays) {
  const Tokenizer tokenizer = task_tokenizer();
  EXPECT_EQ(tokenizer.token_to_id("<eos>"), 1);
  EXPECT_EQ(tokenizer.token_to_id("42"), 48);
  EXPECT_EQ(tokenizer.token_to_id("100"), std::nullopt);
  EXPECT_EQ(tokenizer.id_to_token(48), "42");
  EXPECT_EQ(tokenizer.vocab_size(), 122);
  EXPECT_TRUE(tokenizer.is_special(1));
  EXPECT_FALSE(tokenizer.is_special(48));
  EXPECT_FALSE(tokenizer.is_special(-1));
}

TEST(Tokenizer, RefusesIdsThatNameNoToken) {
  const Tokenizer tokenizer = make(small());  // ids 0 and 3
  EXPECT_EQ(tokenizer.vocab_size(), 4);
  for (const int32_t id : {-1, 1, 4, std::numeric_limits<int32_t>::max()}) {
    EXPECT_THAT(message([&] { tokenizer.decode(std::vector<int32_t>{id}); }),
                HasSubstr(std::to_string(id) + " names no token"));
  }
}

TEST(Tokenizer, KeepsTheTextItWasLoadedFrom) {
  const std::string text = small().dump(3);
  EXPECT_EQ(Tokenizer::from_json(text, "x").json(), text);
}

TEST(Tokenizer, RefusesByNameWhatItDoesNotSupport) {
  const auto with = [](const char* key, json value) {
    json spec = small();
    spec[key] = std::move(value);
    return refusal(spec);
  };
  EXPECT_EQ(refusal(small()), "");
  EXPECT_THAT(with("model", {{"type", "Unigram"}}),
              AllOf(HasSubstr("tokenizer.json: model: type \"Unigram\" is not supported yet"), HasSubstr("WordLevel")));
  EXPECT_THAT(with("normalizer", {{"type", "Precompiled"}}), HasSubstr("normalizer: type \"Precompiled\" is not"));
  EXPECT_THAT(with("pre_tokenizer", {{"type", "UnicodeScripts"}}), HasSubstr("type \"UnicodeScripts\" is not"));
  EXPECT_THAT(with("pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {{{"type", "Punctuation"}}}}}),
              HasSubstr("pre_tokenizer.pretokenizers[0]: type \"Punctuation\""));
  EXPECT_THAT(with("post_processor", {{"type", "RobertaProcessing"}}),
              HasSubstr("post_processor: type \"RobertaProcessing\""));
  EXPECT_THAT(with("decoder", {{"type", "CTC"}}), HasSubstr("decoder: type \"CTC\""));
}

TEST(Tokenizer, RefusesContradictoryOrBrokenFiles) {
  EXPECT_THAT(message([] { Tokenizer::from_json("{", "t.json"); }), HasSubstr("t.json"));
  EXPECT_THAT(message([] { Tokenizer::from_file("missing/tokenizer.json"); }), HasSubstr("missing/tokenizer.json"));
  json spec = small();
  spec["model"]["vocab"]["b"] = 0;
  EXPECT_THAT(refusal(spec), HasSubstr("the id 0 belongs to both"));
  spec["model"]["vocab"]["b"] = -4;
  EXPECT_THAT(refusal(spec), HasSubstr("found the id -4"));
  spec["model"]["vocab"]["b"] = int64_t{1} << 40;
  EXPECT_THAT(refusal(spec), HasSubstr("found the id 1099511627776"));
  spec = small();
  spec["added_tokens"] = {{{"id", 1}, {"content", "a"}, {"special", true}}};
  EXPECT_THAT(refusal(spec), HasSubstr("the added token \"a\" has id 1, in the vocabulary it has 0"));
  spec["added_tokens"] = {{{"id", 7}, {"content", "c"}, {"special", true}}};
  EXPECT_THAT(refusal(spec), HasSubstr("the added token \"c\" has id 7, by the rules of tokenizers it gets 2"));
  spec["added_tokens"] = {{{"id", 2}, {"content", "c"}}, {{"id", 3}, {"content", "c"}}};
  EXPECT_THAT(refusal(spec), HasSubstr("the added token \"c\" stands there twice"));
  spec = small();
  spec["pre_tokenizer"] = {{"type", "Split"}, {"pattern", {{"Regex", "(a"}}}, {"behavior", "Isolated"}};
  EXPECT_THAT(refusal(spec), HasSubstr("regular expression \"(a\" at byte 2"));
  spec.erase("model");
  EXPECT_THAT(refusal(spec), HasSubstr("the key model is missing"));
}

TEST(Tokenizer, RandomlyDamagedFilesAreRefusedOrUsable) {
  json spec = specification(golden(), 0);
  spec["model"]["vocab"] = {{"a", 0}, {"<pad>", 1}};
  spec["added_tokens"] = {spec["added_tokens"][0]};
  spec["added_tokens"][0]["id"] = 1;
  const std::string text = spec.dump();
  ASSERT_EQ(refusal(spec), "");
  std::mt19937 generator(1);
  const auto draw = [&](size_t n) { return generator() % n; };
  for (int i = 0; i < 2000; ++i) {
    std::string damaged = text;
    for (size_t k = 0; k <= draw(3); ++k) damaged[draw(damaged.size())] = "{}[]\",:019anul\\-x"[draw(17)];
    try {
      Tokenizer::from_json(damaged, "damaged").encode("a<pad>");
    } catch (const std::runtime_error& error) {
      EXPECT_THAT(error.what(), HasSubstr("damaged"));
    } catch (const std::invalid_argument& error) {
      EXPECT_THAT(error.what(), HasSubstr("no token"));
    }
  }
}

TEST(Tokenizer, IsSharedByThreads) {
  const Tokenizer tokenizer = task_tokenizer();
  const auto expected = tokenizer.encode("<think>7+3=10 vs 33 wait");
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (int& count : wrong) {
    threads.emplace_back([copy = tokenizer, &expected, &count] {
      for (int i = 0; i < 200; ++i) count += copy.encode("<think>7+3=10 vs 33 wait") != expected;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST(TokenizerRegex, WhiteSpaceIsThatOfOniguruma) {
  const auto matches = [](const char* pattern, const char* text) {
    return TokenizerRegex(pattern).find_all(text).size();
  };
  for (const char* space : {" ", "\t", "\n", "\x0b", "\xc2\x85", "\xc2\xa0", "\xe1\x9a\x80", "\xe3\x80\x80"}) {
    EXPECT_EQ(matches(R"(\s)", space), 1u);
    EXPECT_EQ(matches(R"([x\S])", space), 0u);
  }
  for (const char* other : {"\xe1\xa0\x8e", "a", "\x1c", "\xef\xbb\xbf", "\xe2\x80\x8b", "\xcc\x81"}) {
    EXPECT_EQ(matches(R"(\s)", other), 0u);
    EXPECT_EQ(matches(R"(\S)", other), 1u);
    EXPECT_EQ(matches(R"([\S])", other), 1u);
    EXPECT_EQ(matches(R"([^\S])", other), 0u);
  }
}

TEST(TokenizerRegex, RefusesWhatTheEnginesReadDifferently) {
  for (const char* pattern :
       {R"(\w+)", R"(a\b)", R"([\h])", "[a[b]]", "[a&&b]", "(?m:a)", "(?#x)", "a{,3}", "a{1,2}+", "\\"}) {
    EXPECT_THROW(TokenizerRegex{pattern}, std::invalid_argument) << pattern;
  }
  EXPECT_EQ(TokenizerRegex(R"(\p{N}+|[]a]|a{2})").find_all("12]aa").size(), 4u);
}

TEST(TokenizerRegex, LiteralsMatchThemselves) {
  for (const char* text : {"a.b", "[x]", "\\s", "(?i)", "é+", "{1}"}) {
    EXPECT_EQ(TokenizerRegex::literal(text).find_all(std::string("z") + text).size(), 1u) << text;
  }
  EXPECT_TRUE(TokenizerRegex::literal("a.b").find_all("axb").empty());
}

TEST(TokenizerRegex, LongTextsDoNotExhaustTheStack) {
  const std::string text(500'000, 'a');
  EXPECT_EQ(TokenizerRegex("(?:a|b)+c|(?:a|[bx])+").find_all(text).size(), 1u);
}

}  // namespace
}  // namespace hone
