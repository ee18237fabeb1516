#include "models/text/unicode.h"

#include <gtest/gtest.h>

#include "models/tokenizer_regex.h"

namespace hone::text {
namespace {

TEST(Unicode, BrokenBytesAreReplacedInTheLongestStretches) {
  // the examples of the Unicode standard, chapter 3.9 (U+FFFD substitution of maximal subparts)
  EXPECT_EQ(to_valid_utf8("\x61\xf1\x80\x80\xe1\x80\xc2\x62\x80\x63\x80\xbf\x64"),
            "a\ufffd\ufffd\ufffdb\ufffdc\ufffd\ufffdd");
  EXPECT_EQ(to_valid_utf8("\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41"),
            "\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd"
            "A");
  EXPECT_EQ(to_valid_utf8("\xed\xa0\x80\xf4\x91\x92\x93\xff"), "\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd");
  EXPECT_EQ(to_valid_utf8("a\u00e9\u20ac\U0001f600"), "a\u00e9\u20ac\U0001f600");
}

TEST(Unicode, ACharacterThatIsCutOffIsToldFromABrokenOne) {
  EXPECT_EQ(utf8_step("\xe2\x82").kind, Utf8::kCutOff);
  EXPECT_EQ(utf8_step("\xe2\x41").kind, Utf8::kBroken);
  EXPECT_EQ(utf8_step("\xe0\x80").kind, Utf8::kBroken);
  EXPECT_EQ(utf8_step("\xf4\x8f\xbf\xbf").kind, Utf8::kCharacter);
}

TEST(Unicode, EveryCharacterSurvivesEncodingAndDecoding) {
  for (char32_t c = 0; c < 0x110000; c += c < 0x3000 ? 1 : 7) {
    if (c >= 0xd800 && c < 0xe000) continue;
    std::string text;
    append_utf8(text, c);
    ASSERT_EQ(code_point(text), c);
    ASSERT_EQ(utf8_step(text).size, text.size());
    ASSERT_EQ(character_size(text[0]), text.size());
  }
}

TEST(Unicode, EveryByteHasItsCharacter) {
  std::string bytes, back;
  for (int byte = 0; byte < 256; ++byte) bytes += static_cast<char>(byte);
  EXPECT_TRUE(from_byte_characters(to_byte_characters(bytes), back));
  EXPECT_EQ(back, bytes);
  EXPECT_EQ(to_byte_characters(" \n\xe2"), "ĠĊâ");
  EXPECT_FALSE(from_byte_characters("▁", back));
  EXPECT_FALSE(from_byte_characters(" ", back));
  EXPECT_EQ(back, bytes);
}

TEST(Unicode, NormalFormsAreThoseOfUnicodeNine) {
  EXPECT_EQ(normalize("e\u0301", NormalForm::kNfc), "\u00e9");
  EXPECT_EQ(normalize("\u00e9", NormalForm::kNfd), "e\u0301");
  EXPECT_EQ(normalize("\ufb01\u2460", NormalForm::kNfc), "\ufb01\u2460");
  EXPECT_EQ(normalize("\ufb01\u2460", NormalForm::kNfkc), "fi1");
  EXPECT_EQ(normalize("a\u0301\u0323", NormalForm::kNfc), "\u1ea1\u0301");
  EXPECT_EQ(normalize("\u1100\u1161\u11a8", NormalForm::kNfc), "\uac01");
  EXPECT_EQ(normalize("\uac00\u11a7", NormalForm::kNfc), "\uac00\u11a7");  // no final consonant
  EXPECT_EQ(normalize("\u0958", NormalForm::kNfc), "\u0915\u093c");        // excluded from composition
  EXPECT_EQ(normalize("\u32ff", NormalForm::kNfkc), "\u32ff");             // younger than Unicode 9
  EXPECT_EQ(normalize("plain \u00e9 text", NormalForm::kNfc), "plain \u00e9 text");
}

TEST(Unicode, LowerCaseAndClassesKnowYoungCharacters) {
  EXPECT_EQ(lower_case(U'\u00c4'), U'\u00e4');
  EXPECT_EQ(lower_case(U'\U00010d50'), U'\U00010d70');
  EXPECT_EQ(lower_case(U'\ua7cd'), U'\ua7cd');
  EXPECT_TRUE(is_numeric(U'\U00010d40'));
  EXPECT_FALSE(is_numeric(U'a'));
  EXPECT_TRUE(is_word(U'\u24b6'));
  EXPECT_FALSE(is_word(U'-'));
  EXPECT_TRUE(is_white_space(U'\u0085'));
  EXPECT_FALSE(is_white_space(U'\u180e'));
}

TEST(Unicode, PatternsFindYoungCharactersByTheirCategory) {
  const TokenizerRegex letters(R"(\p{L}+)"), others(R"([^\s\p{L}\p{N}]+)"), negated(R"(\P{L})");
  const std::string young =
      "a\ua7cb\U00010d4a\U000323af"
      "b";  // letters of Unicode 15 and 16
  EXPECT_EQ(letters.find_all(young), (std::vector<std::pair<size_t, size_t>>{{0, young.size()}}));
  EXPECT_TRUE(others.find_all(young).empty());
  EXPECT_TRUE(negated.find_all(young).empty());
  EXPECT_EQ(TokenizerRegex::literal("\ua7cb").find_all(young).size(), 1u);
  EXPECT_EQ(TokenizerRegex(R"(\p{Han})").find_all("\u6f22\u3006\u3001\U000323af").size(), 2u);
}

}  // namespace
}  // namespace hone::text
