#include "models/atomic_file.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include <gmock/gmock.h>

namespace hone {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// The names in a folder, sorted.
std::vector<std::string> names(const fs::path& folder) {
  std::vector<std::string> result;
  for (const auto& entry : fs::directory_iterator(folder)) result.push_back(entry.path().filename().string());
  std::sort(result.begin(), result.end());
  return result;
}

template <class Body>
std::string message(Body body) {
  try {
    body();
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

void put(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

class AtomicFile : public ::testing::Test {
 protected:
  AtomicFile() {
    folder_ = fs::path(::testing::TempDir()) / ("atomic_file_test." + std::to_string(::getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~AtomicFile() override { fs::remove_all(folder_); }
  fs::path folder_;
};

TEST_F(AtomicFile, HoldsExactlyTheBytes) {
  const std::string bytes("a\0b\n\xff", 5);
  write_file_atomic(folder_ / "file", bytes);
  EXPECT_EQ(read_file(folder_ / "file"), bytes);
  write_file_atomic(folder_ / "file", "");
  EXPECT_EQ(read_file(folder_ / "file"), "");
  EXPECT_THAT(names(folder_), ElementsAre("file"));
}

TEST_F(AtomicFile, IsNotThereBeforeItIsComplete) {
  put(folder_ / "file", "old");
  write_file_atomic(folder_ / "file", [&](const ByteSink& sink) {
    sink("new ");
    EXPECT_EQ(read_file(folder_ / "file"), "old");
    EXPECT_EQ(names(folder_).size(), 2u);
    sink("text");
  });
  EXPECT_EQ(read_file(folder_ / "file"), "new text");
  EXPECT_THAT(names(folder_), ElementsAre("file"));
}

TEST_F(AtomicFile, AnExceptionOfTheProducerLeavesTheOldFile) {
  put(folder_ / "file", "old");
  const auto produce = [](const ByteSink& sink) {
    sink("new");
    throw std::runtime_error("stop");
  };
  EXPECT_EQ(message([&] { write_file_atomic(folder_ / "file", produce); }), "stop");
  EXPECT_EQ(read_file(folder_ / "file"), "old");
  EXPECT_THAT(names(folder_), ElementsAre("file"));
}

TEST_F(AtomicFile, NamesTheFileAndTheRemedy) {
  EXPECT_THAT(message([&] { write_file_atomic(folder_ / "no" / "file", "x"); }),
              AllOf(HasSubstr((folder_ / "no" / "file").string()), HasSubstr("No such file"),
                    HasSubstr("check that its folder exists")));
  EXPECT_THAT(message([&] { read_file(folder_ / "none"); }), HasSubstr((folder_ / "none").string()));
  EXPECT_THAT(message([&] { read_file(folder_); }), HasSubstr("Is a directory"));
}

TEST_F(AtomicFile, ATemporaryOfAnotherWriterIsNotTouched) {
  const fs::path other = folder_ / ("file.tmp-" + std::to_string(::getpid()));
  put(other, "half");
  write_file_atomic(folder_ / "file", "whole");
  EXPECT_EQ(read_file(other), "half");
  EXPECT_EQ(read_file(folder_ / "file"), "whole");
}

TEST_F(AtomicFile, DirectoryAppearsOnCommit) {
  const fs::path final_path = folder_ / "deep" / "final";
  {
    AtomicDirectory directory(final_path);
    EXPECT_EQ(directory.temporary().parent_path(), final_path.parent_path());
    put(directory.temporary() / "sub" / "file", "text");
    EXPECT_FALSE(fs::exists(final_path));
    directory.commit();
    EXPECT_THROW(directory.commit(), std::logic_error);
  }
  EXPECT_EQ(read_file(final_path / "sub" / "file"), "text");
  EXPECT_THAT(names(folder_ / "deep"), ElementsAre("final"));
}

TEST_F(AtomicFile, DirectoryReplacesTheOneBefore) {
  put(folder_ / "final" / "old", "1");
  AtomicDirectory directory(folder_ / "final" / "");  // a trailing slash names the same folder
  put(directory.temporary() / "new", "2");
  directory.commit();
  EXPECT_THAT(names(folder_), ElementsAre("final"));
  EXPECT_THAT(names(folder_ / "final"), ElementsAre("new"));
}

TEST_F(AtomicFile, DirectoryThatIsNotCommittedLeavesNothing) {
  put(folder_ / "final" / "old", "1");
  {
    AtomicDirectory directory(folder_ / "final");
    put(directory.temporary() / "new", "2");
  }
  EXPECT_THAT(names(folder_), ElementsAre("final"));
  EXPECT_THAT(names(folder_ / "final"), ElementsAre("old"));
}

TEST_F(AtomicFile, DirectoryDoesNotReplaceAFile) {
  put(folder_ / "final", "a file");
  EXPECT_THAT(message([&] { AtomicDirectory(folder_ / "final"); }), HasSubstr((folder_ / "final").string()));
  EXPECT_EQ(read_file(folder_ / "final"), "a file");
}

TEST_F(AtomicFile, StaleTemporariesAreRemovedAndNothingElse) {
  put(folder_ / "step-1.tmp-4711" / "file", "x");
  put(folder_ / "file.tmp-12", "x");
  for (const char* kept : {"file.tmp-", "file.tmp-12a", "file.tmp", "tmp-12", "file.tmp-12.json"})
    put(folder_ / kept, "x");
  remove_stale_temporaries(folder_);
  EXPECT_THAT(names(folder_), ElementsAre("file.tmp", "file.tmp-", "file.tmp-12.json", "file.tmp-12a", "tmp-12"));
  EXPECT_NO_THROW(remove_stale_temporaries(folder_ / "missing"));
}

/// A file system of 64 KiB; only root may mount one.
class FullDisk : public AtomicFile {
 protected:
  void SetUp() override {
    mounted_ = ::mount("tmpfs", folder_.c_str(), "tmpfs", 0, "size=64k") == 0;
    if (!mounted_) GTEST_SKIP() << "a small file system cannot be mounted here: " << std::strerror(errno);
  }
  void TearDown() override {
    if (mounted_) ::umount2(folder_.c_str(), MNT_DETACH);
  }
  bool mounted_ = false;
};

TEST_F(FullDisk, RefusesWithTheRemedyAndKeepsTheOldFile) {
  write_file_atomic(folder_ / "file", "old");
  const std::string large(200'000, 'x');
  EXPECT_THAT(message([&] { write_file_atomic(folder_ / "file", large); }),
              AllOf(HasSubstr((folder_ / "file").string()), HasSubstr("No space left"), HasSubstr("free some space")));
  EXPECT_EQ(read_file(folder_ / "file"), "old");
  EXPECT_THAT(names(folder_), ElementsAre("file"));
  write_file_atomic(folder_ / "file", "again");  // the space of the temporary is free again
}

TEST_F(FullDisk, LeavesNothingOfADirectory) {
  const auto write_checkpoint = [&] {
    AtomicDirectory directory(folder_ / "step-1");
    write_file_atomic(directory.temporary() / "config.json", "{}");
    write_file_atomic(directory.temporary() / "weights", std::string(200'000, 'x'));
    directory.commit();
  };
  EXPECT_THAT(message(write_checkpoint), HasSubstr("No space left"));
  EXPECT_THAT(names(folder_), IsEmpty());
}

TEST_F(AtomicFile, AFileIsNoFolder) {
  put(folder_ / "file", "x");
  EXPECT_THAT(message([&] { write_file_atomic(folder_ / "file" / "below", "x"); }), HasSubstr("Not a directory"));
  EXPECT_THAT(message([&] { AtomicDirectory(folder_ / "file" / "below"); }), HasSubstr("below"));
}

}  // namespace
}  // namespace hone
