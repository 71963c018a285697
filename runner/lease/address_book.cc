#include "runner/lease/address_book.h"

#include <algorithm>
#include <utility>

namespace slicer::runner {
namespace {

using addr::Cidr;
using addr::Family;
using addr::Ip;

constexpr uint32_t kForEver = 0xffffffff;  // RFC 2131, section 3.3
// An answer to a probe comes at once; a second is what a client waits for one (RFC 4861, RETRANS_TIMER).
constexpr auto kProbeTime = std::chrono::seconds(3);

Cidr cidr6(uint64_t high, unsigned prefix) {
  return {.ip = Ip(Family::kIpv6, static_cast<addr::Uint128>(high) << 64), .prefix = prefix};
}
bool is_link_local(const Ip& ip) { return cidr6(0xfe80000000000000, 10).contains(ip); }
bool is_global(const Ip& ip) {  // with unique local ones, RFC 4193
  return cidr6(0x2000000000000000, 3).contains(ip) || cidr6(0xfc00000000000000, 7).contains(ip);
}

// No network, loopback, multicast or broadcast.
bool is_unicast4(const Ip& ip) {
  const auto first = static_cast<unsigned>(ip.value() >> 24);
  return first != 0 && first != 127 && first < 224;
}

// A server that names no mask means the address's class, as the clients take it.
unsigned class_prefix(const Ip& ip) {
  const auto first = static_cast<unsigned>(ip.value() >> 24);
  return first < 128 ? 8 : first < 192 ? 16 : 24;
}

}  // namespace

bool AddressBook::take(std::span<const uint8_t> frame, Direction direction, LeaseClock::time_point now) {
  const std::optional<GuestFrame> parsed = parse_guest_frame(frame);
  if (!parsed) return false;
  const bool own = direction == Direction::kFromGuest;
  if (own && parsed->source != guest_) return false;
  if (parsed->neighbour) return own ? take_own(*parsed->neighbour, now) : take_others(*parsed->neighbour, now);
  const DhcpMessage& message = *parsed->dhcp;
  if (message.client != guest_ || message.is_from_client() != own) return false;
  return own ? take_question(message, now) : take_answer(message);
}

bool AddressBook::take_question(const DhcpMessage& message, LeaseClock::time_point now) {
  switch (message.type) {
    case DhcpType::kDiscover:
    case DhcpType::kRequest:
      // A lease counts from its request (RFC 2131, section 4.4.1); a renewal may keep the transaction's number.
      exchange_ = Exchange{.xid = message.xid, .asked = now, .server = message.server};
      return false;
    case DhcpType::kRelease:
      return drop_lease(message.current);
    case DhcpType::kDecline:
      return message.requested && drop_lease(*message.requested);
    default:
      return false;
  }
}

bool AddressBook::take_answer(const DhcpMessage& message) {
  if (!exchange_ || exchange_->xid != message.xid || message.type == DhcpType::kOffer) return false;
  if (exchange_->server && exchange_->server != message.server) return false;  // the guest did not choose this one
  const LeaseClock::time_point asked = exchange_->asked;
  exchange_.reset();  // the client takes the first answer, and so what a stranger sends later counts for nothing
  if (message.type == DhcpType::kAck) return take_ack(message, asked);
  return std::exchange(lease_, std::nullopt).has_value();
}

bool AddressBook::take_ack(const DhcpMessage& message, LeaseClock::time_point asked) {
  if (!is_unicast4(message.given)) return false;
  Lease lease;
  lease.address = {.ip = message.given, .prefix = message.prefix.value_or(class_prefix(message.given))};
  lease.router = message.router;
  lease.server = message.server;
  if (message.lease_seconds && *message.lease_seconds != kForEver)
    lease.end = asked + std::chrono::seconds(*message.lease_seconds);
  if (lease_ == lease) return false;
  lease_ = lease;
  return true;
}

bool AddressBook::drop_lease(const Ip& address) {
  if (!lease_ || lease_->address.ip != address) return false;
  lease_.reset();
  return true;
}

bool AddressBook::expire(LeaseClock::time_point now) {
  if (!lease_ || !lease_->end || now < *lease_->end) return false;
  lease_.reset();
  return true;
}

bool AddressBook::take_own(const NeighbourNews& news, LeaseClock::time_point now) {
  bool changed = news.source && note(*news.source, false, now);
  // The target of a solicitation is another's, unless it asks whether the address is free.
  if (news.target && (news.is_advertisement || !news.source))
    changed = note(*news.target, !news.is_advertisement, now) || changed;
  return changed;
}

// Another has the address that the guest was about to take.
bool AddressBook::take_others(const NeighbourNews& news, LeaseClock::time_point now) {
  if (!news.is_advertisement || !news.target) return false;
  return std::erase_if(seen_, [&](const Seen& seen) {
           return seen.ip == *news.target && seen.probed && now - seen.last < kProbeTime;
         }) != 0;
}

bool AddressBook::note(const Ip& ip, bool probed, LeaseClock::time_point now) {
  if (is_link_local(ip)) {
    if (link_local_ == ip) return false;
    link_local_ = ip;
    return true;
  }
  if (!is_global(ip)) return false;
  const auto known = std::ranges::find(seen_, ip, &Seen::ip);
  if (known != seen_.end()) {
    known->last = now;
    known->probed = probed;
    return false;
  }
  if (seen_.size() == kMaxAddresses) seen_.erase(std::ranges::min_element(seen_, {}, &Seen::last));
  seen_.push_back({.ip = ip, .last = now, .probed = probed});
  return true;
}

std::vector<Ip> AddressBook::addresses() const {
  std::vector<Ip> list;
  for (const Seen& seen : seen_) list.push_back(seen.ip);
  return list;
}

}  // namespace slicer::runner
