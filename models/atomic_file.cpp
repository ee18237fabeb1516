#include "models/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace hone {
namespace {

namespace fs = std::filesystem;

const char* remedy(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return "free some space on that file system and run again";
    case EACCES:
    case EPERM:
    case EROFS:
      return "choose a place that this user may write to";
    case ENOENT:
    case ENOTDIR:
      return "check that its folder exists";
    case EMFILE:
    case ENFILE:
      return "raise the limit of open files (ulimit -n)";
    default:
      return "check the path and the disk";
  }
}

[[noreturn]] void fail(const char* action, const fs::path& path, int error) {
  throw std::runtime_error(
      fmt::format("cannot {} {}: {}; {}", action, path.string(), std::strerror(error), remedy(error)));
}

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }
  /// Closes and tells whether that worked: network file systems report a full disk only here.
  bool close() { return ::close(std::exchange(fd_, -1)) == 0; }

 private:
  int fd_;
};

fs::path folder_of(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : fs::path("."); }

/// The n-th candidate for a temporary name; `n` parts threads that write the same path at once.
fs::path temporary_name(const fs::path& path, int n) {
  return path.string() + fmt::format(".tmp-{}", ::getpid()) + (n == 0 ? "" : fmt::format("{:03}", n));
}

/// `create(name)` must fail with EEXIST when the name is taken; returns the name that it made.
template <class Create>
fs::path create_temporary(const fs::path& path, Create create) {
  for (int n = 0; n < 1000; ++n) {
    fs::path name = temporary_name(path, n);
    if (create(name)) return name;
    if (errno != EEXIST) fail("write", path, errno);
  }
  throw std::runtime_error(
      fmt::format("cannot write {}: 1000 temporary files of it exist already; remove them", path.string()));
}

void sync_path(const fs::path& path, int flags) {
  FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | flags));
  if (fd.get() < 0 || ::fsync(fd.get()) != 0) fail("force to disk", path, errno);
}

void sync_folder(const fs::path& path) { sync_path(path, O_DIRECTORY); }

void write_all(int fd, std::string_view bytes, const fs::path& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("write", path, errno);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
}

void write_and_rename(FileDescriptor& fd, const fs::path& temporary, const fs::path& path,
                      const std::function<void(const ByteSink&)>& produce) {
  produce([&](std::string_view bytes) { write_all(fd.get(), bytes, path); });
  if (::fsync(fd.get()) != 0) fail("write", path, errno);
  if (!fd.close()) fail("write", path, errno);
  if (::rename(temporary.c_str(), path.c_str()) != 0) fail("write", path, errno);
}

/// Everything below and the folder itself, deepest first.
void sync_tree(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_symlink()) continue;
    if (entry.is_directory()) sync_tree(entry.path());
    if (entry.is_regular_file()) sync_path(entry.path(), 0);
  }
  sync_folder(folder);
}

/// For file systems that cannot exchange two names. Between the two renames the final name is missing.
void replace_in_two_steps(const fs::path& temporary, const fs::path& final_path) {
  const fs::path old =
      create_temporary(final_path, [](const fs::path& name) { return ::mkdir(name.c_str(), 0777) == 0; });
  if (::rename(final_path.c_str(), old.c_str()) != 0) fail("replace", final_path, errno);
  if (::rename(temporary.c_str(), final_path.c_str()) != 0) {
    const int error = errno;
    ::rename(old.c_str(), final_path.c_str());
    fail("replace", final_path, error);
  }
  fs::remove_all(old);
}

/// `temporary` takes the final name; a folder that held it is removed.
void take_final_name(const fs::path& temporary, const fs::path& final_path) {
  if (!fs::exists(fs::symlink_status(final_path))) {
    if (::rename(temporary.c_str(), final_path.c_str()) != 0) fail("write", final_path, errno);
  } else if (::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, final_path.c_str(), RENAME_EXCHANGE) == 0) {
    fs::remove_all(temporary);  // now the old folder
  } else if (errno == EINVAL || errno == ENOSYS) {
    replace_in_two_steps(temporary, final_path);
  } else {
    fail("replace", final_path, errno);
  }
}

bool is_temporary_name(const std::string& name) {
  const size_t mark = name.rfind(".tmp-");
  return mark != std::string::npos && mark + 5 < name.size() &&
         name.find_first_not_of("0123456789", mark + 5) == std::string::npos;
}

fs::path without_trailing_slash(fs::path path) {
  path = path.lexically_normal();
  return path.has_filename() ? path : path.parent_path();
}

}  // namespace

void write_file_atomic(const fs::path& path, const std::function<void(const ByteSink&)>& produce) {
  int created = -1;
  const fs::path temporary = create_temporary(path, [&](const fs::path& name) {
    created = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    return created >= 0;
  });
  FileDescriptor fd(created);
  try {
    write_and_rename(fd, temporary, path, produce);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  sync_folder(folder_of(path));
}

void write_file_atomic(const fs::path& path, std::string_view contents) {
  write_file_atomic(path, [&](const ByteSink& sink) { sink(contents); });
}

void remove_folder_atomic(const fs::path& folder) {
  if (!fs::exists(fs::symlink_status(folder))) return;
  const fs::path temporary =
      create_temporary(folder, [](const fs::path& name) { return ::mkdir(name.c_str(), 0777) == 0; });
  if (::rename(folder.c_str(), temporary.c_str()) != 0) fail("remove", folder, errno);  // in place of an empty folder
  sync_folder(folder_of(folder));
  fs::remove_all(temporary);
}

std::string read_file(const fs::path& path) {
  FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status {};
  if (fd.get() < 0 || ::fstat(fd.get(), &status) != 0) fail("read", path, errno);
  if (S_ISDIR(status.st_mode)) fail("read", path, EISDIR);
  std::string contents;
  contents.reserve(static_cast<size_t>(status.st_size));
  char buffer[1 << 16];
  for (;;) {
    const ssize_t count = ::read(fd.get(), buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("read", path, errno);
    if (count == 0) return contents;
    contents.append(buffer, static_cast<size_t>(count));
  }
}

AtomicDirectory::AtomicDirectory(fs::path final_path) : final_(without_trailing_slash(std::move(final_path))) {
  if (fs::exists(final_) && !fs::is_directory(final_)) fail("write folder", final_, ENOTDIR);
  std::error_code error;
  fs::create_directories(folder_of(final_), error);
  if (error) fail("write folder", final_, error.value());
  temporary_ = create_temporary(final_, [](const fs::path& name) { return ::mkdir(name.c_str(), 0777) == 0; });
}

AtomicDirectory::~AtomicDirectory() {
  std::error_code ignored;  // a destructor has nobody to tell; remove_stale_temporaries tries again
  if (!committed_) fs::remove_all(temporary_, ignored);
}

void AtomicDirectory::commit() {
  if (committed_) throw std::logic_error("AtomicDirectory::commit was called twice for " + final_.string());
  try {
    sync_tree(temporary_);
    take_final_name(temporary_, final_);
  } catch (const fs::filesystem_error& error) {
    fail("write folder", final_, error.code().value());
  }
  committed_ = true;
  sync_folder(folder_of(final_));
}

void remove_stale_temporaries(const fs::path& parent) {
  if (!fs::is_directory(parent)) return;
  std::vector<fs::path> stale;  // removing while iterating would be unspecified
  for (const auto& entry : fs::directory_iterator(parent)) {
    if (is_temporary_name(entry.path().filename().string())) stale.push_back(entry.path());
  }
  for (const fs::path& path : stale) {
    std::error_code error;
    fs::remove_all(path, error);
    if (error) fail("remove", path, error.value());
  }
}

}  // namespace hone
