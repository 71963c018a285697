#include "lib/net/macvlan_sibling.h"

#include <linux/if_link.h>

#include <array>
#include <chrono>

#include "lib/base/hash.h"
#include "lib/net/address.h"
#include "lib/net/macvlan_raise.h"
#include "lib/net/message.h"
#include "lib/net/sysctl.h"

namespace slicer::net {
namespace {

constexpr auto kAddressLimit = std::chrono::seconds(3);
constexpr const char* kName = "slbeside";  // one in a namespace is enough: a VM has one link

Result<void> check_shares_parent(const Link& macvtap) {
  const std::string action = "make a link beside macvtap '" + macvtap.name + "'";
  if (macvtap.macvlan_mode != MACVLAN_MODE_BRIDGE)
    return fail(
        Kind::kUnavailable, action + ": it is not in mode 'bridge', so nothing on this host reaches it",
        "set \"mode\": \"bridge\" in the network's conflist; from another machine of the LAN it can be reached");
  if (macvtap.peer_index == 0 || !macvtap.peer_netnsid)
    return fail(Kind::kUnavailable, action + ": its parent is gone");
  return {};
}

Message creation(const Link& macvtap) {
  const ifinfomsg head = {};
  Message message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  message.header(head).text(IFLA_IFNAME, kName);
  message.s32(IFLA_LINK, macvtap.peer_index).s32(IFLA_LINK_NETNSID, *macvtap.peer_netnsid);
  // Always the same, so that the LAN's switches do not learn a new one each time.
  message.mac(IFLA_ADDRESS, addr::local_mac(hash_names({"beside", macvtap.mac.text()})));
  if (macvtap.group != 0) message.u32(IFLA_GROUP, macvtap.group);
  message.nest(IFLA_LINKINFO, [&] {
    message.text(IFLA_INFO_KIND, "macvlan").nest(IFLA_INFO_DATA, [&] {
      message.u32(IFLA_MACVLAN_MODE, MACVLAN_MODE_BRIDGE);
    });
  });
  return message;
}

// Before it is up: no solicitation goes out, and nothing that a router says is believed.
Result<void> silence(const Netns& ns) {
  constexpr std::array<std::pair<const char*, const char*>, 6> kValues = {{{"disable_ipv6", "0"},
                                                                           {"accept_ra", "0"},
                                                                           {"autoconf", "0"},
                                                                           {"router_solicitations", "0"},
                                                                           {"accept_dad", "0"},
                                                                           {"addr_gen_mode", "0"}}};
  for (const auto& [key, value] : kValues) {
    Result<void> written = write_sysctl(&ns, std::string("net/ipv6/conf/") + kName + "/" + key, value);
    if (!written && written.error().kind == Kind::kNotFound) written.error().kind = Kind::kUnsupportedKernel;
    TRY(std::move(written));
  }
  return {};
}

}  // namespace

Result<int> ensure_macvlan_sibling(RouteSocket& session, const Netns& ns, const Link& macvtap) {
  TRY(check_shares_parent(macvtap));
  std::optional<Link> there = TRY(find_link(session, kName));
  if (!there) {
    Message request = creation(macvtap);
    const Result<void> made = session.transact(request, "make a link beside macvtap '" + macvtap.name + "'");
    if (!made && made.error().kind != Kind::kExists)
      return std::unexpected(made.error());  // another process's is as good
    there = TRY(get_link(session, kName));
  }
  if (there->kind != "macvlan" || there->peer_index != macvtap.peer_index)
    return fail(Kind::kExists, std::string("make link '") + kName + "' in '" + ns.path() + "': another has this name");
  if (!there->up) {
    TRY(silence(ns));
    TRY(raise_when_mac_is_free([&] { return set_link(session, there->index, {.up = true}); }));
  }
  // The kernel does even what it skips a moment later.
  TRY(await_addresses(session, there->index, kAddressLimit));
  return there->index;
}

}  // namespace slicer::net
