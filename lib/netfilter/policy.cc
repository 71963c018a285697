#include "lib/netfilter/policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace slicer::netfilter {
namespace {

using addr::Family;
using addr::Ip;
using addr::IpRange;

constexpr std::string_view kForms =
    "write ADDRESS, ADDRESS/LENGTH or FIRST-LAST, with :PORT or :PORT-PORT behind it if wanted ([IPV6]:PORT)";

std::unexpected<Error> bad_entry(std::string_view text, std::string_view why) {
  return fail(Kind::kInvalidConfig, fmt::format("entry '{}' {}", text, why), std::string(kForms));
}

std::optional<uint16_t> parse_port(std::string_view text) {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc{} || end != text.data() + text.size() || port == 0) return {};
  return port;
}

Result<PortRange> parse_ports(std::string_view text, std::string_view entry) {
  const size_t dash = text.find('-');
  const std::optional<uint16_t> first = parse_port(text.substr(0, dash));
  const std::optional<uint16_t> last = dash == std::string_view::npos ? first : parse_port(text.substr(dash + 1));
  if (!first || !last || *last < *first)
    return bad_entry(entry, fmt::format("has ports '{}', not within 1-65535", text));
  return PortRange{.first = *first, .last = *last};
}

Result<IpRange> parse_addresses(std::string_view text, std::string_view entry) {
  if (text.find('-') != std::string_view::npos) {
    const Result<IpRange> range = addr::parse_range(text);
    if (!range) return bad_entry(entry, "is not a range of addresses of one family that runs upwards");
    return range;
  }
  const Result<addr::Cidr> cidr = addr::parse_cidr_or_ip(text);
  if (!cidr) return bad_entry(entry, "is not an address, a prefix or a range of addresses");
  if (cidr->ip != cidr->first()) {
    return fail(
        Kind::kInvalidConfig, fmt::format("entry '{}' has host bits set", entry),
        fmt::format("write {} for the prefix, or {} for the one address", cidr->network().text(), cidr->ip.text()));
  }
  return IpRange{.first = cidr->first(), .last = cidr->last()};
}

// Where an entry's addresses end and its ports begin. A bare IPv6 address has colons of its own: no ports without
// brackets.
struct Parts {
  std::string_view addresses = {};
  std::optional<std::string_view> ports = {};
};

Result<Parts> split_entry(std::string_view text) {
  if (text.starts_with('[')) {
    const size_t close = text.find(']');
    if (close == std::string_view::npos) return bad_entry(text, "has no ']'");
    const std::string_view rest = text.substr(close + 1);
    const Parts parts{.addresses = text.substr(1, close - 1)};
    if (parts.addresses.find(':') == std::string_view::npos)
      return bad_entry(text, "has brackets around no IPv6 address");
    if (rest.empty()) return parts;
    if (rest.front() != ':') return bad_entry(text, "has no ':' behind ']'");
    return Parts{.addresses = parts.addresses, .ports = rest.substr(1)};
  }
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos || text.find(':', colon + 1) != std::string_view::npos)
    return Parts{.addresses = text};
  return Parts{.addresses = text.substr(0, colon), .ports = text.substr(colon + 1)};
}

}  // namespace

Result<PolicyEntry> parse_policy_entry(std::string_view text) {
  if (text.empty()) return bad_entry(text, "is empty");
  const Parts parts = TRY(split_entry(text));
  PolicyEntry entry;
  entry.addresses = TRY(parse_addresses(parts.addresses, text));
  if (parts.ports) entry.ports = TRY(parse_ports(*parts.ports, text));
  return entry;
}

std::string policy_entry_text(const PolicyEntry& entry) {
  const auto [first, last] = entry.addresses;
  // A whole prefix: as many low bits as differ are all zeros below and all ones above.
  const addr::Uint128 span = last.value() - first.value();
  const bool aligned = (span & (span + 1)) == 0 && (first.value() & span) == 0;
  unsigned host_bits = 0;
  while (host_bits < addr::bits_of(first.family()) && (span >> host_bits) != 0) ++host_bits;
  std::string text = first == last ? first.text()
                     : aligned     ? addr::Cidr{.ip = first, .prefix = addr::bits_of(first.family()) - host_bits}.text()
                                   : entry.addresses.text();
  if (!entry.ports) return text;
  if (!first.is_v4()) text = "[" + text + "]";
  if (entry.ports->first == entry.ports->last) return fmt::format("{}:{}", text, entry.ports->first);
  return fmt::format("{}:{}-{}", text, entry.ports->first, entry.ports->last);
}

PolicyVerdict CompiledPolicy::verdict_on(const Ip& ip, std::optional<uint16_t> port) const {
  for (const PortVerdict& element : ports) {
    const bool hit =
        port && element.addresses.contains(ip) && element.ports.first <= *port && *port <= element.ports.last;
    if (hit) return element.verdict;
  }
  for (const AddressVerdict& element : addresses) {
    if (element.addresses.contains(ip)) return element.verdict;
  }
  return fallback;
}

bool CompiledPolicy::may_drop_within(const addr::Cidr& subnet) const {
  const IpRange range{.first = subnet.first(), .last = subnet.last()};
  const auto drops_in = [&](const auto& element) {
    return element.verdict == PolicyVerdict::kDrop && element.addresses.overlaps(range);
  };
  if (std::ranges::any_of(ports, drops_in) || std::ranges::any_of(addresses, drops_in)) return true;
  if (fallback == PolicyVerdict::kAllow) return false;
  // Everything is dropped but what `addresses` allow: is the whole subnet among that?
  Ip next = range.first;
  for (const AddressVerdict& element : addresses) {
    if (!element.addresses.contains(next)) continue;
    if (element.addresses.contains(range.last)) return false;
    next = element.addresses.last.plus(1);
  }
  return true;
}

bool CompiledPolicy::allows_everything() const {
  const auto drops = [](const auto& element) { return element.verdict == PolicyVerdict::kDrop; };
  return fallback == PolicyVerdict::kAllow && std::ranges::none_of(ports, drops) &&
         std::ranges::none_of(addresses, drops);
}

}  // namespace slicer::netfilter
