#include "rewards/exact.h"

#include <algorithm>

#include <fmt/core.h>

#include "rewards/answer.h"
#include "rewards/format.h"

namespace hone {
namespace {

Score score_exact(std::string_view gold, std::string_view completion) {
  const auto blocks = answer_blocks(completion);
  const auto answer = blocks.empty() ? trim(completion) : blocks.back();
  if (std::ranges::any_of(blocks, [&](auto block) { return block != answer; })) {
    return Score::wrong(fmt::format("gives {} answers that differ; the last is '{}'", blocks.size(), excerpt(answer)));
  }
  if (answer == gold) return Score::correct(fmt::format("answers '{}'", excerpt(answer)));
  return Score::wrong(fmt::format("answers '{}', not '{}'", excerpt(answer), excerpt(gold)));
}

}  // namespace

RewardFn exact_reward() {
  return [](const Prompt& prompt, std::span<const Rollout> rollouts) {
    const auto gold = gold_answer(prompt.columns);
    std::vector<Score> scores;
    for (const auto& rollout : rollouts) {
      scores.push_back(gold ? score_exact(*gold, rollout.text)
                            : Score::not_applicable("the row has no column 'answer' or 'solution' with text in it"));
    }
    return scores;
  };
}

}  // namespace hone
