// rewards/reward.h, rewards/group.h, rewards/rewards.h
#include "rewards/rewards.h"

#include <fmt/format.h>

#include "python/bindings.h"
#include "python/python_call.h"
#include "rewards/group.h"

namespace hone::python {

Score score_of(const std::optional<double>& value) {
  if (!value) return Score::not_applicable("the function returned None");
  return {*value, *value >= 1 ? Verdict::kCorrect : Verdict::kWrong, "the function's value"};
}

namespace {

/// fn(prompt, rollouts) -> one number or None a rollout. May be called from several threads.
RewardFn python_reward(const std::string& name, py::object fn) {
  return [name, fn = shared_callable(std::move(fn))](const Prompt& prompt, std::span<const Rollout> rollouts) {
    return with_gil([&] {
      const auto values = (*fn)(prompt, std::vector<Rollout>(rollouts.begin(), rollouts.end()))
                              .cast<std::vector<std::optional<double>>>();
      if (values.size() != rollouts.size())
        throw std::invalid_argument(fmt::format("reward '{}' returned {} values for {} completions; return one each",
                                                name, values.size(), rollouts.size()));
      std::vector<Score> scores;
      for (const auto& value : values) scores.push_back(score_of(value));
      return scores;
    });
  };
}

std::vector<Group> score_groups(const std::vector<Prompt>& prompts, const std::vector<Rollout>& rollouts,
                                const std::vector<NamedReward>& rewards, int threads) {
  try {
    const py::gil_scoped_release release;
    return score(prompts, rollouts, rewards, threads);
  } catch (const std::nested_exception& named) {
    try {
      named.rethrow_nested();
    } catch (const PythonError& error) {
      error.raise();  // as the function raised it
    } catch (...) {
    }
    throw;
  }
}

}  // namespace

void bind_rewards(py::module_& m) {
  py::enum_<Verdict>(m, "Verdict", "not_applicable and undecided are never turned into a score.")
      .value("correct", Verdict::kCorrect)
      .value("wrong", Verdict::kWrong)
      .value("not_applicable", Verdict::kNotApplicable)
      .value("undecided", Verdict::kUndecided);

  py::class_<Score>(m, "Score", "One reward's opinion of one completion.")
      .def(py::init(&score_of), py::arg("value"))
      .def_readonly("value", &Score::value, "0..1, penalties below 0; None when not applicable or undecided")
      .def_readonly("verdict", &Score::verdict)
      .def_readonly("reason", &Score::reason, "a sentence for a person")
      .def("__repr__", [](const Score& s) {
        return py::str("Score(value={}, verdict={}, reason={!r})").format(s.value, to_string(s.verdict), s.reason);
      });

  py::class_<Reward::Part>(m, "RewardPart", "What one reward function gave.")
      .def_readonly("name", &Reward::Part::name)
      .def_readonly("weight", &Reward::Part::weight)
      .def_readonly("score", &Reward::Part::score);
  py::class_<Reward>(m, "Reward", "What a rollout earned: the weighted sum of its applicable parts.")
      .def_readonly("total", &Reward::total, "None when no part was applicable")
      .def_readonly("parts", &Reward::parts, "one per reward function, in order")
      .def("__repr__",
           [](const Reward& r) { return py::str("Reward(total={}, {} parts)").format(r.total, r.parts.size()); });

  py::class_<Group>(m, "Group", "One prompt, its G rollouts and their G rewards.")
      .def_readonly("prompt", &Group::prompt)
      .def_readonly("rollouts", &Group::rollouts)
      .def_readonly("rewards", &Group::rewards);

  py::class_<NamedReward>(m, "NamedReward", "A reward function with its name and weight.")
      .def(py::init([](const std::string& text, double weight) { return make_rewards({text}, {weight}).at(0); }),
           py::arg("name"), py::arg("weight") = NamedReward{}.weight,
           "A reward of hone by name, with options: 'cosine:max_len=2000'.")
      .def(py::init([](const std::string& name, py::function fn, double weight) {
             return NamedReward{name, weight, python_reward(name, std::move(fn))};
           }),
           py::arg("name"), py::arg("function"), py::arg("weight") = NamedReward{}.weight,
           "function(prompt, rollouts) -> list of float or None, called under the GIL from any thread.")
      .def_readonly("name", &NamedReward::name)
      .def_readonly("weight", &NamedReward::weight);

  m.def("reward_names", reward_names, "Every reward of hone by name.");
  m.def("score_groups", score_groups, py::arg("prompts"), py::arg("rollouts"), py::arg("rewards"),
        py::arg("threads") = 1,
        "Scores rollouts[p * G + g] for prompts[p] with every reward, in order, on up to `threads` threads over "
        "prompts.\n"
        "Raises ValueError when the numbers do not fit, RuntimeError for a row whose columns have the wrong type; what "
        "a\n"
        "Python function raises passes through.");
}

}  // namespace hone::python
