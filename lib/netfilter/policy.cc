#include "lib/netfilter/policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <set>
#include <tuple>

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

// An entry on its way through the sweep. Smaller is more specific.
struct Ranked {
  IpRange addresses = {};
  std::optional<PortRange> ports = {};
  PolicyVerdict verdict = PolicyVerdict::kDrop;

  [[nodiscard]] addr::Uint128 span() const { return addresses.last.value() - addresses.first.value(); }
  [[nodiscard]] bool names_one_address() const { return addresses.first == addresses.last; }
};

struct MoreSpecific {
  static auto key(const Ranked* entry) {
    const int ports = entry->ports ? entry->ports->last - entry->ports->first : 0;
    return std::tuple(entry->span(), ports, entry->verdict == PolicyVerdict::kAllow);
  }
  bool operator()(const Ranked* a, const Ranked* b) const {
    const auto key_a = key(a);
    const auto key_b = key(b);
    return key_a != key_b ? key_a < key_b : a < b;  // equals are kept apart by their place
  }
};

using Active = std::set<const Ranked*, MoreSpecific>;

// Goes through the addresses of one family from the lowest to the highest and calls `emit(range, active)` for each
// stretch in which the same entries match.
template <class Emit>
void sweep(std::span<const Ranked> entries, Family family, const Emit& emit) {
  struct Event {
    Ip at = {};
    bool begins = false;
    const Ranked* entry = nullptr;
  };
  std::vector<Event> events;
  const Ip top(family, ~addr::Uint128{0});
  for (const Ranked& entry : entries) {
    if (entry.addresses.family() != family) continue;
    events.push_back({.at = entry.addresses.first, .begins = true, .entry = &entry});
    if (entry.addresses.last != top)
      events.push_back({.at = entry.addresses.last.plus(1), .begins = false, .entry = &entry});
  }
  std::ranges::stable_sort(events, {}, &Event::at);
  Active active;
  for (size_t i = 0; i < events.size();) {
    const Ip start = events[i].at;
    for (; i < events.size() && events[i].at == start; ++i) {
      if (events[i].begins) active.insert(events[i].entry);
      if (!events[i].begins) active.erase(events[i].entry);
    }
    const Ip end = i < events.size() ? Ip(family, events[i].at.value() - 1) : top;
    if (!active.empty()) emit(IpRange{.first = start, .last = end}, active);
  }
}

struct PortPiece {
  PortRange ports = {};
  PolicyVerdict verdict = PolicyVerdict::kDrop;
};

// The verdicts on ports where `active` match, the most specific first, in pieces that do not overlap.
std::vector<PortPiece> port_pieces(const std::vector<const Ranked*>& active) {
  std::vector<uint32_t> cuts;
  for (const Ranked* entry : active) {
    cuts.push_back(entry->ports->first);
    cuts.push_back(entry->ports->last + 1U);
  }
  std::ranges::sort(cuts);
  cuts.erase(std::ranges::unique(cuts).begin(), cuts.end());
  std::vector<PortPiece> pieces;
  for (size_t i = 0; i + 1 < cuts.size(); ++i) {
    const auto covers = [&](const Ranked* entry) {
      return entry->ports->first <= cuts[i] && cuts[i] <= entry->ports->last;
    };
    const auto decides = std::ranges::find_if(active, covers);
    if (decides == active.end()) continue;
    const PortRange ports{.first = static_cast<uint16_t>(cuts[i]), .last = static_cast<uint16_t>(cuts[i + 1] - 1)};
    if (!pieces.empty() && pieces.back().verdict == (*decides)->verdict &&
        pieces.back().ports.last + 1 == ports.first) {
      pieces.back().ports.last = ports.last;
    } else {
      pieces.push_back({.ports = ports, .verdict = (*decides)->verdict});
    }
  }
  return pieces;
}

bool adjoin(const IpRange& below, const IpRange& above) {
  return below.family() == above.family() && below.last.plus(1) == above.first && above.first.value() != 0;
}

// Appends a stretch without ports, joined to the one below it when they agree; what the fallback says anyway is left
// out.
void add_stretch(CompiledPolicy& compiled, const IpRange& range, PolicyVerdict verdict) {
  if (verdict == compiled.fallback) return;
  auto& list = compiled.addresses;
  if (!list.empty() && list.back().verdict == verdict && adjoin(list.back().addresses, range)) {
    list.back().addresses.last = range.last;
  } else {
    list.push_back({.addresses = range, .verdict = verdict});
  }
}

// Appends the pieces of a stretch. The stretch below it ends the list; when it has the same pieces, it grows instead.
void add_pieces(std::vector<PortVerdict>& list, const IpRange& range, const std::vector<PortPiece>& pieces) {
  if (pieces.empty()) return;
  const size_t count = pieces.size();
  const auto below = [&](size_t i) -> PortVerdict& { return list[list.size() - count + i]; };
  bool same = list.size() >= count &&
              (list.size() == count || list[list.size() - count - 1].addresses != list.back().addresses);
  for (size_t i = 0; same && i < count; ++i) {
    same =
        adjoin(below(i).addresses, range) && below(i).ports == pieces[i].ports && below(i).verdict == pieces[i].verdict;
  }
  for (size_t i = 0; i < count; ++i) {
    if (same) below(i).addresses.last = range.last;
    if (!same) list.push_back({.addresses = range, .ports = pieces[i].ports, .verdict = pieces[i].verdict});
  }
}

PolicyVerdict last_word(const Policy& policy) {
  if (policy.fallback) return *policy.fallback;
  return policy.drop.empty() && !policy.allow.empty() ? PolicyVerdict::kDrop : PolicyVerdict::kAllow;
}

IpRange everything(Family family) { return {.first = Ip(family, 0), .last = Ip(family, ~addr::Uint128{0})}; }

std::vector<Ranked> ranked_entries(const Policy& policy) {
  std::vector<Ranked> entries;
  bool all_v4_dropped = false;
  bool any_v6 = false;
  for (const PolicyVerdict verdict : {PolicyVerdict::kDrop, PolicyVerdict::kAllow}) {
    for (const PolicyEntry& entry : verdict == PolicyVerdict::kDrop ? policy.drop : policy.allow) {
      entries.push_back({.addresses = entry.addresses, .ports = entry.ports, .verdict = verdict});
      any_v6 = any_v6 || entry.addresses.family() == Family::kIpv6;
      all_v4_dropped = all_v4_dropped || (verdict == PolicyVerdict::kDrop && !entry.ports &&
                                          entry.addresses == everything(Family::kIpv4));
    }
  }
  if (all_v4_dropped && !any_v6) entries.push_back({.addresses = everything(Family::kIpv6)});
  return entries;
}

// The entries that count in a stretch, the most specific first, with or without ports. Where the stretch is closed,
// only those that name just this address do.
std::vector<const Ranked*> counting(const Active& active, bool with_ports, const std::set<const Ranked*>& closing) {
  const bool closed = std::ranges::any_of(active, [&](const Ranked* entry) { return closing.contains(entry); });
  std::vector<const Ranked*> entries;
  for (const Ranked* entry : active) {
    if (closing.contains(entry) || entry->ports.has_value() != with_ports) continue;
    if (!closed || entry->names_one_address()) entries.push_back(entry);
  }
  return entries;
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

CompiledPolicy compile_policy(const Policy& policy, std::span<const IpRange> closed) {
  CompiledPolicy compiled{.fallback = last_word(policy)};
  std::vector<Ranked> entries = ranked_entries(policy);
  const size_t listed = entries.size();
  for (const IpRange& range : closed) entries.push_back({.addresses = range});
  std::set<const Ranked*> closing;
  for (size_t i = listed; i < entries.size(); ++i) closing.insert(&entries[i]);

  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    sweep(entries, family, [&](const IpRange& range, const Active& active) {
      add_pieces(compiled.ports, range, port_pieces(counting(active, true, closing)));
      const std::vector<const Ranked*> portless = counting(active, false, closing);
      const bool is_closed = std::ranges::any_of(active, [&](const Ranked* entry) { return closing.contains(entry); });
      if (!portless.empty()) {
        add_stretch(compiled, range, portless.front()->verdict);
      } else if (is_closed) {
        add_stretch(compiled, range, PolicyVerdict::kDrop);
      }
    });
  }
  return compiled;
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
