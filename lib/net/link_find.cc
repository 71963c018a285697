#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/ip.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>

#include "lib/net/link_parse.h"

namespace slicer::net {
namespace {

Link::Tun parse_tun(nlattr* data) {
  const Attributes<IFLA_TUN_MAX> at(data);
  const auto flag = [&](int number) { return at.number<uint8_t>(number).value_or(0) != 0; };
  return {.owner = at.number<uint32_t>(IFLA_TUN_OWNER),
          .group = at.number<uint32_t>(IFLA_TUN_GROUP),
          .persistent = flag(IFLA_TUN_PERSIST),
          .tap = at.number<uint8_t>(IFLA_TUN_TYPE) == IFF_TAP,
          .vnet_hdr = flag(IFLA_TUN_VNET_HDR),
          .multi_queue = flag(IFLA_TUN_MULTI_QUEUE)};
}

Link::Bridge parse_bridge(nlattr* data) {
  const Attributes<IFLA_BR_MAX> at(data);
  // In hundredths of a second, USER_HZ (net/bridge/br_netlink.c, br_fill_info()).
  return {.vlan_filtering = at.number<uint8_t>(IFLA_BR_VLAN_FILTERING).value_or(0) != 0,
          .stp = at.number<uint32_t>(IFLA_BR_STP_STATE).value_or(0) != 0,
          .forward_delay_ms = at.number<uint32_t>(IFLA_BR_FORWARD_DELAY).value_or(0) * 10};
}

void parse_kind(nlattr* info, Link& link) {
  const Attributes<IFLA_INFO_MAX> at(info);
  link.kind = at.text(IFLA_INFO_KIND);
  if (link.kind == "tun") link.tun = parse_tun(at.get(IFLA_INFO_DATA));
  if (link.kind == "bridge") link.bridge = parse_bridge(at.get(IFLA_INFO_DATA));
  if (link.kind == "macvlan" || link.kind == "macvtap")
    link.macvlan_mode = Attributes<IFLA_MACVLAN_MAX>(at.get(IFLA_INFO_DATA)).number<uint32_t>(IFLA_MACVLAN_MODE);
}

/// An array of the link's values, in their order, from 1 on (net/ipv4/devinet.c: inet_fill_link_af()).
bool is_forwarding(nlattr* families) {
  const Attributes<AF_INET> family(families);
  const Attributes<IFLA_INET_MAX> at(family.get(AF_INET));
  constexpr size_t kPlace = (IPV4_DEVCONF_FORWARDING - 1) * sizeof(uint32_t);
  const std::span<const uint8_t> values = at.bytes(IFLA_INET_CONF);
  uint32_t value = 0;
  if (values.size() >= kPlace + sizeof(value)) std::memcpy(&value, values.data() + kPlace, sizeof(value));
  return value != 0;
}

Result<std::optional<Link>> ask(RouteSocket& ns, Message question, const std::string& action) {
  Result<Link> link = fail(Kind::kDecode, action + ": the kernel gave no link");
  const Result<void> asked =
      ns.query(question, action, [&](nlmsghdr& message) { link = parse_link(message).context(action); });
  if (!asked && asked.error().sys_errno == ENODEV) return std::nullopt;
  if (!asked) return std::unexpected(asked.error());
  return TRY(std::move(link));
}

/// A name that is too long is no link's name; the kernel would call it invalid.
bool is_impossible(const std::string& name) { return name.empty() || name.size() > kLinkNameMax; }

Result<Link> need(Result<std::optional<Link>> found, const std::string& what) {
  std::optional<Link> link = TRY(std::move(found));
  if (!link) return fail(Kind::kNotFound, "find link " + what + ": there is none");
  return std::move(*link);
}

}  // namespace

Result<Link> parse_link(nlmsghdr& message) {
  if ((message.nlmsg_type != RTM_NEWLINK && message.nlmsg_type != RTM_DELLINK) ||
      nlmsg_datalen(&message) < static_cast<int>(sizeof(ifinfomsg)))
    return fail(Kind::kDecode, "read link: it is no link message");
  const auto* head = static_cast<const ifinfomsg*>(nlmsg_data(&message));
  const Attributes<IFLA_MAX> at(message, sizeof(ifinfomsg));
  if (!at.has(IFLA_IFNAME)) return fail(Kind::kDecode, "read link: it has no name");
  Link link{
      .index = head->ifi_index,
      .name = at.text(IFLA_IFNAME),
      .alias = at.text(IFLA_IFALIAS),
      .mac = at.mac(IFLA_ADDRESS).value_or(addr::Mac{}),
      .mtu_bytes = at.number<uint32_t>(IFLA_MTU).value_or(0),
      .group = at.number<uint32_t>(IFLA_GROUP).value_or(0),
      .master = at.number<int>(IFLA_MASTER).value_or(0),
      .peer_index = at.number<int>(IFLA_LINK).value_or(0),
      .peer_netnsid = at.number<int>(IFLA_LINK_NETNSID),
      .up = (head->ifi_flags & IFF_UP) != 0,
      .promiscuous = (head->ifi_flags & IFF_PROMISC) != 0 || at.number<uint32_t>(IFLA_PROMISCUITY).value_or(0) != 0,
      .carrier = (head->ifi_flags & IFF_LOWER_UP) != 0,
      .ipv4_forwarding = at.has(IFLA_AF_SPEC) && is_forwarding(at.get(IFLA_AF_SPEC)),
      .ethernet = head->ifi_type == ARPHRD_ETHER};
  if (at.has(IFLA_LINKINFO)) parse_kind(at.get(IFLA_LINKINFO), link);
  return link;
}

Message link_question(int index, const std::string& name, std::optional<int> netnsid) {
  Message question(RTM_GETLINK);
  ifinfomsg head = {};
  head.ifi_index = index;
  question.header(head).u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  if (index == 0) question.text(IFLA_IFNAME, name);
  if (netnsid) question.s32(IFLA_TARGET_NETNSID, *netnsid);
  return question;
}

Result<std::optional<int>> find_link_index(RouteSocket& ns, const std::string& name) {
  if (is_impossible(name)) return std::nullopt;
  ifreq request = {};
  std::memcpy(request.ifr_name, name.data(), name.size());
  // A netlink socket passes what it does not know on to the namespace's device layer, as any socket.
  if (ioctl(ns.fd(), SIOCGIFINDEX, &request) == 0) return request.ifr_ifindex;
  if (const int err = errno; err != ENODEV) return fail_errno(err, "find link '" + name + "'");
  return std::nullopt;
}

Result<int> get_link_index(RouteSocket& ns, const std::string& name) {
  const std::optional<int> index = TRY(find_link_index(ns, name));
  if (!index) return fail(Kind::kNotFound, "find link '" + name + "': there is none");
  return *index;
}

Result<std::optional<Link>> find_link(RouteSocket& ns, const std::string& name) {
  if (is_impossible(name)) return std::nullopt;
  return ask(ns, link_question(0, name, std::nullopt), "find link '" + name + "'");
}

Result<std::optional<Link>> find_link(RouteSocket& ns, int index) {
  if (index <= 0) return std::nullopt;
  return ask(ns, link_question(index, "", std::nullopt), "find link " + std::to_string(index));
}

Result<Link> get_link(RouteSocket& ns, const std::string& name) { return need(find_link(ns, name), "'" + name + "'"); }

Result<Link> get_link(RouteSocket& ns, int index) { return need(find_link(ns, index), std::to_string(index)); }

Result<std::optional<Link>> find_link_in(RouteSocket& ns, int netnsid, const std::string& name) {
  if (is_impossible(name)) return std::nullopt;
  return ask(ns, link_question(0, name, netnsid), "find link '" + name + "' in namespace " + std::to_string(netnsid));
}

Result<std::optional<Link>> find_link_in(RouteSocket& ns, int netnsid, int index) {
  if (index <= 0) return std::nullopt;
  return ask(ns, link_question(index, "", netnsid),
             "find link " + std::to_string(index) + " in namespace " + std::to_string(netnsid));
}

Result<std::vector<Link>> list_links(RouteSocket& ns, std::string_view prefix) {
  std::vector<Link> links;
  Message question(RTM_GETLINK);
  question.header(ifinfomsg{}).u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  TRY(ns.dump(
      question, "list links",
      [&](nlmsghdr& message) {
        if (Result<Link> link = parse_link(message); link && link->name.starts_with(prefix))
          links.push_back(std::move(*link));
      },
      [&] { links.clear(); }));
  return links;
}

}  // namespace slicer::net
