#pragma once
// Links: find, create, change, delete. All by name or index; nothing lists all links of a host.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/addr/mac.h"
#include "lib/net/netlink.h"
#include "lib/net/netns.h"

namespace slicer::net {

/// IFNAMSIZ less the closing zero.
inline constexpr size_t kLinkNameMax = 15;

/// A link as the kernel tells it.
struct Link {
  int index = 0;
  std::string name = {};
  std::string alias = {};
  std::string kind = {};  ///< "tun", "veth", "bridge", …; empty for a physical one
  addr::Mac mac = {};
  unsigned mtu_bytes = 0;
  uint32_t group = 0;
  int master = 0;                        ///< 0: none
  int peer_index = 0;                    ///< IFLA_LINK: the other end of a veth, the parent of a macvlan; 0: none
  std::optional<int> peer_netnsid = {};  ///< IFLA_LINK_NETNSID: that one's namespace, when it is not this one
  bool up = false;
  bool promiscuous = false;
  bool carrier = false;
  bool ipv4_forwarding = false;  ///< net.ipv4.conf.<link>.forwarding
  bool ethernet = false;         ///< ARPHRD_ETHER: not a tunnel, not the loopback

  struct Tun {
    std::optional<uint32_t> owner = {};
    std::optional<uint32_t> group = {};
    bool persistent = false;
    bool tap = false;
    bool vnet_hdr = false;
    bool multi_queue = false;
  };
  std::optional<Tun> tun = {};  ///< of kind "tun"

  struct Bridge {
    bool vlan_filtering = false;
    bool stp = false;
    unsigned forward_delay_ms = 0;
  };
  std::optional<Bridge> bridge = {};  ///< of kind "bridge"

  std::optional<uint32_t> macvlan_mode = {};  ///< of kind "macvlan" or "macvtap": MACVLAN_MODE_* (macvtap.h)
};

/// The index of a link, none when absent; by ioctl, cheaper than find_link().
Result<std::optional<int>> find_link_index(RouteSocket& ns, const std::string& name);
/// Error: kNotFound.
Result<int> get_link_index(RouteSocket& ns, const std::string& name);
Result<std::optional<Link>> find_link(RouteSocket& ns, const std::string& name);
Result<std::optional<Link>> find_link(RouteSocket& ns, int index);
/// Error: kNotFound.
Result<Link> get_link(RouteSocket& ns, const std::string& name);
Result<Link> get_link(RouteSocket& ns, int index);
/// A link of the namespace that `ns` knows as `netnsid`, without entering it (IFLA_TARGET_NETNSID).
Result<std::optional<Link>> find_link_in(RouteSocket& ns, int netnsid, const std::string& name);
Result<std::optional<Link>> find_link_in(RouteSocket& ns, int netnsid, int index);

/// What set_link() changes; what is not set stays. All of it in one RTM_SETLINK.
struct LinkChange {
  std::optional<std::string> alias = {};
  std::optional<addr::Mac> mac = {};
  std::optional<unsigned> mtu_bytes = {};
  std::optional<uint32_t> group = {};
  std::optional<int> master = {};  ///< index; 0: leave the master
  std::optional<bool> up = {};
  std::optional<bool> promiscuous = {};
  bool no_ipv6_link_local = false;  ///< addrgenmode none, for links that must have no fe80 address of their own
  /// Packets that come in by it are forwarded, whatever net.ipv4.ip_forward says (which writes it for all links).
  bool ipv4_forwarding = false;
};
/// Errors: kNotFound, kExhausted (the master has 1,023 ports already), kSystem.
Result<void> set_link(RouteSocket& ns, int index, const LinkChange& change);

/// STP is off and the forward delay 0, always: a bridge of ours never delays a first packet.
struct BridgeSpec {
  std::string name = {};
  std::string alias = {};
  std::optional<addr::Mac> mac = {};  ///< give one: else the bridge takes the lowest MAC of its ports, and changes it
  unsigned mtu_bytes = 0;             ///< 0: the kernel's default
  bool vlan_filtering = false;
  bool up = true;
};
/// One RTM_NEWLINK, and one RTM_SETLINK when there is an alias. @return its index. Errors: kExists,
/// kUnsupportedKernel (no bridge, or no VLAN filtering), kSystem.
Result<int> create_bridge(RouteSocket& ns, const BridgeSpec& spec);
/// Switches VLAN filtering of a bridge. Error: kUnsupportedKernel.
Result<void> set_vlan_filtering(RouteSocket& ns, int index, bool on);

/// One end of a veth pair.
struct VethEnd {
  std::string name = {};
  std::optional<addr::Mac> mac = {};
  unsigned mtu_bytes = 0;  ///< 0: the kernel's default
  uint32_t group = 0;
  /// Of the peer: by a second message in its namespace, since the kernel refuses to raise it in the creating one
  /// (ENOTCONN, drivers/net/veth.c, veth_open()). Who has a session there anyway says false, and does it cheaper.
  bool up = true;
};
struct VethSpec {
  VethEnd here = {};       ///< in the session's namespace
  int master = 0;          ///< of `here`; 0: none
  std::string alias = {};  ///< of `here`; by a second message, the kernel ignores it at creation
  VethEnd peer = {};
  const Netns* peer_ns = nullptr;  ///< nullptr: the session's too
};
/// Both ends complete (but for alias and the peer's state) and in their namespaces by one RTM_NEWLINK. @return the
/// index of `here`; the peer's is get_link_index() in its namespace. Errors: kExists (either name), kNotFound (master),
/// kExhausted, kSystem.
Result<int> create_veth(RouteSocket& ns, const VethSpec& spec);

/// How long a deletion takes. The kernel ends each with an RCU barrier of 9 to 30 ms after the link is gone for all.
enum class DeleteWait {
  kBarrier,  ///< until the request returns
  kNotice,   ///< until the kernel's notice that the link is gone; a child process waits for the barrier. Where no
             ///< child can be made this is kBarrier. The child holds no descriptor of the caller but the session's own
             ///< socket, and is a zombie until the caller ends.
};
/// Absent is success. What a failure says reaches the caller in both ways.
Result<void> delete_link(RouteSocket& ns, int index, DeleteWait wait = DeleteWait::kBarrier);
Result<void> delete_link(RouteSocket& ns, const std::string& name, DeleteWait wait = DeleteWait::kBarrier);
/// All links of a group (never 0: kInternal) by one message, with one barrier. For private namespaces: kNotice lists
/// the namespace's links to know which notices to await.
Result<void> delete_link_group(RouteSocket& ns, uint32_t group, DeleteWait wait = DeleteWait::kBarrier);
/// The same in the namespace that `ns` knows as `netnsid`, without entering it. kNotice awaits the end of `host_index`,
/// the link in `ns` (a veth end) that dies with the group.
Result<void> delete_link_group_in(RouteSocket& ns, int netnsid, uint32_t group, int host_index,
                                  DeleteWait wait = DeleteWait::kBarrier);

/// Links whose name begins with `prefix`; a dump, for GC and the runner's overview only, never for one attachment.
Result<std::vector<Link>> list_links(RouteSocket& ns, std::string_view prefix);

}  // namespace slicer::net
