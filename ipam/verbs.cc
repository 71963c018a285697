#include "ipam/verbs.h"

#include <fmt/format.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "ipam/allocator.h"
#include "ipam/config.h"
#include "ipam/disk_store.h"
#include "ipam/host_use.h"
#include "ipam/resolv_conf.h"

namespace slicer::ipam::verbs {
namespace {

constexpr const char* kDataDirHint = "check \"dataDir\", its mount and its free space";

std::string folder_of(const StoreConfig& config) { return config.blocks ? kBlocksFolder : config.network; }

Result<std::unique_ptr<DiskStore>> open_store(const StoreConfig& config, bool create, std::string last_suffix = {}) {
  return DiskStore::open({.data_dir = config.data_dir,
                          .folder = folder_of(config),
                          .shared_by_networks = config.blocks,
                          .last_suffix = std::move(last_suffix),
                          .create = create,
                          .in_use_by_host = in_use_by_host})
      .hint(kDataDirHint);
}

/// Blocks of all networks are in one folder, so each pool has a file of its own there. A block that was given back is
/// given again as late as can be: connections to the VM that had it are still known to the host.
std::string last_suffix(const Config& config) {
  return config.store.blocks ? "-" + config.pools.front().segments().front().range.first.text() : std::string();
}

Owner owner_of(const cni::Request& request) {
  return {.network = request.conf.name, .container_id = request.env.container_id, .ifname = request.env.ifname};
}

// A folder that is not there holds nothing.
bool is_absent(const Result<std::unique_ptr<DiskStore>>& store) {
  return !store && store.error().kind == Kind::kNotFound;
}

Result<cni::Dns> dns_of(const Config& config) {
  if (config.resolv_conf.empty()) return cni::Dns{};
  Result<std::string> text = read_file(config.resolv_conf);
  if (!text)
    return fail(Kind::kInvalidConfig, "\"resolvConf\": " + text.error().message,
                "name a file in resolv.conf(5)'s format");
  return parse_resolv_conf(*text);
}

// Could files be made at `path`, or where it would be made?
Result<void> check_writable(std::string path) {
  while (path.size() > 1 && access(path.c_str(), F_OK) != 0)
    path = path.substr(0, std::max<size_t>(path.rfind('/'), 1));
  if (access(path.c_str(), W_OK) != 0) return fail_errno(errno, fmt::format("write to '{}'", path));
  struct statvfs info{};
  if (statvfs(path.c_str(), &info) != 0) return fail_errno(errno, fmt::format("look at '{}'", path));
  // An ADD makes two small files an address, two more the first time, and now and then a larger index.
  constexpr fsblkcnt_t kFewestBlocks = 16;
  constexpr fsfilcnt_t kFewestFiles = 8;
  if (info.f_bavail < kFewestBlocks || (info.f_files != 0 && info.f_favail < kFewestFiles))
    return fail_errno(ENOSPC, fmt::format("write to '{}'", path));
  return {};
}

// As an ADD looks: what is held back for somebody unknown is looked at again when nothing else is left.
Result<bool> has_room(DiskStore& store, const Pool& pool, size_t set) {
  if (TRY(find_free(store, pool, set))) return true;
  if (!store.has_doubts()) return false;
  TRY(store.refresh());
  return TRY(find_free(store, pool, set)).has_value();
}

Result<void> check_pools_have_room(const Config& config) {
  const Result<std::unique_ptr<DiskStore>> store = open_store(config.store, false);
  if (is_absent(store)) return {};
  if (!store) return std::unexpected(store.error());
  for (size_t set = 0; set < config.pools.size(); ++set) {
    if (!TRY(has_room(**store, config.pools[set], set)))
      return fail(Kind::kUnavailable,
                  fmt::format("network '{}': no address is free in {}", config.store.network, config.pools[set].text()),
                  "remove attachments that are not needed, run GC, or enlarge the pool");
  }
  return {};
}

// An address of the pools that the result of the ADD has must still be the owner's.
Result<void> check_result(const cni::Request& request, const Config& config, const std::vector<addr::Ip>& held) {
  if (!request.conf.prev_result) return {};
  for (const cni::IpConfig& ip : request.conf.prev_result->ips) {
    const bool ours = std::ranges::any_of(config.pools, [&](const Pool& pool) { return pool.contains(ip.address.ip); });
    if (ours && std::ranges::find(held, ip.address.ip) == held.end())
      return fail(Kind::kMismatch,
                  fmt::format("check address {} of '{}/{}' in network '{}': not reserved for it", ip.address.ip.text(),
                              request.env.container_id, request.env.ifname, request.conf.name),
                  "DEL the attachment and ADD it again");
  }
  return {};
}

/// What the request's list of valid attachments lacks.
Result<std::vector<Allocation>> stale_allocations(DiskStore& store, const cni::Request& request) {
  const std::set<cni::ValidAttachment> valid(request.conf.valid_attachments->begin(),
                                             request.conf.valid_attachments->end());
  std::vector<Allocation> stale = TRY(store.allocations(request.conf.name));
  std::erase_if(stale,
                [&](const Allocation& one) { return valid.contains({one.owner.container_id, one.owner.ifname}); });
  return stale;
}

}  // namespace

Result<cni::CniResult> add(const cni::Request& request) { return add_checked(request, {}); }

Result<cni::CniResult> add_checked(const cni::Request& request, const Search& search) {
  const Config config = TRY(parse_config(request.conf, request.env));
  cni::CniResult result{.routes = config.routes};
  result.dns = TRY(dns_of(config));
  const std::unique_ptr<DiskStore> store = TRY(open_store(config.store, true, last_suffix(config)));
  for (const Lease& lease :
       TRY(allocate(*store, {owner_of(request), config.pools, config.requested, search}).hint(kDataDirHint)))
    result.ips.push_back({.address = lease.address, .gateway = lease.gateway});
  return result;
}

Result<void> give_up(const cni::Request& request, const addr::Ip& ip) {
  const std::unique_ptr<DiskStore> store = TRY(open_store(TRY(parse_store_config(request.conf)), true));
  TRY(release(*store, owner_of(request)).hint(kDataDirHint));
  return store->hold_back(ip);
}

Result<void> del(const cni::Request& request) {
  const Result<std::unique_ptr<DiskStore>> store = open_store(TRY(parse_store_config(request.conf)), false);
  if (is_absent(store)) return {};
  if (!store) return std::unexpected(store.error());
  return release(**store, owner_of(request)).hint(kDataDirHint);
}

Result<void> check(const cni::Request& request) {
  const Config config = TRY(parse_config(request.conf, request.env));
  const Result<std::unique_ptr<DiskStore>> store = open_store(config.store, false);
  if (!store && !is_absent(store)) return std::unexpected(store.error());
  std::vector<addr::Ip> held;
  if (store) held = TRY((*store)->find(owner_of(request)));
  if (held.empty())
    return fail(Kind::kMismatch,
                fmt::format("check '{}/{}' in network '{}': no address is reserved for it", request.env.container_id,
                            request.env.ifname, request.conf.name),
                "DEL the attachment and ADD it again");
  return check_result(request, config, held);
}

Result<void> gc(const cni::Request& request) {
  if (!request.conf.valid_attachments) return {};
  const Result<std::unique_ptr<DiskStore>> store = open_store(TRY(parse_store_config(request.conf)), false);
  if (is_absent(store)) return {};
  if (!store) return std::unexpected(store.error());
  Result<void> first_error;
  for (const Allocation& allocation : TRY(stale_allocations(**store, request))) {
    Result<void> done = (*store)->release(allocation.owner, allocation.ip);
    if (!done && first_error) first_error = std::move(done);
  }
  return std::move(first_error).hint(kDataDirHint);
}

Result<std::vector<addr::Ip>> find_leaving(const cni::Request& request) {
  const Result<std::unique_ptr<DiskStore>> store = open_store(TRY(parse_store_config(request.conf)), false);
  if (is_absent(store)) return std::vector<addr::Ip>{};
  if (!store) return std::unexpected(store.error());
  if (request.env.command != cni::Command::kGc) return (*store)->find(owner_of(request));
  if (!request.conf.valid_attachments) return std::vector<addr::Ip>{};
  std::vector<addr::Ip> leaving;
  for (const Allocation& allocation : TRY(stale_allocations(**store, request))) leaving.push_back(allocation.ip);
  return leaving;
}

Result<void> status(const cni::Request& request) {
  const Config config = TRY(parse_config(request.conf, request.env));
  (void)TRY(dns_of(config));
  Result<void> ready = check_writable(config.store.data_dir + "/" + folder_of(config.store));
  if (ready) ready = check_pools_have_room(config);
  if (ready || ready.error().kind == Kind::kBusy) return ready;
  ready.error().kind = Kind::kUnavailable;
  return std::move(ready).hint(kDataDirHint);
}

}  // namespace slicer::ipam::verbs
