#include "rl/run_lock.h"

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <unistd.h>

namespace hone {
namespace {

std::string owner(int fd) {
  char text[32] = {};
  const auto size = pread(fd, text, sizeof text - 1, 0);
  const std::string pid(text, size > 0 ? size_t(size) : 0);
  return pid.empty() ? "another process" : "process " + pid.substr(0, pid.find('\n'));
}

void write_owner(int fd) {
  const std::string pid = fmt::format("{}\n", getpid());
  // The pid is a help for people; a disk too full to hold it does not make the lock less good.
  if (ftruncate(fd, 0) == 0) (void)!pwrite(fd, pid.data(), pid.size(), 0);
}

}  // namespace

RunLock::RunLock(const std::filesystem::path& run_dir) {
  std::filesystem::create_directories(run_dir);
  const std::string path = (run_dir / "lock").string();
  fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) throw std::runtime_error(fmt::format("{}: cannot be opened: {}", path, std::strerror(errno)));
  if (flock(fd_, LOCK_EX | LOCK_NB) == 0) {
    write_owner(fd_);
    return;
  }
  const std::string reason = errno == EWOULDBLOCK ? "in use by " + owner(fd_) : std::strerror(errno);
  close(fd_);
  throw std::runtime_error(fmt::format("{}: the run directory is {}; wait for it, stop it, or choose another --run-dir",
                                       run_dir.string(), reason));
}

RunLock::~RunLock() { close(fd_); }

}  // namespace hone
