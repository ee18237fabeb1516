// rollout/types.h
#include "rollout/types.h"

#include "python/bindings.h"

namespace hone::python {

void bind_types(py::module_& m) {
  py::enum_<FinishReason>(m, "FinishReason", "Why a completion ended.")
      .value("eos", FinishReason::kEos)
      .value("length", FinishReason::kLength)
      .value("stop", FinishReason::kStop);

  py::class_<Prompt>(m, "Prompt", "What a policy reads.")
      .def(py::init([](int64_t id, std::string text, std::vector<int32_t> token_ids, const py::dict& columns) {
             return Prompt{id, std::move(text), std::move(token_ids), to_json(columns)};
           }),
           py::arg("id") = Prompt{}.id, py::arg("text") = "", py::arg("token_ids") = std::vector<int32_t>{},
           py::arg("columns") = py::dict())
      .def_readwrite("id", &Prompt::id, "row number in its data set, or the row's own integer id")
      .def_readwrite("text", &Prompt::text, "what the policy reads")
      .def_readwrite("token_ids", &Prompt::token_ids, "text under the policy's tokenizer")
      .def_property(
          "columns", [](const Prompt& p) { return from_json(p.columns); },
          [](Prompt& p, const py::dict& columns) { p.columns = to_json(columns); },
          "the row's other columns, handed to the rewards (dict)")
      .def("__repr__", [](const Prompt& p) {
        return py::str("Prompt(id={}, text={!r}, {} tokens)").format(p.id, p.text, p.token_ids.size());
      });

  py::class_<Rollout>(m, "Rollout", "One completion of a prompt.")
      .def(py::init([](int64_t prompt_id, int32_t sample, std::vector<int32_t> token_ids, std::vector<float> logprobs,
                       std::string text, FinishReason reason) {
             return Rollout{prompt_id, sample, std::move(token_ids), std::move(logprobs), std::move(text), reason};
           }),
           py::arg("prompt_id") = Rollout{}.prompt_id, py::arg("sample") = Rollout{}.sample,
           py::arg("token_ids") = std::vector<int32_t>{}, py::arg("logprobs") = std::vector<float>{},
           py::arg("text") = "", py::arg("finish_reason") = FinishReason::kEos)
      .def_readwrite("prompt_id", &Rollout::prompt_id)
      .def_readwrite("sample", &Rollout::sample, "0 .. G-1 within its group")
      .def_readwrite("token_ids", &Rollout::token_ids, "(T) the completion, with the end token if one was drawn")
      .def_readwrite("logprobs", &Rollout::logprobs,
                     "(T) natural log-prob of each token under the distribution it was drawn from")
      .def_readwrite("text", &Rollout::text, "decoded completion without the final end token")
      .def_readwrite("finish_reason", &Rollout::finish_reason)
      .def_readwrite("policy_version", &Rollout::policy_version, "optimizer updates done before this was sampled")
      .def("__repr__", [](const Rollout& r) {
        return py::str("Rollout(prompt_id={}, sample={}, text={!r}, {} tokens, {})")
            .format(r.prompt_id, r.sample, r.text, r.token_ids.size(), to_string(r.finish_reason));
      });
}

}  // namespace hone::python
