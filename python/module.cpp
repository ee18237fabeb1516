#include <c10/util/Exception.h>
#include <torch/version.h>

#include "cli/command_line.h"
#include "python/bindings.h"

namespace hone::python {

std::string to_json(const py::handle& value) {
  return py::module_::import("json").attr("dumps")(value).cast<std::string>();
}

py::object from_json(const std::string& text) { return py::module_::import("json").attr("loads")(text); }

namespace {

/// LibTorch's messages without their backtrace. What else a C++ function throws is translated by pybind11:
/// std::invalid_argument to ValueError, std::out_of_range to IndexError, all others to RuntimeError.
void translate(std::exception_ptr error) {
  try {
    if (error) std::rethrow_exception(error);
  } catch (const c10::Error& e) {
    py::set_error(PyExc_RuntimeError, e.what_without_backtrace());
  }
}

}  // namespace
}  // namespace hone::python

PYBIND11_MODULE(_C, m) {
  namespace py = pybind11;
  using namespace hone::python;
  m.doc() = "The C++ half of hone.";
  m.attr("__version__") = HONE_VERSION;
  m.attr("torch_version") = TORCH_VERSION;
  py::register_exception_translator(translate);
  bind_types(m);
  bind_options(m);
  bind_rewards(m);
  bind_model(m);
  bind_losses(m);
  bind_metrics(m);
  bind_sandbox(m);
  bind_run(m);
  m.def(
      "set_threads", [](int threads) { hone::use({.threads = threads}); }, py::arg("threads"),
      "Threads of hone's kernels from here on; 0: all cores. Changes no result. Not while something computes. As the\n"
      "command line does, it also sets ATen to one thread and flushes denormal numbers to zero in the calling thread.",
      py::call_guard<py::gil_scoped_release>());
}
