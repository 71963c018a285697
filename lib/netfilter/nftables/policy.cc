#include "lib/netfilter/nftables/policy.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>

#include <algorithm>

#include "lib/netfilter/nftables/rule_builder.h"

namespace slicer::netfilter {
namespace {

constexpr const char* kJudgePrefix = "judge-";
constexpr const char* kPolicyPrefix = "policy-";
constexpr const char* kPolicyComment = "drop and allow lists of slicer-firewall";
constexpr size_t kIdLength = 12;

// A flood of dropped packets must not become a flood of log messages.
constexpr uint64_t kLogPerSecond = 10;
constexpr uint32_t kLogBurst = 20;

// RFC 4861, sections 4.1, 4.3, 4.4; RFC 2710 and 3810 (joining the groups that neighbour discovery works by). Not 134
// and 137: a guest is no router.
constexpr TypeRange kListenersAndSolicitation{.first = 131, .last = 133};
constexpr TypeRange kNeighbourMessages{.first = 135, .last = 136};
constexpr TypeRange kSolicitation{.first = 135, .last = 135};
constexpr TypeRange kRedirect{.first = 137, .last = 137};
constexpr uint8_t kIcmpRedirect = 5;  // RFC 792
constexpr TypeRange kListenerReport{.first = 143, .last = 143};
// RFC 2131, section 4.1; RFC 8415, section 7.2.
constexpr uint16_t kDhcpClient = 68;
constexpr uint16_t kDhcpServer = 67;
constexpr uint16_t kDhcp6Client = 546;
constexpr uint16_t kDhcp6Server = 547;

/// ff02::/16, link-local multicast: never forwarded.
addr::Cidr link_multicast() {
  return {.ip = addr::Ip(addr::Family::kIpv6, addr::Uint128{0xff02} << 112), .prefix = 16};
}

MapTarget target_of(PolicyVerdict verdict, const std::string& id) {
  return {.chain = verdict == PolicyVerdict::kAllow ? pass_chain(id) : drop_chain(id)};
}

ChainPlace in_table(const PolicyPlace& place, std::string chain) {
  return {.family = place.family, .table = place.table, .chain = std::move(chain)};
}

void put_ends(MessageBuffer& out, const PolicyPlace& place) {
  const ChainPlace drop = in_table(place, drop_chain(place.id));
  const ChainPlace pass = in_table(place, pass_chain(place.id));
  put_plain_chain(out, drop, kPolicyComment);
  put_plain_chain(out, pass, kPolicyComment);
  RuleBuilder(drop).counter().put(out);
  if (!place.log_prefix.empty())
    RuleBuilder(drop).limit(kLogPerSecond, kLogBurst).log(kLogGroup, place.log_prefix).put(out);
  RuleBuilder(drop).drop().put(out);
  RuleBuilder(pass).counter().accept().put(out);
}

}  // namespace

BaseHook egress_hook() { return {.type = "filter", .hook = NF_INET_PRE_ROUTING, .priority = kEgressPriority}; }

std::string egress_chain(const std::string& network) { return "egress-" + name_part(network); }

std::string judge_chain(const std::string& network, const std::string& id) {
  return kJudgePrefix + id + "-" + name_part(network);
}

std::optional<std::string> id_in_judge_chain(const std::string& chain, const std::string& network) {
  const size_t start = std::string_view(kJudgePrefix).size();
  if (chain.size() < start + kIdLength) return std::nullopt;
  std::string id = chain.substr(start, kIdLength);
  if (chain != judge_chain(network, id)) return std::nullopt;
  return id;
}

std::string policy_chain(const std::string& id) { return kPolicyPrefix + id; }
std::string drop_chain(const std::string& id) { return policy_chain(id) + "-drop"; }
std::string pass_chain(const std::string& id) { return policy_chain(id) + "-pass"; }

bool is_policy_chain(const std::string& chain) {
  return chain.starts_with(kPolicyPrefix) && chain.size() == policy_chain(std::string(kIdLength, 'a')).size();
}

std::string same_bridge_chain(const std::string& network) { return "same-bridge-" + name_part(network); }
std::string isolated_chain(const std::string& network) { return "isolated-" + name_part(network); }

MapSpec own_map(const std::string& network, addr::Family family) {
  return {.table = kTable,
          .name = (family == addr::Family::kIpv4 ? "own4-" : "own6-") + name_part(network),
          .family = family};
}

std::vector<MapSpec> policy_maps(const PolicyPlace& place) {
  std::vector<MapSpec> maps;
  for (const bool ports : {true, false}) {
    for (const addr::Family family : {addr::Family::kIpv4, addr::Family::kIpv6}) {
      const std::string name =
          policy_chain(place.id) + (family == addr::Family::kIpv4 ? "-v4" : "-v6") + (ports ? "-ports" : "");
      maps.push_back({.table = place.table,
                      .name = name,
                      .family = family,
                      .intervals = true,
                      .ports = ports,
                      .table_family = place.family});
    }
  }
  return maps;
}

std::vector<MapElement> map_elements(const MapSpec& map, const std::string& id, const CompiledPolicy& policy) {
  std::vector<MapElement> elements;
  const auto add = [&](const auto& entry, std::optional<PortRange> ports) {
    if (entry.addresses.family() != map.family) return;
    elements.push_back({.addresses = entry.addresses, .ports = ports, .target = target_of(entry.verdict, id)});
  };
  if (map.ports) {
    for (const PortVerdict& entry : policy.ports) add(entry, entry.ports);
  } else {
    for (const AddressVerdict& entry : policy.addresses) add(entry, std::nullopt);
  }
  return elements;
}

void add_elements(CompiledPolicy& policy, const std::vector<MapElement>& elements, const std::string& id) {
  for (const MapElement& element : elements) {
    const PolicyVerdict verdict = element.target.chain == pass_chain(id) ? PolicyVerdict::kAllow : PolicyVerdict::kDrop;
    if (element.ports)
      policy.ports.push_back({.addresses = element.addresses, .ports = *element.ports, .verdict = verdict});
    else
      policy.addresses.push_back({.addresses = element.addresses, .verdict = verdict});
  }
}

void put_policy(MessageBuffer& out, const PolicyPlace& place, const CompiledPolicy& policy) {
  put_ends(out, place);
  const ChainPlace chain = in_table(place, policy_chain(place.id));
  put_plain_chain(out, chain, kPolicyComment);
  for (const MapSpec& map : policy_maps(place)) {
    const std::vector<MapElement> elements = map_elements(map, place.id, policy);
    if (elements.empty()) continue;
    put_map(out, map);
    put_map_elements(out, map, elements);
    if (map.ports) {
      for (const uint8_t protocol : {uint8_t{IPPROTO_TCP}, uint8_t{IPPROTO_UDP}})
        RuleBuilder(chain).l4_protocol(protocol).destination_port_verdict(map.family, map.name).put(out);
    } else {
      RuleBuilder(chain).destination_verdict(map.family, map.name).put(out);
    }
  }
  RuleBuilder(chain).go_to(target_of(policy.fallback, place.id).chain).put(out);
}

void delete_policy(MessageBuffer& out, const PolicyPlace& place, const std::vector<std::string>& standing_maps) {
  delete_chain(out, in_table(place, policy_chain(place.id)));
  for (const MapSpec& map : policy_maps(place))
    if (std::ranges::find(standing_maps, map.name) != standing_maps.end()) delete_map(out, map);
  delete_chain(out, in_table(place, drop_chain(place.id)));
  delete_chain(out, in_table(place, pass_chain(place.id)));
}

// Each exception says where the packet may go, too: "neighbour discovery" to any address of the internet would be a way
// out for whatever a guest writes into it.
void put_always_passing(MessageBuffer& out, const ChainPlace& chain) {
  RuleBuilder(chain).reply_direction().accept().put(out);
  for (const TypeRange types : {kListenersAndSolicitation, kNeighbourMessages, kListenerReport})
    RuleBuilder(chain).icmpv6_type(types).destination(link_multicast()).accept().put(out);
  RuleBuilder(chain).icmpv6_type(kNeighbourMessages).destination_type(AddressType::kLocal).accept().put(out);
  for (const AddressType type : {AddressType::kBroadcast, AddressType::kLocal})
    RuleBuilder(chain)
        .family(addr::Family::kIpv4)
        .udp(kDhcpClient, kDhcpServer)
        .destination_type(type)
        .accept()
        .put(out);
  RuleBuilder(chain)
      .family(addr::Family::kIpv6)
      .udp(kDhcp6Client, kDhcp6Server)
      .destination(link_multicast())
      .accept()
      .put(out);
}

void put_judge(MessageBuffer& out, const std::string& network, const std::string& id) {
  const ChainPlace chain{.family = kInet, .table = kTable, .chain = judge_chain(network, id)};
  put_plain_chain(out, chain, network_mark(network));
  put_always_passing(out, chain);
  // Who could open a connection in another's name, to itself, could talk to that one in its reply direction, which no
  // list judges. Also where net.ipv4.conf.*.rp_filter does not look.
  RuleBuilder(chain).source_elsewhere().counter().drop().put(out);
  for (const addr::Family family : {addr::Family::kIpv4, addr::Family::kIpv6})
    RuleBuilder(chain).source_verdict(family, own_map(network, family).name).put(out);
  RuleBuilder(chain).go_to(policy_chain(id)).put(out);
}

std::string detection_chain(const std::string& network) { return "detection-" + name_part(network); }

void put_detection(MessageBuffer& out, const std::string& network, const std::string& bridge) {
  const ChainPlace chain{.family = kInet, .table = kTable, .chain = detection_chain(network)};
  put_base_chain(out, chain, egress_hook(), network_mark(network));
  RuleBuilder(chain)
      .input(bridge)
      .icmpv6_type(kSolicitation)
      .source({.ip = addr::Ip(addr::Family::kIpv6, 0), .prefix = 128})
      .drop()
      .put(out);
}

std::string redirects_chain(const std::string& network) { return "redirects-" + name_part(network); }

// The host sends them for a packet that leaves where it came from; IPv6 has no sysctl against that, and IPv4's is
// without effect where that of all interfaces is on (include/linux/inetdevice.h: IN_DEV_TX_REDIRECTS).
void put_redirects(MessageBuffer& out, const std::string& network, const std::string& bridge) {
  const ChainPlace chain{.family = kInet, .table = kTable, .chain = redirects_chain(network)};
  put_base_chain(out, chain, {.type = "filter", .hook = NF_INET_LOCAL_OUT, .priority = 0}, network_mark(network));
  RuleBuilder(chain).output(bridge).icmp_type(kIcmpRedirect).drop().put(out);
  RuleBuilder(chain).output(bridge).icmpv6_type(kRedirect).drop().put(out);
}

uint32_t ingress_rules(Ingress ingress) { return ingress == Ingress::kIsolated ? 5 : 4; }

void put_ingress(MessageBuffer& out, const std::string& network, const std::string& bridge, Ingress ingress) {
  const bool isolated = ingress == Ingress::kIsolated;
  const ChainPlace chain{
      .family = kInet, .table = kTable, .chain = isolated ? isolated_chain(network) : same_bridge_chain(network)};
  put_base_chain(out, chain, {.type = "filter", .hook = NF_INET_FORWARD, .priority = 0}, network_mark(network));
  RuleBuilder(chain).output(bridge, true).accept().put(out);
  RuleBuilder(chain).reply_direction().accept().put(out);
  RuleBuilder(chain).input_prefix("sl").input(bridge, true).counter().drop().put(out);
  RuleBuilder(chain).input_in(kBridgesSet).input(bridge, true).counter().drop().put(out);
  if (isolated) RuleBuilder(chain).input(bridge).counter().drop().put(out);
}

}  // namespace slicer::netfilter
