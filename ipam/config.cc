#include "ipam/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "ipam/range_config.h"
#include "lib/cni/fields.h"
#include "lib/cni/result_versions.h"

namespace slicer::ipam {
namespace {

using addr::Ip;
using cni::Json;

Result<unsigned> block_of(const Json& ipam) {
  const int64_t block = TRY(cni::int_field(ipam, "block", 0));
  if (block != 0 && block != 30)
    return fail(Kind::kInvalidConfig, fmt::format("\"block\": {} is not a known block size; allowed: 30", block),
                "leave the key out to give single addresses");
  return static_cast<unsigned>(block);
}

/// A range and the set it is of.
struct Part {
  addr::IpRange range = {};
  size_t set = 0;
};

// Two that overlap, the lower one first. By sorting: a configuration may list thousands of addresses.
std::optional<std::pair<Part, Part>> find_overlap(std::vector<Part> parts) {
  std::ranges::sort(parts, {}, [](const Part& part) { return part.range.first; });
  for (size_t i = 1; i < parts.size(); ++i)
    if (parts[i].range.overlaps(parts[i - 1].range)) return std::pair(parts[i - 1], parts[i]);
  return std::nullopt;
}

Result<void> check_segments(const std::vector<Segment>& segments) {
  std::vector<Part> parts;
  for (const Segment& segment : segments) {
    if (segment.range.family() != segments[0].range.family())
      return fail(Kind::kInvalidConfig,
                  fmt::format("{} and {}: IPv4 and IPv6 in one set", segments[0].range.text(), segment.range.text()),
                  "give each family a set of its own in \"ranges\"");
    parts.push_back({segment.range});
  }
  if (const auto two = find_overlap(std::move(parts)))
    return fail(Kind::kInvalidConfig,
                fmt::format("{} and {} overlap", two->first.range.text(), two->second.range.text()),
                "give each address once");
  return {};
}

// A set is a list of range objects: one address comes from all of them together.
Result<Pool> parse_set(const Json& set, unsigned block) {
  if (!set.is_array()) return fail(Kind::kInvalidConfig, "expected a list of ranges", "write [[{\"subnet\": …}]]");
  if (set.empty()) return fail(Kind::kInvalidConfig, "an empty set of ranges");
  std::vector<Segment> segments;
  for (size_t i = 0; i < set.size(); ++i) {
    if (!set[i].is_object()) return fail(Kind::kInvalidConfig, fmt::format("[{}]: expected an object", i));
    auto parsed = TRY(parse_range(set[i], block).context(fmt::format("[{}]", i)));
    segments.insert(segments.end(), parsed.begin(), parsed.end());
  }
  TRY(check_segments(segments));
  return Pool(std::move(segments));
}

Result<void> add_sets(std::vector<Pool>& pools, const Json& sets, const char* key, unsigned block) {
  for (size_t i = 0; i < sets.size(); ++i)
    pools.push_back(TRY(parse_set(sets[i], block).context(fmt::format("\"{}\"[{}]", key, i))));
  return {};
}

Result<void> check_pools(const std::vector<Pool>& pools, const std::string& version) {
  std::array<int, 2> of_family{};
  std::vector<Part> parts;
  for (size_t set = 0; set < pools.size(); ++set) {
    ++of_family[pools[set].family() == addr::Family::kIpv4 ? 0 : 1];
    for (const Segment& segment : pools[set].segments()) parts.push_back({segment.range, set});
  }
  if (const auto two = find_overlap(std::move(parts)))
    return fail(Kind::kInvalidConfig,
                fmt::format("\"ranges\": {} of set {} and {} of set {} overlap", two->first.range.text(),
                            two->first.set, two->second.range.text(), two->second.set),
                "give each address once");
  if (std::ranges::max(of_family) > 1 && !cni::version_at_least(version, "0.3.0"))
    return fail(Kind::kInvalidConfig,
                fmt::format("\"ranges\": more than one address of a family, which CNI {} cannot express", version),
                "use \"cniVersion\": \"0.3.0\" or newer");
  return {};
}

// host-local's order: runtimeConfig.ipRanges, the section's own range, "ranges".
Result<std::vector<Pool>> parse_pools(const cni::NetConf& conf, const Json& ipam, unsigned block) {
  std::vector<Pool> pools;
  const Json runtime = TRY(cni::object_field(conf.raw, "runtimeConfig"));
  TRY(add_sets(pools, TRY(cni::array_field(runtime, "ipRanges").context("\"runtimeConfig\"")), "ipRanges", block));
  const Json ranges = TRY(cni::array_field(ipam, "ranges").context("\"ipam\""));
  // A bare gateway says nothing beside "ranges", as with host-local; alone, it earns an explanation.
  if (describes_range(ipam) || (pools.empty() && ranges.empty())) {
    auto segments = TRY(parse_range(ipam, block).context("\"ipam\""));
    TRY(check_segments(segments).context("\"ipam\""));
    pools.emplace_back(std::move(segments));
  }
  TRY(add_sets(pools, ranges, "ranges", block));
  TRY(check_pools(pools, conf.cni_version));
  return pools;
}

// "192.0.2.7" or "192.0.2.7/24", as capabilities may have it.
Result<void> add_request(std::vector<Ip>& requested, const std::string& text) {
  const Ip ip = TRY(addr::parse_cidr_or_ip(text)).ip;
  if (std::ranges::find(requested, ip) == requested.end()) requested.push_back(ip);
  return {};
}

Result<std::vector<Ip>> parse_requested(const cni::NetConf& conf, const cni::Environment& env) {
  std::vector<Ip> requested;
  if (const auto ip = env.arg("IP")) {
    const Result<void> added = add_request(requested, *ip);
    if (!added) return fail(Kind::kInvalidEnvironment, "CNI_ARGS \"IP\": " + added.error().message);
  }
  const Json args = TRY(cni::nested_field(conf.raw, {"args", "cni"}));
  for (const std::string& ip : TRY(cni::strings_field(args, "ips").context("\"args\".\"cni\"")))
    TRY(add_request(requested, ip).context("\"args\".\"cni\".\"ips\""));
  const Json runtime = TRY(cni::object_field(conf.raw, "runtimeConfig"));
  for (const std::string& ip : TRY(cni::strings_field(runtime, "ips").context("\"runtimeConfig\"")))
    TRY(add_request(requested, ip).context("\"runtimeConfig\".\"ips\""));
  return requested;
}

Result<std::vector<cni::Route>> parse_routes(const Json& ipam) {
  std::vector<cni::Route> routes;
  for (const Json& route : TRY(cni::array_field(ipam, "routes").context("\"ipam\"")))
    routes.push_back(TRY(cni::parse_route(route).context(fmt::format("\"routes\"[{}]", routes.size()))));
  return routes;
}

}  // namespace

Result<StoreConfig> parse_store_config(const cni::NetConf& conf) {
  const Json ipam = TRY(cni::object_field(conf.raw, "ipam"));
  StoreConfig store{.network = conf.name};
  store.data_dir = TRY(cni::string_field(ipam, "dataDir", store.data_dir).context("\"ipam\""));
  if (store.data_dir.empty()) store.data_dir = StoreConfig{}.data_dir;
  store.blocks = TRY(block_of(ipam).context("\"ipam\"")) != 0;
  return store;
}

Result<Config> parse_config(const cni::NetConf& conf, const cni::Environment& env) {
  const Json ipam = TRY(cni::object_field(conf.raw, "ipam"));
  if (ipam.empty())
    return fail(Kind::kInvalidConfig, "\"ipam\": missing", "add \"ipam\": {\"type\": \"slicer-ipam\", …}");
  Config config;
  config.store = TRY(parse_store_config(conf));
  config.pools = TRY(parse_pools(conf, ipam, config.store.blocks ? 30 : 0));
  config.routes = TRY(parse_routes(ipam));
  config.resolv_conf = TRY(cni::string_field(ipam, "resolvConf").context("\"ipam\""));
  config.requested = TRY(parse_requested(conf, env));
  return config;
}

}  // namespace slicer::ipam
