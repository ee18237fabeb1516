#include "models/tokenizer_regex.h"

#include <algorithm>
#include <cctype>
#include <stdexcept>

#include <fmt/format.h>

#include "models/text/unicode.h"
#include "models/tokenizer_young_characters.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace hone {
namespace {

constexpr std::string_view kSpace = R"(\x09-\x0d\x20\x85\p{Z})";
// its complement, for use inside a class: every other category, and the controls that are no white space
constexpr std::string_view kNoSpace =
    R"(\p{L}\p{M}\p{N}\p{P}\p{S}\p{Cf}\p{Co}\p{Cn}\p{Cs}\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f)";
constexpr uint32_t kHeapLimitKiB = 512 << 10;  // of the interpreter, which steps in where the JIT's stack ends
constexpr size_t kMaxPatternBytes = 16 << 10;  // the longest in use has about 600
// \w \b: the engines disagree on marks; \h: hexadecimal digit there, blank here; \R \X \K \G \Q: not measured
constexpr std::string_view kRefusedEscapes = "wWbBhHRXKGQEkgNOy";

[[noreturn]] void refuse(std::string_view pattern, size_t position, const std::string& what) {
  throw std::invalid_argument(
      fmt::format("regular expression {} at byte {}: {}", text::excerpt(pattern), position, what));
}

/// One pass over a pattern that knows whether it is inside a character class.
class Rewriter {
 public:
  explicit Rewriter(std::string_view pattern) : pattern_(pattern) {}

  std::string run() {
    while (at_ < pattern_.size()) step();
    return std::move(out_);
  }

 private:
  void step() {
    const char c = pattern_[at_];
    if (c == '\\') {
      escape();
    } else if (in_class_) {
      class_character(c);
    } else {
      if (c == '[') open_class();
      if (c == '(') check_group();
      c == '{' ? interval() : copy(1);
    }
  }
  void escape() {
    if (at_ + 1 == pattern_.size()) refuse(pattern_, at_, "a backslash stands at the end");
    const char c = pattern_[at_ + 1];
    if (kRefusedEscapes.find(c) != std::string_view::npos) {
      refuse(pattern_, at_, fmt::format("\\{} is not supported, as its meaning differs between engines", c));
    }
    if (c == 'p' || c == 'P') return property();
    const bool braced = c == 'x' && pattern_.substr(at_ + 2).starts_with('{');
    if (c != 's' && c != 'S') return copy(braced ? braces_end(at_ + 2) - at_ : 2);
    const std::string_view set = c == 's' ? kSpace : kNoSpace;
    out_ += in_class_ ? std::string(set) : fmt::format("[{}]", set);
    at_ += 2;
  }
  /// A script's name means the script itself; PCRE2 would add its extensions.
  void property() {
    if (!pattern_.substr(at_ + 2).starts_with('{')) refuse(pattern_, at_, "a property's name belongs in braces");
    const size_t end = braces_end(at_ + 2);
    std::string_view name = pattern_.substr(at_ + 3, end - 1 - (at_ + 3));
    const bool negated = name.starts_with('^');
    if (negated) name.remove_prefix(1);
    const bool category = name.size() <= 2 || name == "Any";
    out_ += fmt::format("{}{{{}{}{}}}", pattern_.substr(at_, 2), negated ? "^" : "", category ? "" : "sc:", name);
    at_ = end;
  }
  size_t braces_end(size_t open) const {
    const size_t close = pattern_.find('}', open);
    if (close == std::string_view::npos) refuse(pattern_, open, "the brace is not closed");
    return close + 1;
  }
  /// Ruby reads {,n} as {0,n} and {n,m}+ as a repetition of a repetition; PCRE2 reads text and a possessive one.
  void interval() {
    const size_t end = braces_end(at_);
    if (pattern_.substr(at_, 2) == "{,") refuse(pattern_, at_, "write {0,n} for {,n}");
    if (pattern_.substr(end).starts_with('+')) refuse(pattern_, end, "+ after an interval is not supported");
    copy(end - at_);
  }
  /// A `]` that comes first in a class stands for itself, so it is copied together with the opening.
  void open_class() {
    in_class_ = true;
    size_t end = at_ + 1;
    if (end < pattern_.size() && pattern_[end] == '^') ++end;
    if (end < pattern_.size() && pattern_[end] == ']') ++end;
    copy(end - at_ - 1);
  }
  void class_character(char c) {
    if (c == '[') refuse(pattern_, at_, "a class inside a class is not supported");
    if (pattern_.substr(at_, 2) == "&&") refuse(pattern_, at_, "the intersection && is not supported");
    if (c == ']') in_class_ = false;
    copy(1);
  }
  /// `(?m` lets a dot match newlines in Ruby, and something else here.
  void check_group() {
    if (pattern_.substr(at_, 2) != "(?") return;
    if (pattern_.substr(at_, 3) == "(?#") refuse(pattern_, at_, "a comment is not supported");
    for (size_t i = at_ + 2;
         i < pattern_.size() && (std::isalpha(static_cast<unsigned char>(pattern_[i])) || pattern_[i] == '-'); ++i) {
      if (pattern_[i] != 'i' && pattern_[i] != '-')
        refuse(pattern_, i, "the only inline option that is supported is i");
      if (pattern_[i] == 'i') refuse_long_folds(i);
    }
  }
  /// Without case, Oniguruma lets a ligature or a sharp s match its two letters; PCRE2 does not.
  void refuse_long_folds(size_t at) const {
    for (const std::string_view pair : {"ff", "fi", "fl", "ss", "st"}) {
      const auto found =
          std::ranges::search(pattern_.substr(at), pair, {}, [](unsigned char c) { return std::tolower(c); });
      if (!found.empty()) refuse(pattern_, at, fmt::format("{} after the option i is not supported", pair));
    }
  }
  void copy(size_t count) {
    out_ += pattern_.substr(at_, count);
    at_ += count;
  }

  std::string_view pattern_;
  std::string out_;
  size_t at_ = 0;
  bool in_class_ = false;
};

bool asks_for_categories(std::string_view pattern) {
  for (const std::string_view escape : {"\\p", "\\P", "\\d", "\\D"}) {
    if (pattern.find(escape) != std::string_view::npos) return true;
  }
  return false;
}

std::string message_of(int error) {
  PCRE2_UCHAR text[256];
  pcre2_get_error_message(error, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

/// The stand-in of a young character, 0 for any other.
char32_t stand_in(char32_t c) {
  const auto after = std::ranges::upper_bound(kYoungRanges, c, {}, &YoungRange::first);
  if (after == std::begin(kYoungRanges) || c > std::prev(after)->last) return 0;
  if (c >= 0x20000) return kHanStandIn;
  const StandIns& stand_ins = kStandIns[std::prev(after)->category];
  return c < 0x10000 ? stand_ins.three_bytes : stand_ins.four_bytes;
}

bool may_begin_young(char byte) {
  const auto first = static_cast<unsigned char>(byte);
  return first >= 0xe0 && (first < 0xe4 || first == 0xea || first >= 0xf0);
}

/// `text` itself when it holds no young character, else a copy in `storage` with stand-ins.
std::string_view with_stand_ins(std::string_view text, std::string& storage) {
  for (size_t at = 0; at < text.size(); ++at) {
    if (!may_begin_young(text[at])) continue;
    const char32_t other = stand_in(text::code_point(text.substr(at)));
    if (other == 0) continue;
    if (storage.empty()) storage = text;
    std::string bytes;
    text::append_utf8(bytes, other);
    storage.replace(at, bytes.size(), bytes);
  }
  return storage.empty() ? text : storage;
}

size_t next_character(std::string_view text, size_t at) {
  for (++at; at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80;) ++at;
  return at;
}

}  // namespace

struct TokenizerRegex::Code {
  Code(pcre2_code* compiled, bool categories)
      : code(compiled), asks_for_categories(categories), limits(pcre2_match_context_create(nullptr)) {
    pcre2_set_heap_limit(limits, kHeapLimitKiB);
  }
  ~Code() {
    pcre2_match_context_free(limits);
    pcre2_code_free(code);
  }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;
  pcre2_code* code;
  bool asks_for_categories;
  pcre2_match_context* limits;
};

std::string with_oniguruma_space(std::string_view pattern) { return Rewriter(pattern).run(); }

TokenizerRegex::TokenizerRegex(std::string_view pattern) {
  if (pattern.size() > kMaxPatternBytes) {
    refuse(pattern, 0, fmt::format("it has {} bytes, at most {} are read", pattern.size(), kMaxPatternBytes));
  }
  const std::string rewritten = with_oniguruma_space(pattern);
  const std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), &pcre2_compile_context_free);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  // Ruby's ^ and $ match at every line; a pattern is compiled for valid UTF-8 only
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(rewritten.data()), rewritten.size(),
                                   PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &error, &offset, context.get());
  if (!code) refuse(rewritten, offset, message_of(error));
  code_ = std::make_shared<Code>(code, asks_for_categories(pattern));
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // without a JIT the interpreter gives the same matches
}

TokenizerRegex TokenizerRegex::literal(std::string_view text) {
  std::string pattern;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x80 && !std::isalnum(static_cast<unsigned char>(c))) {
      pattern += fmt::format("\\x{{{:x}}}", static_cast<int>(c));
    } else {
      pattern += c;
    }
  }
  return TokenizerRegex(pattern);
}

void TokenizerRegex::for_each(std::string_view original, const std::function<void(size_t, size_t)>& visit) const {
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(pcre2_match_data_create(1, nullptr),
                                                                                 &pcre2_match_data_free);
  std::string storage;
  const std::string_view text = code_->asks_for_categories ? with_stand_ins(original, storage) : original;
  uint32_t options = PCRE2_NO_UTF_CHECK;
  size_t last_end = PCRE2_UNSET;
  for (size_t at = 0; at <= text.size();) {
    const int found = pcre2_match(code_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at, options,
                                  data.get(), code_->limits);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT && !(options & PCRE2_NO_JIT)) {
      options |= PCRE2_NO_JIT;  // the interpreter takes its memory from the heap
      continue;
    }
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0)
      throw std::runtime_error(fmt::format("splitting a text of {} bytes: {}", text.size(), message_of(found)));
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(data.get());
    const auto [begin, end] = std::pair(range[0], range[1]);
    const bool repeats = begin == end && last_end == end;
    if (!repeats) visit(begin, end);
    last_end = end;
    at = repeats ? next_character(text, at) : end;
  }
}

std::vector<std::pair<size_t, size_t>> TokenizerRegex::find_all(std::string_view text) const {
  std::vector<std::pair<size_t, size_t>> matches;
  for_each(text, [&](size_t begin, size_t end) { matches.emplace_back(begin, end); });
  return matches;
}

std::string TokenizerRegex::replace_all(std::string_view text, std::string_view replacement) const {
  if (text.empty()) return "";  // Hugging Face does not look into it, whatever matches nothing
  std::string result;
  size_t done = 0;
  for_each(text, [&](size_t begin, size_t end) {
    result += text.substr(done, begin - done);
    result += replacement;
    done = end;
  });
  result += text.substr(done);
  return result;
}

}  // namespace hone
