#include "models/kernels/thread_pool.h"

#include <memory>
#include <stdexcept>
#include <utility>

namespace hone {
namespace {

constexpr int kLooksBeforeSleep = 4000;  // about 20 microseconds

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

void wait_while_equal(std::atomic<uint32_t>& value, uint32_t old) {
  for (int i = 0; i < kLooksBeforeSleep; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    pause();
  }
  value.wait(old, std::memory_order_acquire);
}

std::unique_ptr<ThreadPool>& shared_pool() {
  static auto pool = std::make_unique<ThreadPool>(1);
  return pool;
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  if (threads < 1) throw std::invalid_argument("threads must be at least 1, got " + std::to_string(threads));
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
}

ThreadPool::~ThreadPool() {
  stop_ = true;
  generation_.fetch_add(1);
  generation_.notify_all();
  for (auto& worker : workers_) worker.join();
}

void ThreadPool::run(int64_t count, const std::function<void(int64_t)>& task) {
  if (workers_.empty() || count < 2 || busy_.exchange(true)) {
    for (int64_t i = 0; i < count; ++i) task(i);
    return;
  }
  task_ = &task;
  count_ = count;
  pending_.store(static_cast<uint32_t>(count), std::memory_order_relaxed);
  const uint32_t generation = generation_.load(std::memory_order_relaxed) + 1;
  left_.store(uint64_t{generation} << 32 | static_cast<uint32_t>(count), std::memory_order_release);
  generation_.store(generation, std::memory_order_release);
  generation_.notify_all();
  while (take_and_run(generation)) {
  }
  for (uint32_t left = pending_.load(std::memory_order_acquire); left != 0;
       left = pending_.load(std::memory_order_acquire)) {
    wait_while_equal(pending_, left);
  }
  const std::exception_ptr failure = std::exchange(failure_, nullptr);
  busy_ = false;
  if (failure) std::rethrow_exception(failure);
}

void ThreadPool::run_one(int64_t i) {
  try {
    (*task_)(i);
  } catch (...) {
    const std::lock_guard lock(failure_mutex_);
    if (!failure_) failure_ = std::current_exception();
  }
}

bool ThreadPool::take_and_run(uint32_t generation) {
  uint64_t left = left_.load(std::memory_order_acquire);
  do {
    if (left >> 32 != generation || (left & 0xffffffffu) == 0) return false;
  } while (!left_.compare_exchange_weak(left, left - 1, std::memory_order_acq_rel));
  run_one(count_ - static_cast<int64_t>(left & 0xffffffffu));
  if (pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) pending_.notify_all();
  return true;
}

void ThreadPool::work() {
  uint32_t seen = 0;
  while (!stop_) {
    wait_while_equal(generation_, seen);
    seen = generation_.load(std::memory_order_acquire);
    while (take_and_run(seen)) {
    }
  }
}

ThreadPool& kernel_pool() { return *shared_pool(); }

void set_kernel_threads(int threads) {
  if (kernel_pool().threads() != threads) shared_pool() = std::make_unique<ThreadPool>(threads);
}

}  // namespace hone
