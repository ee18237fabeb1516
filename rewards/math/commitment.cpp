#include "rewards/math/commitment.h"

#include <algorithm>
#include <array>

#include <fmt/core.h>

#include "rewards/math/denial.h"
#include "rewards/math/words.h"

namespace hone {
namespace {

constexpr size_t kNone = std::string_view::npos;

/// Without "x =" in front, or at the end.
std::string_view without_name_begin(std::string_view text) {
  if (text.empty() || !is_letter(text[0])) return text;
  const size_t equals = std::min(text.find_first_not_of(' ', 1), text.size());
  return text.substr(equals).starts_with('=') ? undressed_begin(text.substr(equals + 1)) : text;
}
std::string_view without_name_end(std::string_view text) {
  if (!text.ends_with('=')) return text;
  const auto name = undressed_end(text.substr(0, text.size() - 1));
  const bool one_letter =
      !name.empty() && is_letter(name.back()) && (name.size() == 1 || !is_letter(name[name.size() - 2]));
  return one_letter ? undressed_end(name.substr(0, name.size() - 1)) : text;
}

/// A value that is not in a box: boxes side by side are looked at as boxes.
bool starts_with_value(std::string_view text) {
  text = without_name_begin(undressed_begin(text));
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  return !text.empty() && (is_ascii_digit(text[0]) || text.starts_with("\\frac") || text.starts_with("\\sqrt"));
}

bool ends_with_value(std::string_view text) {
  text = undressed_end(text);
  if (text.ends_with(',')) text = undressed_end(text.substr(0, text.size() - 1));
  if (text.ends_with('}') && last_part(text, 40).find("\\boxed{") != kNone) return false;
  while (text.ends_with('}') || text.ends_with(')') || text.ends_with('$'))
    text = undressed_end(text.substr(0, text.size() - 1));
  if (!text.empty() && text.ends_with('\\')) text.remove_suffix(1);
  return !text.empty() && is_ascii_digit(text.back());
}

/// Words that make a bound of a number that is not in a box ("at least" only as in "it is at least 5": "you need at
/// least 5" answers many a question), and those that turn its sign.
constexpr std::string_view kBoundWords[]{"more than",    "less than",     "greater than", "fewer than", "no less than",
                                         "no more than", "larger than",   "smaller than", "up to",      "minus",
                                         "negative",     "plus or minus", "below",        "above",      "under",
                                         "over",         "exceeds",       "almost",       "nearly"};
constexpr std::string_view kMildBounds[]{"at least", "at most"};
constexpr std::string_view kBounds[]{"\\ge",  "\\geq", "\\le", "\\leq",  "\\gt",   "\\lt",   "\\ne",
                                     "\\neq", "\\pm",  "\\mp", "\u2265", "\u2264", "\u2260", "\u00b1",
                                     ">=",    "<=",    "!=",   "+/-",    "<"};
constexpr std::string_view kJoints[]{"or",       "to",      "through",     "\u2013",   "\u2014",
                                     "~",        "..",      "and/or",      "maybe",    "perhaps",
                                     "possibly", "or else", "or possibly", "or maybe", "or perhaps"};
constexpr std::string_view kQuestions[]{"what is",   "find",     "compute",   "evaluate", "solve",
                                        "calculate", "simplify", "determine", "problem:", "question:"};

/// <b>, </p>: no greater-than sign.
bool ends_with_tag(std::string_view text) {
  text = last_part(text, 20);
  const size_t open = text.rfind('<');
  return open != kNone && text.find_first_of(" \t\n0123456789", open) == kNone;
}

/// "> [5]": a quoted line of Markdown, for what is boxed or bold.
bool is_quoted_line(std::string_view before) {
  const auto line = before.substr(before.rfind('\n') + 1);
  return line.find_first_not_of("> ") == kNone;
}

bool is_bound(std::string_view before, bool is_box, bool is_bold) {
  if (ends_with_any_word(before, kBounds) || (!is_box && ends_with_any_word(before, kBoundWords))) return true;
  for (const auto words : kMildBounds) {
    if (is_box || !ends_with_word(before, words)) continue;
    const auto rest = undressed_end(before.substr(0, before.size() - words.size()));
    return rest.empty() || rest.ends_with(':') || rest.ends_with('=') || ends_with_word(rest, "is") ||
           ends_with_word(rest, "be");
  }
  return before.ends_with('>') && !before.ends_with("=>") && !before.ends_with("->") && !before.ends_with(">>") &&
         !ends_with_tag(before) && !((is_box || is_bold) && is_quoted_line(before));
}

/// "4 or [5]", "1 to [5]", "1, 2, [5]".
/// A box is set apart from what was said before it: "so $x=4$ and [\\boxed{5}]".
bool is_after_other_value(std::string_view before, bool is_box) {
  const auto unnamed = without_name_end(before);
  for (const auto joint : kJoints) {
    if (ends_with_word(unnamed, joint) && ends_with_value(unnamed.substr(0, unnamed.size() - joint.size())))
      return true;
  }
  if (is_box) return false;
  if (ends_with_word(before, "and")) {
    auto rest = undressed_end(before.substr(0, before.size() - 3));
    if (rest.ends_with(',')) rest.remove_suffix(1);
    return ends_with_value(rest);
  }
  return before.ends_with(',') && ends_with_value(before.substr(0, before.size() - 1));
}

/// "1 2 [3]": nothing but spaces between.
bool is_in_a_row(std::string_view before) {
  const size_t last = before.find_last_not_of(' ');
  return last != kNone && last + 1 < before.size() && is_ascii_digit(before[last]);
}

/// "[5] or 6", "[1] to 5", "[1], 2", "[5] (possibly 6)", "[5], though it could also be 6".
bool is_before_other_value(std::string_view after) {
  constexpr std::string_view kOffers[]{"alternatively", "could also", "could be", "may also",
                                       "may be",        "might also", "might be"};
  static_assert(std::ranges::is_sorted(kOffers));
  constexpr size_t kSentence = 60;
  after = undressed_begin(after);
  const bool comma = after.starts_with(',') || after.starts_with(';');
  if (comma && starts_with_value(after.substr(1))) return true;
  if (comma || after.starts_with('(')) after = undressed_begin(after.substr(1));
  const auto joins = [&](std::string_view joint) {
    if (!starts_with_word(after, joint)) return false;
    const auto other = undressed_begin(after.substr(joint.size()));
    return starts_with_value(other.substr(other.starts_with('(')));
  };
  if (std::ranges::any_of(kJoints, joins) || (!comma && joins("and"))) return true;
  constexpr ByteSet kEnds(".\n");
  after = after.substr(0, kSentence);
  const auto sentence = after.substr(0, kEnds.first_in(after));
  return holds_phrase(sentence, kOffers) && ends_with_value(sentence);
}

constexpr std::string_view kVariables = "xyznik";

/// x of "5x", i, and xy, but no unit: neither 5 m nor 5x4.
bool starts_with_variable(std::string_view text) {
  constexpr std::string_view kSigns[]{"\u03c0", "\u221a", "\u03b8"};  // pi, root, theta
  const size_t end = std::min(text.find_first_not_of(kVariables), text.size());
  const bool word_goes_on = end < text.size() && is_letter(text[end]);
  return (end > 0 && end <= 3 && !word_goes_on) || starts_with_any_word(text, kSigns);
}

/// "[5]x", "[5] - y", "[5]\u00b2", "[5]/6?": the number is a part of mathematics that was not read as a whole.
bool is_continued(std::string_view after) {
  constexpr std::string_view kPowers[]{"\u00b2", "\u00b3", "\u00b9", "\u2074", "\u2030"};
  constexpr std::string_view kOperators[]{"+",      "-",      "*",      "/",      "^",   "|",      ":",     "\u00d7",
                                          "\u00f7", "\u00b7", "\u00b1", "\u22c5", "...", "\u2026", "\u2192"};
  if (starts_with_any_word(after, kPowers) || starts_with_variable(after) || after.starts_with(" per cent"))
    return true;
  if (after.size() > 1 && ascii_lower(after[0]) == 'e' && is_ascii_digit(after[1])) return true;  // 6.02e3
  const auto rest = after.substr(std::min(after.find_first_not_of(' '), after.size()));
  const auto* sign = std::ranges::find_if(kOperators, [&](auto s) { return rest.starts_with(s); });
  if (sign == std::end(kOperators)) return false;
  auto operand = rest.substr(sign->size());
  const bool spaced = rest.size() < after.size() || operand.starts_with(' ');
  if (*sign == ":" && spaced) return false;
  if (*sign == "+" && !spaced && (operand.empty() || !is_letter(operand[0]))) return true;  // 5+
  operand = operand.substr(std::min(operand.find_first_not_of(' '), operand.size()));
  return !operand.empty() && (is_ascii_digit(operand[0]) || starts_with_variable(operand));
}

/// "x + [5]", "log [5]", "the square root of [5]", "2x = [5]".
bool is_argument(std::string_view before) {
  constexpr std::string_view kFunctions[]{"log", "ln", "sin", "cos", "tan", "sqrt", "root of", "\u221a"};
  const auto trimmed = [](std::string_view text) { return text.substr(0, text.find_last_not_of(' ') + 1); };
  const auto is_variable_end = [](std::string_view text) {
    const bool is_name = !text.empty() && kVariables.find(text.back()) != kNone;
    return is_name && (text.size() == 1 || !is_letter(text[text.size() - 2]));
  };
  before = trimmed(before);
  if (ends_with_any_word(before, kFunctions)) return true;
  if (before.empty() || std::string_view("+-*/^=").find(before.back()) == kNone) return false;
  const auto left = trimmed(before.substr(0, before.size() - 1));
  if (before.back() != '=') return is_variable_end(left);
  const bool has_factor = is_variable_end(left) && left.size() > 1 && is_ascii_digit(left[left.size() - 2]);
  return has_factor || left.ends_with("\u00b2") || left.ends_with("\u00b3");
}

/// The sentence before a candidate asks for something.
bool asks(std::string_view before) {
  constexpr ByteSet kEnds(".!?\n");
  const size_t stop = kEnds.last_in(before);
  const auto sentence = before.substr(stop == kNone ? 0 : stop + 1);
  return std::ranges::any_of(kQuestions, [&](auto word) {
    const size_t at = sentence.find_first_not_of(" \t\r*#>");
    return at != kNone && starts_with_word(sentence.substr(at), word);
  });
}

/// "[5]?", "[5 + 7] = ?".
bool is_asked(std::string_view after) {
  after = undressed_begin(after);
  return after.starts_with('?') || (after.starts_with('=') && undressed_begin(after.substr(1)).starts_with('?'));
}

/// "Step [5]": only a number of something.
bool is_label(std::string_view before) {
  constexpr std::string_view kLabels[]{"step",   "question", "problem",  "exercise", "example", "part",   "figure",
                                       "option", "choice",   "equation", "section",  "chapter", "method", "case"};
  return ends_with_any_word(before, kLabels);
}

/// "**$10** for [50] minutes": belongs to the value in bold.
bool qualifies_bold_value(std::string_view before) {
  constexpr std::string_view kJoints[]{"after", "every", "for", "from", "in", "out of", "per"};
  return std::ranges::any_of(kJoints, [&](auto joint) {
    if (!ends_with_word(before, joint)) return false;
    const auto rest = before.substr(0, before.size() - joint.size());
    return rest.ends_with("** ") && ends_with_value(rest);
  });
}

std::string quoted(const Candidate& candidate) {
  constexpr size_t kShown = 60;
  const auto text = candidate.spans[0].text;
  return text.size() <= kShown ? fmt::format("'{}'", text) : fmt::format("'{}..'", text.substr(0, kShown));
}

// Boxes.

struct Box {
  size_t begin, end;
  std::string_view content;
};

std::vector<Box> find_boxes(std::string_view text) {
  constexpr std::string_view kBoxed = "\\boxed{";
  std::vector<Box> boxes;
  for (size_t at = text.find(kBoxed); at != kNone; at = text.find(kBoxed, at)) {
    const size_t content = at + kBoxed.size();
    size_t depth = 1, i = content;
    for (; i < text.size() && depth > 0; ++i) depth += text[i] == '{' ? 1 : text[i] == '}' ? -1 : 0;
    if (depth > 0) break;
    boxes.push_back({at, i, text.substr(content, i - 1 - content)});
    at = i;
  }
  return boxes;
}

/// Of the text between two boxes, the last sentence, if it says anything.
std::string_view last_sentence(std::string_view between) {
  constexpr size_t kSays = 8;
  between = undressed_end(between);
  size_t last = 0;
  for (const std::string_view stop : {". ", ".\n", "? ", "?\n", "! ", "!\n", "\n\n"}) {
    const size_t at = between.rfind(stop);
    if (at != kNone) last = std::max(last, at + stop.size());
  }
  return between.size() - last >= kSays ? between.substr(last) : between;
}

/// Whether two boxes are offered together: side by side, with "or", "maybe" between, or in one sentence with "and".
bool are_alternatives(const Box& first, const Box& second, std::string_view text) {
  constexpr size_t kClose = 10, kNear = 100, kOneSentence = 70;
  constexpr std::string_view kOr[]{"alternatively", "could also", "could be", "either",  "if",      "maybe",
                                   "might also",    "might be",   "or",       "perhaps", "possibly"};
  constexpr std::string_view kInstead[]{"actually", "but",    "correct", "hence",     "instead", "mistake",
                                        "not",      "rather", "so",      "therefore", "thus",    "wait"};
  static_assert(std::ranges::is_sorted(kOr) && std::ranges::is_sorted(kInstead));
  if (first.content == second.content) return false;
  const auto between = text.substr(first.end, second.begin - first.end);
  if (between.size() > kNear) return false;
  const bool replaced = holds_phrase(between, kInstead);
  if (between.size() < kClose && !replaced) return true;
  const auto sentence = last_sentence(between);
  if (holds_phrase(sentence, kOr)) return true;
  constexpr std::string_view kAnd[]{"and"};
  const bool joined = between.find_first_of(",;") != kNone || holds_phrase(between, kAnd);
  return !replaced && between.size() < kOneSentence && sentence.size() == undressed_end(between).size() && joined;
}

bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r\n{}~") == kNone; }

std::string_view before_end_of_turn(std::string_view text) {
  constexpr std::string_view kMarkers[]{"<|im_end|>", "<|im_start|>",    "<|endoftext|>",
                                        "<|eot_id|>", "<|end_of_text|>", "<|end|>",
                                        "</s>",       "<end_of_turn>",   "<\uFF5Cend\u2581of\u2581sentence\uFF5C>"};
  constexpr std::string_view kSecond = "|/e\xEF";  // bytes of them, so that other signs cost little
  for (size_t at = text.find('<'); at != kNone; at = text.find('<', at + 1)) {
    if (at + 1 == text.size() || kSecond.find(text[at + 1]) == kNone) continue;
    const auto rest = text.substr(at);
    if (std::ranges::any_of(kMarkers, [&](auto marker) { return rest.starts_with(marker); })) return text.substr(0, at);
  }
  return text;
}

/// Where the value of a candidate stands: its last box if it has one.
std::string_view value_text(const Candidate& candidate) {
  const auto first = candidate.spans.front().text, last = candidate.spans.back().text;
  const size_t box = last.rfind("\\boxed{");
  if (box == kNone) {
    return {first.data(), static_cast<size_t>(last.data() - first.data()) + last.size()};
  }
  const auto boxes = find_boxes(last.substr(box));
  return boxes.empty() ? last.substr(box) : last.substr(box, boxes[0].end);
}

}  // namespace

AnswerPart answer_part(std::string_view completion, const TaskFlags& flags) {
  constexpr std::string_view kThink = "<think>", kThinkEnd = "</think>", kAnswer = "<answer>", kAnswerEnd = "</answer>";
  auto text = before_end_of_turn(completion);
  const size_t think_end = text.rfind(kThinkEnd);
  if (think_end == kNone) {
    if (text.find(kThink) != kNone) return {{}, "never leaves <think>, so there is no answer"};
    if (flags.box_after_think) return {{}, "has no </think>, after which the box must stand"};
  } else {
    text.remove_prefix(think_end + kThinkEnd.size());
  }
  const size_t answer = text.find(kAnswer);
  if (flags.stop_at_answer_end) text = text.substr(0, text.find(kAnswerEnd));
  if (answer != kNone && answer < text.size()) text.remove_prefix(answer + kAnswer.size());
  return {text, {}};
}

std::string box_problem(std::string_view part, const TaskFlags& flags) {
  const auto boxes = find_boxes(part);
  const bool needed = flags.require_box || flags.box_after_think;
  if (boxes.empty()) return needed ? "has no \\boxed answer" : "";
  const auto& last = boxes.back();
  if (is_blank(last.content)) return "the last box is empty";
  const auto differs = [&](const Box& box) { return box.content != last.content; };
  if (flags.require_box && std::ranges::any_of(boxes, differs)) return "has several boxes; one is demanded";
  return {};
}

std::string joined_alternatives(std::string_view part) {
  const auto boxes = find_boxes(part);
  if (boxes.size() < 2) return {};
  size_t first = boxes.size() - 1;
  while (first > 0 && are_alternatives(boxes[first - 1], boxes[first], part)) --first;
  std::string joined;
  for (size_t i = first; i < boxes.size() && first + 1 < boxes.size(); ++i) {
    if (i > first) joined += ',';
    joined += boxes[i].content;
  }
  return joined;
}

Objection objection(std::string_view part, const Candidate& candidate) {
  const auto value = value_text(candidate);
  const auto begin = static_cast<size_t>(value.data() - part.data()), end = begin + value.size();
  constexpr size_t kAround = 400;  // bytes to look at on either side
  const auto before = undressed_end(last_part(part.substr(0, begin), kAround));
  const auto after = part.substr(end, kAround);
  const bool is_box = value.starts_with("\\boxed{");
  const bool is_set_apart = is_box || candidate.priority < 300;
  if (is_denied(before, is_set_apart) || is_taken_back(after, is_box))
    return {fmt::format("{} is denied", quoted(candidate)), true};
  if (candidate.spans.size() > 1) return {};
  const bool is_bold = part.substr(0, begin).ends_with("**");
  if (is_bound(before, is_box, is_bold))
    return {fmt::format("{} is only a bound or an alternative", quoted(candidate))};
  const auto kind = candidate.spans[0].kind;
  const bool is_plain = kind == SpanKind::kNumber || kind == SpanKind::kExpression;
  const bool in_a_row = is_plain && is_in_a_row(last_part(part.substr(0, begin), kAround));
  if (in_a_row || is_after_other_value(before, is_box) || is_before_other_value(after)) {
    return {.reason = fmt::format("{} is one of several values", quoted(candidate)), .several = true};
  }
  const bool is_anywhere = candidate.priority == 300;
  const bool is_aside = is_label(before) || qualifies_bold_value(before);
  if (is_plain && is_anywhere && is_aside) return {fmt::format("{} is a label", quoted(candidate)), true};
  const bool is_factorial = is_anywhere && after.starts_with('!');
  if (is_plain && (is_factorial || is_continued(after) || is_argument(last_part(part.substr(0, begin), kAround)))) {
    return {fmt::format("{} is only a part of a formula", quoted(candidate))};
  }
  if ((!is_box && is_asked(after)) || (is_anywhere && asks(before))) {
    return {fmt::format("{} repeats a question", quoted(candidate))};
  }
  return {};
}

}  // namespace hone
