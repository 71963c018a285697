#include "lib/net/address.h"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>

#include "lib/net/message.h"

namespace slicer::net {
namespace {

ifaddrmsg header_of(int index, const addr::Cidr& address) {
  ifaddrmsg head = {};
  head.ifa_family = static_cast<uint8_t>(addr::af_of(address.family()));
  head.ifa_prefixlen = static_cast<uint8_t>(address.prefix);
  head.ifa_index = static_cast<uint32_t>(index);
  return head;
}

Message request_of(uint16_t type, int flags, int index, const addr::Cidr& address) {
  Message message(type, flags);
  message.header(header_of(index, address)).ip(IFA_LOCAL, address.ip).ip(IFA_ADDRESS, address.ip);
  return message;
}

// RFC 3021: a /31 has no broadcast address, and a /32 no subnet.
constexpr int kBroadcastPrefixMax = 30;

bool has_broadcast(const AddressSpec& spec) {
  return spec.broadcast && spec.address.ip.is_v4() && spec.address.prefix <= kBroadcastPrefixMax;
}

std::string place(int index, const addr::Cidr& address) {
  return "'" + address.text() + "' on link " + std::to_string(index);
}

std::optional<LinkAddress> parse_address(nlmsghdr& message, int index, addr::Family family) {
  if (message.nlmsg_type != RTM_NEWADDR) return std::nullopt;
  const auto* head = static_cast<const ifaddrmsg*>(nlmsg_data(&message));
  const Attributes<IFA_MAX> at(message, sizeof(ifaddrmsg));
  // IFA_ADDRESS is the far end of a point-to-point link; IPv6 has no IFA_LOCAL elsewhere.
  const std::optional<addr::Ip> ip = at.has(IFA_LOCAL) ? at.ip(IFA_LOCAL) : at.ip(IFA_ADDRESS);
  if (head->ifa_index != static_cast<uint32_t>(index) || !ip || ip->family() != family) return std::nullopt;
  const uint32_t flags = at.number<uint32_t>(IFA_FLAGS).value_or(head->ifa_flags);
  return LinkAddress{.address = {.ip = *ip, .prefix = head->ifa_prefixlen},
                     .tentative = (flags & IFA_F_TENTATIVE) != 0,
                     .dad_failed = (flags & IFA_F_DADFAILED) != 0,
                     .link_local = head->ifa_scope == RT_SCOPE_LINK};
}

}  // namespace

Result<bool> ensure_address(RouteSocket& ns, int index, const AddressSpec& spec) {
  Message message = request_of(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, index, spec.address);
  uint32_t flags = 0;
  if (spec.no_dad && !spec.address.ip.is_v4()) flags |= IFA_F_NODAD;
  if (spec.no_prefix_route) flags |= IFA_F_NOPREFIXROUTE;
  if (flags != 0) message.u32(IFA_FLAGS, flags);
  if (has_broadcast(spec)) message.ip(IFA_BROADCAST, spec.address.last());
  const Result<void> added = ns.transact(message, "add address " + place(index, spec.address));
  if (added) return true;
  Error error = added.error();
  if (error.sys_errno == EEXIST && TRY(has_address(ns, index, spec.address))) return false;
  if (error.sys_errno == EACCES && error.hint.empty())
    error.hint = "IPv6 is switched off there: set net.ipv6.conf.all.disable_ipv6 to 0, or use IPv4 alone";
  return std::unexpected(std::move(error));
}

Result<bool> has_address(RouteSocket& ns, int index, const addr::Cidr& address) {
  const std::vector<LinkAddress> list = TRY(list_addresses(ns, index, address.family()));
  return std::ranges::any_of(list, [&](const LinkAddress& each) { return each.address == address; });
}

Result<void> delete_address(RouteSocket& ns, int index, const addr::Cidr& address) {
  Message message = request_of(RTM_DELADDR, 0, index, address);
  Result<void> done = ns.transact(message, "delete address " + place(index, address));
  if (!done && (done.error().sys_errno == EADDRNOTAVAIL || done.error().sys_errno == ENODEV)) return {};
  return done;
}

Result<std::vector<LinkAddress>> list_addresses(RouteSocket& ns, int index, addr::Family family) {
  std::vector<LinkAddress> list;
  ifaddrmsg head = {};
  head.ifa_family = static_cast<uint8_t>(addr::af_of(family));
  head.ifa_index = static_cast<uint32_t>(index);  // strict checking is on: the kernel sends this link's alone
  Message question(RTM_GETADDR);
  question.header(head);
  TRY(ns.dump(
      question, "list addresses of link " + std::to_string(index),
      [&](nlmsghdr& message) {
        if (std::optional<LinkAddress> address = parse_address(message, index, family)) list.push_back(*address);
      },
      [&] { list.clear(); }));
  return list;
}

Result<void> await_addresses(RouteSocket& ns, int index, std::chrono::milliseconds limit) {
  const std::string action = "wait for the addresses of link " + std::to_string(index);
  const auto end = std::chrono::steady_clock::now() + limit;
  TRY(ns.set_membership(RTNLGRP_IPV6_IFADDR, true).context(action));
  Result<void> outcome = fail(Kind::kBusy, action + ": duplicate address detection takes too long");
  while (std::chrono::steady_clock::now() < end) {
    const Result<std::vector<LinkAddress>> list = list_addresses(ns, index, addr::Family::kIpv6);
    if (!list) {
      outcome = std::unexpected(list.error());
      break;
    }
    const auto failed = std::ranges::find_if(*list, &LinkAddress::dad_failed);
    if (failed != list->end()) {
      outcome = fail(Kind::kExists, action + ": another machine has '" + failed->address.text() + "'");
      break;
    }
    if (std::ranges::none_of(*list, &LinkAddress::tentative)) {
      outcome = {};
      break;
    }
    // A notice; or a look without one, should the dump have swallowed it.
    pollfd notice{.fd = ns.fd(), .events = POLLIN, .revents = 0};
    (void)poll(&notice, 1, 100);
  }
  (void)ns.set_membership(RTNLGRP_IPV6_IFADDR, false);  // more notices cost memory, no more
  return outcome;
}

}  // namespace slicer::net
