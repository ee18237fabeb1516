#include "sandbox/jail/confine.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cerrno>
#include <cstdio>
#include <initializer_list>

namespace hone::sandbox {
namespace {

constexpr uint64_t kMiB = 1 << 20;

// Newer than the headers of Debian 12: the ruleset with network (ABI 4) and scope (ABI 6), and what may be handled.
struct RulesetAttr {
  uint64_t handled_access_fs, handled_access_net, scoped;
};
constexpr uint64_t kTruncate = 1 << 14, kIoctlDevice = 1 << 15;  // file system rights of ABI 3 and 5
constexpr uint64_t kBindTcp = 1, kConnectTcp = 2;                // network rights
constexpr uint64_t kAbstractSockets = 1, kSignals = 2;           // scopes
constexpr uint64_t kReadFile = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE;
constexpr uint64_t kRead = kReadFile | LANDLOCK_ACCESS_FS_READ_DIR;
constexpr uint64_t kDevice = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE;

Fault fault(LayerId layer) { return {layer, errno}; }

bool set_limit(int resource, uint64_t soft, uint64_t hard) {
  const auto which = static_cast<__rlimit_resource_t>(resource);
  rlimit limit{};
  if (getrlimit(which, &limit) != 0) return false;
  if (hard < limit.rlim_max) limit.rlim_max = hard;  // never above what the host itself was given
  limit.rlim_cur = soft < limit.rlim_max ? soft : limit.rlim_max;
  return setrlimit(which, &limit) == 0;
}

bool set_limit(int resource, uint64_t value) { return set_limit(resource, value, value); }

uint64_t rights_of(int abi) {
  uint64_t all = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;  // ABI 1
  if (abi >= 2) all |= LANDLOCK_ACCESS_FS_REFER;
  if (abi >= 3) all |= kTruncate;
  if (abi >= 5) all |= kIoctlDevice;
  return all;
}

// A path that is not there needs no rule.
bool allow(int ruleset, const char* path, uint64_t rights) {
  const int fd = open(path, O_PATH | O_CLOEXEC);
  if (fd < 0) return errno == ENOENT;
  struct stat info;
  if (fstat(fd, &info) == 0 && !S_ISDIR(info.st_mode)) {
    rights &= kReadFile | LANDLOCK_ACCESS_FS_WRITE_FILE | kTruncate | kIoctlDevice;
  }
  landlock_path_beneath_attr rule{};
  rule.allowed_access = rights;
  rule.parent_fd = fd;
  const bool done = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
  const int error = errno;
  close(fd);
  errno = error;
  return done;
}

bool allow_folders(int ruleset, uint32_t layers, uint64_t all, const char* box) {
  if (has(layers, LayerId::kMountNamespace)) {  // the root shows nothing that may not be read
    return allow(ruleset, "/", kRead) && allow(ruleset, "/dev", kDevice | kRead) && allow(ruleset, box, all);
  }
  for (const char* path :
       {"/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime",
        "/proc/self/maps", "/proc/self/status", "/proc/self/stat", "/proc/self/statm", "/proc/self/cmdline",
        "/proc/self/limits", "/proc/self/fd"}) {  // not net, mounts, task
    if (!allow(ruleset, path, kRead)) return false;
  }
  for (const char* path : {"/dev/null", "/dev/zero", "/dev/full", "/dev/urandom", "/dev/random"}) {
    if (!allow(ruleset, path, kDevice)) return false;
  }
  return allow(ruleset, box, all);
}

}  // namespace

bool has(uint32_t layers, LayerId layer) { return (layers & bit(layer)) != 0; }

int landlock_abi() {
  const long abi = syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  return abi < 0 ? 0 : static_cast<int>(abi);
}

Fault limit_resources(const Request& request) {
  const uint64_t cpu_s = request.cpu_ns / 1000000000 + 2;  // init watches CPU time; this stands behind it
  // A thread costs addresses that are never written to: the C library sets an arena of 64 MiB apart for it and, in a
  // native program, a stack as large as the main one's. What is written counts in resident_bytes or the cgroup.
  const uint64_t stacks = request.action == Action::kExecute ? request.processes * request.stack_bytes : 0;
  const uint64_t data = request.data_bytes + stacks, addresses = data + request.processes * 64 * kMiB;
  const bool done =
      set_limit(RLIMIT_CPU, cpu_s, cpu_s) && set_limit(RLIMIT_DATA, data) && set_limit(RLIMIT_AS, addresses) &&
      set_limit(RLIMIT_FSIZE, request.file_bytes) && set_limit(RLIMIT_NOFILE, request.open_files) &&
      set_limit(RLIMIT_STACK, request.stack_bytes, 512 * kMiB) && set_limit(RLIMIT_NPROC, request.processes) &&
      set_limit(RLIMIT_CORE, 1) &&  // 0 would still feed a core pattern that is a pipe
      set_limit(RLIMIT_MEMLOCK, 0) && set_limit(RLIMIT_MSGQUEUE, 0) && set_limit(RLIMIT_NICE, 0) &&
      set_limit(RLIMIT_RTPRIO, 0) && set_limit(RLIMIT_SIGPENDING, 1024);
  return done ? Fault{} : fault(LayerId::kRlimits);
}

Fault drop_capabilities(uint32_t layers) {
  if (has(layers, LayerId::kNoNewPrivs) && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return fault(LayerId::kNoNewPrivs);
  }
  if (!has(layers, LayerId::kCapabilities)) return {};
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2]{};
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  return syscall(SYS_capset, &header, none) == 0 ? Fault{} : fault(LayerId::kCapabilities);
}

Fault confine_with_landlock(uint32_t layers, const char* box) {
  if (!has(layers, LayerId::kLandlock)) return {};
  RulesetAttr attr{rights_of(landlock_abi()), 0, 0};
  if (has(layers, LayerId::kLandlockNetwork)) attr.handled_access_net = kBindTcp | kConnectTcp;
  if (has(layers, LayerId::kLandlockScope)) attr.scoped = kAbstractSockets | kSignals;
  const size_t size = attr.scoped ? sizeof attr : attr.handled_access_net ? 16 : 8;
  const int ruleset = static_cast<int>(syscall(SYS_landlock_create_ruleset, &attr, size, 0));
  if (ruleset < 0) {
    return fault(attr.scoped               ? LayerId::kLandlockScope
                 : attr.handled_access_net ? LayerId::kLandlockNetwork
                                           : LayerId::kLandlock);
  }
  const bool done = allow_folders(ruleset, layers, attr.handled_access_fs, box) &&
                    syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
  const Fault result = done ? Fault{} : fault(LayerId::kLandlock);
  close(ruleset);
  return result;
}

Fault filter_system_calls(uint32_t layers, const sock_fprog& program) {
  if (!has(layers, LayerId::kSeccomp)) return {};
  // Speculative-store mitigations would slow every program down; side channels of the processor are out of scope.
  const long rc = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program);
  return rc == 0 ? Fault{} : fault(LayerId::kSeccomp);
}

}  // namespace hone::sandbox
