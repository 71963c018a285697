// From lists to disjoint intervals: one sweep over the addresses, along which the verdict on each port is followed.
#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <queue>
#include <tuple>
#include <utility>

#include "lib/netfilter/policy.h"

namespace slicer::netfilter {
namespace {

using addr::Family;
using addr::Ip;
using addr::IpRange;

/// Of all ports; 0 is none that an entry may name, but packets have it.
constexpr PortRange kAllPorts{.first = 0, .last = 65535};

/// An entry on its way through the sweep.
struct Ranked {
  IpRange addresses = {};
  PortRange ports = kAllPorts;
  std::optional<PolicyVerdict> verdict = {};  ///< none: nothing is decided here, by no entry below this one either
  bool closes = false;                        ///< leaves nothing but entries that name one address
};

/// The most specific first.
bool is_before(const Ranked& a, const Ranked& b) {
  const auto key = [](const Ranked& entry) {
    const addr::Uint128 span = entry.addresses.last.value() - entry.addresses.first.value();
    const int layer = entry.closes ? 1 : span == 0 ? 0 : 2;
    const int ports = entry.ports.last - entry.ports.first;
    return std::tuple(layer, span, ports, entry.verdict == PolicyVerdict::kAllow);
  };
  return key(a) < key(b);
}

/// The sweep of one family. The ports between two neighbouring cuts are a line: everywhere the same entries decide
/// about all of them. A tree over the lines holds each entry at the few nodes that cover its ports, so that an entry
/// costs what is touched of it, and a rectangle grows in the direction of the addresses until its verdict changes.
class Sweep {
 public:
  explicit Sweep(std::vector<Ranked> entries) : entries_(std::move(entries)) {
    std::ranges::stable_sort(entries_, is_before);
    for (const Ranked& entry : entries_) {
      cuts_.push_back(entry.ports.first);
      cuts_.push_back(entry.ports.last + 1U);
    }
    std::ranges::sort(cuts_);
    cuts_.erase(std::ranges::unique(cuts_).begin(), cuts_.end());
    lines_.resize(cuts_.empty() ? 0 : cuts_.size() - 1);
    nodes_.resize(4 * lines_.size());
  }

  /// All entries are of `family`.
  std::vector<PortVerdict> run(Family family) {
    const std::vector<Event> events = events_of(family);
    for (size_t i = 0; i < events.size();) {
      const size_t first = i;
      now_ = events[i].at;
      for (; i < events.size() && events[i].at == now_; ++i)
        if (events[i].begins) insert(kRoot, all(), lines_of(events[i].rank), events[i].rank);
      for (size_t k = first; k < i; ++k) refresh(kRoot, all(), lines_of(events[k].rank), kNobody);
      emit(Ip(family, now_.value() - 1));
    }
    for (size_t i = 0; i < lines_.size(); ++i) close(i);
    emit(Ip(family, ~addr::Uint128{0}));
    return std::move(done_);
  }

 private:
  using Rank = size_t;
  static constexpr Rank kNobody = SIZE_MAX;
  static constexpr size_t kRoot = 0;

  struct Event {
    Ip at = {};
    bool begins = false;
    Rank rank = 0;
  };
  /// Lines, the last excluded.
  struct Span {
    size_t first = 0;
    size_t end = 0;
  };
  struct Line {
    std::optional<PolicyVerdict> verdict = {};
    Ip since = {};
  };
  struct Closed {
    size_t line = 0;
    Line was = {};
  };
  /// Entries whose addresses have ended leave when they come to the top.
  using Node = std::priority_queue<Rank, std::vector<Rank>, std::greater<>>;

  [[nodiscard]] std::vector<Event> events_of(Family family) const {
    std::vector<Event> events;
    const Ip top(family, ~addr::Uint128{0});
    for (Rank rank = 0; rank < entries_.size(); ++rank) {
      const IpRange& range = entries_[rank].addresses;
      events.push_back({.at = range.first, .begins = true, .rank = rank});
      if (range.last != top) events.push_back({.at = range.last.plus(1), .rank = rank});
    }
    std::ranges::stable_sort(events, {}, &Event::at);
    return events;
  }

  [[nodiscard]] Span all() const { return {.first = 0, .end = lines_.size()}; }
  [[nodiscard]] Span lines_of(Rank rank) const {
    const auto line_at = [&](uint32_t port) {
      return static_cast<size_t>(std::ranges::lower_bound(cuts_, port) - cuts_.begin());
    };
    const PortRange& ports = entries_[rank].ports;
    return {.first = line_at(ports.first), .end = line_at(ports.last + 1U)};
  }

  void insert(size_t node, Span here, Span wanted, Rank rank) {
    if (wanted.end <= here.first || here.end <= wanted.first) return;
    if (wanted.first <= here.first && here.end <= wanted.end) return nodes_[node].push(rank);
    const size_t middle = here.first + (here.end - here.first) / 2;
    insert(2 * node + 1, {.first = here.first, .end = middle}, wanted, rank);
    insert(2 * node + 2, {.first = middle, .end = here.end}, wanted, rank);
  }

  /// Looks at the wanted lines again; `best` decides above this node.
  void refresh(size_t node, Span here, Span wanted, Rank best) {
    if (wanted.end <= here.first || here.end <= wanted.first) return;
    Node& entries = nodes_[node];
    while (!entries.empty() && entries_[entries.top()].addresses.last < now_) entries.pop();
    if (!entries.empty()) best = std::min(best, entries.top());
    if (here.end - here.first == 1) return decide(here.first, best);
    const size_t middle = here.first + (here.end - here.first) / 2;
    refresh(2 * node + 1, {.first = here.first, .end = middle}, wanted, best);
    refresh(2 * node + 2, {.first = middle, .end = here.end}, wanted, best);
  }

  void decide(size_t line, Rank best) {
    const std::optional<PolicyVerdict> verdict = best == kNobody ? std::nullopt : entries_[best].verdict;
    if (lines_[line].verdict == verdict) return;
    close(line);
    lines_[line] = {.verdict = verdict, .since = now_};
  }

  void close(size_t line) {
    if (lines_[line].verdict) closed_.push_back({.line = line, .was = lines_[line]});
  }

  /// What was closed ends at `last`; neighbouring lines that began together are one rectangle.
  void emit(const Ip& last) {
    std::ranges::sort(closed_, {}, &Closed::line);
    for (size_t i = 0; i < closed_.size();) {
      const Closed& one = closed_[i];
      size_t end = one.line;
      while (i < closed_.size() && closed_[i].line == end && closed_[i].was.since == one.was.since &&
             closed_[i].was.verdict == one.was.verdict) {
        ++i;
        ++end;
      }
      done_.push_back(
          {.addresses = {.first = one.was.since, .last = last},
           .ports = {.first = static_cast<uint16_t>(cuts_[one.line]), .last = static_cast<uint16_t>(cuts_[end] - 1)},
           .verdict = *one.was.verdict});
    }
    closed_.clear();
  }

  std::vector<Ranked> entries_;  ///< by rank
  std::vector<uint32_t> cuts_ = {};
  std::vector<Line> lines_ = {};
  std::vector<Node> nodes_ = {};
  std::vector<Closed> closed_ = {};
  std::vector<PortVerdict> done_ = {};
  Ip now_ = {};
};

/// Both families, in order.
std::vector<PortVerdict> sweep(const std::vector<Ranked>& entries) {
  std::vector<PortVerdict> pieces;
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    std::vector<Ranked> own;
    std::ranges::copy_if(entries, std::back_inserter(own),
                         [&](const Ranked& entry) { return entry.addresses.family() == family; });
    std::ranges::move(Sweep(std::move(own)).run(family), std::back_inserter(pieces));
  }
  std::ranges::sort(pieces, [](const PortVerdict& a, const PortVerdict& b) {
    return std::pair(a.addresses.first, a.ports.first) < std::pair(b.addresses.first, b.ports.first);
  });
  return pieces;
}

PolicyVerdict last_word(const Policy& policy) {
  if (policy.fallback) return *policy.fallback;
  return policy.drop.empty() && !policy.allow.empty() ? PolicyVerdict::kDrop : PolicyVerdict::kAllow;
}

IpRange everything(Family family) { return {.first = Ip(family, 0), .last = Ip(family, ~addr::Uint128{0})}; }

/// 0.0.0.0/0 dropped, and not a word of IPv6.
bool drops_ipv6_too(const Policy& policy) {
  const auto is_v6 = [](const PolicyEntry& entry) { return entry.addresses.family() == Family::kIpv6; };
  const auto is_all_v4 = [](const PolicyEntry& entry) {
    return !entry.ports && entry.addresses == everything(Family::kIpv4);
  };
  return std::ranges::any_of(policy.drop, is_all_v4) && std::ranges::none_of(policy.drop, is_v6) &&
         std::ranges::none_of(policy.allow, is_v6);
}

/// The entries with ports, or those without.
std::vector<Ranked> ranked_entries(const Policy& policy, bool with_ports) {
  std::vector<Ranked> entries;
  for (const PolicyVerdict verdict : {PolicyVerdict::kDrop, PolicyVerdict::kAllow}) {
    for (const PolicyEntry& entry : verdict == PolicyVerdict::kDrop ? policy.drop : policy.allow) {
      if (entry.ports.has_value() != with_ports) continue;
      entries.push_back({.addresses = entry.addresses, .ports = entry.ports.value_or(kAllPorts), .verdict = verdict});
    }
  }
  return entries;
}

std::vector<PortVerdict> compile_ports(const Policy& policy, std::span<const IpRange> closed) {
  std::vector<Ranked> entries = ranked_entries(policy, true);
  if (entries.empty()) return {};
  for (const IpRange& range : closed) entries.push_back({.addresses = range, .closes = true});
  return sweep(entries);
}

/// What the fallback says anyway is left out.
std::vector<AddressVerdict> compile_addresses(const Policy& policy, std::span<const IpRange> closed,
                                              PolicyVerdict fallback) {
  std::vector<Ranked> entries = ranked_entries(policy, false);
  if (drops_ipv6_too(policy))
    entries.push_back({.addresses = everything(Family::kIpv6), .verdict = PolicyVerdict::kDrop});
  for (const IpRange& range : closed)
    entries.push_back({.addresses = range, .verdict = PolicyVerdict::kDrop, .closes = true});
  std::vector<AddressVerdict> stretches;
  for (const PortVerdict& piece : sweep(entries))
    if (piece.verdict != fallback) stretches.push_back({.addresses = piece.addresses, .verdict = piece.verdict});
  return stretches;
}

}  // namespace

CompiledPolicy compile_policy(const Policy& policy, std::span<const IpRange> closed) {
  CompiledPolicy compiled{.fallback = last_word(policy)};
  compiled.ports = compile_ports(policy, closed);
  compiled.addresses = compile_addresses(policy, closed, compiled.fallback);
  return compiled;
}

std::vector<PortVerdict> join_pieces(std::span<const PortVerdict> pieces) {
  std::vector<Ranked> entries;
  entries.reserve(pieces.size());
  for (const PortVerdict& piece : pieces)
    entries.push_back({.addresses = piece.addresses, .ports = piece.ports, .verdict = piece.verdict});
  return sweep(entries);
}

std::vector<PortVerdict> cut_to_stretches(std::span<const PortVerdict> pieces, Family family) {
  struct Event {
    Ip at = {};
    bool begins = false;
    const PortVerdict* piece = nullptr;
  };
  std::vector<Event> events;
  const Ip top(family, ~addr::Uint128{0});
  for (const PortVerdict& piece : pieces) {
    if (piece.addresses.family() != family) continue;
    events.push_back({.at = piece.addresses.first, .begins = true, .piece = &piece});
    if (piece.addresses.last != top) events.push_back({.at = piece.addresses.last.plus(1), .piece = &piece});
  }
  std::ranges::stable_sort(events, {}, [](const Event& one) { return std::pair(one.at, one.begins); });
  std::map<uint16_t, const PortVerdict*> active;
  std::vector<PortVerdict> stretches;
  for (size_t i = 0; i < events.size();) {
    const Ip first = events[i].at;
    for (; i < events.size() && events[i].at == first; ++i) {
      if (events[i].begins) active[events[i].piece->ports.first] = events[i].piece;
      if (!events[i].begins) active.erase(events[i].piece->ports.first);
    }
    const IpRange range{.first = first, .last = i < events.size() ? Ip(family, events[i].at.value() - 1) : top};
    const size_t begin = stretches.size();
    for (const auto& [port, piece] : active) {
      const bool joins = stretches.size() > begin && stretches.back().verdict == piece->verdict &&
                         stretches.back().ports.last + 1 == port;
      if (joins)
        stretches.back().ports.last = piece->ports.last;
      else
        stretches.push_back({.addresses = range, .ports = piece->ports, .verdict = piece->verdict});
    }
  }
  return stretches;
}

}  // namespace slicer::netfilter
