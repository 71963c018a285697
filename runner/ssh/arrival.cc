#include "runner/ssh/arrival.h"

#include <sys/stat.h>

#include <cerrno>
#include <filesystem>

namespace slicer::runner {
namespace {

namespace fs = std::filesystem;

constexpr mode_t kSetId = S_ISUID | S_ISGID;

Result<void> check_one(const fs::path& path) {
  struct stat info{};
  if (lstat(path.c_str(), &info) != 0) return fail_errno(errno, "look at '" + path.string() + "'");
  if (S_ISLNK(info.st_mode)) return {};
  if (!S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode))
    return fail(Kind::kUnsupportedField,
                "copy '" + path.filename().string() + "': neither a file, a folder nor a link");
  if ((info.st_mode & kSetId) != 0 && chmod(path.c_str(), info.st_mode & 07777 & ~kSetId) != 0)
    return fail_errno(errno, "change the mode of '" + path.string() + "'");
  return {};
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(fs::symlink_status(path, ignored));
}

Result<void> move_content(const fs::path& from, const fs::path& to) {
  std::error_code error;
  for (fs::directory_iterator each(from, error), end; !error && each != end; each.increment(error))
    TRY(put_in_place(each->path(), to / each->path().filename()));
  if (error) return fail_errno(error.value(), "read folder '" + from.string() + "'");
  return {};
}

}  // namespace

Result<void> check_arrival(const std::string& folder) {
  std::error_code error;
  for (fs::recursive_directory_iterator each(folder, error), end; !error && each != end; each.increment(error))
    TRY(check_one(each->path()));
  if (error) return fail_errno(error.value(), "read folder '" + folder + "'");
  return {};
}

Result<void> put_in_place(const std::string& from, const std::string& to) {
  if (is_folder(from) && is_folder(to)) return move_content(from, to);
  if (std::rename(from.c_str(), to.c_str()) == 0) return {};
  const int err = errno;
  if (err == EISDIR || err == ENOTDIR)
    return fail(Kind::kExists, "copy to '" + to + "': a folder and a file cannot replace each other");
  return fail_errno(err, "copy to '" + to + "'");
}

}  // namespace slicer::runner
