#include "sandbox/seccomp.h"

#include <algorithm>
#include <cerrno>
#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>

#include <fcntl.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

namespace hone::sandbox {
namespace {

using Filter = std::unique_ptr<void, decltype(&seccomp_release)>;

// What interpreters, compilers and ordinary programs use of their own process, memory, files, pipes and clocks. Not
// here, on purpose: flock (an exclusive lock on a shared read-only file would be a channel between runs), splice and
// its kin, System V and POSIX message queues, inotify, extended attributes but for reading, scheduling classes.
constexpr const char* kAllowed[] = {
    // processes and signals
    "fork", "vfork", "execve", "execveat", "exit", "exit_group", "wait4", "waitid", "pause", "alarm", "getitimer",
    "setitimer", "rt_sigaction", "rt_sigprocmask", "rt_sigpending", "rt_sigsuspend", "rt_sigtimedwait", "rt_sigreturn",
    "sigaltstack", "restart_syscall", "getpid", "getppid", "gettid", "getuid", "geteuid", "getgid", "getegid",
    "getresuid", "getresgid", "getgroups", "getpgid", "getpgrp", "getsid", "setpgid", "setsid", "capget", "getpriority",
    "getrlimit", "setrlimit", "getrusage", "times", "sched_yield", "sched_getaffinity", "sched_getparam",
    "sched_getscheduler", "sched_get_priority_max", "sched_get_priority_min", "getcpu", "set_tid_address",
    "set_robust_list", "get_robust_list", "futex", "futex_waitv", "rseq", "membarrier", "arch_prctl",
    // memory
    "brk", "mmap", "munmap", "mremap", "mprotect", "madvise", "mincore", "msync", "memfd_create",
    // files
    "open", "openat", "openat2", "creat", "close", "close_range", "read", "write", "pread64", "pwrite64", "readv",
    "writev", "preadv", "pwritev", "preadv2", "pwritev2", "lseek", "sendfile", "copy_file_range", "dup", "dup2", "dup3",
    "stat", "lstat", "fstat", "newfstatat", "statx", "statfs", "fstatfs", "access", "faccessat", "faccessat2",
    "readlink", "readlinkat", "getdents", "getdents64", "getcwd", "chdir", "fchdir", "mkdir", "mkdirat", "rmdir",
    "unlink", "unlinkat", "rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "chmod",
    "fchmod", "fchmodat", "truncate", "ftruncate", "fallocate", "fadvise64", "fsync", "fdatasync", "sync_file_range",
    "utime", "utimes", "futimesat", "utimensat", "umask", "getxattr", "lgetxattr", "fgetxattr", "listxattr",
    "llistxattr", "flistxattr",
    // pipes, events, pairs of sockets
    "pipe", "pipe2", "poll", "ppoll", "select", "pselect6", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait",
    "epoll_pwait", "epoll_pwait2", "eventfd", "eventfd2", "signalfd", "signalfd4", "sendto", "recvfrom", "sendmsg",
    "recvmsg", "shutdown", "getsockopt", "setsockopt", "getsockname", "getpeername",
    // clocks and the machine
    "gettimeofday", "time", "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "timer_create",
    "timer_settime", "timer_gettime", "timer_getoverrun", "timer_delete", "timerfd_create", "timerfd_settime",
    "timerfd_gettime", "uname", "sysinfo", "getrandom"};

constexpr const char* kMissing[] = {"clone3", "fchmodat2", "io_uring_setup", "io_uring_enter", "io_uring_register"};

void check(int rc, const char* what) {
  if (rc < 0) throw std::runtime_error(std::string("the system call filter cannot be built: ") + what);
}

/// Calls that this machine does not have need no rule.
int number_of(const char* name) { return seccomp_syscall_resolve_name(name); }

void add(const Filter& filter, uint32_t action, const char* name, std::initializer_list<scmp_arg_cmp> when = {}) {
  const int number = number_of(name);
  if (number < 0) return;
  check(seccomp_rule_add_array(filter.get(), action, number, static_cast<unsigned>(when.size()), when.begin()), name);
}

void allow_values(const Filter& filter, const char* name, unsigned argument, std::initializer_list<uint64_t> values) {
  for (const uint64_t value : values) {
    add(filter, SCMP_ACT_ALLOW, name, {scmp_arg_cmp{argument, SCMP_CMP_MASKED_EQ, 0xffffffff, value}});
  }
}

void allow_by_argument(const Filter& filter) {
  // no new namespaces, and no sibling: a program's parent is always its own
  constexpr uint64_t kRefusedFlags = 0x7e020000 | 0x02000000 | 0x00008000 | 0x00002000 | 0x00800000;
  add(filter, SCMP_ACT_ALLOW, "clone", {scmp_arg_cmp{0, SCMP_CMP_MASKED_EQ, kRefusedFlags, 0}});
  allow_values(filter, "socketpair", 0, {AF_UNIX});
  allow_values(filter, "ioctl", 1, {TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIOCLEX, FIONCLEX});
  allow_values(filter, "prctl", 0,
               {PR_SET_NAME, PR_GET_NAME, PR_GET_DUMPABLE, PR_SET_DUMPABLE, PR_GET_PDEATHSIG, PR_GET_NO_NEW_PRIVS,
                PR_CAPBSET_READ, 0x53564d41 /* PR_SET_VMA */});
  allow_values(filter, "fcntl", 1,
               {F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK, F_SETLKW, F_OFD_GETLK,
                F_OFD_SETLK, F_OFD_SETLKW, F_GETPIPE_SZ, F_ADD_SEALS, F_GET_SEALS});
  allow_values(filter, "prlimit64", 0, {0});  // its own limits only
  for (const uint64_t type : {uint64_t{0}, uint64_t{S_IFREG}, uint64_t{S_IFIFO}}) {
    add(filter, SCMP_ACT_ALLOW, "mknod", {scmp_arg_cmp{1, SCMP_CMP_MASKED_EQ, S_IFMT, type}});
    add(filter, SCMP_ACT_ALLOW, "mknodat", {scmp_arg_cmp{2, SCMP_CMP_MASKED_EQ, S_IFMT, type}});
  }
}

std::vector<sock_filter> compiled(const Filter& filter) {
  const int fd = memfd_create("filter", MFD_CLOEXEC);
  check(fd, "memfd_create");
  const int rc = seccomp_export_bpf(filter.get(), fd);
  const off_t size = lseek(fd, 0, SEEK_END);
  std::vector<sock_filter> program(static_cast<size_t>(std::max<off_t>(size, 0)) / sizeof(sock_filter));
  const ssize_t got = pread(fd, program.data(), program.size() * sizeof(sock_filter), 0);
  close(fd);
  check(rc, "seccomp_export_bpf");
  check(got == size ? 0 : -1, "read");
  return program;
}

}  // namespace

std::vector<sock_filter> system_call_filter(bool may_signal) {
  const Filter filter(seccomp_init(SCMP_ACT_ERRNO(EPERM)), &seccomp_release);
  if (!filter) throw std::runtime_error("the system call filter cannot be built: seccomp_init");
  check(seccomp_attr_set(filter.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS), "ACT_BADARCH");
  check(seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2), "CTL_OPTIMIZE");
  for (const char* name : kAllowed) add(filter, SCMP_ACT_ALLOW, name);
  for (const char* name : {"kill", "tkill", "tgkill"}) {
    if (may_signal) add(filter, SCMP_ACT_ALLOW, name);
  }
  for (const char* name : kMissing) add(filter, SCMP_ACT_ERRNO(ENOSYS), name);
  for (const char* name : {"setxattr", "lsetxattr", "fsetxattr"}) add(filter, SCMP_ACT_ERRNO(ENOTSUP), name);
  allow_by_argument(filter);
  return compiled(filter);
}

}  // namespace hone::sandbox
