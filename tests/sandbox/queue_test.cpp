#include "sandbox/queue.h"

#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <thread>

#include <gtest/gtest.h>

namespace hone::sandbox {
namespace {

void push(FairQueue<std::string>& queue, uint64_t caller, std::string text) { ASSERT_TRUE(queue.push(caller, text)); }

TEST(FairQueue, CallersTakeTurnsHoweverManyItemsTheyHave) {
  FairQueue<std::string> queue;
  for (const char* item : {"a1", "a2", "a3", "a4"}) push(queue, 1, item);
  for (const char* item : {"b1", "b2"}) push(queue, 2, item);
  push(queue, 3, "c1");
  std::string order;
  for (int i = 0; i < 7; ++i) order += *queue.pop() + " ";
  EXPECT_EQ(order, "a1 b1 c1 a2 b2 a3 a4 ");
}

TEST(FairQueue, CloseReturnsWhatWaitsAndWakesThePopper) {
  FairQueue<std::string> queue;
  std::optional<std::string> popped = "not yet";
  std::thread popper([&] { popped = queue.pop(); });
  EXPECT_TRUE(queue.close().empty());
  popper.join();
  EXPECT_EQ(popped, std::nullopt);
  std::string late = "late";
  EXPECT_FALSE(queue.push(1, late));
  EXPECT_EQ(late, "late");
}

TEST(FairQueue, WaitForRoomBlocksUntilAnItemIsTaken) {
  FairQueue<std::string> queue;
  push(queue, 1, "x");
  std::atomic<bool> has_room = false;
  std::thread waiter([&] {
    queue.wait_for_room(1);
    has_room = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_FALSE(has_room);
  queue.pop();
  waiter.join();
  EXPECT_TRUE(has_room);
}

}  // namespace
}  // namespace hone::sandbox
