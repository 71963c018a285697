#pragma once
// What of a result becomes the guest's, when a TAP takes the place of a container's interface. Pure.

#include <optional>
#include <string>

#include "lib/cni/environment.h"
#include "lib/cni/result_types.h"

namespace slicer::tap {

/// The TAP and the guest behind it, as the result tells them.
struct GuestPair {
  std::string tap = {};  ///< name, of both
  std::string tap_mac = {};
  std::string guest_mac = {};
  unsigned mtu_bytes = 0;
};

/// `previous` with the pair of docs/contract.md behind it; the addresses of the interface CNI_IFNAME, and those that
/// name no interface, are the guest's now. Others stay what they were.
cni::CniResult hand_over(cni::CniResult previous, const cni::Environment& env, const GuestPair& pair);

/// The guest's addresses in a result that has the pair at `guest`.
std::vector<addr::Ip> guest_addresses(const cni::CniResult& result, int guest);

}  // namespace slicer::tap
