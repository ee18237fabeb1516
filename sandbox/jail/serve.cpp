#include "sandbox/jail/serve.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <initializer_list>

#include "sandbox/jail/confine.h"
#include "sandbox/jail/processes.h"
#include "sandbox/jail/wire.h"

namespace hone::sandbox {
namespace {

constexpr uint64_t kSecond_ns = 1000000000, kTick_ns = 50000000;
constexpr size_t kInitStack = 256 << 10;
constexpr int kFirstFreeFd = 7;  // what a run's child may keep lies below: 0..2, job, channel, header

/// How far the run's child came, in a page that it shares with init and gives up before it runs a line of the program.
struct Progress {
  uint32_t confined;
  Fault fault;
};

/// The run in hand. Init shares our memory (CLONE_VM), so it reads and writes this very object; the program's process
/// has its own copy.
struct Run {
  Service service;
  sock_fprog filter{};
  Request request;
  int fds[kMaxFds] = {};
  int num_fds = 0;
  Progress* progress = nullptr;
  Ended ended;
  jmp_buf child;
  void (*after_fork_child)() = nullptr;
};

Run run;  // one a process, and a process serves one run at a time

uint64_t nanoseconds(const timespec& t) {
  return static_cast<uint64_t>(t.tv_sec) * kSecond_ns + static_cast<uint64_t>(t.tv_nsec);
}
uint64_t nanoseconds(const timeval& t) {
  return static_cast<uint64_t>(t.tv_sec) * kSecond_ns + static_cast<uint64_t>(t.tv_usec) * 1000;
}

// ---- in the run's child

[[noreturn]] void fail_child(Fault fault) {
  run.progress->fault = fault;
  _exit(1);
}

void take_descriptors() {
  for (int i = 0; i < run.num_fds; ++i) {
    if (dup2(run.fds[i], i) < 0) fail_child({LayerId::kCount, errno});  // received ones all lie above kFirstFreeFd
  }
  close_range(static_cast<unsigned>(run.num_fds), ~0u, 0);
}

void reset_signals(bool keep_handlers) {
  for (int signal = 1; signal < NSIG && !keep_handlers; ++signal) ::signal(signal, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

// A precompiled header lies in memory of the host; the compiler looks for it by name.
void show_header() {
  if (!run.request.header_fd) return;
  const bool done = mkdir("../pch", 0755) == 0 && mkdir("../pch/bits", 0755) == 0 &&
                    symlink("/proc/self/fd/5", "../pch/bits/stdc++.h.gch") == 0;
  (void)done;  // without it the compiler merely takes longer
}

/// When a group runs out of memory, the program is to be killed rather than the worker.
void offer_to_oom_killer() {
  const int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  (void)!write(fd, "1000", 4);
  close(fd);
}

void confine_child() {
  const uint32_t layers = run.service.layers;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  take_descriptors();
  setsid();
  char work[80];
  snprintf(work, sizeof work, "%s/w", run.service.box);
  prctl(PR_SET_DUMPABLE, 1);  // its own /proc/self is its to use; the worker's memory is another matter
  offer_to_oom_killer();
  if (chdir(work) != 0) fail_child({LayerId::kMountNamespace, errno});
  umask(022);
  show_header();
  if (has(layers, LayerId::kRlimits)) {
    if (const Fault f = limit_resources(run.request)) fail_child(f);
  }
  if (const Fault f = drop_capabilities(layers)) fail_child(f);
  if (const Fault f = confine_with_landlock(layers, run.service.box)) fail_child(f);
  reset_signals(/*keep_handlers=*/run.after_fork_child != nullptr);
  Progress* const progress = run.progress;
  if (const Fault f = filter_system_calls(layers, run.filter)) fail_child(f);
  progress->confined = 1;
  munmap(progress, sizeof *progress);
}

// ---- in init, process 1 of the run

Fault mount_folders() {
  const Request& r = run.request;
  char options[96];
  snprintf(options, sizeof options, "size=%lu,nr_inodes=%u,mode=0755", static_cast<unsigned long>(r.tmpfs_bytes),
           r.tmpfs_inodes + 4);
  if (mount("box", run.service.box, "tmpfs", MS_NOSUID | MS_NODEV, options) != 0)
    return {LayerId::kMountNamespace, errno};
  if (!has(run.service.layers, LayerId::kProc)) return {};
  const auto flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (mount("proc", "/proc", "proc", flags, "subset=pid,hidepid=invisible") != 0) return {LayerId::kProc, errno};
  return {};
}

Fault make_folders() {
  if (has(run.service.layers, LayerId::kMountNamespace)) {
    if (const Fault f = mount_folders()) return f;
  } else if (mkdir(run.service.box, 0755) != 0) {
    return {LayerId::kMountNamespace, errno};
  }
  for (const char* name : {"w", "tmp", "shm"}) {
    char path[80];
    snprintf(path, sizeof path, "%s/%s", run.service.box, name);
    if (mkdir(path, 0755) != 0) return {LayerId::kMountNamespace, errno};
  }
  return {};
}

uint64_t cpu_ns_of(pid_t pid) {
  timespec used{};
  clock_gettime(static_cast<clockid_t>((~pid) << 3 | 2), &used);  // what clock_getcpuclockid() gives
  return nanoseconds(used);
}

Cut over_limit(uint64_t cpu_ns) {
  const Request& r = run.request;
  if (cpu_ns >= r.cpu_ns) return Cut::kCpu;
  if (r.resident_bytes > 0 && resident_bytes_of_children(r.resident_bytes) > r.resident_bytes) return Cut::kMemory;
  if (has(run.service.layers, LayerId::kMountNamespace)) return Cut::kNone;  // there the file system itself is limited
  return holds_more_than(run.service.box, r.tmpfs_inodes, r.tmpfs_bytes) ? Cut::kFiles : Cut::kNone;
}

/// Reaps whatever ends, for orphans come to init; true once the program's own process ended. A sibling that the program
/// managed to make is not the program, whatever its status.
bool program_ended(pid_t child) {
  for (;;) {
    int status;
    rusage usage{};
    const pid_t pid = wait4(-1, &status, WNOHANG | __WALL, &usage);
    if (pid <= 0) return false;
    if (pid != child) continue;
    run.ended.wait_status = status;
    run.ended.cpu_ns = nanoseconds(usage.ru_utime) + nanoseconds(usage.ru_stime);
    run.ended.max_resident_bytes = static_cast<uint64_t>(usage.ru_maxrss) << 10;
    return true;
  }
}

/// Waits for the program and holds it to its limits of CPU time and memory; the wall clock is the host's.
void watch(pid_t child) {
  sigset_t child_signal;
  sigemptyset(&child_signal);
  sigaddset(&child_signal, SIGCHLD);
  while (!program_ended(child)) {
    const uint64_t used = cpu_ns_of(child);
    if (const Cut cut = over_limit(used); cut != Cut::kNone && run.ended.cut == Cut::kNone) {
      run.ended.cut = cut;
      kill(child, SIGKILL);
    }
    const uint64_t left = used < run.request.cpu_ns ? run.request.cpu_ns - used : kTick_ns;
    const timespec wait{0, static_cast<long>(left < kTick_ns ? left : kTick_ns)};
    sigtimedwait(&child_signal, nullptr, &wait);
  }
}

void record(Fault fault) {
  run.ended.failed_layer = fault.layer;
  run.ended.failed_errno = fault.error;
}

void start_and_watch() {
  if (const Fault f = make_folders()) return record(f);
  const pid_t child = fork();
  if (child < 0) return record({LayerId::kCount, errno});
  if (child == 0) {
    confine_child();
    longjmp(run.child, 1);  // back to serve(), on the stack that the worker left there
  }
  watch(child);
  run.ended.finished = 1;
  run.ended.confined = run.progress->confined;
  if (!run.ended.confined) record(run.progress->fault);
}

int init(void*) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0));
  if (pidfd < 0) {
    record({LayerId::kPidfd, errno});
    return 0;
  }
  const Started started;
  if (send_message(run.service.socket, &started, sizeof started, &pidfd, 1)) start_and_watch();
  return 0;  // ends this process, and with it every other of its namespace
}

// ---- in the worker

int namespaces_of_a_run(uint32_t layers) {
  int flags = 0;
  if (has(layers, LayerId::kMountNamespace)) flags |= CLONE_NEWNS;
  if (has(layers, LayerId::kPidNamespace)) flags |= CLONE_NEWPID;
  if (has(layers, LayerId::kIpcNamespace)) flags |= CLONE_NEWIPC;
  return flags;
}

void close_received() {
  for (int i = 0; i < run.num_fds; ++i) close(run.fds[i]);
}

void pass_signal(int signal, int how) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  sigprocmask(how, &set, nullptr);
}

/// Without a pid namespace our death would not end the run, so the launcher's death comes as a signal that we outlive
/// until everything is cleaned up.
[[noreturn]] void end_with_launcher(pid_t init_pid) {
  kill(init_pid, SIGKILL);
  kill_descendants();
  remove_tree(run.service.box);
  _exit(0);
}

void wait_for_init(pid_t pid) {
  if (has(run.service.layers, LayerId::kPidNamespace)) {
    while (waitpid(pid, nullptr, __WALL) < 0 && errno == EINTR) {
    }
    return;
  }
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGCHLD);
  sigaddset(&signals, SIGTERM);
  while (waitpid(pid, nullptr, WNOHANG | __WALL) == 0) {
    if (sigwaitinfo(&signals, nullptr) == SIGTERM) end_with_launcher(pid);
  }
}

/// From here to the end of init nothing may touch the heap: init forks from our memory while we wait.
void run_init(char* stack_top) {
  const int flags = CLONE_VM | SIGCHLD | namespaces_of_a_run(run.service.layers);
  const pid_t pid = clone(init, stack_top, flags, nullptr);
  const int error = errno;
  close_received();  // init has its own copies; ours would keep the program's pipes open
  if (pid < 0) {
    record({LayerId::kPidNamespace, error});
    return;
  }
  wait_for_init(pid);
}

/// Without the namespaces that die with init, what is left of the run is ended and removed by hand.
void clean_up() {
  if (!has(run.service.layers, LayerId::kPidNamespace)) kill_descendants();
  if (!has(run.service.layers, LayerId::kMountNamespace)) remove_tree(run.service.box);
}

void block_signals() {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
}

void read_filter() {
  struct stat info;
  if (run.service.filter_fd < 0 || fstat(run.service.filter_fd, &info) != 0) return;
  void* code = mmap(nullptr, static_cast<size_t>(info.st_size), PROT_READ, MAP_PRIVATE, run.service.filter_fd, 0);
  run.filter.filter = static_cast<sock_filter*>(code);
  run.filter.len = static_cast<unsigned short>(info.st_size / static_cast<off_t>(sizeof(sock_filter)));
}

char* prepare(const Service& service) {
  run.service = service;
  block_signals();  // a program's signals to init must not reach the handlers of an interpreter that shares its memory
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  prctl(PR_SET_PDEATHSIG, has(service.layers, LayerId::kPidNamespace) ? SIGKILL : SIGTERM);
  prctl(PR_SET_DUMPABLE, 0);  // no program, though of the same user, looks into this memory
  read_filter();
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);  // so that received descriptors never land where a run's go
  for (int fd = null; fd < kFirstFreeFd;) fd = fcntl(null, F_DUPFD_CLOEXEC, fd + 1);
  const auto size = sizeof(Progress);
  run.progress = static_cast<Progress*>(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  char* stack = static_cast<char*>(
      mmap(nullptr, kInitStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0));
  return stack + kInitStack;
}

using Hook = void (*)();
Hook interpreter_hook(const char* name) { return reinterpret_cast<Hook>(dlsym(RTLD_DEFAULT, name)); }

}  // namespace

Action serve(const Service& service) {
  char* const stack_top = prepare(service);
  const Hook before = interpreter_hook("PyOS_BeforeFork"), after = interpreter_hook("PyOS_AfterFork_Parent");
  run.after_fork_child = interpreter_hook("PyOS_AfterFork_Child");
  const Greeting ready;
  if (!send_message(service.socket, &ready, sizeof ready)) _exit(0);
  for (;;) {
    pass_signal(SIGTERM, SIG_UNBLOCK);  // while there is nothing to clean up
    if (receive_message(service.socket, &run.request, sizeof run.request, run.fds, &run.num_fds) <= 0) _exit(0);
    pass_signal(SIGTERM, SIG_BLOCK);
    run.ended = {};
    *run.progress = {};
    if (before) before();
    if (setjmp(run.child) != 0) {
      if (run.after_fork_child) run.after_fork_child();
      return run.request.action;
    }
    run_init(stack_top);
    if (after) after();
    clean_up();
    if (!send_message(service.socket, &run.ended, sizeof run.ended)) _exit(0);
  }
}

}  // namespace hone::sandbox

/// For the interpreter: as serve(), with the service as the launcher's words.
extern "C" int hone_serve(int socket, unsigned layers, int filter_fd, const char* box) {
  return static_cast<int>(hone::sandbox::serve({socket, layers, filter_fd, box}));
}
