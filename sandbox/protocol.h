// What the host and a worker say to each other over one SOCK_SEQPACKET pair. Plain structs of fixed size; descriptors
// travel as SCM_RIGHTS. Shared by the library and the two small programs in jail/, which know no C++ library.
//
//   host -> launcher   Config  + {filter, zygote library, driver script}
//   worker -> host     Greeting                       once: ready, or which layer failed and why
//   host -> worker     Request + {stdin, stdout, stderr, job, [channel]}
//   init -> host       Started + {pidfd of init}      before the program exists, so that a kill never comes too late
//   worker -> host     Ended                          after every process of the run is gone
#pragma once

#include <cstdint>

namespace hone::sandbox {

/// One bit a layer. What the host asks for in Config::layers; a worker either has all of them or says which failed.
enum class LayerId : uint32_t {
  kSpareUid,
  kUserNamespace,
  kMountNamespace,
  kPidNamespace,
  kIpcNamespace,
  kNetworkNamespace,
  kProc,
  kNoNewPrivs,
  kCapabilities,
  kLandlock,
  kLandlockNetwork,
  kLandlockScope,
  kSeccomp,
  kRlimits,
  kPidfd,
  kInterpreter,
  kCount
};

constexpr uint32_t bit(LayerId layer) { return 1u << static_cast<uint32_t>(layer); }

enum class WorkerKind : uint32_t { kPython, kNative };

struct Config {
  uint32_t layers = 0;
  WorkerKind kind = WorkerKind::kPython;
  uint32_t uid = 0;       ///< to change to first; 0: stay
  uint32_t host_pid = 0;  ///< as the launcher sees it, to notice that the host is already gone
  char python[256] = {};  ///< real path of the interpreter
  char prefix[256] = {};  ///< a folder to show read-only beside /usr; empty: none
  char box[64] = "/box";  ///< where runs may write; a folder of the machine where there is no mount namespace
};

struct Greeting {
  int32_t error = 0;  ///< 0: ready; else the errno of `layer`
  LayerId layer = LayerId::kCount;
};

enum class Action : uint32_t {
  kScript,   ///< python: run the job as __main__
  kAnswer,   ///< python: load the job, then serve calls over the channel
  kChecker,  ///< python: run the job's tests, calls go over the channel
  kExecute,  ///< native: execute the job descriptor
  kCommand,  ///< native: the job descriptor holds a command line, NUL after each word; the channel is its fd 4
  kProbe     ///< apply every layer, then end with status 0
};

struct Request {
  Action action = Action::kScript;
  uint32_t processes = 32;
  uint64_t cpu_ns = 0;
  uint64_t data_bytes = 0;      ///< RLIMIT_DATA: what a process may write to; of addresses it may set more apart
  uint64_t resident_bytes = 0;  ///< of all processes together, watched by init; 0: not watched (a cgroup does it)
  uint64_t file_bytes = 0, stack_bytes = 0, tmpfs_bytes = 0;
  uint32_t open_files = 64, tmpfs_inodes = 512;
  uint32_t header_fd = 0;  ///< kCommand: the job's fd 5 is a precompiled header to be shown to the compiler
};

enum class MessageType : uint32_t { kStarted = 1, kEnded = 2 };

enum class Cut : uint32_t { kNone, kCpu, kMemory, kFiles };

struct Started {
  MessageType type = MessageType::kStarted;
};

struct Ended {
  MessageType type = MessageType::kEnded;
  uint32_t finished = 0;                   ///< init saw the program end; 0: init itself was killed
  uint32_t confined = 0;                   ///< the program's process had every layer on before it ran a line
  LayerId failed_layer = LayerId::kCount;  ///< where not confined
  int32_t failed_errno = 0;
  int32_t wait_status = 0;  ///< of the program's own process
  Cut cut = Cut::kNone;     ///< what init killed it for
  uint64_t cpu_ns = 0, max_resident_bytes = 0;
};

}  // namespace hone::sandbox
