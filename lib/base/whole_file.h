#pragma once
// Files that appear whole or not at all, bounded reads, and lock files.

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"

namespace slicer {

/// Reads a whole file. Errors: kNotFound (absent), kIo (larger than `limit` bytes), kSystem.
Result<std::string> read_file(const std::string& path, size_t limit = size_t{1} << 20);

/// Reads a descriptor to its end. Errors: kIo (more than `limit` bytes, or the read failed).
Result<std::string> read_fd(int fd, size_t limit);

/// How write_whole_file() places a file.
struct WriteOptions {
  unsigned mode = 0600;
  bool replace = true;  ///< false: kExists when `path` is there (link(2), so exactly one of two writers wins)
  bool sync = false;    ///< fsync file and folder: only for what must outlive a power cut
};

/// Writes `content` to a temporary file in the same folder and gives it its name at the end: a reader, a crash or a
/// full disk never shows half of it. The temporary file has no name (O_TMPFILE) where the file system allows that.
Result<void> write_whole_file(const std::string& path, std::string_view content, const WriteOptions& options = {});

/// Removes a file; absent is success.
Result<void> delete_file(const std::string& path);

/// mkdir -p with `mode` for the folders that are made. Error: kSystem with the folder named.
Result<void> ensure_directory(const std::string& path, unsigned mode = 0755);

/// Takes an exclusive flock(2) on an open file within `limit`; `what` names it in messages. Errors: kBusy, kSystem.
Result<void> lock_within(int fd, const std::string& what, std::chrono::milliseconds limit);

/// An exclusive flock(2) on a file that is created when absent; released by the destructor or with the process.
/// A symbolic link in its place is refused: who may write to the folder must not choose what root creates.
class FileLock {
 public:
  /// Waits at most `limit`. Errors: kBusy (held by another for that long), kSystem.
  static Result<FileLock> acquire(const std::string& path, std::chrono::milliseconds limit);
  /// Does not wait. Error: kBusy when another holds it.
  static Result<FileLock> try_acquire(const std::string& path) { return acquire(path, std::chrono::milliseconds(0)); }
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  explicit FileLock(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace slicer
