// The program that the host starts for each worker: makes the jail that a worker lives in (identity, namespaces, a root
// of its own), then becomes the warm interpreter or the native worker. It ends when the host does.
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include "sandbox/jail/confine.h"
#include "sandbox/jail/processes.h"
#include "sandbox/jail/serve.h"
#include "sandbox/jail/wire.h"

namespace hone::sandbox {
namespace {

constexpr int kSocket = 3;
constexpr uid_t kInnerUid = 1000;

Config config;
int filter_fd, library_fd, driver_fd;

bool wanted(LayerId layer) { return has(config.layers, layer); }

/// Tells the host what does not work here; it starts another worker without that layer, or gives up.
[[noreturn]] void give_up(LayerId layer) {
  Greeting greeting;
  greeting.error = errno ? errno : EINVAL;
  greeting.layer = layer;
  send_message(kSocket, &greeting, sizeof greeting);
  _exit(1);
}

void check(bool done, LayerId layer) {
  if (!done) give_up(layer);
}

bool write_text(const char* path, const char* text) {
  const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return false;
  const bool done = write(fd, text, strlen(text)) == static_cast<ssize_t>(strlen(text));
  const int error = errno;
  close(fd);
  errno = error;
  return done;
}

void receive_config() {
  int fds[kMaxFds], num_fds = 0;
  const ssize_t got = receive_message(kSocket, &config, sizeof config, fds, &num_fds);
  if (got != sizeof config || num_fds != 3) _exit(1);
  filter_fd = fds[0];
  library_fd = fds[1];
  driver_fd = fds[2];
}

/// The kernel tells us when the host ends; supervise() then ends the worker, and reaps it, and us.
void die_with_host() {
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != static_cast<pid_t>(config.host_pid)) _exit(0);
}

void change_uid() {
  if (!wanted(LayerId::kSpareUid) || config.uid == 0) return;
  check(setgroups(0, nullptr) == 0 && setresgid(config.uid, config.uid, config.uid) == 0 &&
            setresuid(config.uid, config.uid, config.uid) == 0,
        LayerId::kSpareUid);
  prctl(PR_SET_DUMPABLE, 1);  // or /proc/self/uid_map is not ours to write
}

void enter_user_namespace() {
  if (!wanted(LayerId::kUserNamespace)) return;
  const uid_t uid = getuid();
  const gid_t gid = getgid();
  check(unshare(CLONE_NEWUSER) == 0, LayerId::kUserNamespace);
  char uids[48], gids[48];
  snprintf(uids, sizeof uids, "%u %u 1", kInnerUid, uid);
  snprintf(gids, sizeof gids, "%u %u 1", kInnerUid, gid);
  write_text("/proc/self/setgroups", "deny");
  check(write_text("/proc/self/uid_map", uids) && write_text("/proc/self/gid_map", gids), LayerId::kUserNamespace);
}

void enter_namespaces() {
  const struct {
    LayerId layer;
    int flag;
  } all[] = {{LayerId::kMountNamespace, CLONE_NEWNS},
             {LayerId::kIpcNamespace, CLONE_NEWIPC},
             {LayerId::kNetworkNamespace, CLONE_NEWNET},
             {LayerId::kPidNamespace, CLONE_NEWPID}};
  for (const auto& [layer, flag] : all) check(!wanted(layer) || unshare(flag) == 0, layer);
  if (wanted(LayerId::kUserNamespace)) (void)!unshare(CLONE_NEWUTS);
}

// ---- the worker's own root: /usr and little else, read-only

struct MountAttr {  // of mount_setattr(2), for headers that lack it
  uint64_t set, clear, propagation, userns_fd;
};

bool bind_read_only(const char* from, const char* to, uint64_t attributes) {
  if (mount(from, to, nullptr, MS_BIND | MS_REC, nullptr) != 0) return false;
  MountAttr attr{attributes, 0, 0, 0};
  return syscall(SYS_mount_setattr, AT_FDCWD, to, AT_RECURSIVE, &attr, sizeof attr) == 0;
}

constexpr uint64_t kReadOnly = 0x1, kNoSuid = 0x2, kNoDev = 0x4, kNoExec = 0x8;  // MOUNT_ATTR_*

/// Makes `path` below the new root, parents included.
bool make_folder(const char* path) {
  char partial[320];
  for (const char* at = path + 1;; ++at) {
    if (*at != '/' && *at != '\0') continue;
    const size_t length = static_cast<size_t>(at - path);
    if (length >= sizeof partial) return false;
    memcpy(partial, path, length);
    partial[length] = '\0';
    if (mkdir(partial, 0755) != 0 && errno != EEXIST) return false;
    if (*at == '\0') return true;
  }
}

// Shows a folder of the machine at the same path of the new root; a link is copied, what is not there is left out.
bool show(const char* root, const char* path) {
  char target[320], link[256];
  snprintf(target, sizeof target, "%s%s", root, path);
  const ssize_t length = readlink(path, link, sizeof link - 1);
  if (length > 0) {
    link[length] = '\0';
    return symlink(link, target) == 0;
  }
  struct stat info;
  if (stat(path, &info) != 0) return true;
  if (S_ISDIR(info.st_mode)) return make_folder(target) && bind_read_only(path, target, kReadOnly | kNoSuid | kNoDev);
  return write_text(target, "") && bind_read_only(path, target, kReadOnly | kNoSuid | kNoDev);
}

bool show_device(const char* root, const char* path) {
  char target[320];
  snprintf(target, sizeof target, "%s%s", root, path);
  return write_text(target, "") && bind_read_only(path, target, kNoSuid | kNoExec);
}

bool fill_root(const char* root) {
  char path[320];
  const auto below = [&](const char* name) { return snprintf(path, sizeof path, "%s%s", root, name), path; };
  for (const char* name : {"/etc", "/dev", "/proc", "/box"}) {
    if (mkdir(below(name), 0755) != 0) return false;
  }
  for (const char* name : {"/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/alternatives"}) {
    if (!show(root, name)) return false;
  }
  if (config.prefix[0] && !show(root, config.prefix)) return false;
  for (const char* name : {"/dev/null", "/dev/zero", "/dev/full", "/dev/urandom", "/dev/random"}) {
    if (!show_device(root, name)) return false;
  }
  return symlink("/box/tmp", below("/tmp")) == 0 && symlink("/box/shm", below("/dev/shm")) == 0 &&
         symlink("/proc/self/fd", below("/dev/fd")) == 0 && symlink("/proc/self/fd/0", below("/dev/stdin")) == 0 &&
         symlink("/proc/self/fd/1", below("/dev/stdout")) == 0 &&
         symlink("/proc/self/fd/2", below("/dev/stderr")) == 0 &&
         write_text(below("/etc/passwd"), "user:x:1000:1000::/box/w:/bin/sh\n") &&
         write_text(below("/etc/group"), "user:x:1000:\n") && write_text(below("/etc/hosts"), "127.0.0.1 localhost\n");
}

void enter_root() {
  if (!wanted(LayerId::kMountNamespace)) return;
  const char* root = "/tmp";  // any folder does: the tmpfs over it is seen by nobody else
  const LayerId layer = LayerId::kMountNamespace;
  check(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0, layer);
  check(mount("root", root, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,nr_inodes=128,mode=0755") == 0, layer);
  check(fill_root(root), layer);
  char proc[32];
  snprintf(proc, sizeof proc, "%s/proc", root);
  const auto flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (wanted(LayerId::kProc)) check(mount("proc", proc, "proc", flags, nullptr) == 0, LayerId::kProc);
  check(chdir(root) == 0 && syscall(SYS_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) == 0 && chdir("/") == 0,
        layer);
  // Nobody below us makes user namespaces, in which every capability would be theirs; the filter forbids it as well.
  (void)write_text("/proc/sys/user/max_user_namespaces", "0");
  MountAttr attr{kReadOnly, 0, 0, 0};
  check(syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, &attr, sizeof attr) == 0, layer);
}

// ---- becoming the worker

/// The worker keeps the one capability that a run's namespaces and mounts take, over exec too, and can gain no other.
void keep_one_capability() {
  if (!wanted(LayerId::kUserNamespace)) return;
  for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
    if (capability != CAP_SYS_ADMIN) prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  }
  const uint32_t mask = 1u << CAP_SYS_ADMIN;
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  data[0] = {mask, mask, mask};
  check(
      syscall(SYS_capset, &header, data) == 0 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN, 0, 0) == 0,
      LayerId::kCapabilities);
}

void inherit(int fd) { fcntl(fd, F_SETFD, 0); }

[[noreturn]] void become_interpreter() {
  char library[32], driver[32], layers[16], filter[16];
  snprintf(library, sizeof library, "/proc/self/fd/%d", library_fd);
  snprintf(driver, sizeof driver, "/proc/self/fd/%d", driver_fd);
  snprintf(layers, sizeof layers, "%u", config.layers);
  snprintf(filter, sizeof filter, "%d", filter_fd);
  for (const int fd : {kSocket, library_fd, driver_fd, filter_fd}) inherit(fd);
  const char* argv[] = {"python3", "-s", "-S", "-B", driver, library, layers, filter, config.box, nullptr};
  const char* environment[] = {
      "PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/box/w", "USER=user", "LC_ALL=C.UTF-8", "PYTHONHASHSEED=0", nullptr};
  execve(config.python, const_cast<char**>(argv), const_cast<char**>(environment));
  give_up(LayerId::kInterpreter);
}

[[noreturn]] void execute(bool command) {
  static char text[16 << 10];
  const char* argv[256] = {"./main"};
  if (command) {
    const ssize_t size = pread(3, text, sizeof text - 1, 0);
    size_t count = 0;
    for (ssize_t at = 0; at < size && count < 255; at += static_cast<ssize_t>(strlen(text + at)) + 1)
      argv[count++] = text + at;
    argv[count] = nullptr;
  }
  char home[80], temporary[80];
  snprintf(home, sizeof home, "HOME=%s/w", config.box);
  snprintf(temporary, sizeof temporary, "TMPDIR=%s/tmp", config.box);
  const char* environment[] = {
      "PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C.UTF-8", "USER=user", home, temporary, nullptr};
  auto* const words = const_cast<char**>(argv);
  auto* const variables = const_cast<char**>(environment);
  if (command) execve(argv[0], words, variables);
  fcntl(3, F_SETFD, FD_CLOEXEC);
  syscall(SYS_execveat, 3, "", words, variables, AT_EMPTY_PATH);
  _exit(127);
}

[[noreturn]] void become_native_worker() {
  switch (serve({kSocket, config.layers, filter_fd, config.box})) {
    case Action::kExecute:
      execute(/*command=*/false);
    case Action::kCommand:
      execute(/*command=*/true);
    default:
      _exit(0);  // a probe
  }
}

[[noreturn]] void become_worker() {
  enter_root();
  keep_one_capability();
  if (config.kind == WorkerKind::kPython) become_interpreter();
  become_native_worker();
}

void close_all() {
  for (const int fd : {kSocket, filter_fd, library_fd, driver_fd}) close(fd);
}

/// Waits for the worker. In a pid namespace nothing outlives it; without one, all that is left is ended here.
[[noreturn]] void supervise(pid_t worker) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGCHLD);
  sigaddset(&signals, SIGTERM);
  for (int signal = 0; signal != SIGTERM; signal = sigwaitinfo(&signals, nullptr)) {
    if (waitpid(worker, nullptr, WNOHANG) == worker) break;
  }
  kill(worker, SIGKILL);
  kill_descendants();
  if (!wanted(LayerId::kMountNamespace)) remove_tree(config.box);
  _exit(0);
}

/// Without a pid namespace, who kills launcher and worker at once would leave a run to nobody: so there are two
/// launchers, one above the other.
void stand_guard() {
  if (wanted(LayerId::kPidNamespace)) return;
  const pid_t guarded = fork();
  check(guarded >= 0, LayerId::kCount);
  if (guarded > 0) {
    close_all();
    supervise(guarded);
  }
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
}

// A host that runs before others does not lend that. Seen: at nice -15 a fork bomb held to 32 processes ran out of
// memory, 512 MiB, in .2 s; at 0 it runs out of time.
void be_no_more_urgent_than_others() {
  errno = 0;
  if (const int nice = getpriority(PRIO_PROCESS, 0); errno == 0 && nice < 0) setpriority(PRIO_PROCESS, 0, 0);
}

int launch() {
  close(4);  // our own executable
  prctl(PR_SET_NAME, "hone-jail");
  receive_config();
  be_no_more_urgent_than_others();
  change_uid();
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  die_with_host();
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  stand_guard();
  enter_user_namespace();
  enter_namespaces();
  const pid_t worker = fork();
  check(worker >= 0, LayerId::kPidNamespace);
  if (worker == 0) become_worker();
  close_all();
  supervise(worker);
}

}  // namespace
}  // namespace hone::sandbox

int main() { return hone::sandbox::launch(); }
