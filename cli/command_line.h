// The command line: binds the flags of every verb and turns exceptions into exit codes: 0 done, 1 the run failed, 2 bad
// usage, recipe or input file. A refusal is one line on standard error. Each verb has a file of its own.
#pragma once

#include "cli/verbs.h"
#include "rl/host.h"

namespace hone {

/// Threads, memory and floating-point mode of this process, as every verb sets them. The mode is that of the calling
/// thread and those it starts.
void use(const ComputeArgs& compute);

/// What `hone ARGS..` does; returns its exit code. `host`: what Python puts into a run.
int run_command_line(int argc, char** argv, const Host& host = {});

}  // namespace hone
