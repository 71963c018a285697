#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <charconv>

#include "lib/base/whole_file.h"
#include "lib/net/detached_mount.h"
#include "lib/net/link.h"
#include "lib/net/macvtap.h"

namespace slicer::net {
namespace {

/// "240:3\n"
Result<DeviceNumber> parse_number(const std::string& text, const std::string& action) {
  DeviceNumber number;
  const char* const end = text.data() + text.size();
  const auto [colon, first] = std::from_chars(text.data(), end, number.major);
  if (first == std::errc() && colon != end && *colon == ':') {
    const auto [rest, second] = std::from_chars(colon + 1, end, number.minor);
    if (second == std::errc()) return number;
  }
  return fail(Kind::kDecode, action + ": the kernel gave '" + text + "' for its number");
}

}  // namespace

Result<DeviceNumber> get_macvtap_device(const Netns& ns, const std::string& name) {
  const std::string action = "find device of macvtap '" + name + "' in '" + ns.path() + "'";
  RouteSocket session = TRY(RouteSocket::open_in(ns));
  const int index = TRY(get_link_index(session, name).context(action));
  const UniqueFd sysfs = TRY(mount_sysfs(ns).context(action));
  const std::string path = "class/net/" + name + "/macvtap/tap" + std::to_string(index) + "/dev";
  const UniqueFd file(openat(sysfs.get(), path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) {
    const int err = errno;
    if (err == ENOENT) return fail(Kind::kNotFound, action + ": the link is no macvtap");
    return fail_errno(err, action);
  }
  return parse_number(TRY(read_fd(file.get(), 64).context(action)), action);
}

Result<UniqueFd> open_macvtap(const Netns& ns, const std::string& name) {
  const DeviceNumber number = TRY(get_macvtap_device(ns, name));
  const std::string action = "open macvtap '" + name + "' in '" + ns.path() + "'";
  const UniqueFd folder = TRY(mount_detached("tmpfs", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC).context(action));
  if (mknodat(folder.get(), "tap", S_IFCHR | 0600, makedev(number.major, number.minor)) != 0)
    return fail_errno(errno, action + ": make its node");
  UniqueFd device(openat(folder.get(), "tap", O_RDWR | O_CLOEXEC));
  const int err = errno;
  (void)unlinkat(folder.get(), "tap", 0);  // it would go with the mount; the descriptor is the only way in from here on
  if (!device.valid()) return fail_errno(err, action);
  return device;
}

}  // namespace slicer::net
