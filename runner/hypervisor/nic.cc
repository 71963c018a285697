#include "runner/hypervisor/nic.h"

#include <fcntl.h>

#include <cerrno>

#include "lib/net/macvtap.h"
#include "lib/net/tap.h"

namespace slicer::runner {
namespace {

Result<UniqueFd> open_link(const net::Netns& sandbox, const net::Link& link) {
  if (link.kind == "macvtap") return net::open_macvtap(sandbox, link.name);
  return net::open_tap(&sandbox, link.name);
}

}  // namespace

Result<Nic> hand_over(const HypervisorKind& kind, const net::Netns& sandbox, const net::Link& link) {
  Nic nic;
  nic.name = link.name;
  nic.mtu = link.mtu_bytes;
  if (kind.in_netns) {
    nic.netns = UniqueFd(fcntl(sandbox.fd(), F_DUPFD_CLOEXEC, 3));
    if (!nic.netns.valid()) return fail_errno(errno, "hold the VM's network namespace");
  }
  if (kind.device == DeviceWay::kName)
    nic.devices.push_back(TRY(tap_device(sandbox, link)));
  else
    nic.tap = TRY(open_link(sandbox, link));
  return nic;
}

}  // namespace slicer::runner
