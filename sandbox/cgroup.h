// A control group per worker, where the machine lets us make one (version 1 or 2): memory of all processes together,
// number of processes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <sys/types.h>

namespace hone::sandbox {

class Cgroup {
 public:
  /// Makes `hone-<host pid>-<serial>` below our own groups, and removes what dead hosts left there. What could not be
  /// made stays off, with the reason.
  Cgroup(unsigned serial, bool memory, bool processes);
  ~Cgroup();  ///< removes the groups; their processes must be gone
  Cgroup(const Cgroup&) = delete;
  Cgroup& operator=(const Cgroup&) = delete;

  bool limits_memory() const { return !memory_.empty(); }
  bool limits_processes() const { return !pids_.empty(); }
  const std::string& memory_reason() const { return memory_reason_; }
  const std::string& pids_reason() const { return pids_reason_; }

  /// Moves a process in; those it starts follow. False where it could not be moved.
  bool add(pid_t pid) const;

  /// Limits of the next run. Writes only what differs from the last.
  void limit(uint64_t memory_bytes, uint32_t processes);

  /// How often the kernel has killed a process of the group for want of memory.
  uint64_t out_of_memory_kills() const;

 private:
  std::string memory_, pids_;  ///< folders; empty: off
  std::string memory_reason_, pids_reason_;
  bool version_2_ = false;
  uint64_t memory_bytes_ = 0;
  uint32_t processes_ = 0;
};

}  // namespace hone::sandbox
