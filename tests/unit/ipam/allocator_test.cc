#include "ipam/allocator.h"

#include <doctest/doctest.h>

#include <map>

#include "tests/unit/ipam/helpers.h"

using namespace slicer::ipam;
using namespace slicer::ipam::test;
using slicer::Kind;
using slicer::Result;
using slicer::addr::Ip;

namespace {

/// A store in memory: what a shared store would be to the allocator.
class FakeStore final : public Store {
 public:
  std::map<Ip, std::string> held;
  std::map<size_t, Ip> last;
  int failing_reservation = -1;  ///< counts down; the one at 0 fails
  int refreshed = 0;
  bool doubts = false;
  bool forgetful = false;  ///< keeps nothing that is held back

  Result<std::vector<Ip>> find(const Owner& owner) override {
    std::vector<Ip> found;
    for (const auto& [ip, id] : held)
      if (id == owner.container_id) found.push_back(ip);
    return found;
  }
  Result<std::optional<Ip>> next_free(const slicer::addr::IpRange& range, unsigned stride) override {
    for (Ip ip = range.first; ip <= range.last; ip = ip.plus(stride))
      if (!held.contains(ip)) return ip;
    return std::nullopt;
  }
  Result<bool> reserve(const Owner& owner, const Ip& ip) override {
    if (failing_reservation-- == 0) return slicer::fail(Kind::kSystem, "no space left");
    return held.emplace(ip, owner.container_id).second;
  }
  Result<void> release(const Owner&, const Ip& ip) override {
    held.erase(ip);
    return {};
  }
  Result<void> hold_back(const Ip& ip) override {
    if (!forgetful) held.emplace(ip, "somebody");
    doubts = true;
    return {};
  }
  std::optional<Ip> last_reserved(size_t set) override {
    return last.contains(set) ? std::optional(last[set]) : std::nullopt;
  }
  Result<void> set_last_reserved(size_t set, const Ip& ip) override {
    last[set] = ip;
    return {};
  }
  Result<std::vector<Allocation>> allocations(const std::string&) override { return std::vector<Allocation>{}; }
  bool has_doubts() override { return doubts; }
  Result<void> refresh() override {
    ++refreshed;
    held.clear();
    return {};
  }
};

Pool small() { return Pool({{.range = range("192.0.2.1-192.0.2.4"), .prefix = 29, .gateway = ip("192.0.2.1")}}); }
Pool small6() {
  return Pool({{.range = range("2001:db8::1-2001:db8::4"), .prefix = 64, .gateway = ip("2001:db8::1")}});
}

Result<std::vector<Lease>> get(FakeStore& store, const std::string& id, const std::vector<Pool>& pools,
                               std::vector<Ip> requested = {}) {
  return allocate(store, {{"net", id, "eth0"}, pools, std::move(requested)});
}

std::string text_of(const Result<std::vector<Lease>>& leases) {
  if (!leases) return leases.error().message;
  std::string text;
  for (const Lease& lease : *leases) text += lease.address.text() + " ";
  return text;
}

}  // namespace

TEST_CASE("allocator: next after the last one, round, never the gateway") {
  FakeStore store;
  const std::vector pools{small()};
  CHECK(text_of(get(store, "a", pools)) == "192.0.2.2/29 ");
  CHECK(text_of(get(store, "b", pools)) == "192.0.2.3/29 ");
  store.held.erase(ip("192.0.2.2"));
  CHECK(text_of(get(store, "c", pools)) == "192.0.2.4/29 ");  // not the one that just came free
  CHECK(text_of(get(store, "d", pools)) == "192.0.2.2/29 ");
  const auto full = get(store, "e", pools);
  REQUIRE_FALSE(full);
  CHECK(full.error().kind == Kind::kExhausted);
  CHECK(full.error().message ==
        "allocate an address for 'e/eth0' in network 'net': no address is free in 192.0.2.1-192.0.2.4");
}

TEST_CASE("allocator: an exhausted pool with doubts is looked at once more") {
  FakeStore store;
  for (unsigned i = 1; i <= 4; ++i) store.held[ip("192.0.2.0").plus(i)] = "x";
  store.doubts = true;
  CHECK(text_of(get(store, "a", {small()})) == "192.0.2.2/29 ");
  CHECK(store.refreshed == 1);
}

TEST_CASE("allocator: a second ADD of an owner is an error and keeps the first one's address") {
  FakeStore store;
  REQUIRE(get(store, "a", {small()}));
  const auto again = get(store, "a", {small()});
  REQUIRE_FALSE(again);
  CHECK(again.error().kind == Kind::kDuplicate);
  CHECK(store.held.contains(ip("192.0.2.2")));
  CHECK(get(store, "a", {small6()}));  // of another pool: as host-local, no duplicate
}

TEST_CASE("allocator: one address of each set, or none at all") {
  FakeStore store;
  CHECK(text_of(get(store, "a", {small(), small6()})) == "192.0.2.2/29 2001:db8::2/64 ");
  store.failing_reservation = 1;
  CHECK_FALSE(get(store, "b", {small(), small6()}));
  CHECK(store.held.size() == 2);
  CHECK(store.last[0] == ip("192.0.2.2"));
}

TEST_CASE("allocator: requested addresses, one in each set") {
  FakeStore store;
  const std::vector pools{small(), small6()};
  CHECK(text_of(get(store, "a", pools, {ip("2001:db8::4"), ip("192.0.2.3")})) == "192.0.2.3/29 2001:db8::4/64 ");
  CHECK(text_of(get(store, "b", pools, {ip("2001:db8::3")})) == "192.0.2.4/29 2001:db8::3/64 ");
}

TEST_CASE("allocator: a request that cannot be met fails whole") {
  FakeStore store;
  const std::vector pools{small()};
  REQUIRE(get(store, "a", pools));
  CHECK(get(store, "b", pools, {ip("192.0.2.2")}).error().kind == Kind::kExists);
  CHECK(get(store, "b", pools, {ip("192.0.2.1")}).error().message ==
        "allocate the requested address 192.0.2.1 for 'b/eth0' in network 'net': it is a gateway's");
  CHECK(get(store, "b", pools, {ip("198.51.100.1")}).error().message ==
        "allocate the requested addresses for 'b/eth0' in network 'net': no range gives 198.51.100.1");
  CHECK_FALSE(get(store, "b", pools, {ip("192.0.2.3"), ip("192.0.2.4")}));  // two of one set
  CHECK(store.held.size() == 1);
}

TEST_CASE("allocator: blocks come with their own gateway, and the well-known ones are skipped") {
  FakeStore store;
  const std::vector pools{
      Pool({{.range = range("169.254.0.254-169.254.1.10"), .stride = 4, .prefix = 30, .gateway = {}, .blocks = true}})};
  const auto first = get(store, "a", pools);
  REQUIRE(first);
  CHECK((*first)[0] == Lease{cidr("169.254.0.254/30"), ip("169.254.0.253")});
  CHECK(text_of(get(store, "b", pools)) == "169.254.1.6/30 ");
}

TEST_CASE("allocator: release gives back everything, twice is fine") {
  FakeStore store;
  REQUIRE(get(store, "a", {small(), small6()}));
  CHECK(release(store, {"net", "a", "eth0"}));
  CHECK(store.held.empty());
  CHECK(release(store, {"net", "a", "eth0"}));
}

TEST_CASE("allocator: an address in use elsewhere is left out, and asked about once") {
  FakeStore store;
  const std::vector<Pool> pools{small()};
  std::vector<std::string> asked;
  const Search search{.in_use = [&](const Ip& candidate) -> Result<bool> {
    asked.push_back(candidate.text());
    return candidate == ip("192.0.2.2");
  }};
  CHECK(text_of(allocate(store, {{"net", "a", "eth0"}, pools, {}, search})) == "192.0.2.3/29 ");
  CHECK(text_of(allocate(store, {{"net", "b", "eth0"}, pools, {}, search})) == "192.0.2.4/29 ");
  CHECK(asked == std::vector<std::string>{"192.0.2.2", "192.0.2.3", "192.0.2.4"});
}

TEST_CASE("allocator: what is held back is looked at again when the pool is exhausted, unless told not to") {
  FakeStore store;
  const std::vector<Pool> pools{small()};
  int asked = 0;
  Search search{.in_use = [&](const Ip&) -> Result<bool> { return ++asked, true; }, .second_look = false};
  const Result<std::vector<Lease>> none = allocate(store, {{"net", "a", "eth0"}, pools, {}, search});
  REQUIRE_FALSE(none);
  CHECK(none.error().kind == Kind::kExhausted);
  CHECK(asked == 3);
  CHECK(store.refreshed == 0);
  search.second_look = true;
  CHECK_FALSE(allocate(store, {{"net", "a", "eth0"}, pools, {}, search}));
  CHECK(asked == 6);
  CHECK(store.refreshed == 1);
}

TEST_CASE("allocator: a requested address in use elsewhere is refused") {
  FakeStore store;
  const std::vector<Pool> pools{small()};
  const Search search{.in_use = [](const Ip&) -> Result<bool> { return true; }};
  const Result<std::vector<Lease>> none = allocate(store, {{"net", "a", "eth0"}, pools, {ip("192.0.2.3")}, search});
  REQUIRE_FALSE(none);
  CHECK(none.error().kind == Kind::kExists);
  CHECK(store.held.empty());
}

TEST_CASE("allocator: a store that forgets what it was told to hold back is not asked for ever") {
  FakeStore store;
  store.forgetful = true;
  const Search search{.in_use = [](const Ip&) -> Result<bool> { return true; }};
  const auto refused = allocate(store, {{"net", "a", "eth0"}, {small()}, {}, search});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().kind == Kind::kSystem);
  CHECK(refused.error().message.find("192.0.2.2") != std::string::npos);
}
