#include "runner/groups/network_section.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "lib/cni/environment.h"
#include "lib/netfilter/policy.h"

namespace slicer::runner {
namespace {

using addr::Cidr;

constexpr unsigned kMaxTapPrefix = 10;
constexpr unsigned kMinMtu = 68;     // RFC 791
constexpr unsigned kMaxMtu = 65535;  // ETH_MAX_MTU
constexpr unsigned kBlockPrefix = 30;
constexpr std::array<std::string_view, 3> kModes = {"bridge", "isolated", "macvtap"};
constexpr std::array<std::string_view, 2> kVerdicts = {"drop", "allow"};

// The library's error with the place before it.
template <class T>
Result<T> at(const Section& section, const PlacedText& text, Result<T> result) {
  if (result) return result;
  return section.bad(text, result.error().message, result.error().hint);
}

Result<NetworkMode> read_mode(const Section& network) {
  const std::string mode = TRY(network.word("mode", kModes, "bridge"));
  if (mode == "isolated") return NetworkMode::kIsolated;
  if (mode == "macvtap") return NetworkMode::kMacvtap;
  return NetworkMode::kBridge;
}

Result<void> check_keys_of_mode(const Section& network, NetworkMode mode) {
  for (const YamlValue::Member& member : network.value().members) {
    const std::string_view modes = find_key(network_keys(), member.key)->modes;
    if (modes.empty() || modes.find(mode_name(mode)) != std::string_view::npos || !network.has(member.key)) continue;
    return network.bad(member.key, fmt::format("has no meaning in mode \"{}\", only in {}", mode_name(mode), modes),
                       "take it out, or change the mode");
  }
  return {};
}

Result<std::string> read_interface(const Section& network, const char* key, std::string fallback) {
  const std::string name = TRY(network.text(key, std::move(fallback)));
  if (cni::check_ifname(name)) return name;
  return network.bad(key, fmt::format("\"{}\" is no name of an interface", name),
                     "1-15 bytes without '/', ':' or white space");
}

Result<std::string> read_tap_prefix(const Section& network, const std::string& group) {
  std::string prefix = TRY(network.text("tap_prefix", default_tap_prefix(group)));
  if (!prefix.empty() && prefix.size() <= kMaxTapPrefix && cni::check_ifname(prefix + "0")) return prefix;
  return network.bad("tap_prefix", fmt::format("\"{}\" cannot begin an interface's name", prefix),
                     fmt::format("1-{} bytes without '/', ':' or white space", kMaxTapPrefix));
}

Result<std::optional<Cidr>> read_gateway(const Section& network) {
  const auto text = TRY(network.placed_text("gateway"));
  if (!text) return std::nullopt;
  if (text->text.find('/') == std::string::npos)
    return network.bad(*text, fmt::format("\"{}\" has no prefix length", text->text),
                       fmt::format("write the subnet's: \"{}/24\"", text->text));
  const Cidr gateway = TRY(at(network, *text, addr::parse_cidr(text->text)));
  if (gateway.prefix > addr::bits_of(gateway.family()) - 2)
    return network.bad(*text, fmt::format("{} leaves no room for VMs", gateway.text()),
                       "a prefix length of 30 (IPv6: 126) or less is needed");
  if (gateway.ip == gateway.first() || (gateway.ip.is_v4() && gateway.ip == gateway.last()))
    return network.bad(
        *text,
        fmt::format("{} is the subnet's {} address", gateway.ip.text(),
                    gateway.ip == gateway.first() ? "network" : "broadcast"),
        fmt::format("write the gateway's own, \"{}/{}\"", gateway.first().plus(1).text(), gateway.prefix));
  return gateway;
}

Result<void> check_in_subnet(const Section& network, const PlacedText& text, const Cidr& gateway, const addr::Ip& ip) {
  const Cidr subnet = gateway.network();
  if (!subnet.contains(ip))
    return network.bad(text, fmt::format("{} is not in the gateway's subnet {}", ip.text(), subnet.text()));
  if (ip.is_v4() && (ip == subnet.first() || ip == subnet.last()))
    return network.bad(text, fmt::format("{} is the {} address of {}", ip.text(),
                                         ip == subnet.first() ? "network" : "broadcast", subnet.text()));
  return {};
}

Result<void> read_range(const Section& network, GroupNetwork& result) {
  const auto text = TRY(network.placed_text("range"));
  if (!text) return {};
  if (text->text.find('-') == std::string::npos)
    return network.bad(*text, fmt::format("\"{}\" is no range", text->text),
                       "write the first and the last address: \"192.168.137.20-192.168.137.80\"");
  result.range = TRY(at(network, *text, addr::parse_range(text->text)));
  if (!result.gateway) return {};
  TRY(check_in_subnet(network, *text, *result.gateway, result.range->first));
  TRY(check_in_subnet(network, *text, *result.gateway, result.range->last));
  if (result.range->first == result.gateway->ip && result.range->last == result.gateway->ip)
    return network.bad(*text, fmt::format("{} holds only the gateway's own address, which no VM gets", text->text),
                       "add addresses to it");
  return {};
}

Result<void> read_addresses(const Section& network, GroupNetwork& result) {
  for (const PlacedText& text : TRY(network.texts("addresses"))) {
    Cidr address = TRY(at(network, text, addr::parse_cidr_or_ip(text.text)));
    if (result.gateway) {
      TRY(check_in_subnet(network, text, *result.gateway, address.ip));
      if (address.ip == result.gateway->ip) return network.bad(text, "is the gateway's address");
      if (text.text.find('/') == std::string::npos) address.prefix = result.gateway->prefix;
      if (address.prefix != result.gateway->prefix)
        return network.bad(text, fmt::format("has another prefix length than \"gateway\" {}", result.gateway->text()));
    }
    if (std::ranges::find(result.addresses, address.ip, &Cidr::ip) != result.addresses.end())
      return network.bad(text, fmt::format("{} is there twice", address.ip.text()));
    result.addresses.push_back(address);
  }
  return {};
}

Result<void> read_isolated_range(const Section& network, GroupNetwork& result) {
  const auto text = TRY(network.placed_text("range"));
  if (!text) return {};
  const Cidr range = TRY(at(network, *text, addr::parse_cidr(text->text)));
  if (!range.ip.is_v4() || range.prefix > kBlockPrefix)
    return network.bad(*text, fmt::format("\"{}\" has no /30 blocks", text->text), "an IPv4 CIDR of /30 or larger");
  if (range.network() != range)
    return network.bad(*text, fmt::format("\"{}\" has host bits set", text->text),
                       fmt::format("write \"{}\"", range.network().text()));
  result.isolated_range = range;
  return {};
}

Result<std::vector<std::string>> read_policy_list(const Section& network, const char* key) {
  std::vector<std::string> entries;
  for (PlacedText& text : TRY(network.texts(key))) {
    TRY(at(network, text, netfilter::parse_policy_entry(text.text)));
    entries.push_back(std::move(text.text));
  }
  return entries;
}

// Without a gateway a free subnet is chosen, when it is needed (group_pool.h).
Result<void> read_bridge(const Section& network, const std::string& group, GroupNetwork& result) {
  result.bridge = TRY(read_interface(network, "bridge", default_bridge(group)));
  result.tap_prefix = TRY(read_tap_prefix(network, group));
  if (result.gateway) return {};
  for (const char* key : {"range", "addresses"})
    if (network.has(key))
      return network.bad(key, "without \"gateway\": then the subnet is a free one of this host",
                         "write the address that the bridge is to have, with its subnet: gateway: 192.168.137.1/24");
  return {};
}

// Without a gateway the LAN's DHCP server gives the addresses.
Result<void> read_macvtap(const Section& network, GroupNetwork& result) {
  if (network.has("parent")) result.parent = TRY(read_interface(network, "parent", ""));
  if (result.gateway) return {};
  for (const char* key : {"range", "addresses"})
    if (network.has(key))
      return network.bad(key, "without \"gateway\": the LAN's DHCP server chooses the addresses",
                         "write the LAN's router with its subnet, gateway: 192.168.1.1/24, or take this out");
  return {};
}

}  // namespace

Result<GroupNetwork> parse_group_network(const Section& network, const std::string& group) {
  GroupNetwork result;
  result.mode = TRY(read_mode(network));
  TRY(check_keys_of_mode(network, result.mode));
  result.gateway = TRY(read_gateway(network));
  if (result.mode == NetworkMode::kIsolated) {
    TRY(read_isolated_range(network, result));
  } else {
    TRY(read_range(network, result));
    TRY(read_addresses(network, result));
  }
  if (result.mode == NetworkMode::kBridge) TRY(read_bridge(network, group, result));
  if (result.mode == NetworkMode::kMacvtap) TRY(read_macvtap(network, result));
  result.drop = TRY(read_policy_list(network, "drop"));
  result.allow = TRY(read_policy_list(network, "allow"));
  result.fallback = TRY(network.word("default", kVerdicts, ""));
  result.mtu_bytes = static_cast<unsigned>(TRY(network.number("mtu", 0, kMinMtu, kMaxMtu)));
  return result;
}

}  // namespace slicer::runner
