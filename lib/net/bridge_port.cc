#include "lib/net/bridge_port.h"

#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>

#include "lib/net/link_parse.h"
#include "lib/net/neighbour.h"
#include "lib/net/neighbour_message.h"

namespace slicer::net {
namespace {

std::string port_text(int port) { return "bridge port " + std::to_string(port); }

bool is_empty(const PortFlags& flags) {
  return !flags.isolated && !flags.locked && !flags.hairpin && !flags.learning && !flags.unicast_flood;
}

Message flags_request(int port, const PortFlags& flags) {
  ifinfomsg head = {};
  head.ifi_family = AF_BRIDGE;
  head.ifi_index = port;
  Message request(RTM_SETLINK, 0, 256);
  const auto put = [&](int attribute, std::optional<bool> on) {
    if (on) request.u8(attribute, *on ? 1 : 0);
  };
  request.header(head).nest(IFLA_PROTINFO | NLA_F_NESTED, [&] {
    put(IFLA_BRPORT_ISOLATED, flags.isolated);
    put(IFLA_BRPORT_LOCKED, flags.locked);
    put(IFLA_BRPORT_MODE, flags.hairpin);
    put(IFLA_BRPORT_LEARNING, flags.learning);
    put(IFLA_BRPORT_UNICAST_FLOOD, flags.unicast_flood);
  });
  return request;
}

Message fdb_request(uint16_t type, int flags, int port, const addr::Mac& mac, std::optional<uint16_t> vlan) {
  ndmsg head = {};
  head.ndm_family = AF_BRIDGE;
  head.ndm_ifindex = port;
  head.ndm_state = NUD_NOARP;  // static: it never ages; NUD_PERMANENT would make it the bridge's own address
  // Sticky: a frame from this MAC on another port does not move it there (net/bridge/br_fdb.c, br_fdb_update()).
  head.ndm_flags = static_cast<uint8_t>(NTF_MASTER | (type == RTM_NEWNEIGH ? NTF_STICKY : 0));
  Message request(type, flags, 128);
  request.header(head).mac(NDA_LLADDR, mac);
  if (vlan) request.u16(NDA_VLAN, *vlan);
  return request;
}

PortFlags parse_flags(nlattr* data) {
  const Attributes<IFLA_BRPORT_MAX> at(data);
  const auto flag = [&](int number) -> std::optional<bool> {
    if (const std::optional<uint8_t> value = at.number<uint8_t>(number)) return *value != 0;
    return std::nullopt;
  };
  return {.isolated = flag(IFLA_BRPORT_ISOLATED),
          .locked = flag(IFLA_BRPORT_LOCKED),
          .hairpin = flag(IFLA_BRPORT_MODE),
          .learning = flag(IFLA_BRPORT_LEARNING),
          .unicast_flood = flag(IFLA_BRPORT_UNICAST_FLOOD)};
}

std::optional<PortFlags> flags_of_link(nlmsghdr& message) {
  const Attributes<IFLA_MAX> link(message, sizeof(ifinfomsg));
  const Attributes<IFLA_INFO_MAX> info(link.get(IFLA_LINKINFO));
  if (info.text(IFLA_INFO_SLAVE_KIND) != "bridge") return std::nullopt;
  return parse_flags(info.get(IFLA_INFO_SLAVE_DATA));
}

std::string fdb_action(const char* verb, int port, const addr::Mac& mac) {
  return std::string(verb) + " FDB entry '" + mac.text() + "' of " + port_text(port);
}

/// The address has an entry already: of a guest that is gone, learned, or ours. Or of a guest that is there.
Result<void> take_over_neighbour(RouteSocket& ns, const PortGuest& guest, const addr::Ip& ip) {
  const std::optional<Neighbour> found = TRY(find_neighbour(ns, guest.bridge, ip));
  if (found && found->permanent && found->mac != guest.mac &&
      TRY(find_fdb_port(ns, guest.bridge, found->mac, guest.vlan)))
    return fail(Kind::kExists, "address '" + ip.text() + "' is another guest's: '" + found->mac.text() + "' has it");
  return ensure_neighbour(ns, {.device = guest.bridge, .ip = ip, .mac = guest.mac});
}

}  // namespace

Result<void> set_port_flags(RouteSocket& ns, int port, const PortFlags& flags) {
  if (is_empty(flags)) return {};
  Message request = flags_request(port, flags);
  return ns.transact(request, "set flags of " + port_text(port));
}

Result<PortFlags> get_port_flags(RouteSocket& ns, int port) {
  const std::string action = "read flags of " + port_text(port);
  Message question = link_question(port, "", std::nullopt);
  std::optional<PortFlags> flags;
  TRY(ns.query(question, action, [&](nlmsghdr& message) { flags = flags_of_link(message); }));
  if (!flags) return fail(Kind::kNotFound, action + ": the link is in no bridge");
  return *flags;
}

Result<bool> supports_locked(RouteSocket& ns, int port) { return TRY(get_port_flags(ns, port)).locked.has_value(); }

Result<void> attach_port_guest(RouteSocket& ns, const PortGuest& guest) {
  std::vector<Message> requests;
  std::vector<std::string> actions;
  requests.reserve(guest.ips.size() + 2);
  if (!is_empty(guest.flags)) {
    requests.push_back(flags_request(guest.port, guest.flags));
    actions.push_back("set flags of " + port_text(guest.port));
  }
  // Before the neighbours: one whose MAC has no FDB entry is dead to remove_dead_neighbours().
  requests.push_back(fdb_request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, guest.port, guest.mac, guest.vlan));
  actions.push_back(fdb_action("set", guest.port, guest.mac));
  for (const addr::Ip& ip : guest.ips) {
    requests.push_back(neighbour_request({.device = guest.bridge, .ip = ip, .mac = guest.mac}, NLM_F_EXCL));
    actions.push_back("set neighbour '" + ip.text() + "' on link " + std::to_string(guest.bridge));
  }
  std::vector<Result<void>> done = TRY(ns.transact_all(requests, actions));
  const size_t before_ips = done.size() - guest.ips.size();
  for (size_t i = 0; i < done.size(); ++i) {
    const bool taken = i >= before_ips && !done[i] && done[i].error().kind == Kind::kExists;
    TRY(taken ? take_over_neighbour(ns, guest, guest.ips[i - before_ips]) : std::move(done[i]));
  }
  return {};
}

Result<void> remove_port_guest(RouteSocket& ns, const PortGuest& guest) {
  Result<void> first = delete_fdb_entry(ns, guest.port, guest.mac, guest.vlan);
  for (const addr::Ip& ip : guest.ips) {
    const std::optional<Neighbour> found = TRY(find_neighbour(ns, guest.bridge, ip));
    if (!found || found->mac != guest.mac) continue;  // another guest's
    Result<void> done = delete_neighbour(ns, guest.bridge, ip);
    if (first && !done) first = std::move(done);
  }
  return first;
}

Result<void> ensure_fdb_entry(RouteSocket& ns, int port, const addr::Mac& mac, std::optional<uint16_t> vlan) {
  Message request = fdb_request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, port, mac, vlan);
  return ns.transact(request, fdb_action("set", port, mac));
}

Result<void> delete_fdb_entry(RouteSocket& ns, int port, const addr::Mac& mac, std::optional<uint16_t> vlan) {
  Message request = fdb_request(RTM_DELNEIGH, 0, port, mac, vlan);
  Result<void> done = ns.transact(request, fdb_action("delete", port, mac));
  if (!done && done.error().kind == Kind::kNotFound) return {};
  return done;
}

Result<std::optional<int>> find_fdb_port(RouteSocket& ns, int bridge, const addr::Mac& mac,
                                         std::optional<uint16_t> vlan) {
  ndmsg head = {};
  head.ndm_family = AF_BRIDGE;
  Message question(RTM_GETNEIGH, 0, 128);
  question.header(head).s32(NDA_MASTER, bridge).mac(NDA_LLADDR, mac);
  if (vlan) question.u16(NDA_VLAN, *vlan);
  std::optional<int> port;
  const Result<void> asked = ns.query(
      question, "find FDB entry '" + mac.text() + "' of bridge " + std::to_string(bridge), [&](nlmsghdr& message) {
        if (message.nlmsg_type == RTM_NEWNEIGH) port = static_cast<const ndmsg*>(nlmsg_data(&message))->ndm_ifindex;
      });
  if (!asked && asked.error().kind == Kind::kNotFound) return std::nullopt;
  if (!asked) return std::unexpected(asked.error());
  return port;
}

namespace {}  // namespace

Result<unsigned> remove_dead_neighbours(RouteSocket& ns, int bridge) {
  unsigned removed = 0;
  for (const Neighbour& each : TRY(list_neighbours(ns, bridge))) {
    if (TRY(find_fdb_port(ns, bridge, each.mac))) continue;
    // An ADD may have given the address to another guest since the list was read.
    const std::optional<Neighbour> now = TRY(find_neighbour(ns, bridge, each.ip));
    if (!now || now->mac != each.mac || TRY(find_fdb_port(ns, bridge, each.mac))) continue;
    TRY(delete_neighbour(ns, bridge, each.ip));
    ++removed;
  }
  return removed;
}

Result<std::vector<int>> list_ports(RouteSocket& ns, int bridge) {
  std::vector<int> ports;
  Message question(RTM_GETLINK);
  question.header(ifinfomsg{}).u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS).s32(IFLA_MASTER, bridge);
  TRY(ns.dump(
      question, "list ports of bridge " + std::to_string(bridge),
      [&](nlmsghdr& message) {
        if (const Result<Link> link = parse_link(message); link && link->master == bridge) ports.push_back(link->index);
      },
      [&] { ports.clear(); }));
  return ports;
}

namespace {

constexpr const char* kVlanHint =
    "VLANs need a kernel with CONFIG_BRIDGE_VLAN_FILTERING and a bridge with vlan_filtering 1";

Result<void> change_vlan(RouteSocket& ns, uint16_t type, int link, const PortVlan& vlan, bool self) {
  ifinfomsg head = {};
  head.ifi_family = AF_BRIDGE;
  head.ifi_index = link;
  const auto flags =
      static_cast<uint16_t>((vlan.pvid ? BRIDGE_VLAN_INFO_PVID : 0) | (vlan.untagged ? BRIDGE_VLAN_INFO_UNTAGGED : 0));
  Message request(type, 0, 256);
  const auto put = [&](uint16_t id, int more) {
    request.plain(IFLA_BRIDGE_VLAN_INFO, bridge_vlan_info{.flags = static_cast<uint16_t>(flags | more), .vid = id});
  };
  request.header(head).nest(IFLA_AF_SPEC, [&] {
    if (self) request.u16(IFLA_BRIDGE_FLAGS, BRIDGE_FLAGS_SELF);
    if (vlan.last > vlan.id) {
      put(vlan.id, BRIDGE_VLAN_INFO_RANGE_BEGIN);
      put(vlan.last, BRIDGE_VLAN_INFO_RANGE_END);
    } else {
      put(vlan.id, 0);
    }
  });
  return ns
      .transact(request, (type == RTM_SETLINK ? "add VLAN " : "delete VLAN ") + std::to_string(vlan.id) + " on link " +
                             std::to_string(link))
      .hint(kVlanHint);
}

}  // namespace

Result<void> add_vlan(RouteSocket& ns, int link, const PortVlan& vlan, bool self) {
  return change_vlan(ns, RTM_SETLINK, link, vlan, self);
}

Result<void> delete_vlan(RouteSocket& ns, int link, const PortVlan& vlan, bool self) {
  return change_vlan(ns, RTM_DELLINK, link, vlan, self);
}

namespace {

/// One entry of RTM_NEWVLAN; every entry repeats the flags of a whole range (net/bridge/br_vlan.c,
/// br_vlan_fill_vids()).
void read_vlan(nlattr* entry, std::vector<PortVlan>& vlans) {
  const Attributes<BRIDGE_VLANDB_ENTRY_MAX> at(entry);
  const auto info = at.number<bridge_vlan_info>(BRIDGE_VLANDB_ENTRY_INFO);
  if (!info) return;
  vlans.push_back({.id = info->vid,
                   .last = at.number<uint16_t>(BRIDGE_VLANDB_ENTRY_RANGE).value_or(0),
                   .pvid = (info->flags & BRIDGE_VLAN_INFO_PVID) != 0,
                   .untagged = (info->flags & BRIDGE_VLAN_INFO_UNTAGGED) != 0});
}

}  // namespace

Result<std::vector<PortVlan>> list_vlans(RouteSocket& ns, int port) {
  br_vlan_msg head = {};
  head.family = AF_BRIDGE;
  head.ifindex = static_cast<uint32_t>(port);
  Message question(RTM_GETVLAN);  // since Linux 5.6; a dump of one port
  question.header(head);
  std::vector<PortVlan> vlans;
  TRY(ns.dump(
            question, "list VLANs of " + port_text(port),
            [&](nlmsghdr& message) {
              int left = nlmsg_attrlen(&message, sizeof(br_vlan_msg));
              for (nlattr* each = nlmsg_attrdata(&message, sizeof(br_vlan_msg)); nla_ok(each, left);
                   each = nla_next(each, &left))
                if (nla_type(each) == BRIDGE_VLANDB_ENTRY) read_vlan(each, vlans);
            },
            [&] { vlans.clear(); })
          .hint(kVlanHint));
  return vlans;
}

}  // namespace slicer::net
