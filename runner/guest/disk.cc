#include "runner/guest/disk.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "lib/base/undo.h"
#include "lib/base/unique_fd.h"
#include "lib/base/whole_file.h"
#include "runner/guest/qcow2.h"
#include "runner/state/storage_size.h"

namespace slicer::runner {
namespace {

/// The disk that a new one begins with.
struct Base {
  UniqueFd file = {};
  std::string path = {};
  std::string format = {};
  uint64_t bytes = 0;  ///< as a guest sees it
  struct stat info = {};
};

std::string disk_path(const std::string& folder, const std::string& format) { return folder + "/disk." + format; }

int64_t changed_ns(const struct stat& info) {
  return int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
}

Result<Base> open_base(const std::string& path) {
  Base base;
  base.path = path;
  base.format = disk_format(path);
  base.file = UniqueFd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!base.file.valid() || fstat(base.file.get(), &base.info) != 0)
    return fail_errno(errno, "open the image's disk '" + path + "'");
  const off_t end = lseek(base.file.get(), 0, SEEK_END);  // a block device says its size only so
  if (end < 0) return fail_errno(errno, "read '" + path + "'");
  base.bytes = base.format == "raw" ? static_cast<uint64_t>(end)
                                    : TRY(qcow2_size(base.file.get()).context("read '" + path + "'"));
  return base;
}

Result<void> check_size(const Base& base, uint64_t bytes) {
  if (bytes >= base.bytes) return {};
  constexpr uint64_t kMib = uint64_t{1} << 20;
  const std::string least = storage_size_text((base.bytes + kMib - 1) / kMib * kMib);
  return fail(Kind::kInvalidConfig,
              fmt::format("storage {}: the image's disk '{}' has {}", storage_size_text(bytes), base.path, least),
              fmt::format("ask for {} or more", least));
}

Error cannot_write(Error error, const NewDisk& wish) {
  if (error.sys_errno == ENOSPC || error.sys_errno == EDQUOT)
    error.hint = fmt::format("make room on the file system of '{}'", wish.folder);
  if (error.sys_errno == EFBIG)
    error.hint = fmt::format("the file system of '{}' does not take files of that size: ask for less", wish.folder);
  if (error.sys_errno == EROFS)
    error.hint = fmt::format("'{}' must be on a file system that can be written", wish.folder);
  return error;
}

Result<void> copy_part(int from, int to, off_t begin, off_t end) {
  if (lseek(to, begin, SEEK_SET) < 0) return fail_errno(errno, "copy");
  while (begin < end) {
    const ssize_t count = sendfile(to, from, &begin, static_cast<size_t>(end - begin));
    if (count < 0) return fail_errno(errno, "copy");
    if (count == 0) return fail(Kind::kIo, "copy: the image became shorter");
  }
  return {};
}

// Holes stay holes. SEEK_DATA: lseek(2); a file system without it says that all is data.
Result<void> copy_data(const Base& base, int to) {
  if (ioctl(to, FICLONE, base.file.get()) == 0) return {};
  const off_t size = static_cast<off_t>(base.bytes);
  for (off_t at = 0; at < size;) {
    const off_t data = lseek(base.file.get(), at, SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;  // nothing but a hole is left
    if (data < 0) return fail_errno(errno, "copy");
    const off_t hole = lseek(base.file.get(), data, SEEK_HOLE);
    if (hole < 0) return fail_errno(errno, "copy");
    TRY(copy_part(base.file.get(), to, data, hole));
    at = hole;
  }
  return {};
}

Result<void> set_length(int file, uint64_t bytes) {
  if (ftruncate(file, static_cast<off_t>(bytes)) != 0) return fail_errno(errno, "write");
  return {};
}

Result<void> fill(int file, const NewDisk& wish, const Base* base, const KeptDisk& kept) {
  if (kept.format == "qcow2")
    return write_qcow2(file, {.bytes = wish.bytes, .base = kept.base, .base_format = kept.base_format});
  if (base != nullptr) TRY(copy_data(*base, file));
  return set_length(file, wish.bytes);
}

Result<KeptDisk> create(const NewDisk& wish, const Base* base) {
  KeptDisk kept;
  kept.format = base == nullptr || wish.copy ? "raw" : "qcow2";
  if (base != nullptr && !wish.copy) {
    kept.base = base->path;
    kept.base_format = base->format;
    kept.base_bytes = static_cast<uint64_t>(base->info.st_size);
    kept.base_changed_ns = changed_ns(base->info);
  }
  const std::string path = disk_path(wish.folder, kept.format);
  const std::string action = "make disk '" + path + "'";
  const UniqueFd file(open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.valid()) return fail_errno(errno, action);
  Undo undo;
  undo.push(action, [&] { return delete_file(path); });
  TRY(fill(file.get(), wish, base, kept).context(action));
  undo.commit();
  return kept;
}

Error gone(const std::string& what, const std::string& path, int err) {
  return {.kind = err == ENOENT ? Kind::kNotFound : Kind::kSystem,
          .message = fmt::format("open {} '{}': {}", what, path, errno_text(err)),
          .hint = "put it back, or give the VM up: slicer-run vm rm",
          .sys_errno = err};
}

Result<void> check_base(const KeptDisk& kept) {
  struct stat info{};
  if (stat(kept.base.c_str(), &info) != 0) return std::unexpected(gone("the image's disk", kept.base, errno));
  if (S_ISBLK(info.st_mode)) return {};  // its times say nothing
  if (static_cast<uint64_t>(info.st_size) == kept.base_bytes && changed_ns(info) == kept.base_changed_ns) return {};
  return fail(Kind::kMismatch,
              fmt::format("the image's disk '{}' has changed since this VM's disk was made on top of it", kept.base),
              "put the old file back (with its time: cp -p), or make the VM anew: slicer-run vm rm, then vm new");
}

Result<void> grow(const std::string& path, const KeptDisk& kept, uint64_t bytes) {
  const UniqueFd file(open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!file.valid()) return std::unexpected(gone("disk", path, errno));
  const std::string action = "make disk '" + path + "' larger";
  if (kept.format == "raw") {
    struct stat info{};
    if (fstat(file.get(), &info) != 0) return fail_errno(errno, action);
    return static_cast<uint64_t>(info.st_size) < bytes ? set_length(file.get(), bytes).context(action) : Result<void>{};
  }
  if (TRY(qcow2_size(file.get()).context("read '" + path + "'")) >= bytes) return {};
  if (TRY(grow_qcow2(file.get(), bytes).context(action))) return {};
  return fail(Kind::kUnsupportedField, action + ": its tables have no room", "qemu-img resize can do it");
}

}  // namespace

Result<KeptDisk> create_disk(const NewDisk& wish) {
  std::optional<Base> base;
  if (!wish.image.empty()) {
    base = TRY(open_base(wish.image));
    TRY(check_size(*base, wish.bytes));
    if (wish.copy && base->format != "raw")
      return fail(Kind::kUnsupportedField, "copy '" + wish.image + "': only raw disks are copied",
                  "take a copy-on-write disk, or a raw image");
  }
  Result<KeptDisk> kept = create(wish, base ? &*base : nullptr);
  if (!kept) return std::unexpected(cannot_write(std::move(kept).error(), wish));
  return kept;
}

Result<Disk> open_kept_disk(const std::string& folder, const KeptDisk& kept, uint64_t bytes) {
  Disk disk;
  disk.path = disk_path(folder, kept.format);
  disk.format = kept.format;
  disk.ours = true;
  disk.base = kept.base;
  disk.base_format = kept.base_format;
  TRY(grow(disk.path, kept, bytes));
  if (!kept.base.empty()) TRY(check_base(kept));
  return disk;
}

}  // namespace slicer::runner
