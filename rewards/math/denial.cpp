#include "rewards/math/denial.h"

#include <algorithm>

#include "rewards/math/words.h"

namespace hone {
namespace {

constexpr size_t kNone = std::string_view::npos;

constexpr std::string_view kDenials[]{"not",         "isn't",        "never",           "cannot",
                                      "can't",       "anything but", "everything but",  "instead of",
                                      "rather than", "wrong:",       "wrong answer:",   "incorrect answer:",
                                      "incorrect:",  "except",       "wrong answer is", "incorrect answer is",
                                      "other than",  "unlike",       "except for",      "isn\u2019t",
                                      "can\u2019t",  "no longer",    "neither",         "nor",
                                      "rule out",    "ruled out",    "exclude",         "anything except",
                                      "\u274c",      "\u2717",       "\u2718"};
constexpr std::string_view kLaterDenials[]{
    "is not",    "isn't",      "is wrong",     "is incorrect",   "was wrong",          "was incorrect", "is false",
    "cannot be", "can't be",   "is never",     "is too",         "is impossible",      "isn\u2019t",    "can\u2019t be",
    "(wrong",    "(incorrect", "is ruled out", "would be wrong", "would be incorrect", "does not work", "doesn't work",
    "\u274c",    "\u2717",     "\u2718"};

/// What denies the clause that follows: "I do not think that the answer is 5"; "t think" is that of "don't think".
/// Sorted.
constexpr std::string_view kClauseDenials[]{
    "anything but",    "cannot say",     "common mistake",  "doubtful",      "false that",       "far from",
    "i doubt",         "impossible for", "impossible that", "impossible to", "incorrect answer", "incorrect that",
    "incorrect value", "incorrectly",    "may say",         "may think",     "might guess",      "might say",
    "might think",     "mistake is",     "mistake to",      "mistake would", "mistakenly",       "naive",
    "neither",         "no longer",      "no one",          "no way",        "nobody",           "not believe",
    "not certain",     "not know",       "not say",         "not sure",      "not the case",     "not think",
    "not true",        "nowhere near",   "rule out",        "ruled out",     "t believe",        "t know",
    "t say",           "t think",        "tempted",         "tempting",      "unlike",           "unlikely",
    "unsure",          "we doubt",       "will say",        "would guess",   "would say",        "would think",
    "wrong answer",    "wrong that",     "wrong to say",    "wrong value",   "wrongly"};
static_assert(std::ranges::is_sorted(kClauseDenials));
constexpr std::string_view kSuppositions[]{"assume",  "assuming",  "if",     "let",
                                           "suppose", "supposing", "unless", "whether"};
static_assert(std::ranges::is_sorted(kSuppositions));

/// What may be said of a value later in its sentence, of "it", "this", "which" and so on.
constexpr std::string_view kTakenBack[]{"is a mistake",  "is false",   "is incorrect",       "is not correct",
                                        "is not right",  "is not the", "is not true",        "is wrong",
                                        "was a mistake", "was false",  "was incorrect",      "was wrong",
                                        "is impossible", "cannot be",  "would be incorrect", "would be wrong"};
constexpr std::string_view kCorrections[]{"no,",
                                          "no.",
                                          "no:",
                                          "no;",
                                          "no wait",
                                          "wait, no",
                                          "wait no",
                                          "hmm, no",
                                          "no \u2014",
                                          "nope",
                                          "wrong",
                                          "sorry",
                                          "just kidding",
                                          "oops",
                                          "scratch that",
                                          "correction",
                                          "incorrect",
                                          "i mean",
                                          "that is wrong",
                                          "that's wrong",
                                          "this is wrong",
                                          "that is incorrect",
                                          "that's incorrect",
                                          "this is incorrect",
                                          "not really"};

constexpr ByteSet kDigits("0123456789"), kClauseEnds(".!?\n,;:"), kSentenceEnds(".!?\n");

bool has_digit(std::string_view text) { return kDigits.first_in(text) != kNone; }

/// The clause that ends a text: "(that) the answer is". A condition ends with "then".
std::string_view last_clause(std::string_view text) {
  constexpr size_t kClause = 80;  // bytes; looked through for each candidate
  text = last_part(text, kClause);
  const size_t stop = kClauseEnds.last_in(text);
  if (stop != kNone) text.remove_prefix(stop + 1);
  const size_t then = text.rfind(" then ");
  return then == kNone ? text : text.substr(then + 6);
}

std::string_view last_sentence(std::string_view text) {
  constexpr size_t kSentence = 120;
  text = last_part(text, kSentence);
  const size_t stop = kSentenceEnds.last_in(text);
  return stop == kNone ? text : text.substr(stop + 1);
}

/// "Suppose that x is [5]", "Suppose, say, that it is [5]"; with numbers of its own a condition is over: "if she buys 3
/// it is [5]".
bool supposes(std::string_view clause, bool is_set_apart) {
  if (starts_with_any_word(undressed_begin(clause), kSuppositions)) return true;
  const size_t number = kDigits.last_in(clause);
  if (number != kNone) clause.remove_prefix(number + 1);
  return !is_set_apart && holds_phrase(clause, kSuppositions) && clause.find("only if") == kNone;
}

/// "it is wrong" in the rest of a sentence.
bool says_wrong(std::string_view sentence) {
  constexpr std::string_view kPronouns[]{"he ", "it ", "she ", "that ", "they ", "this ", "which "};
  for (size_t i = 0; i < sentence.size(); ++i) {
    if (!is_letter(sentence[i]) || (i > 0 && is_letter(sentence[i - 1]))) continue;
    for (const auto pronoun : kPronouns) {
      if (word_at(sentence, i, pronoun) && starts_with_any_word(sentence.substr(i + pronoun.size()), kTakenBack))
        return true;
    }
  }
  return false;
}

}  // namespace

bool is_denied(std::string_view before, bool is_set_apart) {
  for (const std::string_view filler : {"equal to", "be", "equal"}) {
    if (ends_with_word(before, filler)) before = undressed_end(before.substr(0, before.size() - filler.size()));
  }
  if (ends_with_any_word(before, kDenials)) return true;
  auto clause = last_clause(before);
  if (starts_with_word(undressed_begin(clause), "that")) clause = last_sentence(before);
  return holds_phrase(clause, kClauseDenials) || supposes(clause, is_set_apart);
}

bool is_taken_back(std::string_view after, bool is_box) {
  constexpr size_t kSentence = 120;
  after = undressed_begin(after.substr(0, kSentence));
  if (starts_with_any_word(after, kLaterDenials)) return true;
  if (says_wrong(after.substr(0, kSentenceEnds.first_in(after)))) return true;
  const auto next = undressed_begin(after.substr(std::min(after.find_first_not_of(".!?,;- "), after.size())));
  if (next.size() == after.size()) return false;
  if (starts_with_any_word(next, kCorrections)) return true;
  const auto sentence = next.substr(0, next.find_first_of(".\n"));
  if (starts_with_word(next, "actually") && has_digit(sentence)) return true;
  return !is_box && after.find_first_of(",;") == 0 && starts_with_word(next, "but") && has_digit(sentence);
}

}  // namespace hone
