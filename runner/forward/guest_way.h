#pragma once
// How this host opens a connection to a guest, whatever its network.

#include <cstdint>
#include <optional>
#include <string>

#include "lib/addr/ip.h"
#include "lib/base/unique_fd.h"
#include "lib/net/netns.h"
#include "runner/state/vm_record.h"

namespace slicer::runner {

/// Where to and from where.
struct GuestWay {
  addr::Ip ip = {};
  int link = 0;                            ///< of a link-local address: the interface it is reached by
  std::optional<net::Netns> sandbox = {};  ///< the namespace to connect from; absent: this process's own
  [[nodiscard]] std::string text() const;  ///< of the address, for messages
};

/// The way to a running VM's guest, by what the kernel says of its link:
/// - a device of the LAN (macvtap): from the VM's namespace by the guest's link-local IPv6 address, through a link
/// beside
///   the guest's that is made on demand; the host's own way to the LAN never leads to it;
/// - a TAP to which its namespace has a route (isolated): from the VM's namespace;
/// - else (bridges): from the host, by the guest's address.
/// Errors: kUnavailable (no address is known yet), those of the kernel.
Result<GuestWay> find_way(const VmRecord& record);

/// Begins a TCP connection: the socket is non-blocking, and writable when it is decided; SO_ERROR then says how.
Result<UniqueFd> begin_connection(const GuestWay& way, uint16_t port);

}  // namespace slicer::runner
