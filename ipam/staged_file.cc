#include "ipam/staged_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>

namespace slicer::ipam {
namespace {

constexpr const char* kStageName = ".stage";

std::string full(const Folder& folder, const std::string& name) { return folder.path + "/" + name; }

Result<void> write_all(int fd, std::string_view content) {
  while (!content.empty()) {
    const ssize_t count = write(fd, content.data(), content.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno(errno, "write");
    content.remove_prefix(static_cast<size_t>(count));
  }
  return {};
}

Result<UniqueFd> create_named(const Folder& scratch) {
  UniqueFd fd(openat(scratch.fd.get(), kStageName, O_CREAT | O_TRUNC | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd.valid()) return fail_errno(errno, "create a file in '" + scratch.path + "'");
  return fd;
}

}  // namespace

Result<Folder> open_folder(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.valid()) return Folder{std::move(fd), path};
  const int err = errno;
  if (err == ENOENT) return fail(Kind::kNotFound, fmt::format("open folder '{}': {}", path, errno_text(err)));
  return fail_errno(err, fmt::format("open folder '{}'", path));
}

Result<StagedFile> StagedFile::stage(const Folder& scratch, std::string_view content, const timespec& time) {
  const std::string action = "write a file in '" + scratch.path + "'";
  UniqueFd unnamed(openat(scratch.fd.get(), ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600));
  const bool named = !unnamed.valid() && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT);
  if (!unnamed.valid() && !named) return fail_errno(errno, action);
  StagedFile file(named ? TRY(create_named(scratch)) : std::move(unnamed), named ? scratch.fd.get() : -1);
  TRY(write_all(file.fd_.get(), content).context(action));
  const std::array<timespec, 2> times{time, time};
  if (futimens(file.fd_.get(), times.data()) != 0) return fail_errno(errno, action);
  return file;
}

StagedFile::~StagedFile() {
  if (fd_.valid() && scratch_ >= 0) (void)unlinkat(scratch_, kStageName, 0);  // the name is ours alone
}

Result<bool> StagedFile::link_as(const Folder& folder, const std::string& name) {
  int done = -1;
  if (scratch_ >= 0) {
    done = linkat(scratch_, kStageName, folder.fd.get(), name.c_str(), 0);
  } else {
    done = linkat(fd_.get(), "", folder.fd.get(), name.c_str(), AT_EMPTY_PATH);
    if (done != 0 && errno == ENOENT) {  // without CAP_DAC_READ_SEARCH (open(2), O_TMPFILE)
      const std::string source = "/proc/self/fd/" + std::to_string(fd_.get());
      done = linkat(AT_FDCWD, source.c_str(), folder.fd.get(), name.c_str(), AT_SYMLINK_FOLLOW);
    }
  }
  if (done == 0) return true;
  if (errno == EEXIST) return false;
  return fail_errno(errno, fmt::format("create '{}'", full(folder, name)));
}

Result<void> replace_file(const Folder& scratch, const Folder& folder, const std::string& name,
                          std::string_view content) {
  StagedFile file = TRY(StagedFile::stage(scratch, content, {.tv_sec = 0, .tv_nsec = UTIME_NOW}));
  TRY(remove_file(folder, name));
  if (TRY(file.link_as(folder, name))) return {};
  return fail(Kind::kBusy, fmt::format("write '{}': another process writes it too", full(folder, name)));
}

void remove_leftovers(const Folder& scratch) {
  (void)unlinkat(scratch.fd.get(), kStageName, 0);  // absent is the rule
}

Result<DatedContent> read_dated(const Folder& folder, const std::string& name, size_t limit) {
  const std::string action = fmt::format("read '{}'", full(folder, name));
  if (!folder.fd.valid()) return fail(Kind::kNotFound, action + ": no such folder");
  const UniqueFd fd(openat(folder.fd.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd.valid()) {
    const int err = errno;
    if (err == ENOENT) return fail(Kind::kNotFound, action + ": " + errno_text(err));
    return fail_errno(err, action);
  }
  struct stat info{};
  if (fstat(fd.get(), &info) != 0) return fail_errno(errno, action);
  if (!S_ISREG(info.st_mode)) return fail(Kind::kSystem, action + ": not a regular file");
  DatedContent file{.mtime = info.st_mtim};
  std::array<char, 4096> chunk;
  while (file.content.size() <= limit) {
    const ssize_t count = read(fd.get(), chunk.data(), std::min(chunk.size(), limit + 1 - file.content.size()));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno(errno, action);
    if (count == 0) break;
    file.content.append(chunk.data(), static_cast<size_t>(count));
    if (count == info.st_size) break;  // all of it; asking for more costs a call per file of a scan
  }
  return file;
}

Result<void> remove_file(const Folder& folder, const std::string& name) {
  if (!folder.fd.valid()) return {};
  if (unlinkat(folder.fd.get(), name.c_str(), 0) == 0 || errno == ENOENT) return {};
  return fail_errno(errno, fmt::format("delete '{}'", full(folder, name)));
}

}  // namespace slicer::ipam
