#include "sandbox/descriptor.h"

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace hone::sandbox {

void fail(std::string_view what) {
  throw std::runtime_error(fmt::format("sandbox: {} failed: {}", what, std::strerror(errno)));
}

void Descriptor::reset() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

Descriptor memory_file(std::string_view name) {
  Descriptor file(memfd_create(std::string(name).c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file) fail("memfd_create");
  return file;
}

Descriptor sealed_file(std::string_view name, std::string_view content) {
  Descriptor file = memory_file(name);
  for (size_t done = 0; done < content.size();) {
    const ssize_t count = pwrite(file.get(), content.data() + done, content.size() - done, static_cast<off_t>(done));
    if (count < 0) fail("writing to memory");
    done += static_cast<size_t>(count);
  }
  return sealed(std::move(file));
}

Descriptor sealed(Descriptor file) {
  if (fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
    fail("F_ADD_SEALS");
  Descriptor again(open(fmt::format("/proc/self/fd/{}", file.get()).c_str(), O_RDONLY | O_CLOEXEC));
  if (!again) fail("reopening a file in memory");
  return again;
}

Pipe make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) fail("pipe2");
  Pipe pipe{Descriptor(ends[0]), Descriptor(ends[1])};
  if (fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0) fail("F_SETFL");
  (void)fchmod(ends[1], 0622);  // a program of another user opens /dev/stdout
  return pipe;
}

Descriptor null_device() {
  Descriptor null(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null) fail("opening /dev/null");
  return null;
}

}  // namespace hone::sandbox
