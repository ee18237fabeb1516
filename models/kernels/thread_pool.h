// A small pool that blocks instead of spinning: a worker looks for work for some microseconds, then sleeps, so a
// process that competes for a core costs little (OpenMP's spinning barriers cost a factor of a thousand there).
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace hone {

class ThreadPool {
 public:
  /// `threads` counts the caller: 1 runs everything in place.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  /// Runs task(0) .. task(count-1), each once, on any thread, started in this order, and returns when all are done.
  /// Throws what a task threw first, after the others have ended. Called by one thread at a time; a call from inside a
  /// task runs in place.
  void run(int64_t count, const std::function<void(int64_t)>& task);

 private:
  void work();
  bool take_and_run(uint32_t generation);
  void run_one(int64_t i);

  std::vector<std::thread> workers_;
  const std::function<void(int64_t)>* task_ = nullptr;
  int64_t count_ = 0;
  std::mutex failure_mutex_;
  std::exception_ptr failure_;           // what a task of this job threw first
  std::atomic<uint32_t> generation_{0};  // rises by one a job; workers sleep on it
  std::atomic<uint64_t> left_{0};        // generation << 32 | tasks not yet taken: nobody can take from another job
  std::atomic<uint32_t> pending_{0};     // tasks not yet done
  std::atomic<bool> stop_{false};
  std::atomic<bool> busy_{false};
};

/// The pool that the kernels of this process share, as an allocator is shared. Its size changes no result.
ThreadPool& kernel_pool();
/// Replaces it; not while a kernel runs. Throws std::invalid_argument below 1.
void set_kernel_threads(int threads);

}  // namespace hone
