#include "runner/forward/guest_way.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "lib/net/link.h"
#include "lib/net/macvlan_sibling.h"
#include "lib/net/neighbour.h"
#include "lib/net/route.h"
#include "runner/lease/address_book.h"

namespace slicer::runner {
namespace {

// The first that is known: of the network, else of its DHCP server, else what was seen.
Result<addr::Ip> address_of(const VmRecord& record) {
  const std::vector<std::string> all = all_addresses(record);
  if (!all.empty()) return TRY(addr::parse_cidr(all.front())).ip;
  return fail(Kind::kUnavailable, "reach VM '" + record.name + "': no address of it is known yet",
              "the guest has asked no DHCP server: slicer-run vm logs " + record.name);
}

// As the guest was seen to use it, else as its MAC makes it, which is what most guests do.
Result<addr::Ip> link_local_of_guest(const VmRecord& record, const addr::Mac& guest) {
  if (!record.link_local.empty()) return addr::parse_ip(record.link_local);
  return link_local_of(guest);
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
  GuestWay way;
  way.ip = TRY(address_of(record));
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
Result<UniqueFd> make_socket(const GuestWay& way) {
  std::optional<net::ScopedNetns> inside;
  if (way.sandbox) inside.emplace(TRY(net::ScopedNetns::enter(*way.sandbox)));
  UniqueFd fd(socket(addr::af_of(way.ip.family()), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return fail_errno(errno, "make a socket");
  return fd;
}

}  // namespace

std::string GuestWay::text() const { return ip.text(); }

Result<GuestWay> find_way(const VmRecord& record) {
  if (record.placement == Placement::kHost) {
    GuestWay way;
    way.ip = TRY(address_of(record));
    return way;
  }
  return way_in(TRY(net::Netns::open(record.netns)), record);
}

Result<UniqueFd> begin_connection(const GuestWay& way, uint16_t port) {
  UniqueFd fd = TRY(make_socket(way));
  const int on = 1;
  (void)setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // who relays holds nothing back
  const SocketAddress to = socket_address(way, port);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&to.storage), to.size) != 0 && errno != EINPROGRESS)
    return fail_errno(errno, "connect to " + way.text());
  return fd;
}

}  // namespace slicer::runner
