#include "rewards/math/find_answer.h"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "rewards/answer.h"
#include "rewards/format.h"
#include "rewards/math/formula.h"
#include "rewards/math/number_words.h"
#include "rewards/math/plain_text.h"
#include "rewards/math/words.h"

namespace hone {
namespace {

constexpr size_t kNone = std::string_view::npos;

/// A number as digits: no thousands separators, no zeros in front, a decimal point: "1,234" 1234, "0,5" 0.5, ".5" 0.5.
std::string number_text(std::string_view written) {
  const bool negative = written.starts_with('-');
  if (negative) written.remove_prefix(1);
  size_t point = written.find('.');
  const size_t separator = written.find_first_of(", ");
  if (point == kNone && separator != kNone) {
    const bool grouped = separator <= 3 && written[0] != '0' && (written.size() - separator) % 4 == 0;
    if (!grouped) point = separator;
  }
  std::string digits;
  for (const char c : written.substr(0, point)) {
    if (is_ascii_digit(c) && (c != '0' || !digits.empty())) digits += c;
  }
  if (digits.empty()) digits = "0";
  if (point != kNone) digits.append(".").append(written.substr(point + 1));
  return negative ? "-" + digits : digits;
}

/// Two letters in a row that are no command or function: the text is more than a formula.
bool has_words(std::string_view text) {
  constexpr std::string_view kFunctions[]{"sin", "cos", "tan", "cot", "sec", "csc", "log", "ln", "exp", "sqrt", "pi"};
  const auto letter_at = [&](size_t i) { return i < text.size() && is_letter(text[i]); };
  for (size_t i = 0; i < text.size();) {
    const bool command = text[i] == '\\';
    const size_t begin = i + command;
    size_t end = begin;
    while (letter_at(end)) ++end;
    const auto word = text.substr(begin, end - begin);
    if (!command && word.size() > 1 && std::ranges::find(kFunctions, word) == std::end(kFunctions)) return true;
    const bool has_text = command && (word == "text" || word == "mbox" || word == "begin" || word == "end" ||
                                      word == "operatorname" || word.starts_with("math"));
    i = std::max(end, i + 1);
    if (has_text) i = std::min(text.find('}', i), text.size());
  }
  return false;
}

/// One line of mathematics without words or an environment of its own, and something that a plain number has not.
bool is_bare_formula(std::string_view text) {
  if (text.find_first_of("$\n#") != kNone || text.find("\\(") != kNone || text.find("\\[") != kNone) return false;
  if (text.find("\\boxed") != kNone || text.find("\\fbox") != kNone) return false;
  const bool is_list = text.find(", ") != kNone || text.find(",-") != kNone;
  const bool more = is_list || text.starts_with('+') || text.find_first_not_of("0123456789.,-+%* \t") != kNone;
  return more && !has_words(text);
}

/// Reads the candidates of one text, in order, until one is the answer.
class Search {
 public:
  Search(std::string_view text, const MathConfig& config, Budget& budget, bool explain)
      : text_(text), config_(config), budget_(budget), explain_(explain) {}

  /// Math-Verify's rule: the first candidate that can be read.
  Found first_readable() {
    Candidates candidates(text_, config_.extract, /*quirks=*/true);
    while (const auto candidate = candidates.next()) {
      if (read(*candidate) || config_.first_match_only || budget_.exhausted()) break;
    }
    return finish("holds no answer that can be read");
  }

  /// The rule for training: the first candidate that the text commits to, if it can be read. A final line, that after
  /// "####", may be a formula as a whole.
  Found committed(bool is_final_line) {
    if (const auto problem = box_problem(text_, config_.flags); !problem.empty()) return finish(problem);
    const auto alternatives = joined_alternatives(text_);
    if (!alternatives.empty() && config_.extract.boxed_match_priority >= 0) {
      read_formula(alternatives, "boxes offered together");
      return finish("offers alternatives that cannot be read together");
    }
    if (read_whole()) return finish("");
    if (const auto words = closing_words(text_); !words.empty() && takes_latex()) {
      read_words(words);
      return finish("closes with words that cannot be read");
    }
    auto found = first_committed();
    if (!is_final_line || found.has_answer() || !found.text.empty() || budget_.reached()) return found;
    read_formula(text_, "the last line");
    return finish(std::move(found.problem));
  }

  /// A gold answer without a math environment is a formula as a whole, or else whatever is found in it.
  Found gold() {
    if (read_whole()) return finish("");
    Candidates candidates(text_, config_.extract, /*quirks=*/false);
    while (const auto candidate = candidates.next()) {
      if (is_part_of_unreadable(*candidate)) continue;
      if (read(*candidate) || budget_.exhausted()) return finish("holds no answer that can be read");
    }
    if (unreadable_.empty() && !budget_.reached()) read_formula(text_, "the whole text");
    return finish("holds no answer that can be read");
  }

 private:
  Found first_committed() {
    const bool boxes_only = config_.flags.require_box || config_.flags.box_after_think;
    Candidates candidates(text_, config_.extract, /*quirks=*/false);
    constexpr int64_t kUnitsPerLook = 50;
    bool denied = false;
    while (auto candidate = candidates.next()) {
      if (!budget_.spend(kUnitsPerLook)) break;
      Span box = candidate->spans[0];  // those beside the last one have been joined, where they are alternatives
      if (box.kind == SpanKind::kLastBoxes) {
        box.text.remove_prefix(box.text.rfind("\\boxed{"));
        candidate->spans = {&box, 1};
      }
      if (boxes_only && candidate->spans[0].text.find("\\boxed") == kNone) continue;
      if (is_part_of_unreadable(*candidate)) continue;
      if (read_as_part(*candidate, /*lists=*/false)) break;
      const auto objected = objection(text_, *candidate);
      if (explain_ && !objected.reason.empty()) trace(*candidate, objected.reason);
      denied = denied || objected.denied;
      if (objected.denied) continue;
      if (objected.several && read_as_part(*candidate, /*lists=*/true)) break;
      if (!objected.reason.empty()) return finish(objected.reason);
      if (read(*candidate) || config_.first_match_only || budget_.reached()) break;
      const bool is_latex = candidate->spans[0].kind != SpanKind::kExpression;
      if (is_latex && read_only_number(candidate->spans[0])) break;
      if (is_latex && candidate->priority < 300) break;
    }
    if (found_.text.empty() && !boxes_only && !denied && !budget_.reached()) read_phrase();
    return finish("holds no answer that can be read");
  }

  /// A plain number as a part of the formula around it, "3√13", "[-2, 7]", or (`lists`) of the values beside it.
  bool read_as_part(const Candidate& candidate, bool lists) {
    const auto& span = candidate.spans[0];
    const bool is_plain = span.kind == SpanKind::kNumber || span.kind == SpanKind::kExpression;
    constexpr int64_t kUnits = 40;
    if (!is_plain || (span.percent && !lists) || !takes_latex() || !budget_.spend(kUnits)) return false;
    const Span formula{SpanKind::kLatex, formula_around(text_, span.text, lists), false};
    if (formula.text.size() <= span.text.size()) return false;
    const Candidate whole{candidate.priority, {&formula, 1}};
    return (lists || objection(text_, whole).reason.empty()) && read(whole);
  }

  /// What follows "the answer is", as a formula or a name, where no number was found.
  void read_phrase() {
    constexpr size_t kMaxPhrase = 200;
    auto phrase = answer_phrase(text_);
    const auto formula = formula_around(phrase, phrase.substr(0, 1), /*lists=*/false);
    constexpr std::string_view kJoints[]{"and", "or"};
    if (!formula.empty() && !holds_phrase(phrase.substr(formula.size()), kJoints)) phrase = formula;
    if (phrase.empty() || phrase.size() > kMaxPhrase || !takes_latex()) return;
    constexpr int kBehindAnswer = 100;  // a candidate's priority
    const Span span{SpanKind::kLatex, phrase, false};
    if (objection(text_, {kBehindAnswer, {&span, 1}}).reason.empty()) read_words(phrase);
  }

  void read_words(std::string_view words) {
    const auto number = number_in_words(words);
    read_formula(number ? std::to_string(*number) : std::string(words), "the words after 'answer'");
  }

  bool takes_latex() const {
    return std::ranges::find(config_.extract.match_types, MatchType::kLatex) != config_.extract.match_types.end();
  }

  bool read(const Candidate& candidate) {
    const auto& span = candidate.spans[0];
    if (span.kind == SpanKind::kString) return take_choice(candidate);
    constexpr int64_t kUnitsPerCandidate = 50;  // so that thousands that cannot be read come to an end
    if (!budget_.spend(kUnitsPerCandidate)) return false;
    auto reading = read_answer(candidate.spans, config_.compare, budget_);
    if (explain_) trace(candidate, reading);
    found_.is_number = span.kind == SpanKind::kNumber;
    found_.percent = span.percent;
    if (found_.text.empty()) found_.text = found_.is_number ? number_text(span.text) : std::move(reading.text);
    found_.written = candidate.spans.size() > 1 ? "" : found_.is_number ? number_text(span.text) : unboxed(span);
    found_.value = std::move(reading.answer);
    found_.unit = std::move(reading.unit);
    found_.unit_in_formula = found_.unit.has_value();
    if (!config_.compare.upstream_quirks && !found_.unit && candidate.spans.size() == 1)
      found_.unit = unit_around(span);
    if (!found_.value && span.kind == SpanKind::kLatex) unreadable_ = span.text;
    return found_.value.has_value();
  }

  /// A number inside a formula that cannot be read is not what the formula says. Candidates come from the right, so
  /// that only the last such formula matters.
  bool is_part_of_unreadable(const Candidate& candidate) const {
    const auto text = candidate.spans[0].text;
    return text.data() >= unreadable_.data() && text.data() < unreadable_.data() + unreadable_.size();
  }

  /// The unit that the text names right behind a value, "$5$ km", "\\boxed{5} dollars", or $ before it.
  std::optional<Unit> unit_around(const Span& span) const {
    constexpr size_t kNear = 60;
    const auto* value = span.text.data();
    if (value < text_.data() || value >= text_.data() + text_.size()) return {};  // of a box taken out of the text
    const auto begin = static_cast<size_t>(value - text_.data());
    if (span.kind == SpanKind::kNumber) {
      if (auto currency = currency_at_end(text_.substr(0, begin))) return currency;
    }
    auto after = text_.substr(begin + span.text.size(), kNear);
    after.remove_prefix(std::min(after.find_first_not_of(" ~*$)}\\"), after.size()));
    if (after.starts_with("text{")) after.remove_prefix(5);
    constexpr ByteSet kEnds(".,;:\n");
    return after.starts_with("in ") ? std::nullopt : unit_at_begin(after.substr(0, kEnds.first_in(after)));
  }

  static std::string unboxed(const Span& span) { return unbox(span.text, span.kind != SpanKind::kLastBoxes); }

  /// A formula nobody can read may still hold one number, and nothing else that could be meant: "€6", "6 people per
  /// day", but not "\\ge 6" or "6+".
  bool read_only_number(const Span& span) {
    static const ExtractConfig kNumbers{.match_types = {MatchType::kExpr}};
    constexpr int64_t kUnitsPerSearch = 40;
    if (!budget_.spend(kUnitsPerSearch)) return false;
    const auto text = unboxed(span);
    constexpr std::string_view kOthers[]{"<",      ">",        "+",      "\\le",   "\\ge",  "\\ne",  "\\pm",
                                         "?",      "\\csname", "\\mp",   "\\lt",   "\\gt",  "\\not", "\\lnot",
                                         "\u00ac", "\u2264",   "\u2265", "\u2260", "\u00b1"};
    if (std::ranges::any_of(kOthers, [&](auto sign) { return text.find(sign) != kNone; })) return false;
    Candidates candidates(text, kNumbers, /*quirks=*/false);
    const auto digits = [](std::string_view s) { return std::ranges::count_if(s, is_ascii_digit); };
    while (const auto candidate = candidates.next()) {
      const auto& found = candidate->spans[0];
      if (found.kind != SpanKind::kNumber) continue;
      const auto after = text.substr(static_cast<size_t>(found.text.data() - text.data()) + found.text.size());
      const size_t next = after.find_first_not_of(' ');
      if (next != kNone && std::string_view("-*/^_!|&:").find(after[next]) != kNone) return false;
      return digits(found.text) == digits(text) && read(*candidate);
    }
    return false;
  }

  bool take_choice(const Candidate& candidate) {
    const auto text = candidate.spans[0].text;
    found_.choice = text;
    if (config_.lowercase) std::ranges::transform(found_.choice, found_.choice.begin(), ascii_lower);
    if (found_.text.empty()) found_.text = text;
    if (explain_) trace(candidate, "a string of the list");
    return true;
  }

  bool read_formula(std::string_view text, std::string_view where) {
    const Span span{SpanKind::kLatex, text, false};
    auto reading = read_answer({&span, 1}, config_.compare, budget_);
    if (explain_) trace(where, text, reading);
    found_.text = std::move(reading.text);
    found_.written = text;
    found_.value = std::move(reading.answer);
    found_.unit = std::move(reading.unit);
    found_.unit_in_formula = found_.unit.has_value();
    return found_.value.has_value();
  }

  /// Texts that are nothing but a formula, such as "x=3" or "\sqrt{2}", and more than the numbers that are found
  /// anyway.
  bool read_whole() {
    constexpr size_t kMaxFormula = 512;
    const auto all = trim(text_);
    if (all.empty() || all.size() > kMaxFormula || !is_bare_formula(all)) return false;
    return takes_latex() && read_formula(with_joined_thousands(all), "the whole text");
  }

  void trace(const Candidate& candidate, const Reading& reading) {
    trace(place(candidate), candidate.spans[0].text, reading);
  }
  void trace(std::string_view where, std::string_view text, const Reading& reading) {
    found_.trace += fmt::format("  {} '{}': {}\n", where, excerpt(text),
                                reading.answer ? "is " + to_string(*reading.answer) : "cannot be read");
  }
  void trace(const Candidate& candidate, std::string_view what) {
    found_.trace += fmt::format("  {} '{}': {}\n", place(candidate), excerpt(candidate.spans[0].text), what);
  }

  static std::string place(const Candidate& candidate) {
    const char* anchor = candidate.priority == 300   ? ""
                         : candidate.priority == 250 ? " at the beginning"
                         : candidate.priority >= 100 ? " after 'answer'"
                                                     : " in the final answer";
    return fmt::format("{}{}{}", to_string(candidate.spans[0].kind), candidate.spans.size() > 1 ? "s" : "", anchor);
  }

  Found finish(std::string problem) {
    if (!found_.has_answer()) found_.problem = std::move(problem);
    return std::move(found_);
  }

  std::string_view text_;
  const MathConfig& config_;
  Budget& budget_;
  bool explain_;
  std::string_view unreadable_;  // the last formula that could not be read
  Found found_;
};

/// GSM8K: what follows the last "####" on its line is the answer, unless there is a box or it is a heading.
std::string_view after_hashes(std::string_view text) {
  const size_t hashes = text.rfind("####");
  if (hashes == kNone || text.find("\\boxed{") != kNone) return text;
  auto line = text.substr(hashes + 4);
  line = line.substr(0, line.find('\n'));
  return has_words(line) ? text : line;
}

}  // namespace

Found find_gold(std::string_view text, const MathConfig& config, Budget& budget, bool explain) {
  if (config.compare.upstream_quirks) return Search(text, config, budget, explain).first_readable();
  const auto plain = plain_text(text);
  return Search(after_hashes(scanned_part(plain.empty() ? text : plain)), config, budget, explain).gold();
}

Found find_prediction(std::string_view text, const MathConfig& config, Budget& budget, bool explain) {
  if (config.compare.upstream_quirks) return Search(text, config, budget, explain).first_readable();
  const auto part = answer_part(text, config.flags);
  Found none;
  none.problem = part.problem;
  if (!part.problem.empty()) return none;
  auto scanned = scanned_part(part.text);
  const auto plain = plain_text(scanned);
  if (!plain.empty()) scanned = plain;
  const auto prices = with_plain_dollars(scanned);
  if (!prices.empty()) scanned = prices;
  const auto line = after_hashes(scanned);
  return Search(line, config, budget, explain).committed(line.size() < scanned.size());
}

}  // namespace hone
