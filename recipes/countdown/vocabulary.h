// The countdown task's tokens: the specials <pad>=0 and <eos>=1, the four tags, the verdict words, 0..99, and
// punctuation; 121 in all. The task of two languages has six more: ` so ` and five Chinese words.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hone {

/// What a word of the thoughts means, in the order of the arrays below.
enum class Say { kYes, kNo, kWait, kVersus, kSo };
inline constexpr std::string_view kEnglishWords[]{" yes", " no", " wait", " vs ", " so "};
inline constexpr std::string_view kChineseWords[]{"对", "错", "等", "比", "故"};

/// In the order of their ids.
std::vector<std::string> countdown_vocabulary(bool bilingual = false);

/// tokenizer.json of an ordinary WordLevel tokenizer. Text with a character outside the vocabulary is refused by it;
/// every sequence of tokens decodes to text, and prompts and responses encode back to the tokens they were made of.
std::string countdown_tokenizer_json(bool bilingual = false);

}  // namespace hone
