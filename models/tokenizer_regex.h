// The regular expressions of tokenizer.json files with the meaning that Hugging Face's engine (Oniguruma, Ruby syntax,
// UTF-8) gives them, on PCRE2 with its JIT. Only for tokenizers: what could differ between the engines is refused.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hone {

/// Immutable; matching from many threads is fine; copies share the compiled code.
class TokenizerRegex {
 public:
  /// Throws std::invalid_argument with the place in the pattern and the reason.
  explicit TokenizerRegex(std::string_view pattern);
  /// Matches exactly this text.
  static TokenizerRegex literal(std::string_view text);

  /// Byte ranges [begin, end) of all matches from left to right. REQUIRES: `text` is valid UTF-8. An empty match that
  /// follows a match at once is left out, as Oniguruma's iterator does. Throws std::runtime_error when a text makes the
  /// engine exceed its limits.
  std::vector<std::pair<size_t, size_t>> find_all(std::string_view text) const;
  /// The same, one by one.
  void for_each(std::string_view text, const std::function<void(size_t begin, size_t end)>& visit) const;
  /// The text with every match replaced.
  std::string replace_all(std::string_view text, std::string_view replacement) const;

 private:
  struct Code;
  std::shared_ptr<const Code> code_;
};

/// `\s` and `\S` rewritten to Unicode White_Space as Oniguruma has it (PCRE2's `\s` also holds U+180E).
std::string with_oniguruma_space(std::string_view pattern);

}  // namespace hone
