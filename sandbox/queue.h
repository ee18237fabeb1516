// Jobs that wait, handed out in turns by caller.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

namespace hone::sandbox {

/// Unbounded first-in-first-out per caller; callers take turns. Thread-safe. close() wakes everybody.
template <class Item>
class FairQueue {
 public:
  /// False when closed; then `item` is untouched.
  bool push(uint64_t caller, Item& item) {
    {
      const std::lock_guard lock(mutex_);
      if (closed_) return false;
      auto& own = waiting_[caller];
      if (own.empty()) turns_.push_back(caller);
      own.push_back(std::move(item));
      ++size_;
    }
    changed_.notify_all();
    return true;
  }

  /// Waits until fewer than `most` items wait, or the queue is closed.
  void wait_for_room(size_t most) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return closed_ || size_ < most; });
  }

  /// Waits for the next item; empty when closed.
  std::optional<Item> pop() {
    std::optional<Item> item;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return closed_ || size_ > 0; });
      if (closed_) return std::nullopt;
      item = take();
    }
    changed_.notify_all();
    return item;
  }

  /// No more goes in or out; what still waited is returned.
  std::vector<Item> close() {
    std::vector<Item> rest;
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
      while (size_ > 0) rest.push_back(take());
    }
    changed_.notify_all();
    return rest;
  }

 private:
  Item take() {
    const uint64_t caller = turns_.front();
    turns_.pop_front();
    auto& own = waiting_[caller];
    Item item = std::move(own.front());
    own.pop_front();
    --size_;
    if (own.empty()) waiting_.erase(caller);
    else turns_.push_back(caller);
    return item;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<uint64_t, std::deque<Item>> waiting_;
  std::deque<uint64_t> turns_;  ///< callers that have something waiting
  size_t size_ = 0;
  bool closed_ = false;
};

}  // namespace hone::sandbox
