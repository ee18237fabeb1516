// `language_consistency`: the share of the thoughts' words that are in the target language, the reward with which
// DeepSeek-R1 keeps its chain of thought from mixing languages (arXiv 2501.12948, 2.3.2). R1 gives no definition of a
// word or its language; here:
//
//   - The thoughts are what stands before the last </think> (after <think>, if it is there), else the whole completion.
//   - Mathematics between dollar signs or in \( \) and \[ \], commands, and single letters are no words; a dollar
//     sign before a digit ends no mathematics ($5 .. $6 are prices). A word is a run of letters of one script, or one
//     Chinese character.
//   - zh: Chinese characters, but not in a sentence that has kana (Japanese).
//     ru: Cyrillic words without letters that Russian does not have.
//     en: Latin words, but not those of a sentence in which common words of German, French, Spanish, Italian,
//         Portuguese or Dutch outnumber the common English ones, nor such words themselves, nor words with accents.
//         Capitalised words with accents are names and are not counted at all.
//
//   language=en  "<think>First we add 3 and 4</think>.."          1
//                "<think>First we add 那么 3 and 4</think>.."       4 of 6 words: 0.67
//                "<think>$3+4=7$</think>.."                        0: no words
//
// The target is option `language` (en, zh or ru), or the row's column of that name.
#pragma once

#include <string>
#include <string_view>

#include "rewards/reward.h"

namespace hone {

struct LanguageOptions {
  std::string language = "en";

  template <class Visitor>
  void visit(Visitor& v) {
    v("language", language, {"en", "ru", "zh"});
  }
};

/// What stands before the last </think>, and after <think> if it is there; a view into the completion.
std::string_view thoughts_of(std::string_view completion);

/// Words of a text, and how many of them are in a language ("en", "ru" or "zh").
struct LanguageCount {
  size_t words = 0, in_language = 0;
};
LanguageCount count_language(std::string_view text, std::string_view language);

/// The verdict is "correct" when every word is in the target language. Throws std::runtime_error for another `language`
/// in a row.
RewardFn language_consistency(const LanguageOptions& options);

}  // namespace hone
