#include "sandbox/jail/processes.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace hone::sandbox {
namespace {

constexpr size_t kMostProcesses = 512;

/// The text of a small file in `text`, ended by NUL; false when it cannot be read.
bool read_text(const char* path, char* text, size_t size) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const ssize_t got = read(fd, text, size - 1);
  close(fd);
  text[got > 0 ? got : 0] = '\0';
  return got > 0;
}

size_t children_of_thread(const char* process, int thread, pid_t* out, size_t most) {
  char path[64], text[4096];
  snprintf(path, sizeof path, "/proc/%s/task/%d/children", process, thread);
  if (!read_text(path, text, sizeof text)) return 0;
  size_t count = 0;
  for (char* at = text; *at && count < most;) {
    char* end;
    const long child = strtol(at, &end, 10);
    if (end == at) break;
    out[count++] = static_cast<pid_t>(child);
    at = end;
    while (*at == ' ') ++at;
  }
  return count;
}

/// Calls `visit` with the name of every entry of an open folder, "." and ".." left out.
template <class Visit>
void each_entry(int folder, Visit visit) {
  struct Entry {  // of getdents64
    uint64_t inode;
    int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[];
  };
  alignas(Entry) char entries[1024];
  lseek(folder, 0, SEEK_SET);
  for (long got; (got = syscall(SYS_getdents64, folder, entries, sizeof entries)) > 0;) {
    for (long at = 0; at < got;) {
      const auto* entry = reinterpret_cast<const Entry*>(entries + at);
      at += entry->length;
      if (strcmp(entry->name, ".") != 0 && strcmp(entry->name, "..") != 0) visit(entry->name);
    }
  }
}

/// `process` is a number, or "self", which is right even where /proc shows another namespace's numbers.
size_t children_of(const char* process, pid_t* out, size_t most) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%s/task", process);
  const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return 0;
  size_t count = 0;
  each_entry(fd, [&](const char* thread) {  // any thread may have forked
    count += children_of_thread(process, atoi(thread), out + count, most - count);
  });
  close(fd);
  return count;
}

/// A program may make itself unreadable (not dumpable); its plain resident size is always there.
uint64_t resident_bytes(pid_t pid) {
  char path[64], text[1024];
  snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
  if (read_text(path, text, sizeof text)) {
    if (const char* pss = strstr(text, "Pss:")) return strtoull(pss + 4, nullptr, 10) << 10;
  }
  snprintf(path, sizeof path, "/proc/%d/statm", pid);
  if (!read_text(path, text, sizeof text)) return 0;
  const char* resident = strchr(text, ' ');
  return resident ? strtoull(resident, nullptr, 10) * 4096 : 0;
}

/// Removes what is in a folder; folders in it move up to `top`, so that depth never costs more than one descriptor.
void flatten(int top, int folder, unsigned* serial) {
  bool changed = true;
  const auto visit = [&](const char* name) {
    if (unlinkat(folder, name, 0) == 0) {
      changed = true;
    } else if (folder != top) {
      char up[32];
      snprintf(up, sizeof up, ".hone-%u", (*serial)++);
      fchmodat(folder, name, 0700, 0);  // a folder, for all else was unlinked: this follows no link
      changed |= renameat(folder, name, top, up) == 0;
    }
  };
  while (changed) {
    changed = false;
    each_entry(folder, visit);
  }
}

struct Held {
  uint32_t files = 0;
  uint64_t bytes = 0;
};

constexpr int kMostDepth = 96;  // of folders; init's stack has room for as many, and no program needs them

/// Stops at more than `most` files; folders that lie too deep count as so many.
void count(int folder, int depth, uint32_t most, Held* held) {
  each_entry(folder, [&](const char* name) {
    struct stat info;
    if (++held->files > most || fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) != 0) return;
    held->bytes += static_cast<uint64_t>(info.st_blocks) * 512;
    if (!S_ISDIR(info.st_mode)) return;
    if (depth == kMostDepth) held->files = most + 1;
    if (held->files > most) return;
    const int below = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (below < 0) return;
    count(below, depth + 1, most, held);
    close(below);
  });
}

}  // namespace

bool holds_more_than(const char* path, uint32_t files, uint64_t bytes) {
  const int folder = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (folder < 0) return false;
  Held held;
  count(folder, /*depth=*/0, files, &held);
  close(folder);
  return held.files > files || held.bytes > bytes;
}

uint64_t resident_bytes_of_children(uint64_t enough) {
  pid_t found[kMostProcesses];
  size_t count = children_of("self", found, kMostProcesses);
  uint64_t sum = 0;
  for (size_t i = 0; i < count && sum <= enough; ++i) {
    sum += resident_bytes(found[i]);
    char process[16];
    snprintf(process, sizeof process, "%d", found[i]);
    count += children_of(process, found + count, kMostProcesses - count);
  }
  return sum;
}

Share share_of_cores(pid_t process) {
  pid_t found[kMostProcesses] = {process};
  Share sum;
  for (size_t i = 0, count = 1; i < count; ++i) {
    char path[64], text[128], name[16];
    snprintf(path, sizeof path, "/proc/%d/schedstat", found[i]);
    if (read_text(path, text, sizeof text)) {
      char* end;
      sum.ran_ns += strtoull(text, &end, 10);
      sum.waited_ns += strtoull(end, nullptr, 10);
    }
    snprintf(name, sizeof name, "%d", found[i]);
    count += children_of(name, found + count, kMostProcesses - count);
  }
  return sum;
}

void kill_descendants() {
  pid_t found[kMostProcesses];
  for (;;) {
    const size_t count = children_of("self", found, kMostProcesses);
    for (size_t i = 0; i < count; ++i) kill(found[i], SIGKILL);
    if (waitpid(-1, nullptr, __WALL) < 0 && errno == ECHILD) return;
    while (waitpid(-1, nullptr, __WALL | WNOHANG) > 0) {
    }
  }
}

void remove_tree(const char* path) {
  const int top = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (top < 0) return;
  unsigned serial = 0;
  bool changed = true;
  while (changed) {
    changed = false;
    flatten(top, top, &serial);
    each_entry(top, [&](const char* name) {
      fchmodat(top, name, 0700, 0);
      const int folder = openat(top, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      if (folder < 0) return;
      flatten(top, folder, &serial);
      close(folder);
      changed |= unlinkat(top, name, AT_REMOVEDIR) == 0;
    });
  }
  close(top);
  rmdir(path);
}

}  // namespace hone::sandbox
