#include "lib/net/link.h"

#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/veth.h>

#include "lib/net/message.h"

namespace slicer::net {
namespace {

constexpr int kCreate = NLM_F_CREATE | NLM_F_EXCL;

ifinfomsg header_of(int index, bool up) {
  ifinfomsg head = {};
  head.ifi_index = index;
  head.ifi_flags = up ? static_cast<unsigned>(IFF_UP) : 0U;
  head.ifi_change = head.ifi_flags;
  return head;
}

void put_flag(ifinfomsg& head, unsigned flag, std::optional<bool> on) {
  if (!on) return;
  head.ifi_change |= flag;
  if (*on) head.ifi_flags |= flag;
}

void put_end(Message& message, const VethEnd& end) {
  message.text(IFLA_IFNAME, end.name);
  if (end.mac) message.mac(IFLA_ADDRESS, *end.mac);
  if (end.mtu_bytes != 0) message.u32(IFLA_MTU, end.mtu_bytes);
  if (end.group != 0) message.u32(IFLA_GROUP, end.group);
}

void put_families(Message& message, const LinkChange& change) {
  if (change.ipv4_forwarding)
    message.nest(AF_INET, [&] { message.nest(IFLA_INET_CONF, [&] { message.u32(IPV4_DEVCONF_FORWARDING, 1); }); });
  if (change.no_ipv6_link_local)
    message.nest(AF_INET6, [&] { message.u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE); });
}

Result<void> set_alias(RouteSocket& ns, int index, const std::string& alias) {
  if (alias.empty()) return {};
  return set_link(ns, index, {.alias = alias});
}

Result<void> raise(RouteSocket& ns, const std::string& name) {
  return set_link(ns, TRY(get_link_index(ns, name)), {.up = true}).context("raise link '" + name + "'");
}

Result<void> raise_peer(RouteSocket& ns, const VethSpec& spec) {
  if (spec.peer_ns == nullptr) return raise(ns, spec.peer.name);
  RouteSocket there = TRY(RouteSocket::open_in(*spec.peer_ns));
  return raise(there, spec.peer.name);
}

}  // namespace

Result<void> set_link(RouteSocket& ns, int index, const LinkChange& change) {
  ifinfomsg head = header_of(index, false);
  put_flag(head, IFF_UP, change.up);
  put_flag(head, IFF_PROMISC, change.promiscuous);
  Message message(RTM_SETLINK);
  message.header(head);
  if (change.alias) message.chars(IFLA_IFALIAS, *change.alias);
  if (change.mac) message.mac(IFLA_ADDRESS, *change.mac);
  if (change.mtu_bytes) message.u32(IFLA_MTU, *change.mtu_bytes);
  if (change.group) message.u32(IFLA_GROUP, *change.group);
  if (change.master) message.s32(IFLA_MASTER, *change.master);
  if (change.no_ipv6_link_local || change.ipv4_forwarding)
    message.nest(IFLA_AF_SPEC, [&] { put_families(message, change); });
  return ns.transact(message, "change link " + std::to_string(index));
}

Result<int> create_bridge(RouteSocket& ns, const BridgeSpec& spec) {
  Message message(RTM_NEWLINK, kCreate);
  message.header(header_of(0, spec.up)).text(IFLA_IFNAME, spec.name);
  if (spec.mac) message.mac(IFLA_ADDRESS, *spec.mac);
  if (spec.mtu_bytes != 0) message.u32(IFLA_MTU, spec.mtu_bytes);
  message.nest(IFLA_LINKINFO, [&] {
    message.text(IFLA_INFO_KIND, "bridge").nest(IFLA_INFO_DATA, [&] {
      message.u32(IFLA_BR_FORWARD_DELAY, 0).u32(IFLA_BR_STP_STATE, 0);
      if (spec.vlan_filtering) message.u8(IFLA_BR_VLAN_FILTERING, 1);
    });
  });
  TRY(ns.transact(message, "create bridge '" + spec.name + "'"));
  const int index = TRY(get_link_index(ns, spec.name));
  if (Result<void> named = set_alias(ns, index, spec.alias); !named) {
    (void)delete_link(ns, index);  // the first error is the one to tell
    return std::unexpected(std::move(named).error());
  }
  return index;
}

Result<void> set_vlan_filtering(RouteSocket& ns, int index, bool on) {
  Message message(RTM_NEWLINK);
  message.header(header_of(index, false)).nest(IFLA_LINKINFO, [&] {
    message.text(IFLA_INFO_KIND, "bridge").nest(IFLA_INFO_DATA, [&] {
      message.u8(IFLA_BR_VLAN_FILTERING, on ? 1 : 0);
    });
  });
  return ns.transact(message, "switch VLAN filtering of bridge " + std::to_string(index))
      .hint("this kernel's bridge has no VLAN filtering (CONFIG_BRIDGE_VLAN_FILTERING): leave the VLAN keys out");
}

Result<int> create_veth(RouteSocket& ns, const VethSpec& spec) {
  Message message(RTM_NEWLINK, kCreate);
  message.header(header_of(0, spec.here.up));
  put_end(message, spec.here);
  if (spec.master != 0) message.s32(IFLA_MASTER, spec.master);
  message.nest(IFLA_LINKINFO, [&] {
    message.text(IFLA_INFO_KIND, "veth").nest(IFLA_INFO_DATA, [&] {
      message.nest(VETH_INFO_PEER, [&] {
        message.header(header_of(0, false));
        put_end(message, spec.peer);
        if (spec.peer_ns != nullptr) message.s32(IFLA_NET_NS_FD, spec.peer_ns->fd());
      });
    });
  });
  TRY(ns.transact(message, "create veth '" + spec.here.name + "' with peer '" + spec.peer.name + "'"));
  const int index = TRY(get_link_index(ns, spec.here.name));
  Result<void> finished = set_alias(ns, index, spec.alias);
  if (finished && spec.peer.up) finished = raise_peer(ns, spec);
  if (!finished) {
    (void)delete_link(ns, index);  // the first error is the one to tell
    return std::unexpected(std::move(finished).error());
  }
  return index;
}

}  // namespace slicer::net
