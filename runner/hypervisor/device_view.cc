#include "runner/hypervisor/device_view.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>

#include "lib/net/macvtap.h"

namespace slicer::runner {
namespace {

constexpr const char* kTun = "/dev/net/tun";
// Any folder serves for the moment in which the nodes are made: what is in it is covered, and uncovered again.
constexpr const char* kFolder = "/run/slicer";

const char* show_device(const ShownDevice& device, uid_t uid, gid_t gid) {
  constexpr const char* kNode = "/run/slicer/node";
  if (mknod(kNode, S_IFCHR | 0600U, device.number) != 0) return "make a device node";
  if (chown(kNode, uid, gid) != 0) return "give a device node away";
  if (mount(kNode, device.path.c_str(), nullptr, MS_BIND, nullptr) != 0) return "show a device at its name";
  // The mount keeps it.
  return unlink(kNode) == 0 ? nullptr : "take a device node's name away";
}

}  // namespace

Result<ShownDevice> tap_device(const net::Netns& sandbox, const net::Link& link) {
  ShownDevice device{.path = kTun};
  if (link.kind == "macvtap") {
    const net::DeviceNumber number = TRY(net::get_macvtap_device(sandbox, link.name));
    device.number = makedev(number.major, number.minor);
    return device;
  }
  struct stat info{};
  if (stat(kTun, &info) != 0) return fail_errno(errno, std::string("find '") + kTun + "'");
  device.number = info.st_rdev;
  return device;
}

const char* show_devices(std::span<const ShownDevice> devices, uid_t uid, gid_t gid) {
  if (devices.empty()) return nullptr;
  if (unshare(CLONE_NEWNS) != 0) return "make a mount namespace";
  if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return "make mounts private";
  // /run and often all else is mounted nodev: the nodes need a file system of their own.
  if (mount("tmpfs", kFolder, "tmpfs", MS_NOSUID | MS_NOEXEC, "size=4k,mode=0711") != 0)
    return "mount a folder for devices";
  for (const ShownDevice& device : devices)
    if (const char* failed = show_device(device, uid, gid)) return failed;
  return umount2(kFolder, MNT_DETACH) == 0 ? nullptr : "take the folder for devices away";
}

}  // namespace slicer::runner
