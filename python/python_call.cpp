#include "python/python_call.h"

#include <chrono>

namespace hone::python {

std::shared_ptr<py::object> shared_callable(py::object callable) {
  return {new py::object(std::move(callable)), [](py::object* o) {
            const py::gil_scoped_acquire gil;
            delete o;
          }};
}

void PythonThread::serve(Job& job) {
  try {
    job.call();
  } catch (py::error_already_set& error) {
    job.error = std::make_exception_ptr(PythonError(std::move(error)));
  } catch (...) {
    job.error = std::current_exception();
  }
}

void PythonThread::wait_for(const std::function<void()>& call) {
  Job job{call, nullptr};
  std::unique_lock lock(mutex_);
  jobs_.push_back(&job);
  changed_.notify_all();
  changed_.wait(lock, [&] { return job.done; });
  if (job.error) std::rethrow_exception(job.error);
}

void PythonThread::run(const std::function<void()>& work) {
  constexpr std::chrono::milliseconds kSignalPoll(50);
  std::exception_ptr failure;
  std::optional<py::error_already_set> interrupt;
  std::thread worker([&] {
    try {
      work();
    } catch (...) {
      failure = std::current_exception();
    }
    const std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  });
  for (bool ended = false; !ended;) {
    Job* job = nullptr;
    {
      const py::gil_scoped_release release;
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, kSignalPoll, [&] { return ended_ || !jobs_.empty(); });
      ended = ended_ && jobs_.empty();
      if (!jobs_.empty()) {
        job = jobs_.front();
        jobs_.pop_front();
      }
    }
    // before the job: a handler that raises is to stop the run, not a call that happens to come now
    if (PyErr_CheckSignals() != 0) {
      interrupt.emplace();
      request_stop();
    }
    if (job) {
      serve(*job);
      const std::lock_guard lock(mutex_);
      job->done = true;
      changed_.notify_all();
    }
  }
  {
    const py::gil_scoped_release release;
    worker.join();
  }
  if (interrupt) throw std::move(*interrupt);
  try {
    if (failure) std::rethrow_exception(failure);
  } catch (const PythonError& error) {
    error.raise();
  }
}

}  // namespace hone::python
