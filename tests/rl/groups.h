// Groups for the tests of this folder: rewards and texts as short as can be.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "rewards/group.h"

namespace hone::testing {

/// A directory of its own, removed with all that is in it.
class TemporaryDir {
 public:
  TemporaryDir() {
    std::string name = (std::filesystem::temp_directory_path() / "hone_test_XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~TemporaryDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDir(const TemporaryDir&) = delete;
  TemporaryDir& operator=(const TemporaryDir&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// One reward called `name` with weight 1: 1 is correct, anything less is wrong, nothing is not applicable.
inline Reward make_reward(std::optional<double> value, const std::string& name = "countdown") {
  const Verdict verdict = !value ? Verdict::kNotApplicable : *value >= 1 ? Verdict::kCorrect : Verdict::kWrong;
  return {value, {{name, 1.0, {value, verdict, "because"}}}};
}

inline Group make_group(int64_t prompt_id, const std::vector<std::optional<double>>& rewards) {
  Group group;
  group.prompt = {prompt_id, "1 2 3:" + std::to_string(prompt_id) + "\n", {1, 2, 3}, R"({"target":7})"};
  for (size_t g = 0; g < rewards.size(); ++g) {
    Rollout rollout;
    rollout.prompt_id = prompt_id;
    rollout.sample = int32_t(g);
    rollout.token_ids = {4, 5, 6};
    rollout.logprobs = {-0.5f, -1.25f, -2};
    rollout.text = "<think>try wait</think><answer>" + std::to_string(g) + "</answer>";
    rollout.finish_reason = FinishReason::kEos;
    group.rollouts.push_back(rollout);
    group.rewards.push_back(make_reward(rewards[g]));
  }
  return group;
}

}  // namespace hone::testing
