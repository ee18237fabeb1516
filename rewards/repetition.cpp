#include "rewards/repetition.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_map>

#include <fmt/core.h>

#include "rewards/math/scan.h"

namespace hone {
namespace {

/// The words of a text as numbers, equal words the same one.
std::vector<uint32_t> number_words(const std::string& text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), ascii_lower);
  const std::string_view all(lower);
  std::unordered_map<std::string_view, uint32_t> numbers;
  std::vector<uint32_t> words;
  for (size_t at = skip_space(all, 0); at < all.size(); at = skip_space(all, at)) {
    size_t end = at;
    while (end < all.size() && space_at(all, end) == 0) ++end;
    words.push_back(numbers.emplace(all.substr(at, end - at), static_cast<uint32_t>(numbers.size())).first->second);
    at = end;
  }
  return words;
}

/// Distinct runs of n neighbours, by sorting where they begin.
size_t count_distinct(const std::vector<uint32_t>& words, size_t n) {
  std::vector<std::span<const uint32_t>> runs;
  for (size_t i = 0; i + n <= words.size(); ++i) runs.emplace_back(words.data() + i, n);
  std::ranges::sort(runs, [](auto a, auto b) { return std::ranges::lexicographical_compare(a, b); });
  const auto same = [](auto a, auto b) { return std::ranges::equal(a, b); };
  return static_cast<size_t>(std::ranges::unique(runs, same).begin() - runs.begin());
}

Score score_repetition(const std::string& text, const RepetitionOptions& options) {
  const auto words = number_words(text);
  const auto n = static_cast<size_t>(options.ngram_size);
  if (words.size() < n) return {0.0, Verdict::kCorrect, fmt::format("{} words, fewer than {}", words.size(), n)};
  const size_t total = words.size() - n + 1, distinct = count_distinct(words, n);
  const double repeated = 1.0 - static_cast<double>(distinct) / static_cast<double>(total);
  return {repeated == 0 ? 0.0 : options.max_penalty * repeated, distinct == total ? Verdict::kCorrect : Verdict::kWrong,
          fmt::format("{} distinct of {} runs of {} words", distinct, total, n)};
}

}  // namespace

RewardFn repetition_penalty(const RepetitionOptions& options) {
  return [options](const Prompt&, std::span<const Rollout> rollouts) {
    std::vector<Score> scores;
    for (const auto& rollout : rollouts) scores.push_back(score_repetition(rollout.text, options));
    return scores;
  };
}

}  // namespace hone
