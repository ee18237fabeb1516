// One run: a program in one worker, or a checker and an answer in two, from its start to the end of its last process.
#pragma once

#include <string>
#include <vector>

#include "sandbox/descriptor.h"
#include "sandbox/protocol.h"
#include "sandbox/sandbox.h"
#include "sandbox/worker.h"

namespace hone::sandbox {

/// What the host saw of one process tree.
struct Outcome {
  enum class Cause { kNone, kWall, kOutput, kCancelled };

  bool lost = false;           ///< the worker is gone or does not answer
  bool stopped = false;        ///< the host killed the run
  Cause cause = Cause::kNone;  ///< what for; kNone: its checker was done
  bool out_of_memory = false;  ///< the kernel killed a process of the group for want of memory
  Ended ended;
  std::string stdout_text, stderr_text;  ///< at most the limit each
  double wall_ms = 0;
};

/// One of the parties of a run.
struct Party {
  Worker* worker = nullptr;
  Action action = Action::kScript;
  int stdin_fd = -1, job_fd = -1, header_fd = -1;  ///< borrowed
  Descriptor channel;  ///< handed over: closed here, so that the other end notices when the party ends
};

/// The limits of one kind of run as numbers for a worker.
struct Budget {
  double wall_s = 0, cpu_s = 0;
  uint64_t memory_bytes = 0, output_bytes = 0, file_bytes = 0, tmpfs_bytes = 0, stack_bytes = 0;
  uint32_t processes = 0, open_files = 0, tmpfs_inodes = 0;
};
Budget budget_of(const Limits& limits, Language language);
Budget compile_budget(const Limits& limits);

/// Runs all parties at once until each has ended. When the last party ends (the checker) the others
/// are given a moment to end by themselves, then killed.
/// Readable descriptors among `stops` kill everything (cause kCancelled).
Outcome run_party(Party party, const Budget& budget, const std::vector<int>& stops);
std::vector<Outcome> run_parties(std::vector<Party> parties, const Budget& budget, const std::vector<int>& stops);

}  // namespace hone::sandbox
