// The host's side of one worker: starting it, handing it a run, reading its end.
#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <linux/filter.h>

#include "sandbox/cgroup.h"
#include "sandbox/descriptor.h"
#include "sandbox/protocol.h"
#include "sandbox/sandbox.h"

namespace hone::sandbox {

/// What every worker of a pool is started from. Found once, by trying; then only read, but for the serial.
struct Jail {
  uint32_t layers = 0;
  bool cgroup_memory = true, cgroup_pids = true;  ///< use them where they can be made
  std::map<std::string, Layer> found;
  std::string python, prefix;
  Descriptor launcher, zygote, driver, filter;  ///< files in memory
  std::shared_ptr<std::atomic<unsigned>> serial = std::make_shared<std::atomic<unsigned>>(0);
};

/// The program that a run is of, as the worker wants it.
struct Task {
  Request request;
  std::vector<int> fds;  ///< stdin, stdout, stderr, job, [channel, [header]]; the worker gets copies
};

/// A live worker and its group. Not thread-safe; must be started and used by one thread that outlives it, for the
/// kernel kills the worker when that thread ends.
class Worker {
 public:
  /// Empty, with the reason in `greeting`, where a layer does not work. Throws std::runtime_error when nothing could be
  /// started at all.
  static std::unique_ptr<Worker> start(const Jail& jail, WorkerKind kind, Greeting* greeting);

  /// Ends it, and with it all that it runs.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// The run's limits as its group takes them; `memory_bytes` of all processes together.
  void limit(uint64_t memory_bytes, uint32_t processes) { cgroup_.limit(memory_bytes, processes); }

  bool begin(const Task& task) const;

  /// What the kernel already counts towards a run's limit of processes.
  uint32_t processes_before() const;

  int socket() const { return socket_.get(); }
  const Cgroup& cgroup() const { return cgroup_; }
  int runs = 0;
  bool lost = false;  ///< it died or does not answer: use another

 private:
  Worker(const Jail& jail, unsigned serial);

  bool spawn(const Jail& jail, WorkerKind kind, unsigned serial);

  Cgroup cgroup_;
  Descriptor socket_;
  pid_t launcher_ = -1;
  uint32_t own_;       ///< launcher (two without a pid namespace), worker, init
  bool uses_folders_;  ///< runs write to a folder of the machine: there is no mount namespace
  bool counts_user_;   ///< the limit of processes counts all of our own user's: there is no user namespace
  std::string box_;
};

/// Finds the layers of this machine by starting workers until one has all that are left, and runs a probe in it. Throws
/// std::runtime_error when what is left is not a jail (see sandbox.h), or Python does not start.
struct Discovery {
  Jail jail;
  std::unique_ptr<Worker> worker;  ///< the interpreter that worked, idle
};
Discovery discover(const PoolOptions& options);

}  // namespace hone::sandbox
