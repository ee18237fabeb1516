#include "rl/eval_stats.h"

#include <map>
#include <stdexcept>

#include <fmt/core.h>

namespace hone {
namespace {

std::string trimmed(const std::string& text) {
  const char* kSpace = " \t\r\n";
  const size_t begin = text.find_first_not_of(kSpace);
  return begin == text.npos ? "" : text.substr(begin, text.find_last_not_of(kSpace) + 1 - begin);
}

// What stands in the last <answer>..</answer>; empty when there is none.
std::string last_tagged(const std::string& text) {
  const std::string open = "<answer>", close = "</answer>";
  const size_t found = text.rfind(open);
  if (found == text.npos) return "";
  const size_t begin = found + open.size(), end = text.find(close, begin);
  return end == text.npos ? "" : trimmed(text.substr(begin, end - begin));
}

// What stands in the braces of the last \boxed; empty when they are never closed.
std::string last_boxed(const std::string& text) {
  const std::string command = "\\boxed{";
  const size_t found = text.rfind(command);
  if (found == text.npos) return "";
  const size_t begin = found + command.size();
  int open = 1;
  for (size_t at = begin; at < text.size(); ++at) {
    open += text[at] == '{' ? 1 : text[at] == '}' ? -1 : 0;
    if (open == 0) return trimmed(text.substr(begin, at - begin));
  }
  return "";
}

}  // namespace

std::string final_answer(const std::string& text) {
  const std::string answer = last_tagged(text);
  return answer.empty() ? last_boxed(text) : answer;
}

double majority(std::span<const Vote> votes) {
  struct Count {
    int64_t total = 0, correct = 0;
  };
  std::map<std::string, Count> counts;
  for (const Vote& vote : votes) {
    Count& count = counts[vote.answer];
    count.total += !vote.answer.empty();
    count.correct += vote.is_correct;
  }
  Count best;
  for (const Vote& vote : votes) {  // in the order given, so that the first of equals wins
    if (counts[vote.answer].total > best.total) best = counts[vote.answer];
  }
  return best.total ? double(best.correct) / double(best.total) : 0;
}

double majority_at_k(std::span<const Vote> votes, int64_t k) {
  const auto n = static_cast<int64_t>(votes.size());
  if (k < 1 || k > n) throw std::invalid_argument(fmt::format("maj@{} of {} samples; k must be from 1 to {}", k, n, n));
  double sum = 0;
  const int64_t blocks = n / k;
  for (int64_t b = 0; b < blocks; ++b)
    sum += majority(votes.subspan(static_cast<size_t>(b * k), static_cast<size_t>(k)));
  return sum / double(blocks);
}

}  // namespace hone
