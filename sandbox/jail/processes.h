// What init and a worker do to other processes and to the files of a run. No C++ library, no heap.
#pragma once

#include <sys/types.h>
#include <cstddef>
#include <cstdint>

namespace hone::sandbox {

/// Resident bytes of all descendants of the calling process, pages that several share counted once where the kernel
/// says so. Stops counting past `enough`.
uint64_t resident_bytes_of_children(uint64_t enough);

/// How long processes ran, and how long they waited for a core to run on.
struct Share {
  uint64_t ran_ns = 0, waited_ns = 0;
};

/// Of a process and all its descendants, the first thread of each; nothing where the kernel does not say.
Share share_of_cores(pid_t process);

/// Kills and reaps every descendant of the calling process, which must be a subreaper, until none is left.
void kill_descendants();

/// Whether there are more files, or more bytes in them, below a folder; folders that cannot be read do not count.
bool holds_more_than(const char* path, uint32_t files, uint64_t bytes);

/// Removes a folder and all below, whatever modes and depth; follows no link.
void remove_tree(const char* path);

}  // namespace hone::sandbox
