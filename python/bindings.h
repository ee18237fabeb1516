// The Python module hone._C: one *_bindings.cpp a C++ header, each with its bind function. Structs are bound as
// structs; defaults and ranges of options come from their `visit`. The GIL is released in every call that computes.
#pragma once

#include <torch/csrc/utils/pybind.h>  // at::Tensor <-> torch.Tensor, with autograd and without copies

#include <pybind11/functional.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include "rewards/reward.h"

namespace hone::python {

namespace py = pybind11;

void bind_types(py::module_& m);
void bind_options(py::module_& m);
void bind_rewards(py::module_& m);
void bind_model(py::module_& m);
void bind_losses(py::module_& m);
void bind_metrics(py::module_& m);
void bind_sandbox(py::module_& m);
void bind_run(py::module_& m);

/// Of a Python reward: a number is the score, and correct from 1 on; None is not applicable.
Score score_of(const std::optional<double>& value);

/// The JSON of a Python value by Python's own json module; and back.
std::string to_json(const py::handle& value);
py::object from_json(const std::string& text);

}  // namespace hone::python
