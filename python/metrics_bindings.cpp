// rl/metrics.h
#include "rl/metrics.h"

#include "python/bindings.h"

namespace hone::python {

void bind_metrics(py::module_& m) {
  m.def("reward_metrics", reward_metrics, py::arg("groups"), py::arg("reflection_words") = std::vector<std::string>{},
        "What a step's scored groups say about it, under TRL's metric names.");
  m.def(
      "eval_metrics", eval_metrics, py::arg("groups"), py::arg("reflection_words") = std::vector<std::string>{},
      "eval_pass@1 with its interval, eval_pass@k, eval_maj@n, lengths. Raises RuntimeError when nothing was scored.");
  m.def("pass_at_k", pass_at_k, py::arg("n"), py::arg("c"), py::arg("k"),
        "1 - C(n-c, k)/C(n, k): the chance that k of n samples, c of them correct, hold a correct one.");
}

}  // namespace hone::python
