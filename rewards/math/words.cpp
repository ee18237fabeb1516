#include "rewards/math/words.h"

#include <algorithm>

namespace hone {
std::string_view undressed_end(std::string_view text) {
  constexpr ByteSet kDress(" \t\r\n*$_`\"'(\\");  // the backslash of \( and \[
  for (;;) {
    if (text.ends_with("\\[")) text.remove_suffix(2);
    else if (text.ends_with("\\boxed{")) text.remove_suffix(7);
    else if (!text.empty() && kDress[text.back()]) text.remove_suffix(1);
    else return text;
  }
}

std::string_view undressed_begin(std::string_view text) {
  constexpr ByteSet kDress(" \t\r\n*$_`\"')}");
  for (;;) {
    if (text.starts_with("\\)") || text.starts_with("\\]")) text.remove_prefix(2);
    else if (!text.empty() && kDress[text.front()]) text.remove_prefix(1);
    else return text;
  }
}

bool ends_with_word(std::string_view text, std::string_view lower) {
  if (text.size() < lower.size() || !word_at(text, text.size() - lower.size(), lower)) return false;
  return text.size() == lower.size() || !is_letter(lower[0]) || !is_letter(text[text.size() - lower.size() - 1]);
}

bool starts_with_word(std::string_view text, std::string_view lower) {
  if (!word_at(text, 0, lower)) return false;
  return text.size() == lower.size() || !is_letter(lower.back()) || !is_letter(text[lower.size()]);
}

bool ends_with_any_word(std::string_view text, Words words) {
  return std::ranges::any_of(words, [&](auto word) { return ends_with_word(text, word); });
}

bool starts_with_any_word(std::string_view text, Words words) {
  return std::ranges::any_of(words, [&](auto word) { return starts_with_word(text, word); });
}

bool holds_phrase(std::string_view text, Words sorted) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (!is_letter(text[i]) || (i > 0 && is_letter(text[i - 1]))) continue;
    const auto first = [](std::string_view phrase) { return phrase[0]; };
    const auto same = std::ranges::equal_range(sorted, ascii_lower(text[i]), {}, first);
    if (starts_with_any_word(text.substr(i), {same.begin(), same.end()})) return true;
  }
  return false;
}

std::string_view last_part(std::string_view text, size_t bytes) {
  return text.substr(text.size() - std::min(text.size(), bytes));
}

}  // namespace hone
