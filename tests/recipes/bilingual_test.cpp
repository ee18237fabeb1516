// The countdown task of two languages: its corpus, its diagnosis, and the readable form of its completions.
#include <algorithm>
#include <numeric>

#include <gtest/gtest.h>

#include "models/tokenizer.h"
#include "recipes/countdown/countdown.h"
#include "recipes/countdown/diagnose.h"
#include "recipes/countdown/rewrite.h"
#include "recipes/countdown/vocabulary.h"
#include "rewards/countdown.h"
#include "rewards/language.h"

namespace hone {
namespace {

std::string join(const std::vector<std::string>& tokens) {
  return std::accumulate(tokens.begin(), tokens.end(), std::string());
}

Prompt make_prompt() {
  Prompt prompt;
  prompt.columns = R"({"numbers":[7,3,12],"target":33})";
  return prompt;
}

std::map<std::string, double> diagnose(const std::string& text) {
  Rollout rollout;
  rollout.text = text;
  rollout.finish_reason = FinishReason::kEos;
  const std::vector prompts{make_prompt()};
  const std::vector rollouts{rollout};
  return diagnose_bilingual_countdown(prompts, rollouts);
}

const std::string kAnswer = "</think><answer>(7*3)+12</answer>";

TEST(BilingualCorpus, WritesEnglishChineseAndBothInTheWantedShares) {
  const Task task = bilingual_countdown_task();
  const CorpusOptions options{.foreign_fraction = 0.25, .mixed_fraction = 0.3};
  int english = 0, chinese = 0, both = 0;
  for (uint64_t i = 0; i < 4000; ++i) {
    const std::string response = join(task.document(1, i, options).response);
    const auto words = count_language(thoughts_of(response), "en");
    if (words.words < 6) continue;  // one word is in one language
    english += words.in_language == words.words;
    chinese += words.in_language == 0;
    both += words.in_language > 0 && words.in_language < words.words;
  }
  const double all = english + chinese + both;
  EXPECT_NEAR(english / all, 0.45, 0.04);
  EXPECT_NEAR(chinese / all, 0.25, 0.04);
  EXPECT_NEAR(both / all, 0.30, 0.04);
}

TEST(BilingualCorpus, IsThePlainOneButForTheWords) {
  const Task plain = countdown_task(), bilingual = bilingual_countdown_task();
  EXPECT_EQ(plain.problem_rows(true), bilingual.problem_rows(true));
  const auto vocabulary = countdown_vocabulary(true), old = countdown_vocabulary();
  EXPECT_EQ(vocabulary.size(), 127u);
  EXPECT_TRUE(std::equal(old.begin(), old.end(), vocabulary.begin())) << "the ids of the plain task stay";
  EXPECT_FALSE(plain.rewrite);
}

TEST(BilingualCorpus, DocumentsEncodeBackToTheirTokens) {
  const Task task = bilingual_countdown_task();
  const Tokenizer tokenizer = Tokenizer::from_json(task.tokenizer_json(), "test");
  for (uint64_t i = 0; i < 300; ++i) {
    const auto document = task.document(2, i, {.foreign_fraction = 0.3, .mixed_fraction = 0.4});
    std::vector<int32_t> ids;
    for (const auto& token : document.response) ids.push_back(tokenizer.token_to_id(token).value());
    EXPECT_EQ(tokenizer.encode(join(document.response)), ids);
  }
}

TEST(BilingualDiagnosis, ReadsChineseWordsAsTheEnglishOnes) {
  const auto m = diagnose("<think>7+3=10,10+12=22比33等7*3=21,21+12=33比33对" + kAnswer);
  EXPECT_EQ(m.at("verdict"), 1);
  EXPECT_EQ(m.at("waits"), 1);
  EXPECT_EQ(m.at("tries"), 2);
  EXPECT_EQ(m.at("ends_yes"), 1);
  EXPECT_EQ(m.at("english"), 0);
  EXPECT_EQ(m.at("mixed"), 0);
  EXPECT_EQ(m.at("readable"), 0) << "no summary";
}

TEST(BilingualDiagnosis, SeesMixing) {
  const auto m = diagnose("<think>7+3=10,10+12=22 vs 33等7*3=21,21+12=33 vs 33 yes" + kAnswer);
  EXPECT_EQ(m.at("mixed"), 1);
  EXPECT_EQ(m.at("english"), 0.75);
}

TEST(BilingualDiagnosis, WantsATrueSummaryOneLanguageAndNoRepetition) {
  const std::string hit = "7*3=21,21+12=33 vs 33 yes", miss = "7+3=10,10+12=22 vs 33 wait", so = " so (7*3)+12=33";
  EXPECT_EQ(diagnose("<think>" + miss + hit + so + kAnswer).at("readable"), 1);
  EXPECT_EQ(diagnose("<think>" + miss + hit + so + kAnswer).at("yes_correct"), 1);
  EXPECT_EQ(diagnose("<think>" + miss + miss + hit + so + kAnswer).at("readable"), 0);
  EXPECT_EQ(diagnose("<think>" + miss + miss + hit + so + kAnswer).at("summary"), 1);
  EXPECT_EQ(diagnose("<think>7+3=10,10+12=22 vs 33等" + hit + so + kAnswer).at("readable"), 0);
  for (const char* untrue : {" so (7*3)+12=34", " so 12+(7*3)=33", " so ", "", " so (7*3)+12=33 yes"}) {
    EXPECT_EQ(diagnose("<think>" + hit + untrue + kAnswer).at("summary"), 0) << untrue;
  }
}

TEST(Rewrite, MakesTheReadableFormOfTheHeader) {
  const std::string messy = "<think>7+3=10,10+12=22比33 wait7+3=10,10+12=22 vs 33等7*3=21,21+12=33 vs 33对" + kAnswer;
  const auto text = rewrite_countdown(make_prompt(), messy);
  EXPECT_EQ(text.value(), "<think>7+3=10,10+12=22 vs 33 wait7*3=21,21+12=33 vs 33 yes so (7*3)+12=33" + kAnswer);
  EXPECT_EQ(diagnose(*text).at("readable"), 1);
  EXPECT_EQ(rewrite_countdown(make_prompt(), *text), text) << "what is readable stays";
}

TEST(Rewrite, LeavesOutWhatIsWrong) {
  const std::string hit = "7*3=21,21+12=33 vs 33 yes";
  const std::string readable = "<think>" + hit + " so (7*3)+12=33" + kAnswer;
  for (const char* rubbish : {"7+3=11,11+12=23 vs 33 wait", "7+7=14,14+12=26 vs 33 wait", "7 wait", "7+3=10 vs 33 wait",
                              "7+3=10,9+12=21 vs 33 wait"}) {
    EXPECT_EQ(rewrite_countdown(make_prompt(), "<think>" + (rubbish + hit) + kAnswer), readable) << rubbish;
  }
  EXPECT_EQ(rewrite_countdown(make_prompt(), "<think>" + hit + hit + "x" + kAnswer), readable);
  for (const auto& none : {"<think>" + kAnswer, "<think>" + hit + "</think><answer>7+3+12</answer>", std::string("x"),
                           "<think>7+3=10,10+12=22 vs 33 wait" + kAnswer}) {
    EXPECT_FALSE(rewrite_countdown(make_prompt(), none)) << none;
  }
}

TEST(Rewrite, EveryFormIsCorrectReadableAndOfTheVocabulary) {
  const Task task = bilingual_countdown_task();
  const Tokenizer tokenizer = Tokenizer::from_json(task.tokenizer_json(), "test");
  int rewritten = 0;
  for (uint64_t i = 0; i < 2000; ++i) {
    const auto document = task.document(3, i, {.foreign_fraction = 0.3, .mixed_fraction = 0.4});
    Prompt prompt;
    prompt.columns = "{\"numbers\":[" + document.prompt[0] + "," + document.prompt[2] + "," + document.prompt[4] +
                     "],\"target\":" + document.prompt[6] + "}";
    const auto text = task.rewrite(prompt, join(document.response));
    if (!text) continue;
    ++rewritten;
    Rollout rollout;
    rollout.text = *text;
    rollout.finish_reason = FinishReason::kEos;
    const auto m = diagnose_bilingual_countdown(std::vector{prompt}, std::vector{rollout});
    EXPECT_EQ(m.at("correct"), 1) << *text;
    EXPECT_EQ(m.at("readable"), 1) << *text;
    EXPECT_NO_THROW(tokenizer.encode(*text));
  }
  EXPECT_GT(rewritten, 200);
}

}  // namespace
}  // namespace hone
