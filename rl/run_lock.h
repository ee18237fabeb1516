// One process per run directory.
#pragma once

#include <filesystem>

namespace hone {

/// Holds <run_dir>/lock (flock, the owner's pid inside) while it lives. The kernel frees it when the process ends,
/// however it ends, so a lock is never stale; the file stays.
class RunLock {
 public:
  /// Makes run_dir if need be. Throws std::runtime_error naming the directory and the pid when another process (or
  /// another RunLock of this one) holds it.
  explicit RunLock(const std::filesystem::path& run_dir);
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  int fd_;
};

}  // namespace hone
