#pragma once
// DHCP messages as they pass a guest's interface (RFC 2131, RFC 2132). Pure; every byte may be a stranger's.

#include <cstdint>
#include <optional>
#include <span>

#include "lib/addr/ip.h"
#include "lib/addr/mac.h"

namespace slicer::runner {

/// Option 53, the ones that matter here.
enum class DhcpType : uint8_t {
  kDiscover = 1,
  kOffer = 2,
  kRequest = 3,
  kDecline = 4,
  kAck = 5,
  kNak = 6,
  kRelease = 7,
  kInform = 8,
};

struct DhcpMessage {
  DhcpType type = DhcpType::kDiscover;
  uint32_t xid = 0;
  addr::Mac client = {};                       ///< chaddr
  addr::Ip current = {};                       ///< ciaddr, 0.0.0.0: none
  addr::Ip given = {};                         ///< yiaddr, 0.0.0.0: none
  std::optional<addr::Ip> requested = {};      ///< option 50
  std::optional<unsigned> prefix = {};         ///< option 1, when it is a mask
  std::optional<addr::Ip> router = {};         ///< option 3, the first
  std::optional<addr::Ip> server = {};         ///< option 54
  std::optional<uint32_t> lease_seconds = {};  ///< option 51

  /// Sent by a client: all but offer, ACK and NAK.
  [[nodiscard]] bool is_from_client() const;
};

/// The payload of a UDP datagram. Empty: no DHCP message, one of a type that is not listed, one whose operation
/// (BOOTP's op) does not fit its type, or one whose options run over its end. An option of a wrong length is passed
/// over.
std::optional<DhcpMessage> parse_dhcp(std::span<const uint8_t> payload);

}  // namespace slicer::runner
