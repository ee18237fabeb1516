// Files and folders that are either complete or not there: written under a temporary name beside the final one, forced
// to the disk, renamed. A reader never sees half a file, whatever kills the writer.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace hone {

/// Appends bytes to the file that is being written; throws std::runtime_error naming the final file when that fails.
using ByteSink = std::function<void(std::string_view bytes)>;

/// Replaces `path` by what `produce` hands to its sink. On any failure (disk full, no permission, an exception of
/// `produce`) `path` is as it was, no temporary is left, and the exception names the file, the reason and the remedy.
/// Creates no folders. Two writers of one path at a time: the last rename wins, neither file is mixed.
void write_file_atomic(const std::filesystem::path& path, const std::function<void(const ByteSink&)>& produce);
void write_file_atomic(const std::filesystem::path& path, std::string_view contents);

/// The whole file; throws std::runtime_error that names the file and the reason.
std::string read_file(const std::filesystem::path& path);

/// A folder written under `<name>.tmp-<pid>` beside `final_path` and renamed by commit(). One thread at a time.
///   AtomicDirectory folder("stages/rl/final");
///   write_file_atomic(folder.temporary() / "config.json", text);
///   folder.commit();
class AtomicDirectory {
 public:
  /// Makes the missing parents and the empty temporary folder; throws std::runtime_error if that cannot be done.
  explicit AtomicDirectory(std::filesystem::path final_path);
  /// Removes the temporary folder unless it was committed.
  ~AtomicDirectory();
  AtomicDirectory(const AtomicDirectory&) = delete;
  AtomicDirectory& operator=(const AtomicDirectory&) = delete;

  const std::filesystem::path& temporary() const { return temporary_; }
  /// Forces every file and folder to the disk, then takes the final name. A folder of that name is exchanged in one
  /// step where the file system can, and removed afterwards. On failure the final name holds what it held before.
  void commit();

 private:
  std::filesystem::path final_;
  std::filesystem::path temporary_;
  bool committed_ = false;
};

/// Removes a folder and all in it: whenever that is cut short it is whole or gone, or has a temporary name. A missing
/// one is no error.
void remove_folder_atomic(const std::filesystem::path& folder);

/// Removes files and folders `*.tmp-<digits>` directly in `parent`, left behind by killed runs. Nothing that another
/// live process is writing may be in `parent`: call it while holding the run's lock. A missing parent is no error.
void remove_stale_temporaries(const std::filesystem::path& parent);

}  // namespace hone
