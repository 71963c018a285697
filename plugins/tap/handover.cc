#include "plugins/tap/handover.h"

#include <algorithm>

namespace slicer::tap {
namespace {

/// How surely an entry is the container's interface: upstream's plugins give the namespace's path as its sandbox,
/// others something else or nothing.
int likeness(const cni::Interface& interface, const cni::Environment& env) {
  if (interface.name != env.ifname || interface.sandbox == env.container_id) return 0;
  if (interface.sandbox == env.netns) return 3;
  return interface.sandbox.empty() ? 1 : 2;
}

/// Indexes of the entries that stand for the container's interface.
std::vector<bool> followed_entries(const cni::CniResult& result, const cni::Environment& env) {
  int best = 1;
  for (const cni::Interface& interface : result.interfaces) best = std::max(best, likeness(interface, env));
  std::vector<bool> followed;
  for (const cni::Interface& interface : result.interfaces) followed.push_back(likeness(interface, env) == best);
  return followed;
}

}  // namespace

cni::CniResult hand_over(cni::CniResult previous, const cni::Environment& env, const GuestPair& pair) {
  const std::vector<bool> followed = followed_entries(previous, env);
  const auto guest = static_cast<int>(previous.interfaces.size()) + 1;
  previous.interfaces.push_back({.name = pair.tap, .mac = pair.tap_mac, .mtu = pair.mtu_bytes, .sandbox = env.netns});
  previous.interfaces.push_back(
      {.name = pair.tap, .mac = pair.guest_mac, .mtu = pair.mtu_bytes, .sandbox = env.container_id});
  for (cni::IpConfig& ip : previous.ips)
    if (!ip.interface || followed[static_cast<size_t>(*ip.interface)]) ip.interface = guest;
  return previous;
}

std::vector<addr::Ip> guest_addresses(const cni::CniResult& result, int guest) {
  std::vector<addr::Ip> addresses;
  for (const cni::IpConfig& ip : result.ips)
    if (!ip.interface || *ip.interface == guest) addresses.push_back(ip.address.ip);
  return addresses;
}

}  // namespace slicer::tap
