// sandbox/sandbox.h
#include "sandbox/sandbox.h"

#include "python/bindings.h"
#include "python/python_call.h"

namespace hone::python {
namespace {

using namespace sandbox;

std::string text_of(const std::string& bytes) {
  return py::reinterpret_steal<py::str>(
      PyUnicode_DecodeUTF8(bytes.data(), static_cast<Py_ssize_t>(bytes.size()), "replace"));
}

Job job_of(const std::string& program, const std::string& language, const std::string& stdin_text,
           std::optional<std::string> expected_stdout, const std::string& prompt, const std::string& test,
           const std::string& entry_point, const Limits& limits) {
  if (language != "python" && language != "cpp")
    throw std::invalid_argument("language is '" + language + "', allowed is one of python, cpp");
  return {.language = language == "cpp" ? Language::kCpp : Language::kPython,
          .mode = test.empty() ? Mode::kScript : Mode::kFunction,
          .program = program,
          .stdin_text = stdin_text,
          .limits = limits,
          .expected_stdout = std::move(expected_stdout),
          .prompt = prompt,
          .test = test,
          .entry_point = entry_point};
}

/// done(result) is called under the GIL from a thread of the pool.
void submit(Pool& pool, Job job, py::function done) {
  auto call = shared_callable(std::move(done));
  const py::gil_scoped_release release;
  pool.async_run(std::move(job), [call](Result result) {
    const py::gil_scoped_acquire gil;
    try {
      (*call)(result);
    } catch (py::error_already_set& error) {
      error.discard_as_unraisable("hone.Sandbox");
    }
  });
}

}  // namespace

void bind_sandbox(py::module_& m) {
  py::class_<Limits> limits(m, "Limits", "What a program may use.");
  limits.def(py::init<>())
      .def_readwrite("wall_s", &Limits::wall_s, "from its start to its end")
      .def_readwrite("cpu_s", &Limits::cpu_s)
      .def_readwrite("memory_mib", &Limits::memory_mib)
      .def_readwrite("output_bytes", &Limits::output_bytes, "of each of stdout and stderr")
      .def_readwrite("processes", &Limits::processes)
      .def_readwrite("file_mib", &Limits::file_mib)
      .def_readwrite("open_files", &Limits::open_files);
  py::class_<Result>(m, "SandboxResult", "How a program ended.")
      .def_property_readonly(
          "verdict", [](const Result& r) { return std::string(name_of(r.verdict)); },
          "OK, WA, RE, TLE, MLE, OLE, SV, CE or IE (a fault of the sandbox, never a reward)")
      .def_readonly("exit_code", &Result::exit_code)
      .def_readonly("signal", &Result::signal)
      .def_property_readonly("stdout", [](const Result& r) { return text_of(r.stdout_text); })
      .def_property_readonly("stderr", [](const Result& r) { return text_of(r.stderr_text); })
      .def_readonly("wall_ms", &Result::wall_ms)
      .def_readonly("cpu_ms", &Result::cpu_ms)
      .def_readonly("peak_mb", &Result::peak_mb)
      .def_readonly("reason", &Result::reason, "one sentence wherever the verdict is not OK")
      .def("__repr__", [](const Result& r) { return "SandboxResult(" + std::string(name_of(r.verdict)) + ")"; });
  py::class_<Pool, std::unique_ptr<Pool, std::function<void(Pool*)>>>(m, "SandboxPool",
                                                                      "A pool of warm workers. Thread-safe.")
      .def(py::init([](int jobs) {
             if (jobs < 0)
               throw std::invalid_argument("jobs is " + std::to_string(jobs) +
                                           ", allowed is a whole number of at least 0 (0: one a core)");
             const py::gil_scoped_release release;
             // destroyed without the GIL: jobs that end meanwhile call into Python
             return std::unique_ptr<Pool, std::function<void(Pool*)>>(new Pool({.jobs = jobs}), [](Pool* pool) {
               const py::gil_scoped_release no_gil;
               delete pool;
             });
           }),
           py::arg("jobs") = PoolOptions{}.jobs)
      .def(
          "submit",
          [](Pool& pool, const py::function& done, const std::string& program, const std::string& language,
             const std::string& stdin_text, std::optional<std::string> expected_stdout, const std::string& prompt,
             const std::string& test, const std::string& entry_point, const Limits& limits) {
            submit(pool,
                   job_of(program, language, stdin_text, std::move(expected_stdout), prompt, test, entry_point, limits),
                   done);
          },
          py::arg("done"), py::arg("program"), py::arg("language") = "python", py::arg("stdin") = "",
          py::arg("expected_stdout") = py::none(), py::arg("prompt") = "", py::arg("test") = "",
          py::arg("entry_point") = "", py::arg("limits") = Limits{},
          "Starts a program; done(SandboxResult) is called from a thread of the pool when it has ended.")
      .def_property_readonly("jobs", &Pool::jobs, "programs that run at the same time");
  m.def(
      "sandbox_capabilities",
      [] {
        std::map<std::string, Layer> layers;
        {
          const py::gil_scoped_release release;
          layers = capabilities();
        }
        py::dict out;
        for (const auto& [name, layer] : layers) {
          py::dict row;
          row["on"] = layer.on;
          row["reason"] = layer.reason;
          out[py::str(name)] = row;
        }
        return out;
      },
      "Every isolation layer: whether it works on this machine, and why.");
}

}  // namespace hone::python
