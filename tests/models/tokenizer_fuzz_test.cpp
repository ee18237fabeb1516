// tokenizer.json files that were damaged at random load and work, or are refused in one sentence. A short run is a
// test; a long one is
//   models_core_test --gtest_filter='TokenizerFuzz.*' --gtest_shuffle --gtest_repeat=250
// (a new seed each time), built with sanitizers.
#include <random>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "models/atomic_file.h"
#include "models/text/unicode.h"
#include "models/tokenizer.h"

namespace hone {
namespace {

using nlohmann::json;

constexpr int kInputs = 4000;

/// Changes the nodes of a document, then its bytes.
class Mutator {
 public:
  explicit Mutator(uint32_t seed) : generator_(seed) {}

  size_t draw(size_t n) { return generator_() % n; }

  std::string damaged(json document, const json& other) {
    for (size_t i = draw(4); i > 0; --i) change(some_node(document), some_node(document), other);
    std::string text = document.dump();
    if (draw(3) == 0) {
      for (size_t i = draw(4); i > 0; --i) change_bytes(text);
    }
    return text;
  }

 private:
  json& some_node(json& root) {
    json* node = &root;
    for (size_t depth = 1 + draw(6); depth > 0 && node->is_structured() && !node->empty(); --depth) {
      node = &*std::next(node->begin(), static_cast<ptrdiff_t>(draw(node->size())));
    }
    return *node;
  }

  void change(json& node, const json& elsewhere, const json& other) {
    switch (draw(6)) {
      case 0:
        node = odd_value();
        break;
      case 1:
        node = json(elsewhere);
        break;
      case 2:
        if (node.is_structured() && !node.empty()) {
          node.erase(std::next(node.begin(), static_cast<ptrdiff_t>(draw(node.size()))));
        }
        break;
      case 3:
        if (node.is_array()) node.push_back(odd_value());
        break;
      case 4:
        if (const json& part = other[part_name()]; node.is_object() && part.is_object()) node.update(part);
        break;
      default:
        if (node.is_string()) node = damaged_text(node.get<std::string>());
        if (node.is_number_integer()) node = node.get<int64_t>() + static_cast<int64_t>(draw(5)) - 2;
    }
  }

  const char* part_name() {
    static constexpr const char* kNames[] = {"normalizer", "pre_tokenizer", "decoder", "post_processor", "model"};
    return kNames[draw(std::size(kNames))];
  }

  json odd_value() {
    static const json values = json::parse(R"json([null, true, false, 0, 1, -1, 3, 255, 4194303, 4194304, 2147483648,
      18446744073709551615, 1e308, 0.5, "", " ", "a", "é", "ab", "a b", "▁", "<0xC3>", "<unk>", "\u0000", "BPE",
      "WordLevel", "Sequence", "Split", "ByteLevel", "Metaspace", "Digits", "Fuse", "Strip", "Replace", "ByteFallback",
      "FixedLength", "NFC", "NFKD", "Lowercase", "Prepend", "TemplateProcessing", "Isolated", "MergedWithNext", "always",
      "(", "[", "[^", "\\", "\\p{", "\\p{L}+", "\\s+(?!\\S)", "(a|b)*c", "x*", "a{1,1000}", "(?i:st)", "(?<=a)b",
      "(a)\\1", "$^", "[a-\\d]", [], {}, [[]], ["a", "b"], {"type": "Fuse"}, {"type": "NFC"}, {"String": ""},
      {"Regex": "."}, {"Regex": ""}, {"id": 0, "content": "a"}])json");
    return values[draw(values.size())];
  }

  std::string damaged_text(std::string text) {
    static constexpr const char* kPieces[] = {"a", " ", "(",  ")",      "[", "]", "{", "}", "*",
                                              "+", "?", "\\", "\\p{N}", "|", "^", "é", "1"};
    const std::u32string characters = [&] {
      std::u32string all;
      for (std::string_view rest = text; !rest.empty(); rest.remove_prefix(text::character_size(rest[0]))) {
        all += text::code_point(rest);
      }
      return all;
    }();
    std::string result;
    const size_t place = draw(characters.size() + 1);
    for (size_t i = 0; i <= characters.size(); ++i) {
      if (i == place) result += kPieces[draw(std::size(kPieces))];
      if (i < characters.size() && (i != place || draw(2) == 0)) text::append_utf8(result, characters[i]);
    }
    return result;
  }

  void change_bytes(std::string& text) {
    if (text.empty()) return;
    const size_t at = draw(text.size());
    switch (draw(4)) {
      case 0:
        text[at] = static_cast<char>(draw(256));
        break;
      case 1:
        text.erase(at, 1 + draw(8));
        break;
      case 2:
        text.insert(at, text.substr(draw(text.size()), draw(12)));
        break;
      default:
        text[at] = "{}[]\",:019anul\\-x"[draw(17)];
    }
  }

  std::mt19937 generator_;
};

/// The odd tokenizers of the golden file, with few tokens left so that a run tries many.
std::vector<json> seeds() {
  std::vector<json> result;
  const json golden = json::parse(read_file(HONE_SOURCE_DIR "/tests/golden/tokenizer_bpe.json"));
  for (const json& entry : golden["cases"]) {
    json spec = entry["tokenizer"];
    json tokens = json::object();
    for (const auto& [token, id] : spec["model"]["vocab"].items()) {
      const bool plain = token.size() == 1 && std::string_view("ab 1<s>").find(token) != std::string_view::npos;
      if (plain || (token.size() <= 4 && tokens.size() < 30)) tokens[token] = tokens.size();
    }
    for (const char* token : {"<unk>", "<0xC3>", "<0xA9>"}) tokens.emplace(token, tokens.size());
    json merges = json::array();
    for (const json& merge : spec["model"].value("merges", json::array())) {
      const bool kept = merge.is_array() && tokens.contains(merge[0]) && tokens.contains(merge[1]);
      if (kept && merges.size() < 10) merges.push_back(merge);
      if (kept && merges.size() < 10)
        tokens.emplace(merge[0].get<std::string>() + merge[1].get<std::string>(), tokens.size());
    }
    spec["model"]["vocab"] = tokens;
    if (spec["model"].contains("merges")) spec["model"]["merges"] = merges;
    spec["added_tokens"] = {
        {{"id", tokens.size()}, {"content", "<s>"}, {"special", true}, {"lstrip", true}, {"normalized", true}}};
    spec["post_processor"] = nullptr;
    result.push_back(spec);
  }
  return result;
}

/// Whatever loads must encode, decode and stream without contradiction.
void use(const Tokenizer& tokenizer) {
  for (const char* text : {"", "a b  abc <s> é1234\n", "\xf0\x9f\x91\x8d\xef\xac\x81\xe0\xa2\x97 Ab\t",
                           "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}) {
    std::vector<int32_t> ids;
    try {
      ids = tokenizer.encode(text);
    } catch (const std::invalid_argument&) {
      continue;  // no token for it
    } catch (const std::runtime_error&) {
      continue;  // a pattern that takes too many steps
    }
    StreamDecoder stream(tokenizer);
    std::string streamed;
    for (const int32_t id : ids) streamed += stream.push(id);
    ASSERT_EQ(streamed + stream.finish(), tokenizer.decode(ids));
  }
}

TEST(TokenizerFuzz, DamagedFilesAreRefusedInOneSentenceOrWork) {
  const std::vector<json> originals = seeds();
  Mutator mutator(static_cast<uint32_t>(testing::UnitTest::GetInstance()->random_seed()));
  int loaded = 0;
  for (int i = 0; i < kInputs; ++i) {
    const json& original = originals[mutator.draw(originals.size())];
    const std::string text = mutator.damaged(original, originals[mutator.draw(originals.size())]);
    try {
      use(Tokenizer::from_json(text, "damaged.json"));
      ++loaded;
    } catch (const std::runtime_error& error) {
      const std::string message = error.what();
      ASSERT_TRUE(message.starts_with("damaged.json")) << message << "\n" << text;
      ASSERT_TRUE(text::is_utf8(message) && message.find('\n') == std::string::npos) << message << "\n" << text;
    } catch (const std::exception& error) {
      FAIL() << error.what() << "\n" << text;
    }
  }
  EXPECT_GT(loaded, kInputs / 10);
  EXPECT_LT(loaded, kInputs * 9 / 10);
}

}  // namespace
}  // namespace hone
