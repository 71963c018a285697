#include "lib/net/tap.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>

#include "lib/net/link.h"
#include "lib/net/tap_label.h"

namespace slicer::net {
namespace {

constexpr const char* kTunDevice = "/dev/net/tun";
/// One queue unless asked: more fail in Firecracker, and in QEMU without `queues=`.
constexpr short kTapFlags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
/// drivers/net/tun.c, tun_set_iff(): what it takes when no name is given, too; the kernel puts the first free number
/// in.
constexpr const char* kAnyName = "tap%d";

/// A TAP belongs to the namespace that was current when the device was opened, not at TUNSETIFF.
Result<UniqueFd> open_device(const Netns* ns) {
  std::optional<ScopedNetns> inside;
  if (ns != nullptr) inside.emplace(TRY(ScopedNetns::enter(*ns)));
  UniqueFd fd(open(kTunDevice, O_RDWR | O_CLOEXEC));
  if (fd.valid()) return fd;
  const int err = errno;
  Error error = errno_error(err, std::string("open '") + kTunDevice + "'");
  if (err == ENOENT || err == ENODEV || err == ENXIO) {
    error.kind = Kind::kUnsupportedKernel;
    error.hint = "load the module: modprobe tun; in a container, pass the device /dev/net/tun in";
  }
  return std::unexpected(std::move(error));
}

Result<ifreq> request_of(const std::string& name, int flags) {
  ifreq request = {};
  if (name.empty() || name.size() > kLinkNameMax)
    return fail(Kind::kInvalidConfig, "open tap '" + name + "': a link's name has 1 to 15 characters");
  std::memcpy(request.ifr_name, name.data(), name.size());
  request.ifr_flags = static_cast<short>(flags);
  return request;
}

Result<void> set(int fd, unsigned long what, unsigned long value, const std::string& action) {
  if (ioctl(fd, what, value) != 0) return fail_errno(errno, action);
  return {};
}

/// TUNSETIFF, by a process of the label that is asked for. @return its errno; what was made stands in `request`
Result<int> name_tap(int fd, const std::string& label, ifreq& request) {
  if (label.empty()) return ioctl(fd, TUNSETIFF, &request) == 0 ? 0 : errno;
  const int err = TRY(name_tap_as(label, fd, request.ifr_name, request.ifr_flags));
  return err != 0 || ioctl(fd, TUNGETIFF, &request) == 0 ? err : errno;
}

/// @return the name that it has
Result<std::string> claim_name(int fd, const TapSpec& spec) {
  const std::string& name = spec.name;
  ifreq request = TRY(
      request_of(name.empty() ? kAnyName : name, kTapFlags | IFF_TUN_EXCL | (spec.multi_queue ? IFF_MULTI_QUEUE : 0)));
  const int err = TRY(name_tap(fd, spec.selinux_label, request));
  if (err == 0) return std::string(request.ifr_name);
  Error error = errno_error(err, "create tap '" + name + "'");
  if (err == EBUSY || err == EEXIST) {
    error.kind = Kind::kExists;
    error.message = "create tap '" + name + "': a link of that name exists";
  }
  if (err == EPERM) error.hint = "run it as root: it needs CAP_NET_ADMIN";
  return std::unexpected(std::move(error));
}

LinkChange final_state(const TapSpec& spec) {
  LinkChange change{.mac = spec.mac, .ipv4_forwarding = spec.ipv4_forwarding};
  if (!spec.alias.empty()) change.alias = spec.alias;
  if (spec.mtu_bytes != 0) change.mtu_bytes = spec.mtu_bytes;
  if (spec.link_group != 0) change.group = spec.link_group;
  if (spec.master != 0) change.master = spec.master;
  if (spec.up) change.up = true;
  return change;
}

}  // namespace

Result<int> create_tap(const Netns* ns, RouteSocket& session, const TapSpec& spec) {
  const UniqueFd fd = TRY(open_device(ns));
  const std::string name = TRY(claim_name(fd.get(), spec));
  const std::string action = "create tap '" + name + "'";
  if (spec.owner) TRY(set(fd.get(), TUNSETOWNER, *spec.owner, action + ": set owner"));
  if (spec.owner_group) TRY(set(fd.get(), TUNSETGROUP, *spec.owner_group, action + ": set group"));
  const int index = TRY(get_link_index(session, name).context(action));
  // By a message of its own: in one message the kernel sets IFF_UP, which makes the fe80 address, before it reads
  // IFLA_AF_SPEC (net/core/rtnetlink.c, do_setlink()).
  if (spec.no_ipv6_link_local) TRY(set_link(session, index, {.no_ipv6_link_local = true}).context(action));
  TRY(set_link(session, index, final_state(spec)).context(action));
  TRY(set(fd.get(), TUNSETPERSIST, 1, action + ": keep it"));
  return index;
}

Result<UniqueFd> open_tap(const Netns* ns, const std::string& name) {
  UniqueFd fd = TRY(open_device(ns));
  ifreq request = TRY(request_of(name, kTapFlags));
  const std::string action = "open tap '" + name + "'";
  int err = ioctl(fd.get(), TUNSETIFF, &request) == 0 ? 0 : errno;
  if (err == EINVAL) {  // it has several queues: this is one of them
    request = TRY(request_of(name, kTapFlags | IFF_MULTI_QUEUE));
    err = ioctl(fd.get(), TUNSETIFF, &request) == 0 ? 0 : errno;
  }
  if (err != 0) {
    Error error = errno_error(err, action);
    if (err == EBUSY) {
      error.kind = Kind::kBusy;
      error.message = action + ": another process has it open";
    }
    return std::unexpected(std::move(error));
  }
  // TUNSETIFF makes a TAP that is missing: such a one is not persistent, and goes when the descriptor closes.
  if (ioctl(fd.get(), TUNGETIFF, &request) != 0) return fail_errno(errno, action);
  if ((static_cast<unsigned short>(request.ifr_flags) & IFF_PERSIST) == 0)
    return fail(Kind::kNotFound, action + ": there is none");
  return fd;
}

Result<void> check_tun_device() {
  TRY(open_device(nullptr));
  return {};
}

}  // namespace slicer::net
