#pragma once
// How this host opens a connection to a guest, whatever its network.

#include <cstdint>
#include <optional>
#include <string>

#include "lib/addr/ip.h"
#include "lib/addr/mac.h"
#include "lib/net/netns.h"
#include "runner/forward/dialled.h"
#include "runner/state/vm_record.h"

namespace slicer::runner {

/// Where to and from where.
struct GuestWay {
  addr::Ip ip = {};
  int link = 0;                            ///< the interface it is reached by, where that is not the routes' matter
  std::optional<net::Netns> sandbox = {};  ///< the namespace to connect from; absent: this process's own
  std::optional<addr::Mac> owner = {};     ///< of a learned address: who must have it on `link`
  [[nodiscard]] std::string text() const;  ///< of the address, for messages
};

/// The way to a running VM's guest, by what the kernel says of its link:
/// - a device of the LAN (macvtap): from the VM's namespace by the guest's link-local IPv6 address, through a link
/// beside
///   the guest's that is made on demand; the host's own way to the LAN never leads to it;
/// - a TAP to which its namespace has a route (isolated): from the VM's namespace;
/// - else (bridges): from the host, by the guest's address.
/// An address that the network did not give was learned from the guest or from its LAN, and may be anybody's: it is
/// used only where it lies on the guest's own link (the TAP, its bridge) behind no router, is none of the host's, and
/// has the guest's MAC there. Errors: kUnavailable (no address is known yet, or none that can be used), those of the
/// kernel.
Result<GuestWay> find_way(const VmRecord& record);

/// Begins a TCP connection.
Result<Dialled> begin_connection(const GuestWay& way, uint16_t port);

/// A UDP socket that is connected to the guest's port, non-blocking. Error: kUnavailable when the address was learned:
/// nothing would ask who is there before the first datagram goes.
Result<UniqueFd> open_datagrams(const GuestWay& way, uint16_t port);

}  // namespace slicer::runner
