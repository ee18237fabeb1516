// Calls into Python from C++: which thread makes them, and what becomes of their exceptions.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "python/bindings.h"
#include "rollout/interrupted.h"

namespace hone::python {

/// A Python exception on its way through C++ code that does not hold the GIL.
class PythonError : public Interrupted {
 public:
  /// REQUIRES: the GIL.
  explicit PythonError(py::error_already_set error)
      : Interrupted(error.what()), error_(new py::error_already_set(std::move(error)), [](py::error_already_set* e) {
          const py::gil_scoped_acquire gil;
          delete e;
        }) {}
  /// Raises it again. REQUIRES: the GIL.
  [[noreturn]] void raise() const { throw py::error_already_set(*error_); }

 private:
  std::shared_ptr<py::error_already_set> error_;
};

/// call() under the GIL, on this thread; a Python exception becomes a PythonError.
template <class Call>
auto with_gil(const Call& call) {
  const py::gil_scoped_acquire gil;
  try {
    return call();
  } catch (py::error_already_set& error) {
    throw PythonError(std::move(error));
  }
}

/// A function object whose last copy may go on any thread.
std::shared_ptr<py::object> shared_callable(py::object callable);

/// Runs `work` on a thread of its own while the calling one, which holds the GIL and has signal handlers, serves it:
/// makes the calls that `work` sends to it, and asks for a stop when a signal handler (Ctrl-C) raises. Rewards
/// and callbacks thus run where the user called from, and can use what only the main thread may (signal.alarm, ..).
class PythonThread {
 public:
  /// Returns when the work has ended, and raises what it threw. REQUIRES: the GIL.
  void run(const std::function<void()>& work);

  /// From `work` and the threads it starts: makes the call under the GIL on the serving thread and waits for it.
  template <class Call>
  auto call(const Call& call) {
    std::optional<std::decay_t<decltype(call())>> result;
    wait_for([&] { result.emplace(call()); });
    return std::move(*result);
  }

  std::stop_token stop() const { return source_.get_token(); }
  void request_stop() { source_.request_stop(); }

 private:
  struct Job {
    std::function<void()> call;
    std::exception_ptr error;
    bool done = false;
  };
  void wait_for(const std::function<void()>& call);
  void serve(Job& job);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job*> jobs_;
  bool ended_ = false;
  std::stop_source source_;
};

}  // namespace hone::python
