// A file descriptor that closes itself, and the two kinds that a run needs.
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace hone::sandbox {

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  void reset();

 private:
  int fd_ = -1;
};

struct Pipe {
  Descriptor read, write;
};

// All throw std::runtime_error naming the call when the system is out of descriptors or memory. Everything closes on
// exec.

/// A file in memory with this content, at offset 0, for reading. Sealed: nobody changes it any more.
Descriptor sealed_file(std::string_view name, std::string_view content);

/// An empty file in memory, for writing.
Descriptor memory_file(std::string_view name);

/// The same file for reading, never to change again; what is open for writing could not be executed either.
Descriptor sealed(Descriptor file);

/// The write end blocks, the read end does not.
Pipe make_pipe();

/// /dev/null, for reading and writing.
Descriptor null_device();

/// The last error in words, after `what`.
[[noreturn]] void fail(std::string_view what);

}  // namespace hone::sandbox
