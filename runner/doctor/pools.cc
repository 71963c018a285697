// Pools: against each other, against the host's own addresses and routes, and how full they are.

#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <memory>
#include <set>

#include "lib/net/route.h"
#include "runner/doctor/checks.h"
#include "runner/networks/attachments.h"

namespace slicer::runner::doctor {
namespace {

constexpr unsigned kNearlyFullPercent = 90;
/// An exhausted pool of strangers' leftovers would print thousands of lines.
constexpr size_t kMaxStale = 10;

struct HostAddress {
  std::string link = {};
  addr::Ip ip = {};
};

std::vector<HostAddress> host_addresses() {
  std::vector<HostAddress> addresses;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return addresses;
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> owner(list, freeifaddrs);
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr) continue;
    // The sockets API: the family says what the address is.
    if (entry->ifa_addr->sa_family == AF_INET) {
      const auto* address = reinterpret_cast<const sockaddr_in*>(entry->ifa_addr);
      addresses.push_back({entry->ifa_name, addr::Ip(addr::Family::kIpv4, ntohl(address->sin_addr.s_addr))});
    } else if (entry->ifa_addr->sa_family == AF_INET6) {
      const auto* address = reinterpret_cast<const sockaddr_in6*>(entry->ifa_addr);
      addresses.push_back({entry->ifa_name, addr::Ip::from_bytes(address->sin6_addr.s6_addr)});
    }
  }
  return addresses;
}

bool overlap(const addr::Cidr& a, const addr::Cidr& b) {
  return a.family() == b.family() && (a.contains(b.ip) || b.contains(a.ip));
}

bool check_two(const CheckedNetwork& a, const CheckedNetwork& b, Findings& findings) {
  for (const addr::Cidr& mine : a.facts.pool->subnets) {
    for (const addr::Cidr& other : b.facts.pool->subnets) {
      if (!overlap(mine, other)) continue;
      findings.fail("pool",
                    fmt::format("networks '{}' and '{}' overlap: {} and {}", a.network.name, b.network.name,
                                mine.text(), other.text()),
                    "give one of them another subnet: each hands out addresses that the other does not know of");
      return false;
    }
  }
  return true;
}

bool check_each_other(const std::vector<CheckedNetwork>& networks, Findings& findings) {
  bool good = true;
  for (size_t i = 0; i < networks.size(); ++i)
    for (size_t j = i + 1; j < networks.size(); ++j) {
      const bool pools = networks[i].facts.pool && networks[j].facts.pool;
      // Blocks of all networks are in one store, keyed by address.
      if (!pools || (networks[i].facts.pool->blocks && networks[j].facts.pool->blocks)) continue;
      good = check_two(networks[i], networks[j], findings) && good;
    }
  return good;
}

bool check_addresses(const CheckedNetwork& checked, const std::vector<HostAddress>& addresses, Findings& findings) {
  bool good = true;
  for (const HostAddress& address : addresses) {
    if (address.link == checked.facts.bridge) continue;
    for (const addr::Cidr& subnet : checked.facts.pool->subnets) {
      if (!subnet.contains(address.ip)) continue;
      findings.fail("pool",
                    fmt::format("the host has {} on {}, inside {} of network '{}'", address.ip.text(), address.link,
                                subnet.text(), checked.network.name),
                    fmt::format("give the network another subnet in '{}'", checked.network.file));
      good = false;
    }
  }
  return good;
}

std::string link_name(int index) {
  std::array<char, IF_NAMESIZE> name{};
  return if_indextoname(static_cast<unsigned>(index), name.data()) == nullptr ? std::to_string(index) : name.data();
}

bool check_routes(net::RouteSocket& session, const CheckedNetwork& checked, Findings& findings) {
  for (const addr::Cidr& subnet : checked.facts.pool->subnets) {
    const auto route = net::find_route_to(session, subnet.last());
    if (!route || !*route || (*route)->destination.prefix == 0) continue;
    const std::string link = link_name((*route)->device);
    if (link == checked.facts.bridge || link == "lo") continue;
    // The subnet's last address is the bridge's broadcast when it stands; the kernel may say its route is /32.
    findings.warn("pool",
                  fmt::format("{} of network '{}' lies in {}, which the host reaches by {}", subnet.text(),
                              checked.network.name, (*route)->destination.text(), link),
                  fmt::format("if somebody is there, give the network another subnet in '{}'", checked.network.file));
    return false;
  }
  return true;
}

bool check_room(const CheckedNetwork& checked, const std::vector<Allocation>& allocations, Findings& findings) {
  const uint64_t taken = count_taken(allocations);
  const uint64_t capacity = checked.facts.pool->capacity();
  const std::string what =
      fmt::format("network '{}': {} of {} addresses are in use", checked.network.name, taken, capacity);
  if (taken >= capacity) {
    findings.fail("pool", what, "remove VMs, slicer-run gc, or give the network a larger range");
    return false;
  }
  if (capacity == UINT64_MAX || taken * 100 < capacity * kNearlyFullPercent) return true;
  findings.warn("pool", what, "slicer-run gc, or give the network a larger range before it is full");
  return false;
}

/// Allocations of this boot whose attachment no runtime of this host knows.
void check_stale(const CheckedNetwork& checked, const std::vector<Allocation>& allocations,
                 const std::set<chain::AttachmentKey>& known, Findings& findings) {
  size_t count = 0;
  for (const Allocation& allocation : allocations) {
    if (allocation.earlier_boot || allocation.ifname.empty()) continue;
    if (known.contains({checked.network.name, allocation.container_id, allocation.ifname})) continue;
    if (++count > kMaxStale) continue;
    findings.warn("allocation",
                  fmt::format("{} of network '{}' is kept for {} ({}), which no runtime's cache knows",
                              allocation.ip.text(), checked.network.name, allocation.container_id, allocation.ifname),
                  fmt::format("if it is gone: rm '{}/{}/{}'", checked.facts.pool->data_dir,
                              checked.facts.pool->blocks ? "_blocks" : checked.network.name, allocation.ip.text()));
  }
  if (count > kMaxStale)
    findings.warn("allocation",
                  fmt::format("network '{}': {} more like these", checked.network.name, count - kMaxStale),
                  "see docs/operations.md, leftovers");
}

Result<void> check_all(const Settings& settings, const std::vector<CheckedNetwork>& networks, Findings& findings) {
  net::RouteSocket session = TRY(net::RouteSocket::open());
  std::set<chain::AttachmentKey> known;
  for (const NetworkAttachment& attachment : TRY(list_attachments(settings))) known.insert(attachment.key);
  const std::vector<HostAddress> addresses = host_addresses();
  bool good = check_each_other(networks, findings);
  for (const CheckedNetwork& checked : networks) {
    if (!checked.facts.pool) continue;
    const std::vector<Allocation> allocations = TRY(list_allocations(*checked.facts.pool, checked.network.name));
    if (checked.facts.main_plugin != "slicer-macvtap")  // its pool is a part of the LAN
      good = check_addresses(checked, addresses, findings) && check_routes(session, checked, findings) && good;
    good = check_room(checked, allocations, findings) && good;
    check_stale(checked, allocations, known, findings);
  }
  if (good) findings.ok("pool", "the pools have room and overlap nothing");
  return {};
}

}  // namespace

void check_pools(const Settings& settings, const std::vector<CheckedNetwork>& networks, Findings& findings) {
  const Result<void> done = check_all(settings, networks, findings);
  if (!done) findings.fail("pool", done.error().message, done.error().hint);
}

}  // namespace slicer::runner::doctor
