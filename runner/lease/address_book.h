#pragma once
// What a guest's addresses are, as far as its DHCP exchange and neighbour discovery tell. Pure.

#include <optional>
#include <span>
#include <vector>

#include "lib/addr/ip.h"
#include "lib/addr/mac.h"
#include "runner/lease/guest_frame.h"
#include "runner/lease/lease_clock.h"

namespace slicer::runner {

/// What a DHCP server gave.
struct Lease {
  addr::Cidr address = {};
  std::optional<addr::Ip> router = {};
  std::optional<addr::Ip> server = {};
  std::optional<LeaseClock::time_point> end = {};  ///< absent: for ever
  friend bool operator==(const Lease&, const Lease&) = default;
};

/// Which way a frame went.
enum class Direction { kFromGuest, kToGuest };

/// Follows the frames of one guest's interface. What others send to the guest counts only as an answer to what it asked
/// (RFC 2131, section 4.4: its MAC, its transaction, the server that it chose), and nothing that it sends counts as an
/// answer. What names all three is believed, whoever sent it: DHCP proves nothing.
class AddressBook {
 public:
  /// More IPv6 addresses than these are forgotten, the longest unheard first: a guest can make any number.
  static constexpr size_t kMaxAddresses = 8;

  explicit AddressBook(addr::Mac guest) : guest_(guest) {}

  /// @return whether what it knows has changed.
  bool take(std::span<const uint8_t> frame, Direction direction, LeaseClock::time_point now);
  /// Forgets a lease that is over. @return whether there was one.
  bool expire(LeaseClock::time_point now);

  [[nodiscard]] const std::optional<Lease>& lease() const { return lease_; }
  /// Global and unique local addresses that the guest has used, in the order in which they were first seen.
  [[nodiscard]] std::vector<addr::Ip> addresses() const;
  /// The link-local one (RFC 4291, 2.5.6) that it used last.
  [[nodiscard]] const std::optional<addr::Ip>& link_local() const { return link_local_; }

 private:
  struct Exchange {
    uint32_t xid = 0;
    LeaseClock::time_point asked = {};
    std::optional<addr::Ip> server = {};  ///< that the guest chose; absent: whichever answers
  };
  struct Seen {
    addr::Ip ip = {};
    LeaseClock::time_point last = {};
    bool probed = false;  ///< the last that was heard is a question whether anybody has it
  };

  bool take_question(const DhcpMessage& message, LeaseClock::time_point now);
  bool take_answer(const DhcpMessage& message);
  bool take_ack(const DhcpMessage& message, LeaseClock::time_point asked);
  bool drop_lease(const addr::Ip& address);
  bool take_own(const NeighbourNews& news, LeaseClock::time_point now);
  bool take_others(const NeighbourNews& news, LeaseClock::time_point now);
  bool note(const addr::Ip& ip, bool probed, LeaseClock::time_point now);

  addr::Mac guest_;
  std::optional<Exchange> exchange_ = {};
  std::optional<Lease> lease_ = {};
  std::vector<Seen> seen_;
  std::optional<addr::Ip> link_local_ = {};
};

}  // namespace slicer::runner
