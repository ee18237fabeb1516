#include "rewards/lengths.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <stdexcept>
#include <utility>

#include <fmt/core.h>

#include "rewards/math/scan.h"

namespace hone {
namespace {

double overlong_value(int64_t tokens, const OverlongOptions& o) {
  const int64_t free = o.max_completion_len - o.soft_punish_cache;
  if (tokens <= free) return 0;
  if (tokens > o.max_completion_len) return -1;
  return static_cast<double>(free - tokens) / static_cast<double>(o.soft_punish_cache);
}

double cosine_value(bool correct, double characters, const CosineOptions& o) {
  const double progress = std::min(1.0, characters / static_cast<double>(o.max_len));
  const double shortness = (1 + std::cos(std::numbers::pi * progress)) / 2;
  const double at_end = correct ? o.min_value_correct : o.max_value_wrong;
  const double at_start = correct ? o.max_value_correct : o.min_value_wrong;
  return at_end + (at_start - at_end) * shortness;
}

/// The score of a correctness reward with another value.
Score with_value(Score score, double value, std::string_view because) {
  score.value = value;
  score.reason += fmt::format("; {}", because);
  return score;
}

std::vector<Score> score_lengths(std::span<const Rollout> rollouts, std::vector<Score> scores) {
  std::vector<double> lengths;
  for (const auto& rollout : rollouts) lengths.push_back(static_cast<double>(count_chars(rollout.text)));
  double shortest = INFINITY, longest = -INFINITY;
  for (size_t i = 0; i < scores.size(); ++i) {
    if (!scores[i].value) continue;
    shortest = std::min(shortest, lengths[i]);
    longest = std::max(longest, lengths[i]);
  }
  for (size_t i = 0; i < scores.size(); ++i) {
    if (!scores[i].value) continue;
    const double s = longest > shortest ? 0.5 - (lengths[i] - shortest) / (longest - shortest) : 0.0;
    scores[i] = with_value(scores[i], scores[i].verdict == Verdict::kCorrect ? s : std::min(0.0, s),
                           fmt::format("{} characters, {} to {} in the group", lengths[i], shortest, longest));
  }
  return scores;
}

}  // namespace

RewardFn soft_overlong_punishment(const OverlongOptions& options) {
  if (options.soft_punish_cache > options.max_completion_len) {
    throw std::invalid_argument(
        fmt::format("reward 'soft_overlong_punishment': soft_punish_cache is {} and max_completion_len {}; the cache "
                    "cannot be longer",
                    options.soft_punish_cache, options.max_completion_len));
  }
  return [options](const Prompt&, std::span<const Rollout> rollouts) {
    std::vector<Score> scores;
    for (const auto& rollout : rollouts) {
      if (rollout.token_ids.empty()) {
        scores.push_back(Score::not_applicable("the completion has no token ids to count"));
        continue;
      }
      const auto tokens = static_cast<int64_t>(rollout.token_ids.size());
      const double value = overlong_value(tokens, options);
      scores.push_back({value, value < 0 ? Verdict::kWrong : Verdict::kCorrect,
                        fmt::format("{} tokens, punished beyond {}", tokens,
                                    options.max_completion_len - options.soft_punish_cache)});
    }
    return scores;
  };
}

RewardFn cosine_reward(const CosineOptions& options, RewardFn accuracy) {
  return [options, accuracy = std::move(accuracy)](const Prompt& prompt, std::span<const Rollout> rollouts) {
    auto scores = accuracy(prompt, rollouts);
    for (size_t i = 0; i < scores.size(); ++i) {
      if (!scores[i].value) continue;
      const auto length = static_cast<double>(count_chars(rollouts[i].text));
      const double value = cosine_value(scores[i].verdict == Verdict::kCorrect, length, options);
      scores[i] = with_value(scores[i], value, fmt::format("{} characters of {}", length, options.max_len));
    }
    return scores;
  };
}

RewardFn length_reward(RewardFn accuracy) {
  return [accuracy = std::move(accuracy)](const Prompt& prompt, std::span<const Rollout> rollouts) {
    return score_lengths(rollouts, accuracy(prompt, rollouts));
  };
}

}  // namespace hone
