#include "rewards/parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace hone {
namespace {

/// The failure with the smallest index seen so far.
class FirstFailure {
 public:
  void record(size_t index, std::exception_ptr error) {
    const std::lock_guard lock(mutex_);
    if (!error_ || index < index_) {
      index_ = index;
      error_ = std::move(error);
    }
  }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::mutex mutex_;
  size_t index_ = 0;
  std::exception_ptr error_;
};

}  // namespace

void for_each_index(size_t count, int threads, const std::function<void(size_t)>& work) {
  std::atomic<size_t> next{0};
  std::atomic<bool> failed{false};
  FirstFailure failure;
  // indices are handed out in rising order, so whatever lies below a failed one is done or under way
  const auto worker = [&] {
    for (size_t i; !failed && (i = next++) < count;) {
      try {
        work(i);
      } catch (...) {
        failed = true;
        failure.record(i, std::current_exception());
      }
    }
  };
  const size_t extra = std::min(count, static_cast<size_t>(std::max(threads, 1))) - (count > 0);
  {
    std::vector<std::jthread> pool;
    pool.reserve(extra);
    for (size_t i = 0; i < extra; ++i) pool.emplace_back(worker);
    worker();
  }
  failure.rethrow();
}

}  // namespace hone
