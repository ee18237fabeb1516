#include "rewards/language.h"

#include <algorithm>
#include <span>
#include <stdexcept>
#include <vector>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "rewards/math/scan.h"

namespace hone {
namespace {

constexpr size_t kNone = std::string_view::npos;

// The most common words of English, and those of its neighbours that are no English words.
constexpr std::string_view kEnglish[]{
    "about", "after",  "all",     "also",  "an",     "and",       "another", "answer", "any",  "are",   "as",
    "at",    "be",     "because", "been",  "before", "both",      "but",     "by",     "can",  "check", "could",
    "do",    "does",   "each",    "equal", "equals", "find",      "first",   "for",    "from", "get",   "gives",
    "had",   "has",    "have",    "hence", "how",    "if",        "in",      "into",   "is",   "it",    "its",
    "just",  "know",   "let",     "like",  "make",   "means",     "more",    "must",   "need", "next",  "not",
    "now",   "number", "of",      "on",    "one",    "only",      "or",      "other",  "our",  "out",   "problem",
    "same",  "second", "should",  "since", "so",     "solve",     "some",    "step",   "such", "than",  "that",
    "the",   "their",  "them",    "then",  "there",  "therefore", "these",   "they",   "this", "thus",  "time",
    "to",    "two",    "use",     "value", "wait",   "was",       "we",      "were",   "what", "when",  "where",
    "which", "will",   "with",    "would", "you"};
constexpr std::string_view kForeign[]{
    "aber",     "abbiamo", "alors", "alle",   "anche", "auch",    "auf",   "aus",  "aux",   "avec",   "avons",
    "bei",      "ce",      "cette", "che",    "ci",    "con",     "da",    "dann", "das",   "dass",   "dat",
    "de",       "dei",     "del",   "della",  "dem",   "der",     "des",   "di",   "diese", "dieser", "donc",
    "du",       "dus",     "een",   "ein",    "eine",  "einen",   "einer", "el",   "elle",  "em",     "en",
    "entonces", "es",      "esta",  "este",   "et",    "gli",     "haben", "het",  "hier",  "hoe",    "ich",
    "il",       "ils",     "ist",   "je",     "jetzt", "kann",    "la",    "las",  "le",    "les",    "lo",
    "los",      "maar",    "mais",  "mas",    "met",   "mit",     "muy",   "nach", "naar",  "nel",    "nicht",
    "niet",     "noch",    "nos",   "nous",   "nur",   "oder",    "ook",   "os",   "pas",   "pero",   "por",
    "porque",   "quando",  "que",   "questo", "qui",   "quindi",  "se",    "sein", "sich",  "sie",    "sind",
    "sono",     "sont",    "su",    "sur",    "sus",   "tenemos", "temos", "um",   "uma",   "una",    "und",
    "une",      "uno",     "unter", "van",    "vom",   "von",     "voor",  "vous", "weil",  "wenn",   "werden",
    "wie",      "wij",     "wir",   "wird",   "wordt", "worden",  "zijn",  "zu",   "zum",   "zur",    "zwei",
    "zwischen", "ze"};

bool holds(std::span<const std::string_view> words, std::string_view word) {
  return std::ranges::find(words, word) != words.end();
}

enum class Script { kNone, kLatin, kAccented, kCyrillic, kForeignCyrillic, kHan, kKana, kOther };

struct Letter {
  Script script = Script::kNone;
  size_t bytes = 1;
};

/// The code point at `at`, and its length in bytes; U+FFFD for what is no UTF-8.
std::pair<char32_t, size_t> decode(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u; };
  const size_t bytes = byte(0) < 0x80 ? 1 : byte(0) < 0xC0 ? 0 : byte(0) < 0xE0 ? 2 : byte(0) < 0xF0 ? 3 : 4;
  if (bytes == 1) return {byte(0), 1};
  char32_t code = bytes ? byte(0) & (0x7Fu >> bytes) : 0;
  for (size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {0xFFFD, 1};
    code = code << 6 | (byte(i) & 0x3F);
  }
  return bytes ? std::pair{code, bytes} : std::pair{char32_t{0xFFFD}, size_t{1}};
}

Script script_of(char32_t c) {
  const auto in = [c](char32_t low, char32_t high) { return c >= low && c <= high; };
  if (in('a', 'z') || in('A', 'Z')) return Script::kLatin;
  if (c < 0xC0 || c == 0xD7 || c == 0xF7) return Script::kNone;
  if (in(0xC0, 0x24F) || in(0x1E00, 0x1EFF)) return Script::kAccented;
  if (in(0x410, 0x44F) || c == 0x401 || c == 0x451) return Script::kCyrillic;
  if (in(0x400, 0x52F)) return Script::kForeignCyrillic;
  if (in(0x4E00, 0x9FFF) || in(0x3400, 0x4DBF) || in(0x20000, 0x3134F)) return Script::kHan;
  if (in(0x3041, 0x30FF)) return Script::kKana;
  // Greek, Armenian, Hebrew, Arabic, the scripts of India and South-East Asia, Georgian, Korean
  const bool other =
      in(0x370, 0x3FF) || in(0x530, 0x6FF) || in(0x900, 0x11FF) || in(0x1780, 0x17FF) || in(0xAC00, 0xD7A3);
  return other ? Script::kOther : Script::kNone;
}

struct Word {
  Script script;  ///< kAccented and kForeignCyrillic when one letter is
  std::string_view text;
  size_t letters = 1;
};

bool same_alphabet(Script a, Script b) {
  const auto family = [](Script s) {
    return s == Script::kAccented ? Script::kLatin : s == Script::kForeignCyrillic ? Script::kCyrillic : s;
  };
  return family(a) == family(b);
}

/// The word that begins at `at`, whose first letter is of `script`.
Word read_word(std::string_view text, size_t at, Script script) {
  size_t end = at + decode(text, at).second;
  Word word{script, {}, 1};
  while (script != Script::kHan && end < text.size()) {
    const auto [code, bytes] = decode(text, end);
    const auto next = script_of(code);
    if (!same_alphabet(script, next)) break;
    if (next == Script::kAccented || next == Script::kForeignCyrillic) word.script = next;
    end += bytes;
    ++word.letters;
  }
  word.text = text.substr(at, end - at);
  return word;
}

/// Where mathematics or a command that begins at `at` ends; `at` when there is none.
size_t skip_mathematics(std::string_view text, size_t at, NextFinder& bracket, NextFinder& parenthesis) {
  const auto after = [&](size_t close, size_t bytes) { return close == kNone ? at + bytes : close + bytes; };
  const auto rest = text.substr(at);
  if (rest.starts_with("$$")) return after(text.find("$$", at + 2), 2);
  if (rest.starts_with('$')) {
    const size_t close = text.find_first_of("$\n", at + 1);
    if (close == kNone || text[close] != '$') return at + 1;
    const bool is_price = close + 1 < text.size() && text[close + 1] >= '0' && text[close + 1] <= '9';
    return is_price ? at + 1 : close + 1;
  }
  if (rest.starts_with("\\[")) return after(bracket.next(at + 2), 2);
  if (rest.starts_with("\\(")) return after(parenthesis.next(at + 2), 2);
  if (!rest.starts_with('\\')) return at;
  size_t end = at + 1;
  while (end < text.size() && script_of(static_cast<unsigned char>(text[end])) == Script::kLatin) ++end;
  return end;
}

std::string lower_of(std::string_view word) {
  std::string lower(word);
  std::ranges::transform(lower, lower.begin(), ascii_lower);
  return lower;
}

bool is_name(const Word& word) {
  const char first = word.text[0];
  return word.script == Script::kAccented && first >= 'A' && first <= 'Z';
}

/// Counts the words of one sentence.
LanguageCount count_sentence(const std::vector<Word>& words, std::string_view language) {
  int english = 0, foreign = 0;
  bool japanese = false;
  for (const auto& word : words) {
    japanese |= word.script == Script::kKana;
    if (word.script != Script::kLatin) continue;
    const auto lower = lower_of(word.text);
    english += holds(kEnglish, lower);
    foreign += holds(kForeign, lower);
  }
  LanguageCount count;
  for (const auto& word : words) {
    if ((word.letters == 1 && word.script != Script::kHan) || is_name(word)) continue;
    ++count.words;
    if (language == "zh") count.in_language += word.script == Script::kHan && !japanese;
    if (language == "ru") count.in_language += word.script == Script::kCyrillic;
    if (language == "en") {
      count.in_language += word.script == Script::kLatin && foreign <= english && !holds(kForeign, lower_of(word.text));
    }
  }
  return count;
}

bool ends_sentence(char32_t c) {
  return c == '.' || c == '!' || c == '?' || c == '\n' || c == 0x3002 || c == 0xFF01 || c == 0xFF1F;
}

std::string target_language(const std::string& columns, const std::string& fallback) {
  const auto row = nlohmann::json::parse(columns);
  const auto value = row.find("language");
  if (value == row.end() || value->is_null()) return fallback;
  for (const char* known : {"en", "ru", "zh"}) {
    if (*value == known) return known;
  }
  throw std::runtime_error(
      fmt::format("column 'language' is {}; it must be \"en\", \"ru\" or \"zh\"", value->dump().substr(0, 80)));
}

Score score_language(std::string_view completion, const std::string& language) {
  const auto count = count_language(thoughts_of(completion), language);
  if (count.words == 0) return Score::wrong("there are no words in the thoughts");
  return {static_cast<double>(count.in_language) / static_cast<double>(count.words),
          count.in_language == count.words ? Verdict::kCorrect : Verdict::kWrong,
          fmt::format("{} of {} words of the thoughts are in language {}", count.in_language, count.words, language)};
}

}  // namespace

std::string_view thoughts_of(std::string_view completion) {
  constexpr std::string_view kOpen = "<think>", kClose = "</think>";
  auto thoughts = completion.substr(0, completion.rfind(kClose));
  const size_t open = thoughts.find(kOpen);
  return open == kNone ? thoughts : thoughts.substr(open + kOpen.size());
}

LanguageCount count_language(std::string_view text, std::string_view language) {
  LanguageCount total;
  std::vector<Word> sentence;
  NextFinder bracket(text, "\\]"), parenthesis(text, "\\)");
  const auto finish = [&] {
    const auto count = count_sentence(sentence, language);
    total.words += count.words;
    total.in_language += count.in_language;
    sentence.clear();
  };
  for (size_t at = 0; at < text.size();) {
    if (const size_t after = skip_mathematics(text, at, bracket, parenthesis); after > at) {
      at = std::min(after, text.size());
      continue;
    }
    const auto [code, bytes] = decode(text, at);
    const auto script = script_of(code);
    if (script != Script::kNone) sentence.push_back(read_word(text, at, script));
    if (ends_sentence(code)) finish();
    at += script == Script::kNone ? bytes : sentence.back().text.size();
  }
  finish();
  return total;
}

RewardFn language_consistency(const LanguageOptions& options) {
  return [options](const Prompt& prompt, std::span<const Rollout> rollouts) {
    const auto language = target_language(prompt.columns, options.language);
    std::vector<Score> scores;
    for (const auto& rollout : rollouts) scores.push_back(score_language(rollout.text, language));
    return scores;
  };
}

}  // namespace hone
