#include "runner/networks/pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "lib/base/whole_file.h"
#include "lib/cni/fields.h"

namespace slicer::runner {
namespace {

namespace fs = std::filesystem;
using addr::Cidr;
using addr::Ip;
using addr::IpRange;
using cni::Json;

constexpr unsigned kDefaultPoolSize = 35;  // of a gateway with prefix length alone: docs/slicer-ipam.md
constexpr const char* kBlocksFolder = "_blocks";
constexpr size_t kMaxAllocationFile = 4096;

IpRange hosts_of(const Cidr& subnet) {
  const Ip last = subnet.last();
  if (subnet.prefix + 1 >= addr::bits_of(subnet.family())) return {subnet.first(), last};
  return {subnet.first().plus(1), last.is_v4() ? Ip(last.family(), last.value() - 1) : last};
}

/// A range object as host-local has it, and our keys beside.
struct RangeKeys {
  std::optional<Cidr> subnet = {};
  std::optional<Ip> gateway = {};
  bool gateway_has_prefix = false;
};

Result<RangeKeys> read_keys(const Json& object) {
  RangeKeys keys;
  if (const std::string text = TRY(cni::string_field(object, "subnet")); !text.empty())
    keys.subnet = TRY(addr::parse_cidr(text).context("\"subnet\"")).network();
  if (const std::string text = TRY(cni::string_field(object, "gateway")); !text.empty()) {
    const Cidr gateway = TRY(addr::parse_cidr_or_ip(text).context("\"gateway\""));
    keys.gateway = gateway.ip;
    keys.gateway_has_prefix = text.find('/') != std::string::npos;
    if (!keys.subnet && keys.gateway_has_prefix) keys.subnet = gateway.network();
  }
  return keys;
}

Result<void> add_addresses(const std::vector<std::string>& addresses, Pool& pool) {
  for (const std::string& text : addresses) {
    const Cidr address = TRY(addr::parse_cidr_or_ip(text).context("\"addresses\""));
    pool.ranges.push_back({address.ip, address.ip});
    if (text.find('/') != std::string::npos) pool.subnets.push_back(address.network());
  }
  return {};
}

Result<IpRange> range_in(const Json& object, const RangeKeys& keys) {
  IpRange range = hosts_of(*keys.subnet);
  const std::string start = TRY(cni::string_field(object, "rangeStart"));
  const std::string end = TRY(cni::string_field(object, "rangeEnd"));
  if (!start.empty()) range.first = TRY(addr::parse_ip(start).context("\"rangeStart\""));
  if (!end.empty()) range.last = TRY(addr::parse_ip(end).context("\"rangeEnd\""));
  if (!object.contains("subnet") && range.size() > kDefaultPoolSize)
    range.first = Ip(range.family(), range.last.value() - kDefaultPoolSize + 1);
  if (range.last < range.first)
    return fail(Kind::kInvalidConfig, "\"rangeEnd\": \"" + range.last.text() + "\" is below the range's start");
  return range;
}

Result<void> add_range(const Json& object, Pool& pool) {
  const RangeKeys keys = TRY(read_keys(object));
  if (keys.subnet) pool.subnets.push_back(*keys.subnet);
  if (keys.gateway) pool.gateways.push_back(*keys.gateway);
  if (!keys.gateway && keys.subnet && !pool.blocks) pool.gateways.push_back(keys.subnet->first().plus(1));
  const std::string range = TRY(cni::string_field(object, "range"));
  if (!range.empty()) {
    pool.ranges.push_back(TRY(addr::parse_range(range).context("\"range\"")));
    return {};
  }
  const std::vector<std::string> addresses = TRY(cni::strings_field(object, "addresses"));
  if (!addresses.empty()) return add_addresses(addresses, pool);
  if (!keys.subnet) return {};  // a section whose ranges are all in "ranges"
  pool.ranges.push_back(TRY(range_in(object, keys)));
  return {};
}

Result<Pool> parse_pool(const Json& ipam, const std::string& type) {
  Pool pool{.ipam = type};
  pool.data_dir = TRY(cni::string_field(ipam, "dataDir", pool.data_dir));
  pool.blocks = TRY(cni::int_field(ipam, "block", 0)) != 0;
  TRY(add_range(ipam, pool));
  for (const Json& set : TRY(cni::array_field(ipam, "ranges"))) {
    if (!set.is_array()) return fail(Kind::kInvalidConfig, "\"ranges\": expected lists of ranges");
    for (const Json& range : set) TRY(add_range(range, pool));
  }
  for (const Json& route : TRY(cni::array_field(ipam, "routes"))) {
    const std::string gateway = TRY(cni::string_field(route, "gw"));
    pool.routes.push_back(TRY(cni::string_field(route, "dst")) + (gateway.empty() ? "" : " via " + gateway));
  }
  return pool;
}

std::string trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return "";
  return std::string(text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1));
}

/// "id\r\nifname"
void read_holder(const std::string& text, Allocation& allocation) {
  const size_t line_end = text.find('\n');
  allocation.container_id = trimmed(std::string_view(text).substr(0, line_end));
  if (line_end != std::string::npos) allocation.ifname = trimmed(std::string_view(text).substr(line_end));
}

/// Five lines: ID, interface, network, boot ID, "end".
struct BootRecord {
  std::string container_id = {};
  std::string network = {};
  std::string boot_id = {};
};

std::optional<BootRecord> read_boot_record(const std::string& path) {
  const Result<std::string> text = read_file(path, kMaxAllocationFile);
  if (!text) return std::nullopt;
  std::vector<std::string> lines;
  for (size_t at = 0; at < text->size();) {
    const size_t end = std::min(text->find('\n', at), text->size());
    lines.push_back(text->substr(at, end - at));
    at = end + 1;
  }
  if (lines.size() != 5 || lines[4] != "end") return std::nullopt;
  return BootRecord{.container_id = lines[0], .network = lines[2], .boot_id = lines[3]};
}

std::string this_boot() { return trimmed(read_file("/proc/sys/kernel/random/boot_id").value_or("")); }

}  // namespace

bool Pool::contains(const Ip& ip) const {
  return std::ranges::any_of(ranges, [&](const IpRange& range) { return range.contains(ip); });
}

uint64_t Pool::capacity() const {
  addr::Uint128 total = 0;
  for (const IpRange& range : ranges) {
    const addr::Uint128 size = range.size();
    if (size == 0 || size > UINT64_MAX || total > UINT64_MAX) return UINT64_MAX;
    total += size;
  }
  if (blocks) return static_cast<uint64_t>((total + 2) / 4);  // the range has the hosts only: two less than its blocks
  for (const Ip& gateway : gateways)
    if (contains(gateway) && total > 0) --total;
  return static_cast<uint64_t>(std::min<addr::Uint128>(total, UINT64_MAX));
}

Result<std::optional<Pool>> find_pool(const chain::Conflist& network) {
  for (const chain::PluginConf& plugin : network.plugins) {
    const Json ipam = TRY(cni::object_field(plugin.raw, "ipam"));
    const std::string type = TRY(cni::string_field(ipam, "type"));
    if (type != "slicer-ipam" && type != "host-local") continue;
    return TRY(parse_pool(ipam, type).context(fmt::format("\"ipam\" of '{}'", plugin.type)));
  }
  return std::nullopt;
}

Result<std::vector<Allocation>> list_allocations(const Pool& pool, const std::string& network) {
  const std::string name = pool.blocks ? kBlocksFolder : network;
  const std::string folder = pool.data_dir + "/" + name;
  const std::string boot_id = this_boot();
  std::vector<Allocation> found;
  std::error_code failure;
  fs::directory_iterator files(folder, failure);
  for (; !failure && files != fs::directory_iterator(); files.increment(failure)) {
    const std::string file = files->path().filename().string();
    const Result<Ip> ip = addr::parse_ip(file);
    if (!ip) continue;  // lock, last_reserved_ip.0
    const Result<std::string> text = read_file(folder + "/" + file, kMaxAllocationFile);
    if (!text || trimmed(*text).empty()) continue;  // released just now, or what a crash left: free
    Allocation allocation{.ip = *ip};
    read_holder(*text, allocation);
    const auto record = read_boot_record(fmt::format("{}/.slicer/{}/{}", pool.data_dir, name, file));
    const bool known = record && record->container_id == allocation.container_id;
    if (pool.blocks && (!known || record->network != network)) continue;
    allocation.earlier_boot = known && record->boot_id != boot_id;
    found.push_back(std::move(allocation));
  }
  if (failure && failure.value() != ENOENT) return fail_errno(failure.value(), "read folder '" + folder + "'");
  std::ranges::sort(found, {}, &Allocation::ip);
  return found;
}

uint64_t count_taken(const std::vector<Allocation>& allocations) {
  return static_cast<uint64_t>(std::ranges::count(allocations, false, &Allocation::earlier_boot));
}

}  // namespace slicer::runner
