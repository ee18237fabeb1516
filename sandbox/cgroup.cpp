#include "sandbox/cgroup.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string_view>

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

namespace hone::sandbox {
namespace {

const std::string kRoot = "/sys/fs/cgroup";

bool write_file(const std::string& path, const std::string& text) {
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool done = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int error = errno;
  close(fd);
  errno = error;
  return done;
}

std::string read_file(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Our group of a controller: line `N:a,b:/path` of /proc/self/cgroup, or `0::/path` for version 2.
std::optional<std::string> own_group(const std::string& controller) {
  std::istringstream lines(read_file("/proc/self/cgroup"));
  for (std::string line; std::getline(lines, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string names = "," + line.substr(first + 1, second - first - 1) + ",";
    if (names.find("," + controller + ",") == std::string::npos) continue;
    return line.substr(second + 1) == "/" ? "" : line.substr(second + 1);
  }
  return std::nullopt;
}

/// Groups of hosts that were killed; a folder with processes in it does not let itself be removed.
void remove_stale(const std::string& parent) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(parent, error)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with("hone-")) continue;
    const pid_t host = std::atoi(name.c_str() + 5);
    if (host > 0 && kill(host, 0) != 0 && errno == ESRCH) rmdir(entry.path().c_str());
  }
}

std::string make_group(const std::string& parent, const std::string& name, const std::string& limit_file,
                       std::string& reason) {
  remove_stale(parent);
  const std::string path = parent + "/" + name;
  if (mkdir(path.c_str(), 0755) != 0) {
    reason = fmt::format("{} making {}; run as root or have the group delegated", std::strerror(errno), path);
    return "";
  }
  if (access((path + "/" + limit_file).c_str(), W_OK) == 0) {
    reason = "made " + path;
    return path;
  }
  rmdir(path.c_str());
  reason = fmt::format("{} has no {}: the controller is not delegated to it", parent, limit_file);
  return "";
}

void remove_group(const std::string& path) {
  for (int attempt = 0; !path.empty() && attempt < 100; ++attempt) {  // the last process may just be going
    if (rmdir(path.c_str()) == 0 || errno != EBUSY) return;
    usleep(5000);
  }
}

}  // namespace

Cgroup::Cgroup(unsigned serial, bool memory, bool processes) {
  const std::string name = fmt::format("hone-{}-{}", getpid(), serial);
  memory_reason_ = pids_reason_ = "no control groups are mounted at " + kRoot;
  if (const auto own = own_group("memory"); own && std::filesystem::is_directory(kRoot + "/memory" + *own)) {
    if (memory) memory_ = make_group(kRoot + "/memory" + *own, name, "memory.limit_in_bytes", memory_reason_);
    const auto pids = own_group("pids");
    if (pids && processes) pids_ = make_group(kRoot + "/pids" + *pids, name, "pids.max", pids_reason_);
    return;
  }
  const auto own = own_group("");  // the one of version 2 has no name
  if (!own || !std::filesystem::exists(kRoot + *own + "/cgroup.controllers")) return;
  version_2_ = true;
  write_file(kRoot + *own + "/cgroup.subtree_control", "+memory +pids");  // may already be so, or not be ours to do
  if (memory) memory_ = make_group(kRoot + *own, name, "memory.max", memory_reason_);
  pids_reason_ = memory_reason_;
  if (processes && !memory_.empty() && access((memory_ + "/pids.max").c_str(), W_OK) == 0) pids_ = memory_;
}

Cgroup::~Cgroup() {
  remove_group(memory_);
  if (pids_ != memory_) remove_group(pids_);
}

bool Cgroup::add(pid_t pid) const {
  const std::string text = std::to_string(pid);
  bool done = true;
  if (!memory_.empty()) done &= write_file(memory_ + "/cgroup.procs", text);
  if (!pids_.empty() && pids_ != memory_) done &= write_file(pids_ + "/cgroup.procs", text);
  return done;
}

void Cgroup::limit(uint64_t memory_bytes, uint32_t processes) {
  if (!memory_.empty() && memory_bytes != memory_bytes_) {
    const std::string value = std::to_string(memory_bytes);
    // with swap accounting the sum may never be below the memory alone, so the order depends on the direction
    const bool grows = memory_bytes > memory_bytes_ && memory_bytes_ != 0;
    const std::string swap = memory_ + "/memory.memsw.limit_in_bytes", memory = memory_ + "/memory.limit_in_bytes";
    if (version_2_) {
      write_file(memory_ + "/memory.max", value);
      write_file(memory_ + "/memory.swap.max", "0");
      write_file(memory_ + "/memory.oom.group", "0");
    } else {
      if (grows) write_file(swap, value);
      write_file(memory, value);
      if (!grows) write_file(swap, value);
    }
    memory_bytes_ = memory_bytes;
  }
  if (!pids_.empty() && processes != processes_) {
    write_file(pids_ + "/pids.max", std::to_string(processes));
    processes_ = processes;
  }
}

uint64_t Cgroup::out_of_memory_kills() const {
  if (memory_.empty()) return 0;
  const std::string text = read_file(memory_ + (version_2_ ? "/memory.events" : "/memory.oom_control"));
  const size_t at = text.find("oom_kill ");
  return at == std::string::npos ? 0 : std::strtoull(text.c_str() + at + 9, nullptr, 10);
}

}  // namespace hone::sandbox
