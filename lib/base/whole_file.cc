#include "lib/base/whole_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <ctime>

namespace slicer {
namespace {

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Result<void> write_all(int fd, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t count = write(fd, content.data(), content.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno(errno, "write '" + path + "'");
    content.remove_prefix(static_cast<size_t>(count));
  }
  return {};
}

Result<void> sync_folder(const std::string& path) {
  const UniqueFd folder(open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid() || fsync(folder.get()) != 0) return fail_errno(errno, "sync folder of '" + path + "'");
  return {};
}

// A name that no other writer uses: pid and a counter; a leftover of a crashed process with our pid is overwritten.
std::string temporary_name(const std::string& path) {
  static int counter = 0;
  const size_t slash = path.rfind('/') + 1;
  return path.substr(0, slash) + ".tmp-" + std::to_string(getpid()) + "-" + std::to_string(counter++);
}

Result<void> place(const std::string& temporary, const std::string& path, bool replace) {
  if (replace) {
    if (rename(temporary.c_str(), path.c_str()) == 0) return {};
    return fail_errno(errno, "create '" + path + "'");
  }
  if (link(temporary.c_str(), path.c_str()) == 0) return {};
  const int err = errno;
  if (err == EEXIST) return fail(Kind::kExists, "create '" + path + "': " + errno_text(err));
  return fail_errno(err, "create '" + path + "'");
}

// O_TMPFILE + linkat(2): killed at any instruction, nothing is left behind. Not every file system has it.
Result<bool> write_unnamed(const std::string& path, std::string_view content, const WriteOptions& options) {
  const UniqueFd file(open(folder_of(path).c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, options.mode));
  if (!file.valid()) return false;
  TRY(write_all(file.get(), content, path));
  if (options.sync && fsync(file.get()) != 0) return fail_errno(errno, "sync '" + path + "'");
  const std::string source = "/proc/self/fd/" + std::to_string(file.get());
  if (linkat(AT_FDCWD, source.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) == 0) return true;
  const int err = errno;
  if (err == EEXIST) return fail(Kind::kExists, "create '" + path + "': " + errno_text(err));
  if (err == ENOENT || err == EOPNOTSUPP) return false;  // no /proc, or a file system that cannot link it
  return fail_errno(err, "create '" + path + "'");
}

// A file that is not there yet needs no temporary name. False: it is there, and is to be replaced.
Result<bool> write_absent(const std::string& path, std::string_view content, const WriteOptions& options) {
  if (options.replace && access(path.c_str(), F_OK) == 0) return false;
  Result<bool> written = write_unnamed(path, content, options);
  if (!written && options.replace && written.error().kind == Kind::kExists) return false;  // another was quicker
  return written;
}

}  // namespace

Result<std::string> read_fd(int fd, size_t limit) {
  std::string content;
  std::array<char, 16384> chunk{};
  for (;;) {
    const ssize_t count = read(fd, chunk.data(), chunk.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(Kind::kIo, "read: " + errno_text(errno));
    if (count == 0) return content;
    content.append(chunk.data(), static_cast<size_t>(count));
    if (content.size() > limit) return fail(Kind::kIo, "read: more than " + std::to_string(limit) + " bytes");
  }
}

Result<std::string> read_file(const std::string& path, size_t limit) {
  // A FIFO would be waited for, at the open and at the read, as long as nobody writes.
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.valid()) {
    const int err = errno;
    if (err == ENOENT) return fail(Kind::kNotFound, "open '" + path + "': " + errno_text(err));
    return fail_errno(err, "open '" + path + "'");
  }
  struct stat what{};
  if (fstat(file.get(), &what) == 0 && S_ISFIFO(what.st_mode))
    return fail(Kind::kIo, "read '" + path + "': it is a FIFO");
  return read_fd(file.get(), limit).context("'" + path + "'");
}

Result<void> write_whole_file(const std::string& path, std::string_view content, const WriteOptions& options) {
  if (TRY(write_absent(path, content, options))) return options.sync ? sync_folder(path) : Result<void>{};
  const std::string temporary = temporary_name(path);
  const UniqueFd file(open(temporary.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, options.mode));
  if (!file.valid()) return fail_errno(errno, "create '" + path + "'");
  Result<void> done = write_all(file.get(), content, path);
  if (done && options.sync && fsync(file.get()) != 0) done = fail_errno(errno, "sync '" + path + "'");
  if (done) done = place(temporary, path, options.replace);
  if (!done || !options.replace) (void)unlink(temporary.c_str());  // the name is ours alone
  if (done && options.sync) return sync_folder(path);
  return done;
}

Result<void> delete_file(const std::string& path) {
  if (unlink(path.c_str()) == 0 || errno == ENOENT || errno == ENOTDIR) return {};
  return fail_errno(errno, "delete '" + path + "'");
}

Result<void> ensure_directory(const std::string& path, unsigned mode) {
  for (size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const std::string folder = path.substr(0, slash);
    if (mkdir(folder.c_str(), mode) != 0 && errno != EEXIST) {
      const int err = errno;
      struct stat info{};
      if (stat(folder.c_str(), &info) != 0) return fail_errno(err, "create folder '" + folder + "'");
    }
    if (slash == std::string::npos) return {};
  }
}

Result<void> lock_within(int fd, const std::string& what, std::chrono::milliseconds limit) {
  // flock(2) has no time limit and a signal handler is not a library's to install: ask, then wait a little longer each
  // time. Uncontended, this is one system call.
  const auto deadline = std::chrono::steady_clock::now() + limit;
  for (auto pause = std::chrono::microseconds(100);; pause = std::min(pause * 2, std::chrono::microseconds(5000))) {
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) return {};
    if (errno != EWOULDBLOCK && errno != EINTR) return fail_errno(errno, "lock '" + what + "'");
    if (std::chrono::steady_clock::now() >= deadline)
      return fail(Kind::kBusy, "lock '" + what + "': held by another process", "try again");
    const timespec wait{.tv_sec = 0, .tv_nsec = pause.count() * 1000};
    (void)nanosleep(&wait, nullptr);  // interrupted early is fine
  }
}

Result<FileLock> FileLock::acquire(const std::string& path, std::chrono::milliseconds limit) {
  UniqueFd file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.valid()) return fail_errno(errno, "open lock '" + path + "'");
  TRY(lock_within(file.get(), path, limit));
  return FileLock(std::move(file));
}

}  // namespace slicer
