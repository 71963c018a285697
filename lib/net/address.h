#pragma once
// Addresses of links.

#include <chrono>
#include <vector>

#include "lib/addr/ip.h"
#include "lib/net/netlink.h"

namespace slicer::net {

struct AddressSpec {
  addr::Cidr address = {};
  bool no_dad = true;  ///< IPv6: usable at once, without duplicate address detection (about 2 s)
  bool no_prefix_route = false;
  bool broadcast = false;  ///< IPv4: with the subnet's broadcast address, for programs that ask the interface for it
};

/// An address of a link, and its state.
struct LinkAddress {
  addr::Cidr address = {};
  bool tentative = false;
  bool dad_failed = false;
  bool link_local = false;
};

/// @return whether it had to be added: false when this address with this prefix length was there.
Result<bool> ensure_address(RouteSocket& ns, int index, const AddressSpec& spec);
/// The same address with another prefix length is not it.
Result<bool> has_address(RouteSocket& ns, int index, const addr::Cidr& address);
/// Absent is success, and so is an absent link.
Result<void> delete_address(RouteSocket& ns, int index, const addr::Cidr& address);
/// Those of one link and family, filtered by the kernel.
Result<std::vector<LinkAddress>> list_addresses(RouteSocket& ns, int index, addr::Family family);

/// Waits until duplicate address detection of the link's IPv6 addresses is over. Errors: kBusy (not in time), kExists
/// (another machine has one of them), kSystem.
Result<void> await_addresses(RouteSocket& ns, int index, std::chrono::milliseconds limit);

}  // namespace slicer::net
