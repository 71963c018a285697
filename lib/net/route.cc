#include "lib/net/route.h"

#include <algorithm>
#include <cerrno>
#include <span>

#include "lib/net/message.h"

namespace slicer::net {
namespace {

std::string text_of(const Route& route) {
  std::string text = "route '" + route.destination.network().text() + "'";
  if (route.gateway) text += " via '" + route.gateway->text() + "'";
  return text + " on link " + std::to_string(route.device);
}

uint32_t table_of(const Route& route) { return route.table.value_or(RT_TABLE_MAIN); }

rtmsg header_of(const Route& route) {
  rtmsg head = {};
  head.rtm_family = static_cast<uint8_t>(addr::af_of(route.destination.family()));
  head.rtm_dst_len = static_cast<uint8_t>(route.destination.prefix);
  const uint32_t table = table_of(route);
  head.rtm_table = static_cast<uint8_t>(table < 256 ? table : RT_TABLE_UNSPEC);
  head.rtm_type = RTN_UNICAST;
  if (route.on_link) head.rtm_flags = RTNH_F_ONLINK;
  return head;
}

void put_destination(Message& message, const Route& route) {
  if (route.destination.prefix != 0) message.ip(RTA_DST, route.destination.network().ip);
  if (route.device != 0) message.s32(RTA_OIF, route.device);
  if (route.gateway) message.ip(RTA_GATEWAY, *route.gateway);
  if (route.metric) message.u32(RTA_PRIORITY, *route.metric);
  message.u32(RTA_TABLE, table_of(route));
}

Message add_request(const Route& route, int flags) {
  rtmsg head = header_of(route);
  head.rtm_protocol = RTPROT_STATIC;
  const bool link_scope = route.destination.ip.is_v4() && !route.gateway;
  head.rtm_scope = route.scope.value_or(link_scope ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE);
  Message request(RTM_NEWROUTE, flags);
  request.header(head);
  put_destination(request, route);
  if (route.source) request.ip(RTA_PREFSRC, *route.source);
  if (route.mtu_bytes || route.advmss)
    request.nest(RTA_METRICS, [&] {
      if (route.mtu_bytes) request.u32(RTAX_MTU, *route.mtu_bytes);
      if (route.advmss) request.u32(RTAX_ADVMSS, *route.advmss);
    });
  return request;
}

void read_metrics(nlattr* nest, Route& route) {
  const Attributes<RTAX_MAX> at(nest);
  route.mtu_bytes = at.number<uint32_t>(RTAX_MTU);
  route.advmss = at.number<uint32_t>(RTAX_ADVMSS);
}

/// None for what leads nowhere: cached, local, unreachable. Of several next hops it has neither device nor gateway.
std::optional<Route> parse_any_route(nlmsghdr& message) {
  if (message.nlmsg_type != RTM_NEWROUTE) return std::nullopt;
  const auto* head = static_cast<const rtmsg*>(nlmsg_data(&message));
  const Attributes<RTA_MAX> at(message, sizeof(rtmsg));
  if (head->rtm_type != RTN_UNICAST || (head->rtm_flags & RTM_F_CLONED) != 0) return std::nullopt;
  const addr::Family family = head->rtm_family == AF_INET ? addr::Family::kIpv4 : addr::Family::kIpv6;
  Route route{.destination = {.ip = at.ip(RTA_DST).value_or(addr::Ip(family, 0)), .prefix = head->rtm_dst_len},
              .device = at.number<int>(RTA_OIF).value_or(0),
              .gateway = at.ip(RTA_GATEWAY),
              .on_link = (head->rtm_flags & RTNH_F_ONLINK) != 0,
              .source = at.ip(RTA_PREFSRC),
              .metric = at.number<uint32_t>(RTA_PRIORITY),
              .table = at.number<uint32_t>(RTA_TABLE).value_or(head->rtm_table),
              .scope = head->rtm_scope};
  if (at.has(RTA_METRICS)) read_metrics(at.get(RTA_METRICS), route);
  return route;
}

/// None for what is no plain route: those, and several next hops.
std::optional<Route> parse_route(nlmsghdr& message) {
  std::optional<Route> route = parse_any_route(message);
  if (route && route->device == 0) route.reset();
  return route;
}

/// The gateway among the attributes behind a next hop.
std::optional<addr::Ip> gateway_of(const rtnexthop& hop) {
  int left = hop.rtnh_len - static_cast<int>(RTNH_LENGTH(0));
  for (const auto* at = reinterpret_cast<const nlattr*>(RTNH_DATA(&hop)); nla_ok(at, left); at = nla_next(at, &left))
    if (nla_type(at) == RTA_GATEWAY)
      return attribute_ip({static_cast<const uint8_t*>(nla_data(at)), static_cast<size_t>(nla_len(at))});
  return std::nullopt;
}

/// The route by `device`, also when it is one of several next hops: as which IPv6 keeps routes that differ in nothing
/// else (net/ipv6/ip6_fib.c, fib6_add_rt2node()).
std::optional<Route> parse_route_by(nlmsghdr& message, int device) {
  std::optional<Route> route = parse_any_route(message);
  if (!route || route->device != 0) return route;
  const Attributes<RTA_MAX> at(message, sizeof(rtmsg));
  const std::span<const uint8_t> hops = at.bytes(RTA_MULTIPATH);
  for (size_t offset = 0; offset + sizeof(rtnexthop) <= hops.size();) {
    const auto& hop = *reinterpret_cast<const rtnexthop*>(hops.data() + offset);
    if (hop.rtnh_len < sizeof(rtnexthop) || offset + hop.rtnh_len > hops.size()) break;
    route->device = hop.rtnh_ifindex;
    route->gateway = gateway_of(hop);
    if (hop.rtnh_ifindex == device) return route;
    offset += RTNH_ALIGN(hop.rtnh_len);
  }
  return std::nullopt;
}

bool is_same_way(const Route& a, const Route& b) {
  return a.destination.network() == b.destination.network() && a.device == b.device && a.gateway == b.gateway &&
         (!b.metric || a.metric.value_or(0) == *b.metric);
}

bool is_same(const Route& a, const Route& b) { return is_same_way(a, b) && table_of(a) == table_of(b); }

/// The routes of one table (RT_TABLE_UNSPEC: of all), of one device when it is not 0; the kernel filters.
Result<std::vector<Route>> list_routes(RouteSocket& ns, addr::Family family, uint32_t table, int device) {
  std::vector<Route> routes;
  rtmsg head = {};
  head.rtm_family = static_cast<uint8_t>(addr::af_of(family));
  Message question(RTM_GETROUTE);
  question.header(head).u32(RTA_TABLE, table);
  if (device != 0) question.s32(RTA_OIF, device);
  const Result<void> read = ns.dump(
      question, "list routes",
      [&](nlmsghdr& message) {
        std::optional<Route> route = device == 0 ? parse_route(message) : parse_route_by(message, device);
        if (route && (table == RT_TABLE_UNSPEC || route->table == table) && (device == 0 || route->device == device))
          routes.push_back(std::move(*route));
      },
      [&] { routes.clear(); });
  if (!read && read.error().kind != Kind::kNotFound) return std::unexpected(read.error());  // no such table or device
  return routes;
}

}  // namespace

Result<void> add_route(RouteSocket& ns, const Route& route) {
  Message request = add_request(route, NLM_F_CREATE | NLM_F_EXCL);
  return ns.transact(request, "add " + text_of(route));
}

Result<void> add_route_beside(RouteSocket& ns, const Route& route) {
  Message request = add_request(route, NLM_F_CREATE);
  return ns.transact(request, "add " + text_of(route));
}

Result<bool> ensure_route(RouteSocket& ns, const Route& route) {
  const Result<void> added = add_route(ns, route);
  if (added) return true;
  if (added.error().kind == Kind::kExists && TRY(has_route(ns, route))) return false;
  return std::unexpected(added.error());
}

Result<bool> has_route(RouteSocket& ns, const Route& route) {
  const addr::Cidr& destination = route.destination;
  if (destination.prefix == addr::bits_of(destination.family())) {
    const std::optional<Route> found = TRY(find_route_to(ns, destination.ip));
    if (found && is_same(*found, route)) return true;
  }
  const std::vector<Route> routes = TRY(list_routes(ns, destination.family(), table_of(route), route.device));
  return std::ranges::any_of(routes, [&](const Route& each) { return is_same(each, route); });
}

Result<bool> has_route_in_any_table(RouteSocket& ns, const Route& route) {
  const auto routes = TRY(list_routes(ns, route.destination.family(), RT_TABLE_UNSPEC, route.device));
  return std::ranges::any_of(routes, [&](const Route& each) { return is_same_way(each, route); });
}

Result<void> delete_route(RouteSocket& ns, const Route& route) {
  rtmsg head = header_of(route);
  head.rtm_scope = RT_SCOPE_NOWHERE;  // any
  head.rtm_flags = 0;
  Message request(RTM_DELROUTE);
  request.header(head);
  put_destination(request, route);
  Result<void> done = ns.transact(request, "delete " + text_of(route));
  if (!done && done.error().kind == Kind::kNotFound) return {};
  return done;
}

namespace {

/// What the kernel answers about an address instead of the route that says so (net/ipv4/fib_semantics.c: fib_props[]).
/// None: the error is of another kind.
std::optional<uint8_t> refusing_type(int err) {
  if (err == EINVAL) return RTN_BLACKHOLE;
  if (err == EHOSTUNREACH) return RTN_UNREACHABLE;
  if (err == EACCES) return RTN_PROHIBIT;
  return std::nullopt;
}

/// Asks for the table's entry that decides about `ip`, not for the cached result. Nothing is taken when there is none,
/// or one that refuses the address; that one's type is the result (RTN_UNSPEC: no such one).
Result<uint8_t> query_entry(RouteSocket& ns, const addr::Ip& ip, const std::function<void(nlmsghdr&)>& take) {
  rtmsg head = {};
  head.rtm_family = static_cast<uint8_t>(addr::af_of(ip.family()));
  head.rtm_dst_len = static_cast<uint8_t>(addr::bits_of(ip.family()));
  head.rtm_flags = RTM_F_FIB_MATCH;
  Message question(RTM_GETROUTE);
  question.header(head).ip(RTA_DST, ip);
  const Result<void> asked = ns.query(question, "find route to '" + ip.text() + "'", take);
  if (asked) return uint8_t{RTN_UNSPEC};
  const int err = asked.error().sys_errno;
  if (err == ENETUNREACH || err == ESRCH) return uint8_t{RTN_UNSPEC};
  if (const std::optional<uint8_t> type = refusing_type(err)) return *type;
  return std::unexpected(asked.error());
}

/// The longest of the routes of one type that hold `ip`, of all tables; the kernel filters by type.
Result<std::optional<addr::Cidr>> longest_of_type(RouteSocket& ns, const addr::Ip& ip, uint8_t type) {
  std::optional<addr::Cidr> longest;
  rtmsg head = {};
  head.rtm_family = static_cast<uint8_t>(addr::af_of(ip.family()));
  head.rtm_type = type;
  Message question(RTM_GETROUTE);
  question.header(head);
  TRY(ns.dump(
      question, "list routes",
      [&](nlmsghdr& message) {
        if (message.nlmsg_type != RTM_NEWROUTE) return;
        const auto* route = static_cast<const rtmsg*>(nlmsg_data(&message));
        const Attributes<RTA_MAX> at(message, sizeof(rtmsg));
        const addr::Cidr each{.ip = at.ip(RTA_DST).value_or(addr::Ip(ip.family(), 0)), .prefix = route->rtm_dst_len};
        if (route->rtm_type != type || !each.contains(ip)) return;
        if (!longest || each.prefix > longest->prefix) longest = each;
      },
      [&] { longest.reset(); }));
  return longest;
}

}  // namespace

Result<std::optional<Route>> find_route_to(RouteSocket& ns, const addr::Ip& ip) {
  std::optional<Route> found;
  (void)TRY(query_entry(ns, ip, [&](nlmsghdr& message) { found = parse_route(message); }));
  return found;
}

Result<std::optional<addr::Cidr>> find_destination_of(RouteSocket& ns, const addr::Ip& ip) {
  std::optional<addr::Cidr> found;
  const uint8_t refusing = TRY(query_entry(ns, ip, [&](nlmsghdr& message) {
    if (message.nlmsg_type != RTM_NEWROUTE) return;
    const auto* head = static_cast<const rtmsg*>(nlmsg_data(&message));
    const Attributes<RTA_MAX> at(message, sizeof(rtmsg));
    found = addr::Cidr{.ip = at.ip(RTA_DST).value_or(addr::Ip(ip.family(), 0)), .prefix = head->rtm_dst_len};
  }));
  if (refusing != RTN_UNSPEC) return longest_of_type(ns, ip, refusing);
  return found;
}

Result<std::optional<Route>> find_default_route(RouteSocket& ns, addr::Family family) {
  std::optional<Route> best;
  for (Route& route : TRY(list_routes(ns, family, RT_TABLE_MAIN, 0))) {
    if (route.destination.prefix != 0) continue;
    if (!best || route.metric.value_or(0) < best->metric.value_or(0)) best = std::move(route);
  }
  return best;
}

namespace {

/// The device of a default route's entry; of several next hops the first one's. None: it is another route's.
std::optional<int> device_of_default(nlmsghdr& message) {
  if (message.nlmsg_type != RTM_NEWROUTE) return std::nullopt;
  const auto* head = static_cast<const rtmsg*>(nlmsg_data(&message));
  if (head->rtm_type != RTN_UNICAST || head->rtm_dst_len != 0) return std::nullopt;
  const Attributes<RTA_MAX> at(message, sizeof(rtmsg));
  if (at.has(RTA_OIF)) return at.number<int>(RTA_OIF);
  const auto first = at.number<rtnexthop>(RTA_MULTIPATH);
  return first ? std::optional(first->rtnh_ifindex) : std::nullopt;
}

/// Of the main table's default routes the one with the lowest metric. For a host whose longer routes hide them.
Result<std::optional<int>> find_default_in_main(RouteSocket& ns, addr::Family family) {
  std::optional<int> best;
  uint32_t lowest = 0;
  rtmsg head = {};
  head.rtm_family = static_cast<uint8_t>(addr::af_of(family));
  Message question(RTM_GETROUTE);
  question.header(head).u32(RTA_TABLE, RT_TABLE_MAIN);
  const Result<void> read = ns.dump(
      question, "list routes",
      [&](nlmsghdr& message) {
        const std::optional<int> device = device_of_default(message);
        if (!device) return;
        const Attributes<RTA_MAX> at(message, sizeof(rtmsg));
        const uint32_t metric = at.number<uint32_t>(RTA_PRIORITY).value_or(0);
        if (at.number<uint32_t>(RTA_TABLE) != RT_TABLE_MAIN || (best && metric >= lowest)) return;
        best = device;
        lowest = metric;
      },
      [&] { best.reset(); });
  if (!read && read.error().kind != Kind::kNotFound) return std::unexpected(read.error());  // no such table
  return best;
}

/// An address to which nobody has a route of its own, so that the default route decides about it.
addr::Ip address_elsewhere(addr::Family family) {
  if (family == addr::Family::kIpv4) return {family, 0xc0000201U};  // 192.0.2.1
  return {family, (addr::Uint128{0x20010db8U} << 96) + 1};          // 2001:db8::1
}

}  // namespace

Result<std::optional<int>> find_default_device(RouteSocket& ns, addr::Family family) {
  std::optional<int> device;
  (void)TRY(
      query_entry(ns, address_elsewhere(family), [&](nlmsghdr& message) { device = device_of_default(message); }));
  if (device) return device;
  return find_default_in_main(ns, family);
}

Result<bool> is_own_address(RouteSocket& ns, const addr::Ip& ip) {
  bool local = false;
  (void)TRY(query_entry(ns, ip, [&](nlmsghdr& message) {
    if (message.nlmsg_type == RTM_NEWROUTE)
      local = static_cast<const rtmsg*>(nlmsg_data(&message))->rtm_type == RTN_LOCAL;
  }));
  return local;
}

Result<std::vector<addr::Ip>> list_own_addresses(RouteSocket& ns, addr::Family family) {
  std::vector<addr::Ip> list;
  rtmsg head = {};
  head.rtm_family = static_cast<uint8_t>(addr::af_of(family));
  head.rtm_type = RTN_LOCAL;
  Message question(RTM_GETROUTE);
  question.header(head).u32(RTA_TABLE, RT_TABLE_LOCAL);
  const Result<void> read = ns.dump(
      question, "list own addresses",
      [&](nlmsghdr& message) {
        if (message.nlmsg_type != RTM_NEWROUTE) return;
        const auto* route = static_cast<const rtmsg*>(nlmsg_data(&message));
        const std::optional<addr::Ip> ip = Attributes<RTA_MAX>(message, sizeof(rtmsg)).ip(RTA_DST);
        if (route->rtm_type == RTN_LOCAL && route->rtm_dst_len == addr::bits_of(family) && ip) list.push_back(*ip);
      },
      [&] { list.clear(); });
  if (!read && read.error().kind != Kind::kNotFound) return std::unexpected(read.error());  // no address ever: no table
  return list;
}

}  // namespace slicer::net
