#include "rl/aha.h"

namespace hone {

AhaMoments aha_moments(const RunReader& run, const std::string& stage, const std::string& accuracy,
                       const CorrectsItself& corrects_itself, size_t limit) {
  AhaMoments moments;
  const QueryResult rollouts = run.query(
      "SELECT r.id, r.step, p.id, p.text, p.columns, r.text, w.verdict FROM rollouts r "
      "JOIN prompts p ON p.id = r.prompt_id AND p.stage = r.stage "
      "LEFT JOIN rewards w ON w.rollout_id = r.id AND w.name = ? WHERE r.stage = ? ORDER BY r.step, r.id",
      {accuracy, stage});
  for (const auto& row : rollouts.rows) {
    const auto step = row[1].get<int64_t>();
    if (moments.steps.empty() || moments.steps.back().step != step) moments.steps.push_back({step, 0, 0});
    ++moments.steps.back().rollouts;
    if (row[6] != "correct") continue;
    const Prompt prompt{row[2].get<int64_t>(), row[3].get<std::string>(), {}, row[4].get<std::string>()};
    const auto completion = row[5].get<std::string>();
    if (!corrects_itself(prompt, completion)) continue;
    ++moments.steps.back().ahas;
    if (moments.first.size() < limit) moments.first.push_back({row[0].get<int64_t>(), step, prompt.text, completion});
  }
  return moments;
}

}  // namespace hone
