#include "runner/forward/guest_way.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <string_view>

#include "lib/addr/link_local.h"
#include "lib/net/link.h"
#include "lib/net/macvlan_sibling.h"
#include "lib/net/neighbour.h"
#include "lib/net/route.h"

namespace slicer::runner {
namespace {

Error nowhere(const VmRecord& record, std::string_view why, std::string hint) {
  return {.kind = Kind::kUnavailable,
          .message = "reach VM '" + record.name + "': " + std::string(why),
          .hint = std::move(hint)};
}

// Whether only what is behind `link` can have the address: no router stands between, and the host has it not itself.
Result<bool> is_on_link(net::RouteSocket& session, const addr::Ip& ip, int link) {
  if (TRY(net::is_own_address(session, ip))) return false;
  const std::optional<net::Route> route = TRY(net::find_route_to(session, ip));
  return route && route->device == link && !route->gateway;
}

// The bridge by which the host sends to an address; 0: none.
Result<int> bridge_towards(net::RouteSocket& host, const addr::Ip& ip) {
  const std::optional<net::Route> route = TRY(net::find_route_to(host, ip));
  if (!route || TRY(net::get_link(host, route->device)).kind != "bridge") return 0;
  return route->device;
}

// The address of a guest whose network gave none. Whoever answers for it is asked for the guest's MAC (confirm_owner).
Result<std::optional<GuestWay>> learned_way(net::RouteSocket& session, const VmRecord& record,
                                            std::optional<int> link) {
  for (const std::string& text : all_addresses(record)) {
    const addr::Ip ip = TRY(addr::parse_cidr(text)).ip;
    int by = link.value_or(0);
    if (!link) by = TRY(bridge_towards(session, ip));
    if (by == 0 || !TRY(is_on_link(session, ip, by))) continue;
    GuestWay way;
    way.ip = ip;
    way.link = by;
    way.owner = TRY(addr::parse_mac(record.mac));
    return way;
  }
  return std::nullopt;
}

Error no_learned(const VmRecord& record) {
  const std::vector<std::string> all = all_addresses(record);
  if (all.empty())
    return nowhere(record, "no address of it is known yet",
                   "the guest has asked no DHCP server: slicer-run vm logs " + record.name);
  return nowhere(record, all.front() + " was learned from its LAN, and the host has it itself or not on the VM's link",
                 "give the host an address of that subnet on the VM's bridge, or the network addresses (\"ipam\")");
}

Result<GuestWay> way_from_host(const VmRecord& record) {
  if (!record.addresses.empty()) {
    GuestWay way;
    way.ip = TRY(addr::parse_cidr(record.addresses.front())).ip;
    return way;
  }
  if (all_addresses(record).empty()) return std::unexpected(no_learned(record));
  net::RouteSocket host = TRY(net::RouteSocket::open());
  std::optional<int> link;  // of a VM in a namespace: not known, so any bridge
  if (record.placement == Placement::kHost && !record.tap.empty()) {
    const net::Link tap = TRY(net::get_link(host, record.tap));
    link = tap.master != 0 ? tap.master : tap.index;
  }
  std::optional<GuestWay> way = TRY(learned_way(host, record, link));
  if (!way) return std::unexpected(no_learned(record));
  return *std::move(way);
}

// As the guest was seen to use it, else as its MAC makes it, which is what most guests do.
Result<addr::Ip> link_local_of_guest(const VmRecord& record, const addr::Mac& guest) {
  if (!record.link_local.empty()) return addr::parse_ip(record.link_local);
  return addr::link_local_of(guest);
}

Result<GuestWay> way_beside(net::Netns sandbox, net::RouteSocket& session, const net::Link& macvtap,
                            const VmRecord& record) {
  const addr::Mac guest = TRY(addr::parse_mac(record.mac));
  GuestWay way;
  way.ip = TRY(link_local_of_guest(record, guest));
  way.link = TRY(net::ensure_macvlan_sibling(session, sandbox, macvtap).context("reach VM '" + record.name + "'"));
  // On a LAN anybody can answer for an address, and a guest can claim another machine's: what is sent to it goes to the
  // guest's MAC, which the kernel has on this host.
  TRY(net::ensure_neighbour(session, {.device = way.link, .ip = way.ip, .mac = guest}));
  way.sandbox = std::move(sandbox);
  return way;
}

Result<GuestWay> way_in(net::Netns sandbox, const VmRecord& record) {
  net::RouteSocket session = TRY(net::RouteSocket::open_in(sandbox));
  const net::Link tap = TRY(net::get_link(session, record.tap));
  if (tap.kind == "macvtap") return way_beside(std::move(sandbox), session, tap, record);
  if (record.addresses.empty()) {
    std::optional<GuestWay> way = TRY(learned_way(session, record, tap.index));
    if (!way) return way_from_host(record);
    way->sandbox = std::move(sandbox);
    return *std::move(way);
  }
  GuestWay way = TRY(way_from_host(record));
  // Where tc redirects the TAP to a veth, the namespace has no route: its way out is the guest's own.
  const std::optional<net::Route> route = TRY(net::find_route_to(session, way.ip));
  if (route && route->device == tap.index) way.sandbox = std::move(sandbox);
  return way;
}

struct SocketAddress {
  sockaddr_storage storage = {};
  socklen_t size = 0;
};

SocketAddress socket_address(const GuestWay& way, uint16_t port) {
  SocketAddress result;
  const auto bytes = way.ip.bytes();
  if (way.ip.is_v4()) {
    sockaddr_in to = {};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    std::memcpy(&to.sin_addr, bytes.data(), sizeof to.sin_addr);
    std::memcpy(&result.storage, &to, sizeof to);
    result.size = sizeof to;
    return result;
  }
  sockaddr_in6 to = {};
  to.sin6_family = AF_INET6;
  to.sin6_port = htons(port);
  to.sin6_scope_id = static_cast<uint32_t>(way.link);
  std::memcpy(&to.sin6_addr, bytes.data(), sizeof to.sin6_addr);
  std::memcpy(&result.storage, &to, sizeof to);
  result.size = sizeof to;
  return result;
}

// A socket belongs to the namespace that it was made in.
Result<UniqueFd> make_socket(const GuestWay& way, int type) {
  std::optional<net::ScopedNetns> inside;
  if (way.sandbox) inside.emplace(TRY(net::ScopedNetns::enter(*way.sandbox)));
  UniqueFd fd(socket(addr::af_of(way.ip.family()), type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return fail_errno(errno, "make a socket");
  if (way.owner && setsockopt(fd.get(), SOL_SOCKET, SO_BINDTOIFINDEX, &way.link, sizeof way.link) != 0)
    return fail_errno(errno, "bind a socket to link " + std::to_string(way.link));
  return fd;
}

Result<void> check_owner(net::RouteSocket session, int link, const addr::Ip& ip, const addr::Mac& owner) {
  const std::optional<net::Neighbour> found = TRY(net::find_neighbour(session, link, ip));
  if (found && found->mac == owner) return {};
  return fail(Kind::kUnavailable, "connect to " + ip.text() + ": who answers for it is not the VM (" + owner.text() +
                                      ")" + (found ? ", but " + found->mac.text() : ""));
}

// The connection stands, so the kernel knows whom it sends to.
std::function<Result<void>()> confirm_owner(const GuestWay& way) {
  const std::string netns = way.sandbox ? way.sandbox->path() : "";
  return [netns, link = way.link, ip = way.ip, owner = *way.owner]() -> Result<void> {
    if (netns.empty()) return check_owner(TRY(net::RouteSocket::open()), link, ip, owner);
    return check_owner(TRY(net::RouteSocket::open_in(TRY(net::Netns::open(netns)))), link, ip, owner);
  };
}

}  // namespace

std::string GuestWay::text() const { return ip.text(); }

Result<GuestWay> find_way(const VmRecord& record) {
  if (record.placement == Placement::kHost) return way_from_host(record);
  return way_in(TRY(net::Netns::open(record.netns)), record);
}

Result<Dialled> begin_connection(const GuestWay& way, uint16_t port) {
  UniqueFd fd = TRY(make_socket(way, SOCK_STREAM));
  const int on = 1;
  (void)setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // who relays holds nothing back
  const SocketAddress to = socket_address(way, port);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&to.storage), to.size) != 0 && errno != EINPROGRESS)
    return fail_errno(errno, "connect to " + way.text());
  Dialled dialled;
  dialled.socket = std::move(fd);
  if (way.owner) dialled.confirm = confirm_owner(way);
  return dialled;
}

Result<UniqueFd> open_datagrams(const GuestWay& way, uint16_t port) {
  if (way.owner)
    return fail(
        Kind::kUnavailable,
        "send to " + way.text() + ": its network did not give this address, and a datagram cannot ask whose it is",
        "forward a TCP port, or let the network give addresses (\"ipam\")");
  UniqueFd fd = TRY(make_socket(way, SOCK_DGRAM));
  const SocketAddress to = socket_address(way, port);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&to.storage), to.size) != 0)
    return fail_errno(errno, "send to " + way.text());
  return fd;
}

}  // namespace slicer::runner
