#include "rl/run_lock.h"

#include <csignal>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/rl/groups.h"

namespace hone {
namespace {

using testing::TemporaryDir;

std::string refusal(const std::filesystem::path& dir) {
  try {
    RunLock lock(dir);
  } catch (const std::runtime_error& e) {
    return e.what();
  }
  return "";
}

/// Forks a process that takes the lock and waits to be killed; returns when it has it.
pid_t child_with_lock(const std::filesystem::path& dir) {
  int ready[2];
  if (pipe(ready) != 0) return -1;
  const pid_t child = fork();
  if (child == 0) {
    RunLock lock(dir);
    if (write(ready[1], "x", 1) != 1) _exit(1);
    while (true) pause();
  }
  char byte;
  EXPECT_EQ(read(ready[0], &byte, 1), 1);
  close(ready[0]);
  close(ready[1]);
  return child;
}

TEST(RunLock, SecondProcessIsToldWhoHoldsIt) {
  TemporaryDir dir;
  const pid_t child = child_with_lock(dir.path());
  const std::string message = refusal(dir.path());
  EXPECT_THAT(message, ::testing::HasSubstr(dir.path().string()));
  EXPECT_THAT(message, ::testing::HasSubstr("process " + std::to_string(child) + ";"));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_EQ(refusal(dir.path()), "") << "a killed owner must not leave a stale lock";
}

TEST(RunLock, IsFreedAtTheEndOfItsScope) {
  TemporaryDir dir;
  {
    RunLock lock(dir.path());
    EXPECT_NE(refusal(dir.path()), "");
  }
  EXPECT_EQ(refusal(dir.path()), "");
}

TEST(RunLock, MakesTheRunDirectory) {
  TemporaryDir dir;
  RunLock lock(dir.path() / "runs" / "new");
  std::string pid;
  std::ifstream(dir.path() / "runs" / "new" / "lock") >> pid;
  EXPECT_EQ(pid, std::to_string(getpid()));
}

}  // namespace
}  // namespace hone
