#include "runner/groups/group_pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "lib/base/log.h"
#include "lib/base/whole_file.h"
#include "lib/cni/fields.h"
#include "runner/groups/host_networks.h"
#include "runner/networks/facts.h"

namespace slicer::runner {
namespace {

using addr::Cidr;
using namespace std::chrono_literals;

constexpr auto kLockLimit = 10s;
constexpr const char* kSuffix = ".json";

std::string folder_of(const Settings& settings) { return settings.data_dir + "/groups"; }

// A group's name is a DNS name: it has no '/' and does not begin with a dot.
std::string file_of(const Settings& settings, const std::string& group) {
  return folder_of(settings) + "/" + group + kSuffix;
}

std::optional<Cidr> kept_subnet(const Settings& settings, const std::string& group) {
  const Result<std::string> text = read_file(file_of(settings, group));
  if (!text) return std::nullopt;
  const Result<cni::Json> json = cni::parse_json(*text);
  if (!json || !json->is_object()) return std::nullopt;
  const Result<std::string> subnet = cni::string_field(*json, "subnet");
  const Result<Cidr> cidr = subnet ? addr::parse_cidr(*subnet) : std::unexpected(subnet.error());
  return cidr ? std::optional(cidr->network()) : std::nullopt;
}

Result<void> keep_subnet(const Settings& settings, const std::string& group, const Cidr& subnet) {
  TRY(ensure_directory(folder_of(settings), 0755));
  return write_whole_file(file_of(settings, group), cni::dump_json({{"subnet", subnet.text()}}) + "\n",
                          {.mode = 0644, .sync = true});
}

bool overlap(const Cidr& a, const Cidr& b) { return a.contains(b.ip) || b.contains(a.ip); }

bool is_one_of(const Cidr& subnet, std::span<const Cidr> taken) {
  return std::ranges::any_of(taken, [&](const Cidr& other) { return overlap(subnet, other); });
}

Result<Cidr> choose_subnet(const Settings& settings, const HostGroup& group, std::span<const Cidr> taken) {
  const std::optional<Cidr> kept = kept_subnet(settings, group.name);
  if (kept && !is_one_of(*kept, taken) && TRY(is_free_subnet(*kept, group.network->bridge))) return *kept;
  const std::optional<Cidr> free = TRY(find_free_subnet(group.name, taken));
  if (!free)
    return fail(
        Kind::kExhausted,
        fmt::format("host group '{}': find a free subnet of 192.168.0.0/16 or 172.16.0.0/12: none is left", group.name),
        "name one: gateway: 10.10.10.1/24");
  if (kept)
    log_line(fmt::format("host group '{}': its subnet {} is in use by another network now; it gets {}", group.name,
                         kept->text(), free->text()));
  return *free;
}

bool wants_subnet(const HostGroup& group) {
  return group.network && group.network->mode == NetworkMode::kBridge && !group.network->gateway;
}

/// What of a network no other may have.
struct Claim {
  std::string bridge = {};
  std::vector<addr::IpRange> addresses = {};
};

Result<Claim> claim_of(const chain::Conflist& network) {
  const NetworkFacts facts = TRY(read_facts(network));
  Claim claim;
  claim.bridge = facts.bridge;
  if (!facts.pool || facts.pool->blocks) return claim;
  if (claim.bridge.empty()) {
    claim.addresses = facts.pool->ranges;  // of the LAN, which is another's
    return claim;
  }
  for (const Cidr& subnet : facts.pool->subnets)
    claim.addresses.push_back({.first = subnet.first(), .last = subnet.last()});
  return claim;
}

std::string owner_text(const VmRecord& record) {
  if (record.group.empty() || record.group != record.network) return fmt::format("network '{}'", record.network);
  return fmt::format("host group '{}' of '{}'", record.group, record.group_file);
}

Result<void> check_clash(const chain::Conflist& network, const Claim& own, const VmRecord& record) {
  const Result<chain::Conflist> other = chain::parse_conflist(record.conflist, record.network);
  const Result<Claim> theirs = other ? claim_of(*other) : std::unexpected(other.error());
  if (!theirs) return {};  // it runs, whatever its list says
  const std::string end = fmt::format("too: VM '{}' runs there", record.name);
  if (!own.bridge.empty() && own.bridge == theirs->bridge)
    return fail(
        Kind::kExists,
        fmt::format("network '{}': {} has the bridge \"{}\" {}", network.name, owner_text(record), own.bridge, end),
        "give each group a bridge of its own");
  for (const addr::IpRange& mine : own.addresses)
    for (const addr::IpRange& range : theirs->addresses)
      if (mine.overlaps(range))
        return fail(Kind::kExists,
                    fmt::format("network '{}': {} has {} {}", network.name, owner_text(record),
                                std::max(mine.first, range.first).text(), end),
                    "give each group addresses of its own");
  return {};
}

}  // namespace

std::vector<Cidr> taken_subnets(const Settings& settings, const std::string& group, std::span<const HostGroup> groups) {
  std::vector<Cidr> taken;
  if (const Result<chain::Listing> listing = chain::list_networks(settings.conf_dir); listing)
    for (const chain::Conflist& network : listing->networks) {
      const Result<std::optional<Pool>> pool = find_pool(network);
      if (pool && *pool) taken.insert(taken.end(), (*pool)->subnets.begin(), (*pool)->subnets.end());
    }
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(folder_of(settings), failed)) {
    const std::string name = entry.path().stem().string();
    if (entry.path().extension() != kSuffix || name == group) continue;
    if (const std::optional<Cidr> subnet = kept_subnet(settings, name)) taken.push_back(*subnet);
  }
  for (const HostGroup& other : groups)
    if (other.name != group && other.network && other.network->gateway)
      taken.push_back(other.network->gateway->network());
  return taken;
}

Result<void> choose_gateways(const Settings& settings, HostGroups& groups, Keep keep) {
  if (std::ranges::none_of(groups.groups, wants_subnet)) return {};
  std::optional<FileLock> lock;
  if (keep == Keep::kYes) {
    TRY(ensure_directory(folder_of(settings), 0755));
    lock = TRY(FileLock::acquire(folder_of(settings) + "/.lock", kLockLimit));
  }
  for (HostGroup& group : groups.groups) {
    if (!wants_subnet(group)) continue;
    const Cidr subnet = TRY(choose_subnet(settings, group, taken_subnets(settings, group.name, groups.groups)));
    if (keep == Keep::kYes) TRY(keep_subnet(settings, group.name, subnet));
    group.network->gateway = Cidr{.ip = subnet.first().plus(1), .prefix = subnet.prefix};
  }
  return {};
}

Result<void> forget_group(const Settings& settings, const std::string& group) {
  return delete_file(file_of(settings, group));
}

Result<void> check_clashes(const chain::Conflist& network, std::span<const VmRecord> alive) {
  const Result<Claim> own = claim_of(network);
  if (!own) return {};  // the chain's plugins say what is wrong with it
  for (const VmRecord& record : alive)
    if (record.network != network.name) TRY(check_clash(network, *own, record));
  return {};
}

}  // namespace slicer::runner
