#include "runner/hypervisor/given_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "runner/hypervisor/boot_file.h"

namespace slicer::runner {
namespace {

std::string keep(GivenFiles& given, UniqueFd file, bool writable, std::string what) {
  const int fd = file.get();
  given.open.push_back(std::move(file));
  given.files.push_back({.fd = fd, .writable = writable, .what = std::move(what)});
  return descriptor_name(fd);
}

Result<void> check_format(const Disk& disk, const HypervisorKind& kind) {
  if (disk.format == "raw" && disk.base.empty()) return {};
  return fail(Kind::kUnsupportedField,
              fmt::format("disk '{}': {} takes raw disks, not {}", disk.path, kind.name,
                          disk.base.empty() ? disk.format : "layers above another disk"),
              disk.base.empty()
                  ? "qemu-img convert -O raw makes one, or use --hypervisor qemu"
                  : "boot this VM with --hypervisor qemu, or make it anew: slicer-run vm rm, then vm new");
}

// By the descriptor: nothing can take the file's place meanwhile.
Result<void> give_away(const Machine& machine, const Disk& disk, int fd) {
  if (fchown(fd, machine.uid, machine.gid) == 0) return {};
  return fail_errno(errno, "give '" + disk.path + "' to the hypervisor's user");
}

// A copy beside the VM's state where not all may read it: it is not locked in memory as QEMU's is, since a name of a
// file in memory means nothing to landlock, and no jail can show it.
Result<UniqueFd> open_readable(const Machine& machine, const std::string& source, const char* name) {
  UniqueFd file = TRY(open_boot_file(source));
  struct stat info{};
  if (fstat(file.get(), &info) == 0 && info.st_nlink != 0) return file;
  const std::string path = machine.folder + "/" + name;
  UniqueFd copy(open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0444));
  if (!copy.valid()) return fail_errno(errno, "make '" + path + "'");
  for (off_t at = 0; at < info.st_size;) {
    const ssize_t count = sendfile(copy.get(), file.get(), &at, static_cast<size_t>(info.st_size - at));
    if (count <= 0) return fail_errno(count < 0 ? errno : EIO, "copy '" + source + "'");
  }
  if (fchmod(copy.get(), 0444) != 0) return fail_errno(errno, "make '" + path + "'");
  return UniqueFd(::open(descriptor_name(copy.get()).c_str(), O_RDONLY | O_CLOEXEC));
}

}  // namespace

std::string descriptor_name(int fd) { return fmt::format("/proc/self/fd/{}", fd); }

Result<GivenFiles> open_given(const Machine& machine, const HypervisorKind& kind) {
  GivenFiles given;
  given.kernel = keep(given, TRY(open_readable(machine, machine.boot.kernel, "kernel")), false,
                      "kernel '" + machine.boot.kernel + "'");
  if (!machine.boot.initrd.empty())
    given.initrd = keep(given, TRY(open_readable(machine, machine.boot.initrd, "initrd")), false,
                        "initrd '" + machine.boot.initrd + "'");
  for (const Disk& disk : machine.disks) {
    TRY(check_format(disk, kind));
    UniqueFd file = TRY(open_disk(disk.path, disk.read_only ? DiskAccess::kReadOnly : DiskAccess::kReadWrite));
    if (disk.ours) TRY(give_away(machine, disk, file.get()));
    given.disks.push_back(keep(given, std::move(file), !disk.read_only, "disk '" + disk.path + "'"));
  }
  return given;
}

}  // namespace slicer::runner
