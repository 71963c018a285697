#include "lib/base/whole_file.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>

using slicer::FileLock;
using slicer::Kind;

namespace {

struct Folder {
  std::string path;
  Folder() {
    std::string pattern = std::filesystem::temp_directory_path() / "slicer-unit-XXXXXX";
    path = mkdtemp(pattern.data());
  }
  ~Folder() { std::filesystem::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] size_t entries() const {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(path), {}));
  }
};

}  // namespace

TEST_CASE("write_whole_file: content and mode, and nothing beside the file") {
  const Folder folder;
  for (const bool replace : {true, false}) {
    const std::string path = folder.path + (replace ? "/r" : "/n");
    REQUIRE(slicer::write_whole_file(path, "text", {.mode = 0640, .replace = replace}));
    CHECK(slicer::read_file(path).value() == "text");
    struct stat info{};
    REQUIRE(stat(path.c_str(), &info) == 0);
    CHECK((info.st_mode & 07777U) == 0640);
  }
  CHECK(folder.entries() == 2);
}

TEST_CASE("write_whole_file: without replace an existing file stays as it is") {
  const Folder folder;
  const std::string path = folder.path + "/f";
  REQUIRE(slicer::write_whole_file(path, "first", {.replace = false}));
  const auto second = slicer::write_whole_file(path, "second", {.replace = false});
  REQUIRE(!second);
  CHECK(second.error().kind == Kind::kExists);
  CHECK(slicer::read_file(path).value() == "first");
  CHECK(folder.entries() == 1);
}

TEST_CASE("read_file: a FIFO is an error, and nobody is waited for") {
  const Folder folder;
  const std::string path = folder.path + "/fifo";
  REQUIRE(mkfifo(path.c_str(), 0600) == 0);
  CHECK(slicer::read_file(path).error().message == "read '" + path + "': it is a FIFO");
}

TEST_CASE("read_file: absent and too large are told apart") {
  const Folder folder;
  CHECK(slicer::read_file(folder.path + "/none").error().kind == Kind::kNotFound);
  REQUIRE(slicer::write_whole_file(folder.path + "/f", "12345"));
  CHECK(slicer::read_file(folder.path + "/f", 5).value() == "12345");
  CHECK(slicer::read_file(folder.path + "/f", 4).error().kind == Kind::kIo);
}

TEST_CASE("ensure_directory: makes every level, accepts what is there, refuses a file in the way") {
  const Folder folder;
  REQUIRE(slicer::ensure_directory(folder.path + "/a/b/c"));
  REQUIRE(slicer::ensure_directory(folder.path + "/a/b/c"));
  REQUIRE(slicer::write_whole_file(folder.path + "/f", ""));
  CHECK(!slicer::ensure_directory(folder.path + "/f/g"));
}

TEST_CASE("FileLock: one holder at a time, free again after the holder") {
  const Folder folder;
  const std::string path = folder.path + "/lock";
  {
    const auto first = FileLock::try_acquire(path);
    REQUIRE(first);
    const auto second = FileLock::try_acquire(path);
    REQUIRE(!second);
    CHECK(second.error().kind == Kind::kBusy);
  }
  CHECK(FileLock::try_acquire(path));
}

TEST_CASE("FileLock: a symlink in the lock's place is refused, and its target is neither made nor opened") {
  const Folder folder;
  const std::string path = folder.path + "/lock";
  REQUIRE(symlink((folder.path + "/target").c_str(), path.c_str()) == 0);
  const auto lock = FileLock::try_acquire(path);
  REQUIRE(!lock);
  CHECK(lock.error().sys_errno == ELOOP);
  CHECK(lock.error().message.find("'" + path + "'") != std::string::npos);
  CHECK(folder.entries() == 1);
}
