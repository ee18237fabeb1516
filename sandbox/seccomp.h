// The system call filter that every program runs under.
#pragma once

#include <vector>

#include <linux/filter.h>

namespace hone::sandbox {

/// An allow list, compiled for this machine's own ABI: what is not on it fails with EPERM (ENOSYS where libraries then
/// take another way), a call through another ABI kills. No sockets but pairs, no namespaces, no mounts, no identity
/// changes, no tracing, nothing that reaches another process but a signal; not even that unless `may_signal`, for where
/// neither a pid namespace nor Landlock keeps signals inside. Throws std::runtime_error if libseccomp cannot build it.
std::vector<sock_filter> system_call_filter(bool may_signal);

}  // namespace hone::sandbox
