// The loop of a worker: a request in, one jailed run, its end out. The same code serves inside the warm interpreter
// (as a small shared library) and inside the native worker.
#pragma once

#include "sandbox/protocol.h"

namespace hone::sandbox {

/// What a worker needs to serve, left by the launcher. Descriptors are inherited.
struct Service {
  int socket = 3;
  uint32_t layers = 0;
  int filter_fd = -1;  ///< the seccomp program, sock_filter after sock_filter
  const char* box = "/box";
};

/// Serves until the host hangs up (then ends the process). Returns only in the child of a run, confined: descriptors
/// 0..2 are the program's streams, 3 is the job, 4 the channel if there is one, nothing else is open.
Action serve(const Service& service);

}  // namespace hone::sandbox
