#include "rewards/group.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <iterator>
#include <stdexcept>
#include <utility>

#include <fmt/core.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "rewards/parallel.h"

namespace hone {
namespace {

/// The weighted sum of the parts that have a value; empty when none has.
std::optional<double> total_of(const std::vector<Reward::Part>& parts) {
  std::optional<double> total;
  for (const auto& part : parts) {
    if (part.score.value) total = total.value_or(0.0) + part.weight * *part.score.value;
  }
  return total;
}

// Whether the row asks for this reward: all of them, unless its column reward_funcs names some.
bool is_asked(const NamedReward& reward, const Prompt& prompt) {
  constexpr const char* kColumn = "reward_funcs";
  if (prompt.columns.find(kColumn) == std::string::npos) return true;
  const auto columns = nlohmann::json::parse(prompt.columns);
  const auto names = columns.find(kColumn);
  return names == columns.end() || std::find(names->begin(), names->end(), nlohmann::json(reward.name)) != names->end();
}

Score not_asked() { return Score::not_applicable("the row's reward_funcs names others"); }

std::vector<Score> ask(const NamedReward& reward, const Group& group) {
  if (!is_asked(reward, group.prompt)) return std::vector(group.rollouts.size(), not_asked());
  std::vector<Score> scores;
  try {
    scores = reward.fn(group.prompt, group.rollouts);
  } catch (const std::runtime_error& e) {
    std::throw_with_nested(
        std::runtime_error(fmt::format("prompt {}, reward '{}': {}", group.prompt.id, reward.name, e.what())));
  }
  if (scores.size() != group.rollouts.size()) {
    throw std::logic_error(fmt::format("reward '{}' returned {} scores for {} completions", reward.name, scores.size(),
                                       group.rollouts.size()));
  }
  return scores;
}

void check_asks(const Prompt& prompt, const std::vector<NamedReward>& rewards) {
  const auto asked = [&](const NamedReward& reward) { return is_asked(reward, prompt); };
  if (rewards.empty() || std::ranges::any_of(rewards, asked)) return;
  std::vector<std::string> names;
  for (const auto& reward : rewards) names.push_back(reward.name);
  throw std::runtime_error(
      fmt::format("prompt {}: its column reward_funcs names none of the rewards that are asked: {}", prompt.id,
                  fmt::join(names, ", ")));
}

std::vector<Reward> score_group(const Group& group, const std::vector<NamedReward>& rewards) {
  check_asks(group.prompt, rewards);
  std::vector<Reward> result(group.rollouts.size());
  for (const auto& reward : rewards) {
    // a reward that wants all groups together is asked later and has its place kept
    auto scores = reward.batch ? std::vector<Score>(group.rollouts.size()) : ask(reward, group);
    for (size_t g = 0; g < scores.size(); ++g) {
      result[g].parts.push_back({reward.name, reward.weight, std::move(scores[g])});
    }
  }
  return result;
}

/// Asks a reward that wants all groups together about those whose rows ask for it.
void ask_together(std::vector<Group>& groups, size_t part, const NamedReward& reward) {
  std::vector<Group*> places;
  std::vector<Group> asked;
  for (Group& group : groups) {
    if (is_asked(reward, group.prompt)) {
      places.push_back(&group);
      asked.push_back(std::move(group));
    } else {
      for (Reward& earned : group.rewards) earned.parts[part].score = not_asked();
    }
  }
  if (asked.empty()) return;
  auto scores = reward.batch(asked);
  bool fits = scores.size() == asked.size();
  for (size_t p = 0; fits && p < asked.size(); ++p) fits = scores[p].size() == asked[p].rollouts.size();
  if (!fits)
    throw std::logic_error(fmt::format("reward '{}' did not return one score for each completion", reward.name));
  for (size_t p = 0; p < asked.size(); ++p) {
    for (size_t g = 0; g < scores[p].size(); ++g) asked[p].rewards[g].parts[part].score = std::move(scores[p][g]);
    *places[p] = std::move(asked[p]);
  }
}

/// What is left to do when every group has been scored by itself.
void complete(std::vector<Group>& groups, const std::vector<NamedReward>& rewards) {
  for (size_t i = 0; i < rewards.size(); ++i) {
    if (rewards[i].batch) ask_together(groups, i, rewards[i]);
  }
  for (Group& group : groups) {
    for (Reward& reward : group.rewards) reward.total = total_of(reward.parts);
  }
}

Group take_group(const Prompt& prompt, std::span<Rollout> rollouts) {
  for (const auto& rollout : rollouts) {
    if (rollout.prompt_id != prompt.id) {
      throw std::invalid_argument(fmt::format(
          "score: a completion of prompt {} stands where those of prompt {} belong; keep the order of the prompts",
          rollout.prompt_id, prompt.id));
    }
  }
  return {prompt, {std::move_iterator(rollouts.begin()), std::move_iterator(rollouts.end())}, {}};
}

std::vector<Group> make_groups(const std::vector<Prompt>& prompts, std::vector<Rollout> rollouts) {
  if (prompts.empty() ? !rollouts.empty() : rollouts.size() % prompts.size() != 0) {
    throw std::invalid_argument(
        fmt::format("score: {} completions for {} prompts; every prompt needs as many as the others", rollouts.size(),
                    prompts.size()));
  }
  const size_t per_prompt = prompts.empty() ? 0 : rollouts.size() / prompts.size();
  std::vector<Group> groups;
  groups.reserve(prompts.size());
  for (size_t p = 0; p < prompts.size(); ++p) {
    groups.push_back(take_group(prompts[p], std::span(rollouts).subspan(p * per_prompt, per_prompt)));
  }
  return groups;
}

}  // namespace

std::vector<Group> score(const std::vector<Prompt>& prompts, std::vector<Rollout> rollouts,
                         const std::vector<NamedReward>& rewards, int threads) {
  auto groups = make_groups(prompts, std::move(rollouts));
  for_each_index(groups.size(), threads, [&](size_t p) { groups[p].rewards = score_group(groups[p], rewards); });
  complete(groups, rewards);
  return groups;
}

GroupScorer::GroupScorer(const std::vector<Prompt>& prompts, const std::vector<NamedReward>& rewards, int threads)
    : prompts_(prompts), rewards_(rewards), groups_(prompts.size()), failures_(prompts.size()), left_(prompts.size()) {
  for (int i = 0; i < std::max(1, threads); ++i) threads_.emplace_back([this] { work(); });
}

GroupScorer::~GroupScorer() {
  const std::lock_guard lock(mutex_);
  stop_ = true;
  changed_.notify_all();
}

void GroupScorer::add(size_t index, std::span<const Rollout> rollouts) {
  std::vector<Rollout> own(rollouts.begin(), rollouts.end());
  Group group = take_group(prompts_.at(index), own);
  const std::lock_guard lock(mutex_);
  groups_[index] = std::move(group);
  waiting_.push_back(index);
  changed_.notify_all();
}

void GroupScorer::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stop_ || !waiting_.empty() || left_ == 0; });
    if (stop_ || waiting_.empty()) return;
    const size_t index = waiting_.front();
    waiting_.pop_front();
    lock.unlock();
    const auto begin = std::chrono::steady_clock::now();
    std::exception_ptr failure;
    try {
      groups_[index].rewards = score_group(groups_[index], rewards_);  // nobody else touches this group now
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    failures_[index] = failure;
    --left_;
    changed_.notify_all();
  }
}

std::vector<Group> GroupScorer::finish() {
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return left_ == 0; });
  }
  threads_.clear();
  for (const auto& failure : failures_) {
    if (failure) std::rethrow_exception(failure);
  }
  const auto begin = std::chrono::steady_clock::now();
  complete(groups_, rewards_);
  seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return std::move(groups_);
}

}  // namespace hone
