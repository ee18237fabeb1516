#include "models/kernels/thread_pool.h"

#include <atomic>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

namespace hone {
namespace {

// Jobs of growing and shrinking size, one after another as fast as can be: a worker that is late for one job must take
// nothing from it once the next, larger one is there.
TEST(ThreadPool, EveryTaskOfEveryJobRunsExactlyOnce) {
  for (const int threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    std::vector<std::atomic<int>> runs(64);
    for (int64_t job = 0; job < 60000; ++job) {
      const int64_t count = job % 2 ? 61 : 2 + job % 5;
      for (auto& r : runs) r.store(0, std::memory_order_relaxed);
      pool.run(count, [&](int64_t i) {
        runs[static_cast<size_t>(i)].fetch_add(1, std::memory_order_relaxed);
        // long enough for the others to join in
        for (int wait = 0; wait < 60; ++wait) std::atomic_signal_fence(std::memory_order_seq_cst);
      });
      for (int64_t i = 0; i < 64; ++i)
        ASSERT_EQ(runs[static_cast<size_t>(i)], i < count ? 1 : 0) << "job " << job << ", task " << i;
    }
  }
}

TEST(ThreadPool, ACallFromInsideATaskRunsInPlace) {
  ThreadPool pool(3);
  std::atomic<int> inner{0};
  pool.run(10, [&](int64_t) { pool.run(5, [&](int64_t) { ++inner; }); });
  EXPECT_EQ(inner, 50);
}

TEST(ThreadPool, ThrowsWhatATaskThrewAndGoesOn) {
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    EXPECT_THROW(pool.run(20,
                          [](int64_t i) {
                            if (i == 7) throw std::runtime_error("seven");
                          }),
                 std::runtime_error);
    std::atomic<int> runs{0};
    pool.run(20, [&](int64_t) { ++runs; });
    EXPECT_EQ(runs, 20);
  }
}

TEST(ThreadPool, RefusesNoThreads) { EXPECT_THROW(ThreadPool(0), std::invalid_argument); }

}  // namespace
}  // namespace hone
