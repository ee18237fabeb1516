#include "rewards/math/extract.h"

#include <algorithm>
#include <cstdint>
#include <functional>

#include "rewards/math/spans.h"

namespace hone {
namespace {

constexpr size_t kNone = std::string_view::npos;
constexpr std::string_view kAnswer = "answer", kFinal = "final ";
constexpr ptrdiff_t kMaxAnswerWords = 1000;
constexpr int kFinalHope = 0, kFinalIs = 50, kAnswerColon = 100, kAnswerWord = 200, kFirstString = 250, kAnywhere = 300;

// What an environment can be recognised by, and (a first byte of) what stands before a number.
constexpr ByteSet kEnvironmentBytes("$\\[");
constexpr ByteSet kPrefixBytes(" \t\n\r\v\f\x1C\x1D\x1E\x1F=\xC2\xE1\xE2\xE3");

// What may follow that, or continue it: digits, signs, a currency sign, bold marks, and any byte beyond ASCII.
constexpr auto kNumberBytes = [] {
  ByteSet set("0123456789-.($*");
  for (unsigned char c = 0xFF; c >= 0x80; --c) set.add(c);
  return set;
}();

std::vector<size_t> find_answer_words(std::string_view text) {
  std::vector<size_t> found;
  for (const char rarest : {'w', 'W'}) {
    for (size_t w = text.find(rarest); w != kNone; w = text.find(rarest, w + 1)) {
      if (w >= 3 && word_at(text, w - 3, kAnswer)) found.push_back(w - 3);
    }
  }
  std::ranges::sort(found);
  // the last ones are tried first; texts with more of them are no answers
  if (std::ssize(found) > kMaxAnswerWords) found.erase(found.begin(), found.end() - kMaxAnswerWords);
  return found;
}

}  // namespace

const char* to_string(SpanKind kind) {
  switch (kind) {
    case SpanKind::kLatex:
      return "math environment";
    case SpanKind::kLastBoxes:
      return "box";
    case SpanKind::kFraction:
      return "fraction";
    case SpanKind::kNumber:
      return "number";
    case SpanKind::kExpression:
      return "expression";
    case SpanKind::kString:
      return "choice";
  }
  return "choice";
}

std::string_view scanned_part(std::string_view text) {
  if (text.size() <= kMaxScannedBytes) return text;
  const size_t begin = text.size() - kMaxScannedBytes;
  return text.substr(next_char(text, begin - 1));
}

/// One list of matches per pattern of the current priority, each from left to right without overlap; they are handed
/// out from the right.
class Candidates::Search {
 public:
  Search(std::string_view text, const ExtractConfig& config, bool quirks)
      : text_(text),
        config_(config),
        quirks_(quirks),
        latex_(text, quirks),
        plain_(text, quirks),
        answers_(find_answer_words(text)) {
    for (const int p : {kFinalHope, kFinalIs, kAnswerColon, kAnswerWord}) {
      if (!answers_.empty()) priorities_.push_back(p);
    }
    if (config.without_anchor) priorities_.insert(priorities_.end(), {kFirstString, kAnywhere});
    if (config.boxed_match_priority >= 0) priorities_.push_back(config.boxed_match_priority);
    std::ranges::sort(priorities_, std::greater());
    priorities_.erase(std::ranges::unique(priorities_).begin(), priorities_.end());
  }

  std::optional<Candidate> next() {
    for (;;) {
      List* best = nullptr;
      for (auto& list : lists_) {
        while (list.matches.empty() && list.unscanned > 0) scan_block(list);
        const bool is_better =
            !list.matches.empty() && (!best || comes_before(list.matches.back(), best->matches.back()));
        if (is_better) best = &list;
      }
      if (best) return take(*best);
      if (priorities_.empty()) return {};
      priority_ = priorities_.back();
      priorities_.pop_back();
      find_all();
    }
  }

 private:
  struct Match {
    uint32_t begin, end, first_span, num_spans;
  };
  using Then = PlainScanner::Then;
  using PlainMatch = std::optional<PlainScanner::Match> (PlainScanner::*)(size_t at, Then then);

  /// Matches from left to right. Numbers and arithmetic anywhere are looked for block by block from the right: in long
  /// texts few are asked for.
  struct List {
    std::vector<Match> matches;
    size_t unscanned = 0;  // the text before is still to be scanned
    PlainMatch match_at = nullptr;
  };

  static bool comes_before(const Match& a, const Match& b) {
    return a.end != b.end ? a.end > b.end : a.begin < b.begin;
  }

  Candidate take(List& list) {
    const Match match = list.matches.back();
    list.matches.pop_back();
    return {priority_, std::span(spans_).subspan(match.first_span, match.num_spans)};
  }

  void find_all() {
    lists_.clear();
    spans_.clear();
    for (const auto type : config_.match_types) {
      if (type == MatchType::kLatex) find_latex();
      if (type == MatchType::kExpr) find_plain();
      if (type == MatchType::kString) find_strings();
    }
  }

  void add(size_t begin, size_t end, size_t first_span) {
    lists_.back().matches.push_back(make_match(begin, end, first_span));
  }

  Match make_match(size_t begin, size_t end, size_t first_span) const {
    return {static_cast<uint32_t>(begin), static_cast<uint32_t>(end), static_cast<uint32_t>(first_span),
            static_cast<uint32_t>(spans_.size() - first_span)};
  }

  // Anchors. `match_from(a)` tries to match what belongs to the word "answer" at `a`, appends its spans and returns
  // where it ends, or npos. Matches do not overlap.
  template <class Match>
  void after_each_answer(bool after_final, const Match& match_from) {
    lists_.emplace_back();
    size_t free = 0;
    near_failed_ = equals_failed_ = 0;
    for (const size_t answer : answers_) {
      if (after_final && (answer < kFinal.size() || !word_at(text_, answer - kFinal.size(), kFinal))) continue;
      const size_t begin = after_final ? answer - kFinal.size() : answer;
      if (begin < free) continue;
      const size_t first_span = spans_.size();
      const size_t end = match_from(answer + kAnswer.size());
      if (end == kNone) {
        spans_.resize(first_span);
        continue;
      }
      add(begin, end, first_span);
      free = end;
    }
  }

  size_t skip_colon(size_t at) const { return at < text_.size() && text_[at] == ':' ? at + 1 : at; }

  /// "answer is X I hope": X follows " is", a colon perhaps.
  template <class Match>
  size_t after_is(size_t at, const Match& match_at) {
    return word_at(text_, at, " is") ? match_at(skip_colon(at + 3)) : kNone;
  }

  /// The first place, `max_chars` characters from `at` at most, where `match_at` succeeds; lines may be crossed or not.
  /// Places where it failed after an earlier anchor are not tried again.
  template <class Match>
  size_t within(size_t at, int max_chars, bool over_lines, const Match& match_at) {
    for (int i = 0; i <= max_chars; ++i) {
      if (at >= near_failed_) {
        const size_t end = match_at(at);
        if (end != kNone) return end;
        near_failed_ = at + 1;
      }
      if (at >= text_.size() || (!over_lines && text_[at] == '\n')) return kNone;
      at = next_char(text_, at);
    }
    return kNone;
  }

  /// "final answer .. is X" with up to 100 characters between.
  template <class Match>
  size_t after_later_is(size_t at, bool over_lines, const Match& match_at) {
    return within(at, 100, over_lines, [&](size_t from) {
      if (!space_at(text_, from)) return kNone;
      const size_t is = plain_.skip_space(from);
      return text_.substr(is).starts_with("is") ? match_at(skip_colon(is + 2)) : kNone;
    });
  }

  /// "answer .. X" or "answer: .. X": matches for the colon or any other continuation.
  template <class Match>
  size_t after_answer(size_t at, const Match& match_from) {
    if (priority_ == kAnswerWord) return match_from(at);
    return skip_colon(at) > at ? match_from(at + 1) : kNone;
  }

  void find_latex() {
    const auto at = [&](size_t from) { return latex_.match_at(from, false, spans_); };
    const auto after_space = [&](size_t from) { return latex_.match_after_space(from, false, spans_); };
    const auto with_hope = [&](size_t from) {
      const size_t end = after_space(from);
      return end != kNone && i_hope_at(text_, end) ? end : kNone;
    };
    if (priority_ == kFinalHope) after_each_answer(true, [&](size_t a) { return after_is(a, with_hope); });
    if (priority_ == kFinalIs) {
      after_each_answer(true, [&](size_t a) { return after_later_is(a, true, after_space); });
    }
    if (priority_ == kAnswerColon || priority_ == kAnswerWord) {
      after_each_answer(
          false, [&](size_t a) { return after_answer(a, [&](size_t from) { return within(from, 50, true, at); }); });
    }
    if (priority_ == kAnywhere) find_environments(false);
    if (priority_ == config_.boxed_match_priority) {
      find_environments(true);
      find_bare_box();
    }
  }

  void find_environments(bool boxed) {
    const bool possible = boxed ? text_.find("\\boxed{") != kNone
                                : text_.find('$') != kNone || text_.find('\\') != kNone || text_.find('[') != kNone;
    if (!possible) return;
    lists_.emplace_back();
    for (size_t i = 0, free = 0; i < text_.size(); ++i) {
      if (!kEnvironmentBytes[text_[i]]) continue;
      size_t begin = i;
      if (text_[i] == '[') {  // begins with the white space before it, unless it is \[
        if (i == free || text_[i - 1] == '\\') continue;
        begin = previous_char(text_, i);
        if (begin < free) continue;
      } else if (text_[i] == '\\' && i > free && text_[i - 1] == '-') {
        begin = i - 1;
      }
      const size_t first_span = spans_.size();
      size_t end = latex_.match_at(begin, boxed, spans_);
      if (end == kNone && begin < i && text_[i] == '\\') end = latex_.match_at(begin = i, boxed, spans_);
      if (end == kNone) continue;
      add(begin, end, first_span);
      free = end;
      i = end - 1;
    }
  }

  void find_bare_box() {
    const size_t box = text_.find("\\boxed{");
    const size_t brace = box == kNone ? kNone : text_.rfind('}');
    if (brace == kNone || brace < box + 8) return;
    lists_.emplace_back();
    spans_.push_back({SpanKind::kLastBoxes, text_.substr(box, brace + 1 - box), false});
    add(box, brace + 1, spans_.size() - 1);
  }

  size_t take_match(const std::optional<PlainScanner::Match>& match) {
    if (!match) return kNone;
    spans_.push_back(match->span);
    return match->end;
  }

  /// Any white space, then what needs one character of it (or an = sign) before itself.
  size_t either_after_space(size_t at, Then then) {
    const size_t begin = plain_.skip_space(at);
    auto match = plain_.either_at(begin, then);
    if (!match && begin > at) match = plain_.either_at(previous_char(text_, begin), then);
    return take_match(match);
  }

  /// "answer is 14 (at x = 2)": the number right behind, if no equation begins with it.
  size_t right_behind(size_t at) {
    const size_t is = plain_.skip_space(at);
    if (word_at(text_, is, "is ")) at = is + 2;
    const auto match = plain_.number_at(at, Then::kNoEqualsSign);
    const size_t next = match ? text_.find_first_not_of(" *", match->end) : kNone;
    const bool ends = next == kNone || is_letter(text_[next]) || text_[next] == '(' || text_[next] == '.';
    return match && ends ? take_match(match) : kNone;
  }

  /// The last = sign within 100 characters on this line, else the nearest number within 50. For training what stands
  /// right behind comes before both.
  size_t after_equals_or_near(size_t at) {
    if (const size_t end = quirks_ ? kNone : right_behind(at); end != kNone) return end;
    size_t line = at;
    for (int i = 0; i < 101 && line < text_.size() && text_[line] != '\n'; ++i) line = next_char(text_, line);
    for (size_t i = line; i-- > std::max(at, equals_failed_);) {
      if (text_[i] != '=') continue;
      const size_t end = either_after_space(i + 1, Then::kNoEqualsSign);
      if (end != kNone) return end;
    }
    equals_failed_ = line;
    return within(at, 50, false, [&](size_t from) { return take_match(plain_.either_at(from, Then::kNoEqualsSign)); });
  }

  void find_plain() {
    if (priority_ == kFinalHope) {
      after_each_answer(true, [&](size_t a) {
        return after_is(a, [&](size_t from) { return either_after_space(from, Then::kIHope); });
      });
    }
    if (priority_ == kFinalIs) {
      after_each_answer(true, [&](size_t a) {
        return after_later_is(a, false,
                              [&](size_t from) { return take_match(plain_.either_at(from, Then::kAnything)); });
      });
    }
    if (priority_ == kAnswerColon || priority_ == kAnswerWord) {
      after_each_answer(
          false, [&](size_t a) { return after_answer(a, [&](size_t from) { return after_equals_or_near(from); }); });
    }
    if (priority_ != kAnywhere) return;
    lists_.push_back({{}, text_.size(), &PlainScanner::expression_at});
    lists_.push_back({{}, text_.size(), &PlainScanner::number_at});
  }

  /// Scans the last block that is left. A block begins at a letter, which no number or expression can cross.
  void scan_block(List& list) {
    constexpr size_t kBlock = 256;
    const size_t end = list.unscanned;
    size_t begin = end - std::min(end, kBlock);
    while (begin > 0 && !is_letter(text_[begin])) --begin;
    list.unscanned = begin;
    for (size_t i = begin; i < end; ++i) {
      if (i > 0 && !(kPrefixBytes[text_[i]] && (i + 1 == end || kNumberBytes[text_[i + 1]]))) continue;
      const auto match = (plain_.*list.match_at)(i, Then::kAnything);
      if (!match) continue;
      spans_.push_back(match->span);
      list.matches.push_back(make_match(i, match->end, spans_.size() - 1));
      i = match->end - 1;
    }
  }

  // Strings.
  static constexpr std::string_view kBold = "**";

  size_t skip_bold(size_t at) const { return text_.substr(at).starts_with(kBold) ? at + kBold.size() : at; }

  bool ends_string(size_t at) const {
    return at >= text_.size() || text_[at] == '.' || text_[at] == ',' || text_[at] == ':' || space_at(text_, at);
  }

  /// The first string of the list that stands at `at` so that `fits(end)`.
  template <class Fits>
  size_t string_at(size_t at, const Fits& fits) {
    for (const auto& key : config_.strings) {
      if (!text_.substr(std::min(at, text_.size())).starts_with(key)) continue;
      const size_t end = fits(at + key.size());
      if (end == kNone) continue;
      spans_.push_back({SpanKind::kString, text_.substr(at, key.size()), false});
      return end;
    }
    return kNone;
  }

  size_t whole_string_at(size_t at) {
    const auto fits = [&](size_t end) {
      const size_t last = skip_bold(end);
      if (!ends_string(last)) return ends_string(end) ? std::min(end + 1, text_.size()) : kNone;
      return last >= text_.size() ? last : next_char(text_, last);
    };
    return string_at(skip_bold(at), fits);
  }

  /// A whole string after white space (or at the start of the text).
  size_t spaced_string_at(size_t at) {
    if (at == 0) {
      const size_t end = whole_string_at(0);
      if (end != kNone) return end;
    }
    const size_t space = space_at(text_, at);
    return space ? whole_string_at(at + space) : kNone;
  }

  void find_strings() {
    const auto any_end = [](size_t end) { return end; };
    const auto hope_end = [&](size_t end) { return i_hope_at(text_, end) ? end : kNone; };
    const auto spaced = [&](size_t from) { return spaced_string_at(from); };
    const auto after_space = [&](const auto& fits) {
      return [&](size_t from) { return string_at(plain_.skip_space(from), fits); };
    };
    if (priority_ == kFinalHope) after_each_answer(true, [&](size_t a) { return after_is(a, after_space(hope_end)); });
    if (priority_ == kFinalIs) {
      after_each_answer(true, [&](size_t a) { return after_later_is(a, false, after_space(any_end)); });
    }
    if (priority_ == kAnswerColon || priority_ == kAnswerWord) {
      after_each_answer(false, [&](size_t a) {
        return after_answer(a, [&](size_t from) { return within(from, 50, false, spaced); });
      });
    }
    if (priority_ == kFirstString) find_first_string();
    if (priority_ == kAnywhere) find_spaced_strings();
  }

  void find_first_string() {
    lists_.emplace_back();
    const size_t end = whole_string_at(0);
    if (end != kNone) add(0, end, spans_.size() - 1);
  }

  void find_spaced_strings() {
    lists_.emplace_back();
    for (size_t i = 0; i < text_.size(); ++i) {
      if (i > 0 && !kPrefixBytes[text_[i]]) continue;
      const size_t end = spaced_string_at(i);
      if (end == kNone) continue;
      add(i, end, spans_.size() - 1);
      i = std::max(end, i + 1) - 1;
    }
  }

  std::string_view text_;
  const ExtractConfig& config_;
  bool quirks_;
  LatexScanner latex_;
  PlainScanner plain_;
  std::vector<size_t> answers_;                 // where "answer" stands
  std::vector<int> priorities_;                 // still to come, the next one last
  int priority_ = 0;                            // of the lists
  size_t near_failed_ = 0, equals_failed_ = 0;  // no match of the current pattern begins before, as far as tried
  std::vector<List> lists_;
  std::vector<Span> spans_;
};

Candidates::Candidates(std::string_view text, const ExtractConfig& config, bool quirks)
    : search_(std::make_unique<Search>(scanned_part(text), config, quirks)) {}
Candidates::~Candidates() = default;
std::optional<Candidate> Candidates::next() { return search_->next(); }

}  // namespace hone
