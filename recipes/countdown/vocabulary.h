// The countdown task's tokens: the specials <pad>=0 and <eos>=1, the four tags, the verdict words, 0..99, and
// punctuation; 121 in all.
#pragma once

#include <string>
#include <vector>

namespace hone {

/// In the order of their ids.
std::vector<std::string> countdown_vocabulary();

/// tokenizer.json of an ordinary WordLevel tokenizer. Text with a character outside the vocabulary is refused by it;
/// every sequence of tokens decodes to text, and prompts and responses encode back to the tokens they were made of.
std::string countdown_tokenizer_json();

}  // namespace hone
