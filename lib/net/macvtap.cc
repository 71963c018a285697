#include "lib/net/macvtap.h"

#include <linux/if.h>
#include <linux/if_link.h>

#include <cerrno>
#include <utility>

#include "lib/net/link.h"
#include "lib/net/macvlan_raise.h"
#include "lib/net/message.h"

namespace slicer::net {
namespace {

/// drivers/net/macvlan.c, macvlan_common_newlink(): EBUSY when another driver receives for the parent, EINVAL when
/// it is passed through already or, to be passed through, has links. drivers/net/macvtap.c: nothing else that we send.
Error creation_error(Error error, const MacvtapSpec& spec) {
  if (error.kind == Kind::kUnsupportedKernel) error.hint = "load the module: modprobe macvtap";
  if (error.sys_errno != EBUSY && error.sys_errno != EINVAL) return error;
  error.kind = Kind::kBusy;
  error.hint = spec.mode == MacvlanMode::kPassthru
                   ? "a parent in mode 'passthru' carries one macvtap and no macvlan: see `ip -d link` for others"
                   : "see `ip -d link` for who has the parent: an ipvlan, or a macvtap in mode 'passthru'";
  return error;
}

Message naming(int index, const std::string& alias) {
  ifinfomsg head = {};
  head.ifi_index = index;
  Message name(RTM_SETLINK);
  name.header(head).chars(IFLA_IFALIAS, alias).nest(IFLA_AF_SPEC, [&] {
    name.nest(AF_INET6, [&] { name.u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE); });
  });
  return name;
}

/// By a message of its own: in one the kernel sets IFF_UP, which makes the fe80 address (the guest's, since the MAC is
/// the guest's), before it reads IFLA_AF_SPEC (net/core/rtnetlink.c, do_setlink()).
/// All multicast: the kernel does not know which groups the guest has joined (QEMU does not tell), and those of the
/// namespace's own IPv6 are not the guest's. Without, neighbour solicitations never reach it.
Message raising(int index) {
  ifinfomsg head = {};
  head.ifi_index = index;
  head.ifi_flags = head.ifi_change = IFF_UP | IFF_ALLMULTI;
  Message up(RTM_SETLINK);
  up.header(head);
  return up;
}

}  // namespace

Result<void> create_macvtap(RouteSocket& host, const Netns& ns, const MacvtapSpec& spec) {
  ifinfomsg head = {};
  Message message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  message.header(head).text(IFLA_IFNAME, spec.name).s32(IFLA_LINK, spec.parent).s32(IFLA_NET_NS_FD, ns.fd());
  if (spec.mac) message.mac(IFLA_ADDRESS, *spec.mac);
  if (spec.mtu_bytes != 0) message.u32(IFLA_MTU, spec.mtu_bytes);
  if (spec.group != 0) message.u32(IFLA_GROUP, spec.group);
  message.nest(IFLA_LINKINFO, [&] {
    message.text(IFLA_INFO_KIND, "macvtap").nest(IFLA_INFO_DATA, [&] {
      message.u32(IFLA_MACVLAN_MODE, static_cast<uint32_t>(spec.mode));
    });
  });
  Result<void> made = host.transact(message, "create macvtap '" + spec.name + "'");
  if (!made) return std::unexpected(creation_error(std::move(made).error(), spec));
  return {};
}

Result<void> raise_macvtap(RouteSocket& session, int index, const std::string& alias) {
  const std::string place = "macvtap " + std::to_string(index);
  Message name = naming(index, alias);
  Result<void> named = session.transact(name, "name " + place);
  // A kernel without IPv6 refuses the whole message (validate_linkmsg()).
  if (!named && named.error().sys_errno == EAFNOSUPPORT) named = set_link(session, index, {.alias = alias});
  TRY(std::move(named));
  Result<void> up = raise_when_mac_is_free([&] {
    Message request = raising(index);
    return session.transact(request, "raise " + place);
  });
  if (up || up.error().sys_errno != EADDRINUSE) return up;
  up.error().kind = Kind::kExists;
  up.error().hint = "another link of the same parent has the guest's MAC: ask for another one";
  return up;
}

}  // namespace slicer::net
