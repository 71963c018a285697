#include "ipam/allocator.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/base/log.h"
#include "lib/base/undo.h"

namespace slicer::ipam {
namespace {

using addr::Ip;

std::string name_of(const Owner& owner) {
  return fmt::format("'{}/{}' in network '{}'", owner.container_id, owner.ifname, owner.network);
}

// The first free address of one part of the search that is not a reserved one.
Result<std::optional<Ip>> free_in_part(Store& store, const Pool& pool, Pool::Part part) {
  while (const std::optional<Ip> ip = TRY(store.next_free(part.range, part.stride))) {
    if (!pool.is_reserved(*ip)) return ip;
    if (part.range.last.value() - ip->value() < part.stride) break;
    part.range.first = ip->plus(part.stride);
  }
  return std::nullopt;
}

Result<void> check_no_duplicate(Store& store, const AllocationRequest& request) {
  for (const Ip& ip : TRY(store.find(request.owner))) {
    if (std::ranges::any_of(request.pools, [&](const Pool& pool) { return pool.contains(ip); }))
      return fail(Kind::kDuplicate,
                  fmt::format("allocate an address for {}: it holds {} already", name_of(request.owner), ip.text()),
                  "an attachment is added once; call DEL before another ADD");
  }
  return {};
}

Result<Ip> reserve_requested(Store& store, const AllocationRequest& request, const Pool& pool, const Ip& ip) {
  const std::string action = fmt::format("allocate the requested address {} for {}", ip.text(), name_of(request.owner));
  if (pool.is_reserved(ip)) return fail(Kind::kInvalidConfig, action + ": it is a gateway's", "ask for another one");
  if (request.search.in_use && TRY(request.search.in_use(ip)))
    return fail(Kind::kExists, action + ": the host uses it", "ask for another one, or for none");
  if (TRY(store.reserve(request.owner, ip))) return ip;
  return fail(Kind::kExists, action + ": somebody holds it", "ask for another one, or for none");
}

Result<Ip> reserve_next(Store& store, const AllocationRequest& request, size_t set) {
  std::optional<Ip> passed_over;
  for (bool looked_twice = false;;) {
    const std::optional<Ip> ip = TRY(find_free(store, request.pools[set], set));
    // Without this a store that does not remember would be asked for ever, under the lock of all.
    if (ip && ip == passed_over)
      return fail(Kind::kSystem,
                  fmt::format("allocate an address for {}: the store gives {} again, which it could not reserve",
                              name_of(request.owner), ip->text()),
                  "look at that file in the data directory, and at its permissions");
    passed_over = ip;
    if (ip && request.search.in_use && TRY(request.search.in_use(*ip))) {
      TRY(store.hold_back(*ip));
      continue;
    }
    if (ip && TRY(store.reserve(request.owner, *ip))) return *ip;
    if (ip) continue;  // taken by a program that ignores the lock; the store knows it now
    if (looked_twice || !request.search.second_look || !store.has_doubts())
      return fail(Kind::kExhausted,
                  fmt::format("allocate an address for {}: no address is free in {}", name_of(request.owner),
                              request.pools[set].text()),
                  "remove attachments that are not needed, run GC, or enlarge the pool");
    TRY(store.refresh());
    looked_twice = true;
    passed_over.reset();
  }
}

std::optional<Ip> take_requested(std::vector<Ip>& requested, const Pool& pool) {
  const auto found = std::ranges::find_if(requested, [&](const Ip& ip) { return pool.contains(ip); });
  if (found == requested.end()) return std::nullopt;
  const Ip ip = *found;
  requested.erase(found);
  return ip;
}

Result<void> check_all_given(const AllocationRequest& request, const std::vector<Ip>& left) {
  if (left.empty()) return {};
  std::string list;
  for (const Ip& ip : left) list += (list.empty() ? "" : ", ") + ip.text();
  return fail(Kind::kInvalidConfig,
              fmt::format("allocate the requested addresses for {}: no range gives {}", name_of(request.owner), list),
              "each range set gives one address; ask for one inside each");
}

}  // namespace

Result<std::optional<Ip>> find_free(Store& store, const Pool& pool, size_t set) {
  for (const Pool::Part& part : pool.search_order(store.last_reserved(set))) {
    if (const std::optional<Ip> ip = TRY(free_in_part(store, pool, part))) return ip;
  }
  return std::nullopt;
}

Result<std::vector<Lease>> allocate(Store& store, const AllocationRequest& request) {
  TRY(check_no_duplicate(store, request));
  Undo undo;
  std::vector<Lease> leases;
  std::vector<Ip> requested = request.requested;
  for (size_t set = 0; set < request.pools.size(); ++set) {
    const Pool& pool = request.pools[set];
    const std::optional<Ip> wanted = take_requested(requested, pool);
    const Ip ip =
        wanted ? TRY(reserve_requested(store, request, pool, *wanted)) : TRY(reserve_next(store, request, set));
    undo.push("release " + ip.text(), [&store, &request, ip] { return store.release(request.owner, ip); });
    const Segment* segment = pool.segment_of(ip);
    leases.push_back({.address = {ip, segment->prefix}, .gateway = segment->gateway_of(ip)});
  }
  TRY(check_all_given(request, requested));
  for (size_t set = 0; set < leases.size(); ++set) {
    if (request.pools[set].segment_of(leases[set].address.ip)->on_request) continue;  // where no search comes
    // Only where the next search begins: an address is not refused for want of it.
    if (const Result<void> kept = store.set_last_reserved(set, leases[set].address.ip); !kept)
      log_line(kept.error().message + ", ignoring");
  }
  undo.commit();
  return leases;
}

Result<void> release(Store& store, const Owner& owner) {
  Result<void> first_error;
  for (const Ip& ip : TRY(store.find(owner))) {
    Result<void> done = store.release(owner, ip);
    if (!done && first_error) first_error = std::move(done);
  }
  return first_error;
}

}  // namespace slicer::ipam
