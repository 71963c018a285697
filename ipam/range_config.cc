#include "ipam/range_config.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/cni/fields.h"

namespace slicer::ipam {
namespace {

using addr::Cidr;
using addr::Ip;
using addr::IpRange;

constexpr unsigned kDefaultPoolSize = 35;  // .220-.254 of a /24

/// A range object as it is written.
struct RangeKeys {
  std::optional<Cidr> subnet = {};
  std::optional<Ip> start = {};
  std::optional<Ip> end = {};
  std::optional<Ip> gateway = {};
  std::optional<Cidr> gateway_net = {};  ///< the gateway when it came with a prefix length
  std::optional<IpRange> range = {};
  std::vector<std::string> addresses = {};
};

std::unexpected<Error> bad(std::string_view key, std::string_view value, std::string_view why, std::string hint = {}) {
  return fail(Kind::kInvalidConfig, fmt::format("\"{}\": \"{}\" {}", key, value, why), std::move(hint));
}

std::string quoted(const char* key) { return fmt::format("\"{}\"", key); }

// ::ffff:192.0.2.1 would be kept in the file of 192.0.2.1: one address under two names.
Result<Ip> plain(const char* key, const Ip& ip) {
  if (!ip.is_v4() && ip.value() >> 32 == 0xffff)
    return bad(key, ip.text(), "is an IPv4 address in IPv6's clothes", "write it as an IPv4 address");
  return ip;
}

Result<std::optional<Ip>> ip_field(const cni::Json& object, const char* key) {
  const std::string text = TRY(cni::string_field(object, key));
  if (text.empty()) return std::nullopt;
  return TRY(plain(key, TRY(addr::parse_ip(text).context(quoted(key)))));
}

Result<std::optional<Cidr>> subnet_field(const cni::Json& object) {
  const std::string text = TRY(cni::string_field(object, "subnet"));
  if (text.empty()) return std::nullopt;
  const Cidr subnet = TRY(addr::parse_cidr(text).context(quoted("subnet")));
  (void)TRY(plain("subnet", subnet.ip));
  if (subnet.network() != subnet)
    return bad("subnet", text, "has host bits set", fmt::format("write \"{}\"", subnet.network().text()));
  return subnet;
}

Result<RangeKeys> read_keys(const cni::Json& object) {
  RangeKeys keys;
  keys.subnet = TRY(subnet_field(object));
  keys.start = TRY(ip_field(object, "rangeStart"));
  keys.end = TRY(ip_field(object, "rangeEnd"));
  keys.addresses = TRY(cni::strings_field(object, "addresses"));
  if (const std::string text = TRY(cni::string_field(object, "gateway")); text.find('/') != std::string::npos) {
    keys.gateway_net = TRY(addr::parse_cidr(text).context(quoted("gateway")));
    keys.gateway = keys.gateway_net->ip;
  } else if (!text.empty()) {
    keys.gateway = TRY(addr::parse_ip(text).context(quoted("gateway")));
  }
  if (keys.gateway) (void)TRY(plain("gateway", *keys.gateway));
  if (const std::string text = TRY(cni::string_field(object, "range")); !text.empty()) {
    keys.range = TRY(addr::parse_range(text).context(quoted("range")));
    (void)TRY(plain("range", keys.range->first));
  }
  return keys;
}

Result<void> check_combination(const RangeKeys& keys) {
  const std::string_view both = "two ways to say which addresses";
  if ((keys.start || keys.end) && (keys.range || !keys.addresses.empty()))
    return fail(Kind::kInvalidConfig,
                fmt::format("\"rangeStart\"/\"rangeEnd\" and \"{}\": {}", keys.range ? "range" : "addresses", both),
                "leave one of them out");
  if (keys.subnet && keys.gateway && !keys.subnet->contains(*keys.gateway))
    return bad("gateway", keys.gateway->text(), fmt::format("is not in \"subnet\" {}", keys.subnet->text()));
  if (keys.subnet && keys.gateway_net && keys.gateway_net->prefix != keys.subnet->prefix)
    return bad("gateway", keys.gateway_net->text(),
               fmt::format("has another prefix length than \"subnet\" {}", keys.subnet->text()));
  if (!keys.subnet && (keys.start || keys.end))
    return fail(Kind::kInvalidConfig, "\"rangeStart\"/\"rangeEnd\" without \"subnet\"", "add \"subnet\"");
  return {};
}

// The subnet that the range's addresses are in, as far as it is known.
std::optional<Cidr> subnet_of(const RangeKeys& keys) {
  if (keys.subnet) return keys.subnet;
  if (keys.gateway_net) return keys.gateway_net->network();
  return std::nullopt;
}

// Given, or the first address of "subnet", as host-local has it; a pool without "subnet" has no gateway by itself.
std::optional<Ip> gateway_of(const RangeKeys& keys) {
  if (keys.gateway) return keys.gateway;
  if (keys.subnet) return keys.subnet->first().plus(1);
  return std::nullopt;
}

Result<Cidr> subnet_with_room(const RangeKeys& keys, const char* key) {
  const Cidr subnet = *subnet_of(keys);
  if (subnet.prefix > addr::bits_of(subnet.family()) - 2)
    return bad(key, subnet.text(), "is too small to give addresses from",
               fmt::format("a prefix length of {} or less is needed", addr::bits_of(subnet.family()) - 2));
  return subnet;
}

// All host addresses; of IPv6 the last one too (there is no broadcast).
IpRange hosts_of(const Cidr& subnet) {
  const Ip last = subnet.last();
  return {subnet.first().plus(1), subnet.family() == addr::Family::kIpv4 ? Ip(last.family(), last.value() - 1) : last};
}

Result<std::vector<Segment>> from_subnet(const RangeKeys& keys) {
  const Cidr subnet = TRY(subnet_with_room(keys, "subnet"));
  const IpRange hosts = hosts_of(subnet);
  const Ip first = keys.start.value_or(hosts.first);
  const Ip last = keys.end.value_or(hosts.last);
  if (!subnet.contains(first)) return bad("rangeStart", first.text(), fmt::format("is not in {}", subnet.text()));
  if (!subnet.contains(last)) return bad("rangeEnd", last.text(), fmt::format("is not in {}", subnet.text()));
  if (last < first)
    return bad(keys.end ? "rangeEnd" : "rangeStart", (keys.end ? last : first).text(),
               fmt::format("leaves nothing in {}-{}", first.text(), last.text()));
  return std::vector{Segment{.range = {first, last}, .prefix = subnet.prefix, .gateway = gateway_of(keys)}};
}

// The highest host addresses of the gateway's subnet, away from what a router's DHCP server usually gives.
Result<std::vector<Segment>> from_gateway(const RangeKeys& keys) {
  const Cidr subnet = TRY(subnet_with_room(keys, "gateway"));
  IpRange hosts = hosts_of(subnet);
  if (hosts.size() > kDefaultPoolSize) hosts.first = Ip(hosts.family(), hosts.last.value() - kDefaultPoolSize + 1);
  return std::vector{Segment{.range = hosts, .prefix = subnet.prefix, .gateway = keys.gateway}};
}

Result<std::vector<Segment>> from_range(const RangeKeys& keys) {
  const auto subnet = subnet_of(keys);
  if (!subnet)
    return bad("range", keys.range->text(), "has no prefix length",
               "add \"subnet\", or give \"gateway\" a prefix length");
  if (!subnet->contains(keys.range->first) || !subnet->contains(keys.range->last))
    return bad("range", keys.range->text(), fmt::format("is not in {}", subnet->text()));
  return std::vector{Segment{.range = *keys.range, .prefix = subnet->prefix, .gateway = gateway_of(keys)}};
}

Result<Segment> one_address(const RangeKeys& keys, size_t index) {
  const std::string& text = keys.addresses[index];
  const std::string key = fmt::format("addresses[{}]", index);
  const auto subnet = subnet_of(keys);
  const bool has_prefix = text.find('/') != std::string::npos;
  const Cidr address = TRY(addr::parse_cidr_or_ip(text).context(quoted(key.c_str())));
  (void)TRY(plain(key.c_str(), address.ip));
  if (!has_prefix && !subnet)
    return bad(key, text, "has no prefix length",
               "write it with one, add \"subnet\", or give \"gateway\" a prefix length");
  const unsigned prefix = has_prefix ? address.prefix : subnet->prefix;
  const Cidr net{address.ip, prefix};
  if (subnet && !subnet->contains(address.ip)) return bad(key, text, fmt::format("is not in {}", subnet->text()));
  const std::optional<Ip> gateway = gateway_of(keys);
  if (gateway == address.ip) return bad(key, text, "is the gateway's address");
  if (gateway && !net.contains(*gateway))
    return bad(key, text, fmt::format("cannot reach gateway {}", gateway->text()));
  if (net.ip.is_v4() && prefix < 31 && (net.ip == net.first() || net.ip == net.last()))
    return bad(key, text, fmt::format("is the network or broadcast address of {}", net.network().text()));
  return Segment{.range = {address.ip, address.ip}, .prefix = prefix, .gateway = gateway};
}

Result<std::vector<Segment>> from_addresses(const RangeKeys& keys) {
  std::vector<Segment> segments;
  for (size_t i = 0; i < keys.addresses.size(); ++i) segments.push_back(TRY(one_address(keys, i)));
  return segments;
}

// The range is for all but its addresses that are listed too: those of the list are for who asks for them.
Result<std::vector<Segment>> from_range_and_addresses(const RangeKeys& keys) {
  std::vector<Segment> listed = TRY(from_addresses(keys));
  Segment rest = TRY(from_range(keys)).front();
  const Ip last = rest.range.last;
  std::ranges::sort(listed, {}, [](const Segment& one) { return one.range.first; });
  std::vector<Segment> segments;
  bool any_left = true;
  for (Segment& one : listed) {
    one.on_request = true;
    const Ip& ip = one.range.first;
    if (!any_left || !rest.range.contains(ip)) continue;
    if (ip != rest.range.first) {
      segments.push_back(rest);
      segments.back().range.last = Ip(ip.family(), ip.value() - 1);
    }
    any_left = ip != last;
    if (any_left) rest.range.first = ip.plus(1);
  }
  if (any_left) segments.push_back(rest);
  segments.insert(segments.end(), listed.begin(), listed.end());
  return segments;
}

// Of each /30: network, gateway, VM, broadcast.
Result<std::vector<Segment>> from_blocks(const RangeKeys& keys) {
  if (!keys.subnet || keys.start || keys.end || keys.range || keys.gateway || !keys.addresses.empty())
    return fail(Kind::kInvalidConfig, "\"block\": needs \"subnet\", and no other key that chooses addresses",
                "write only \"subnet\": every block has its own gateway");
  const Cidr& subnet = *keys.subnet;
  if (subnet.family() != addr::Family::kIpv4 || subnet.prefix > 30)
    return bad("subnet", subnet.text(), "has no /30 blocks", "an IPv4 subnet of /30 or larger is needed");
  const Ip last = subnet.last();
  return std::vector{Segment{.range = {subnet.first().plus(2), Ip(last.family(), last.value() - 1)},
                             .stride = 4,
                             .prefix = 30,
                             .gateway = {},
                             .blocks = true}};
}

}  // namespace

bool describes_range(const cni::Json& object) {
  if (!object.is_object()) return false;
  const auto is_there = [&](const char* key) {
    const cni::Json* found = cni::find_key(object, key);
    return found != nullptr && !found->is_null() && *found != "" && *found != cni::Json::array();
  };
  if (is_there("subnet") || is_there("range") || is_there("addresses")) return true;
  const cni::Json* gateway = cni::find_key(object, "gateway");
  return gateway != nullptr && gateway->is_string() &&
         gateway->get_ref<const std::string&>().find('/') != std::string::npos;
}

Result<std::vector<Segment>> parse_range(const cni::Json& object, unsigned block) {
  const RangeKeys keys = TRY(read_keys(object));
  if (block != 0) return from_blocks(keys);
  TRY(check_combination(keys));
  if (keys.range && !keys.addresses.empty()) return from_range_and_addresses(keys);
  if (!keys.addresses.empty()) return from_addresses(keys);
  if (keys.range) return from_range(keys);
  if (keys.subnet) return from_subnet(keys);
  if (keys.gateway_net) return from_gateway(keys);
  if (keys.gateway)
    return bad("gateway", keys.gateway->text(), "has no prefix length, and there is no \"subnet\"",
               fmt::format("write it as \"{}/{}\" with the subnet's own length, or add \"subnet\"",
                           keys.gateway->text(), keys.gateway->is_v4() ? 24 : 64));
  return fail(Kind::kInvalidConfig, "\"subnet\": missing",
              "give \"subnet\", \"range\", \"addresses\", or a \"gateway\" with its prefix length");
}

}  // namespace slicer::ipam
