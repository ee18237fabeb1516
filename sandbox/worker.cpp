#include "sandbox/worker.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <stdexcept>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/embedded.h"
#include "sandbox/jail/processes.h"
#include "sandbox/jail/wire.h"
#include "sandbox/layers.h"
#include "sandbox/seccomp.h"

namespace hone::sandbox {
namespace {

constexpr int kStart_ms = 20000, kGoodbye_ms = 1000;

struct SpawnSettings {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;

  SpawnSettings() {
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setpgroup(&attributes, 0);  // a terminal's Ctrl-C is the host's business
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  }
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
  }
};

/// The streams that an interpreter starts with decide how it treats them later: a file to read, pipes to write.
pid_t spawn_launcher(const Jail& jail, int socket) {
  const Descriptor null = null_device();
  const Pipe output = make_pipe();
  SpawnSettings settings;
  posix_spawn_file_actions_adddup2(&settings.files, null.get(), 0);
  posix_spawn_file_actions_adddup2(&settings.files, output.write.get(), 1);
  posix_spawn_file_actions_adddup2(&settings.files, output.write.get(), 2);
  posix_spawn_file_actions_adddup2(&settings.files, socket, 3);
  posix_spawn_file_actions_adddup2(&settings.files, jail.launcher.get(), 4);
  posix_spawn_file_actions_addclosefrom_np(&settings.files, 5);
  const char* path = "/proc/self/fd/4";
  char name[] = "hone-jail";
  char* argv[] = {name, nullptr};
  char* environment[] = {nullptr};
  pid_t pid = -1;
  const int error = posix_spawn(&pid, path, &settings.files, &settings.attributes, argv, environment);
  if (error != 0)
    throw std::runtime_error(fmt::format("sandbox: the launcher does not start: {}", std::strerror(error)));
  return pid;
}

bool readable(int fd, int timeout_ms) {
  pollfd poll{fd, POLLIN, 0};
  int rc;
  do {
    rc = ::poll(&poll, 1, timeout_ms);
  } while (rc < 0 && errno == EINTR);
  return rc > 0;
}

/// Of those that Debian keeps free for such use; another one for each worker, for the kernel counts processes by user.
unsigned spare_uid(unsigned serial) { return 60000 + (static_cast<unsigned>(getpid()) * 37 + serial) % 5000; }

/// Processes and threads of our own user, as far as they can be seen.
uint32_t tasks_of_user() {
  uint32_t count = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    struct stat info;
    const std::string path = entry.path();
    if (path.find_first_not_of("0123456789", 6) != std::string::npos) continue;
    if (stat((path + "/task").c_str(), &info) != 0 || info.st_uid != geteuid()) continue;
    count += static_cast<uint32_t>(info.st_nlink > 2 ? info.st_nlink - 2 : 1);  // a folder a thread
  }
  return count;
}

void copy_text(const std::string& text, char* out, size_t size) {
  if (text.size() >= size) throw std::runtime_error(fmt::format("sandbox: the path is too long: {}", text));
  std::memcpy(out, text.c_str(), text.size() + 1);
}

/// Waits for the launcher to end by itself, then kills it.
void reap(pid_t launcher) {
  const Descriptor pidfd(static_cast<int>(syscall(SYS_pidfd_open, launcher, 0)));
  if (pidfd) (void)fcntl(pidfd.get(), F_SETFD, FD_CLOEXEC);
  if (!pidfd || !readable(pidfd.get(), kGoodbye_ms)) kill(launcher, SIGKILL);
  while (waitpid(launcher, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace

Worker::Worker(const Jail& jail, unsigned serial)
    : cgroup_(serial, jail.cgroup_memory, jail.cgroup_pids),
      own_((jail.layers & bit(LayerId::kPidNamespace)) ? 3 : 4),
      uses_folders_((jail.layers & bit(LayerId::kMountNamespace)) == 0),
      counts_user_((jail.layers & bit(LayerId::kUserNamespace)) == 0 && geteuid() != 0) {}

bool Worker::spawn(const Jail& jail, WorkerKind kind, unsigned serial) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) fail("socketpair");
  socket_ = Descriptor(ends[0]);
  const Descriptor other(ends[1]);
  launcher_ = spawn_launcher(jail, other.get());
  cgroup_.add(launcher_);  // before it goes on, so that all it starts are in it
  Config config;
  config.layers = jail.layers;
  config.kind = kind;
  config.uid = geteuid() == 0 ? spare_uid(serial) : 0;
  config.host_pid = static_cast<uint32_t>(getpid());
  copy_text(jail.python, config.python, sizeof config.python);
  copy_text(jail.prefix, config.prefix, sizeof config.prefix);
  if (uses_folders_) copy_text(box_ = fmt::format("/tmp/hone-{}-{}", getpid(), serial), config.box, sizeof config.box);
  const int fds[] = {jail.filter.get(), jail.zygote.get(), jail.driver.get()};
  return send_message(socket_.get(), &config, sizeof config, fds, 3);
}

std::unique_ptr<Worker> Worker::start(const Jail& jail, WorkerKind kind, Greeting* greeting) {
  const unsigned serial = (*jail.serial)++;
  std::unique_ptr<Worker> worker(new Worker(jail, serial));
  *greeting = {};
  greeting->error = ECHILD;  // unless it says otherwise
  greeting->layer = kind == WorkerKind::kPython ? LayerId::kInterpreter : LayerId::kCount;
  if (!worker->spawn(jail, kind, serial) || !readable(worker->socket(), kStart_ms)) return nullptr;
  Greeting received;
  int fds[kMaxFds], num_fds = 0;
  if (receive_message(worker->socket(), &received, sizeof received, fds, &num_fds) == sizeof received)
    *greeting = received;
  return greeting->error == 0 ? std::move(worker) : nullptr;
}

Worker::~Worker() {
  socket_.reset();  // the worker ends when it reads the end, and the launcher after it
  if (launcher_ > 0) reap(launcher_);
  if (uses_folders_ && !box_.empty()) remove_tree(box_.c_str());
}

uint32_t Worker::processes_before() const { return counts_user_ ? own_ + tasks_of_user() : own_; }

bool Worker::begin(const Task& task) const {
  return send_message(socket(), &task.request, sizeof task.request, task.fds.data(), static_cast<int>(task.fds.size()));
}

// ---- discovery

namespace {

/// One run that applies every layer and does nothing.
std::optional<Greeting> probe_fault(const Worker& worker) {
  const Descriptor null = null_device();
  Task task;
  task.request.action = Action::kProbe;
  task.request.cpu_ns = 1000000000;
  task.request.data_bytes = uint64_t{1} << 32;
  task.request.file_bytes = task.request.stack_bytes = task.request.tmpfs_bytes = 1 << 20;
  task.fds.assign(4, null.get());
  if (!worker.begin(task)) return Greeting{EPIPE, LayerId::kCount};
  for (;;) {
    Ended ended;
    int fds[kMaxFds], num_fds = 0;
    if (!readable(worker.socket(), kStart_ms)) return Greeting{ETIMEDOUT, LayerId::kCount};
    if (receive_message(worker.socket(), &ended, sizeof ended, fds, &num_fds) <= 0)
      return Greeting{EPIPE, LayerId::kCount};
    for (int i = 0; i < num_fds; ++i) close(fds[i]);
    if (ended.type != MessageType::kEnded) continue;
    if (ended.confined && ended.finished && ended.wait_status == 0) return std::nullopt;
    return Greeting{ended.failed_errno ? ended.failed_errno : EINVAL, ended.failed_layer};
  }
}

uint32_t landlock_layers() {
  const long abi = syscall(444 /* landlock_create_ruleset */, nullptr, 0, 1 /* VERSION */);
  uint32_t layers = ~0u;
  if (abi < 6) layers = without(layers, LayerId::kLandlockScope);
  if (abi < 4) layers = without(layers, LayerId::kLandlockNetwork);
  return abi < 1 ? without(layers, LayerId::kLandlock) : layers;
}

/// Where an interpreter outside /usr lives: its folder's folder.
std::string prefix_of(const std::string& program) {
  const auto folder = std::filesystem::path(program).parent_path().parent_path();
  return folder == "/usr" || folder == "/" || folder.string().starts_with("/usr/") ? "" : folder.string();
}

Jail make_jail(const PoolOptions& options) {
  Jail jail;
  const auto off = [&](const char* name) {
    return std::find(options.without.begin(), options.without.end(), name) != options.without.end();
  };
  jail.layers = layers_without(options.without) & landlock_layers();
  jail.cgroup_memory = !off("cgroup_memory");
  jail.cgroup_pids = !off("cgroup_pids");
  std::error_code error;
  jail.python = std::filesystem::canonical(options.python, error);
  if (error)
    throw std::runtime_error(fmt::format("sandbox: no Python at {}; install it or name another", options.python));
  jail.prefix = prefix_of(jail.python);
  jail.launcher = sealed_file("hone-jail", embedded_launcher());
  jail.zygote = sealed_file("hone-zygote", embedded_zygote());
  jail.driver = sealed_file("hone-driver", embedded_driver());
  return jail;
}

/// Signals stay inside a pid namespace or a Landlock domain; where there is neither, there are none.
void make_filter(Jail& jail) {
  const bool may_signal = (jail.layers & (bit(LayerId::kPidNamespace) | bit(LayerId::kLandlockScope))) != 0;
  const auto filter = system_call_filter(may_signal);
  jail.filter =
      sealed_file("filter", {reinterpret_cast<const char*>(filter.data()), filter.size() * sizeof(sock_filter)});
}

std::string why_off(LayerId id, const std::map<LayerId, int>& failed, const PoolOptions& options) {
  if (const auto it = failed.find(id); it != failed.end()) return remedy(id, it->second);
  for (const auto& [other, error] : failed) {
    if (needs(id, other)) return fmt::format("needs {}, which is off", name_of(other));
  }
  return options.without.empty() ? remedy(id, ENOTSUP) : "left out, or needs what was left out";
}

void describe(Jail& jail, const PoolOptions& options, const std::map<LayerId, int>& failed, const Worker& worker) {
  for (uint32_t i = 0; i < static_cast<uint32_t>(LayerId::kCount); ++i) {
    const auto id = static_cast<LayerId>(i);
    const bool on = (jail.layers & bit(id)) != 0;
    jail.found[std::string(name_of(id))] = {on, on ? "works: a run with it ended well" : why_off(id, failed, options)};
  }
  if (Layer& uid = jail.found.at("spare_uid"); uid.on && geteuid() != 0)
    uid.reason = "not needed: the host is not root";
  const Cgroup& group = worker.cgroup();
  jail.found["cgroup_memory"] = {jail.cgroup_memory && group.limits_memory(), group.memory_reason()};
  jail.found["cgroup_pids"] = {jail.cgroup_pids && group.limits_processes(), group.pids_reason()};
  const bool compiler = access(options.compiler.c_str(), X_OK) == 0;
  jail.found["cpp"] = {compiler, compiler ? options.compiler : "no compiler at " + options.compiler};
}

/// Files must be out of reach by one means at least, and the kernel's calls by the filter.
void insist_on_a_jail(const Jail& jail) {
  for (const LayerId id : {LayerId::kSeccomp, LayerId::kRlimits, LayerId::kPidfd}) {
    if (!(jail.layers & bit(id))) require_layers(jail.found, {std::string(name_of(id))});
  }
  if (jail.layers & (bit(LayerId::kMountNamespace) | bit(LayerId::kLandlock))) return;
  throw std::runtime_error("sandbox: neither mount namespaces nor Landlock work here, so files cannot be protected; " +
                           jail.found.at("landlock").reason);
}

}  // namespace

Discovery discover(const PoolOptions& options) {
  Discovery result{make_jail(options), nullptr};
  Jail& jail = result.jail;
  std::map<LayerId, int> failed;
  for (;;) {
    Greeting greeting;
    make_filter(jail);
    result.worker = Worker::start(jail, WorkerKind::kPython, &greeting);
    if (result.worker) {
      const auto fault = probe_fault(*result.worker);
      if (!fault) break;
      greeting = *fault;
    }
    const uint32_t fewer = without(jail.layers, greeting.layer);
    failed[greeting.layer] = greeting.error;
    if (fewer == jail.layers || greeting.layer == LayerId::kInterpreter) {
      throw std::runtime_error(fmt::format("sandbox: no worker starts: {}: {}", name_of(greeting.layer),
                                           remedy(greeting.layer, greeting.error)));
    }
    jail.layers = fewer;
  }
  describe(jail, options, failed, *result.worker);
  if (options.without.empty()) insist_on_a_jail(jail);
  return result;
}

std::map<std::string, Layer> capabilities() { return discover({}).jail.found; }

}  // namespace hone::sandbox
