#include "lib/net/neighbour.h"

#include <linux/neighbour.h>

#include "lib/net/neighbour_message.h"

namespace slicer::net {
namespace {

std::string place(int device, const addr::Ip& ip) { return "'" + ip.text() + "' on link " + std::to_string(device); }

ndmsg header_of(int device, const addr::Ip& ip) {
  ndmsg head = {};
  head.ndm_family = static_cast<uint8_t>(addr::af_of(ip.family()));
  head.ndm_ifindex = device;
  return head;
}

std::optional<Neighbour> parse_neighbour(nlmsghdr& message) {
  if (message.nlmsg_type != RTM_NEWNEIGH) return std::nullopt;
  const auto* head = static_cast<const ndmsg*>(nlmsg_data(&message));
  const Attributes<NDA_MAX> at(message, sizeof(ndmsg));
  const std::optional<addr::Ip> ip = at.ip(NDA_DST);
  if (!ip) return std::nullopt;
  return Neighbour{.device = head->ndm_ifindex,
                   .ip = *ip,
                   .mac = at.mac(NDA_LLADDR).value_or(addr::Mac{}),
                   .permanent = (head->ndm_state & NUD_PERMANENT) != 0,
                   .protocol = at.number<uint8_t>(NDA_PROTOCOL).value_or(0)};
}

Result<std::optional<Neighbour>> ask(RouteSocket& ns, int device, const addr::Ip& ip, uint8_t flags) {
  ndmsg head = header_of(device, ip);
  head.ndm_flags = flags;
  Message question(RTM_GETNEIGH);
  question.header(head).ip(NDA_DST, ip);
  std::optional<Neighbour> found;
  const Result<void> asked = ns.query(question, "find neighbour " + place(device, ip),
                                      [&](nlmsghdr& message) { found = parse_neighbour(message); });
  if (!asked && asked.error().kind == Kind::kNotFound) return std::nullopt;
  if (!asked) return std::unexpected(asked.error());
  return found;
}

Result<void> remove(RouteSocket& ns, int device, const addr::Ip& ip, uint8_t flags) {
  ndmsg head = header_of(device, ip);
  head.ndm_flags = flags;
  Message request(RTM_DELNEIGH);
  request.header(head).ip(NDA_DST, ip);
  Result<void> done = ns.transact(request, "delete neighbour " + place(device, ip));
  if (!done && done.error().kind == Kind::kNotFound) return {};
  return done;
}

Result<std::vector<Neighbour>> list(RouteSocket& ns, int device, uint8_t flags) {
  std::vector<Neighbour> all;
  ndmsg head = {};
  head.ndm_flags = flags;
  Message question(RTM_GETNEIGH);
  question.header(head).s32(NDA_IFINDEX, device);
  TRY(ns.dump(
      question, "list neighbours of link " + std::to_string(device),
      [&](nlmsghdr& message) {
        const std::optional<Neighbour> each = parse_neighbour(message);
        if (each && each->device == device && each->protocol == kNeighbourProtocol) all.push_back(*each);
      },
      [&] { all.clear(); }));
  return all;
}

}  // namespace

Message neighbour_request(const Neighbour& neighbour, int flag) {
  ndmsg head = header_of(neighbour.device, neighbour.ip);
  head.ndm_state = NUD_PERMANENT;
  Message request(RTM_NEWNEIGH, NLM_F_CREATE | flag, 128);
  request.header(head).ip(NDA_DST, neighbour.ip).mac(NDA_LLADDR, neighbour.mac).u8(NDA_PROTOCOL, kNeighbourProtocol);
  return request;
}

Result<void> ensure_neighbour(RouteSocket& ns, const Neighbour& neighbour) {
  Message request = neighbour_request(neighbour, NLM_F_REPLACE);
  return ns.transact(request, "set neighbour " + place(neighbour.device, neighbour.ip));
}

Result<std::optional<Neighbour>> find_neighbour(RouteSocket& ns, int device, const addr::Ip& ip) {
  return ask(ns, device, ip, 0);
}

Result<void> delete_neighbour(RouteSocket& ns, int device, const addr::Ip& ip) { return remove(ns, device, ip, 0); }

Result<std::vector<Neighbour>> list_neighbours(RouteSocket& ns, int device) { return list(ns, device, 0); }

Result<void> ensure_proxy_neighbour(RouteSocket& ns, int device, const addr::Ip& ip) {
  ndmsg head = header_of(device, ip);
  head.ndm_flags = NTF_PROXY;
  head.ndm_state = NUD_PERMANENT;  // else the kernel drops it when the bridge loses its carrier: no VM runs just then
  Message request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, 128);
  request.header(head).ip(NDA_DST, ip).u8(NDA_PROTOCOL, kNeighbourProtocol);
  return ns.transact(request, "set proxy neighbour " + place(device, ip));
}

Result<bool> has_proxy_neighbour(RouteSocket& ns, int device, const addr::Ip& ip) {
  return TRY(ask(ns, device, ip, NTF_PROXY)).has_value();
}

Result<void> delete_proxy_neighbour(RouteSocket& ns, int device, const addr::Ip& ip) {
  return remove(ns, device, ip, NTF_PROXY);
}

Result<std::vector<addr::Ip>> list_proxy_neighbours(RouteSocket& ns, int device) {
  std::vector<addr::Ip> ips;
  for (const Neighbour& each : TRY(list(ns, device, NTF_PROXY))) ips.push_back(each.ip);
  return ips;
}

}  // namespace slicer::net
