#include "rewards/language.h"

#include <stdexcept>
#include <string>

#include <gtest/gtest.h>

namespace hone {
namespace {

Score score_text(const std::string& text, const std::string& language, const char* columns = "{}") {
  Prompt prompt;
  prompt.columns = columns;
  Rollout rollout;
  rollout.text = text;
  return language_consistency({.language = language})(prompt, {&rollout, 1}).at(0);
}

double share(const std::string& text, const std::string& language) { return *score_text(text, language).value; }

TEST(LanguageConsistency, OneLanguageIsOne) {
  EXPECT_EQ(share("<think>First we add 3 and 4, so $x=7$.</think>Answer: 7", "en"), 1.0);
  EXPECT_EQ(share("<think>首先我们把3和4相加，所以 $x=7$。</think>7", "zh"), 1.0);
  EXPECT_EQ(share("<think>Сначала сложим 3 и 4, получим $x=7$.</think>7", "ru"), 1.0);
}

TEST(LanguageConsistency, AnotherLanguageIsZero) {
  const char* english = "<think>First we add three and four</think>";
  const char* chinese = "<think>首先我们把三和四相加</think>";
  const char* russian = "<think>Сначала сложим три и четыре</think>";
  const char* german = "<think>Zuerst berechnen wir die Summe, und dann ist der Wert sieben.</think>";
  const char* french = "<think>Nous avons donc les valeurs, et la somme est sept.</think>";
  const char* japanese = "<think>まず三と四を足します</think>";
  const char* ukrainian = "<think>Їхній мій її свій</think>";
  for (const auto* text : {chinese, russian, german, french, japanese}) EXPECT_EQ(share(text, "en"), 0.0) << text;
  for (const auto* text : {english, russian, japanese}) EXPECT_EQ(share(text, "zh"), 0.0) << text;
  for (const auto* text : {english, chinese, ukrainian}) EXPECT_EQ(share(text, "ru"), 0.0) << text;
}

TEST(LanguageConsistency, MixedThoughtsCountByWords) {
  EXPECT_DOUBLE_EQ(share("First we add 那么 3 and 4", "en"), 4.0 / 6);
  EXPECT_DOUBLE_EQ(share("First we add 那么 3 and 4", "zh"), 2.0 / 6);
  EXPECT_DOUBLE_EQ(share("Мы знаем that this is right", "ru"), 2.0 / 6);
  EXPECT_DOUBLE_EQ(share("So this is it. Das ist nicht der Wert.", "en"), 4.0 / 9) << "sentence by sentence";
}

TEST(LanguageConsistency, OnlyTheThoughtsCount) {
  EXPECT_EQ(share("<think>we add</think>那么那么", "en"), 1.0);
  EXPECT_EQ(share("那么<think>we add</think>", "en"), 1.0);
  EXPECT_EQ(share("we add</think>那么", "en"), 1.0) << "the prompt may hold <think>";
  EXPECT_EQ(share("<think>那么</think>we add", "en"), 0.0);
}

TEST(LanguageConsistency, MathematicsIsNoLanguage) {
  EXPECT_EQ(share("so \\(абв\\) and $где$ and \\[ \\text{да} \\] is \\frac x y", "en"), 1.0);
  EXPECT_EQ(share("by Erdős and Poincaré we know", "en"), 1.0) << "names are not counted";
  EXPECT_DOUBLE_EQ(share("it costs $5 and then 我们 pay $6 more", "en"), 6.0 / 8) << "prices";
  const auto none = score_text("<think>$x$ 3 + 4 = 7 y</think>we add", "en");
  EXPECT_EQ(none.value, 0.0);
  EXPECT_EQ(none.verdict, Verdict::kWrong);
}

TEST(LanguageConsistency, ColumnBeatsOption) {
  EXPECT_EQ(score_text("那么", "en", R"({"language":"zh"})").value, 1.0);
  EXPECT_EQ(score_text("那么", "en", R"({"language":null})").value, 0.0);
  EXPECT_THROW(score_text("那么", "en", R"({"language":"klingon"})"), std::runtime_error);
  EXPECT_THROW(score_text("那么", "en", R"({"language":7})"), std::runtime_error);
}

TEST(LanguageConsistency, AnyBytesAreRead) {
  EXPECT_EQ(share("\xff\xfe we add \xe2\x80 \xf0\x9f\x98\x80 three \xc3", "en"), 1.0);
  EXPECT_EQ(share("$$ \\( \\[ $ \\", "en"), 0.0);
}

}  // namespace
}  // namespace hone
