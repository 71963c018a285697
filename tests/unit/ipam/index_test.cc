#include "ipam/index.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <map>
#include <random>
#include <set>

#include "tests/unit/ipam/helpers.h"

using namespace slicer::ipam;
using namespace slicer::ipam::test;
using slicer::addr::Family;
using slicer::addr::Ip;

namespace {

const IndexIdentity kIdentity{.boot_id = "boot", .device = 1, .inode = 2};

/// Spread as hashes are; 0 stays 0. Some share their low bits, so that they collide in the table.
HolderHash holder_of(unsigned number) {
  return uint64_t{number / 2} * 0x9e3779b97f4a7c15U + (uint64_t{number % 2} << 63);
}

/// An index in a file, and the modification time that its folder would have.
struct Saved {
  TemporaryFolder place;
  Folder folder = open_folder(place.path()).value();
  timespec stamp = {};

  explicit Saved(Index& index) { stamp = stamp_of(index.save(folder, kIdentity).value()); }
  [[nodiscard]] std::optional<Index> open() const { return Index::open(folder, kIdentity, stamp); }
};

}  // namespace

TEST_CASE("index: what is inserted is taken and found, what is erased is neither") {
  Index index(0);
  index.insert(ip("192.0.2.7"), 11);
  index.insert(ip("2001:db8::7"), 11);
  index.insert(ip("192.0.2.8"), 12);
  CHECK(index.is_taken(ip("192.0.2.7")));
  CHECK_FALSE(index.is_taken(ip("192.0.2.9")));
  CHECK(index.find(11).size() == 2);
  index.erase(ip("192.0.2.7"), 11);
  CHECK_FALSE(index.is_taken(ip("192.0.2.7")));
  CHECK(index.find(11) == std::vector{ip("2001:db8::7")});
  index.erase(ip("192.0.2.7"), 11);  // again: nothing happens
  index.erase(ip("192.0.2.8"), 99);  // another holder's: nothing happens
  CHECK(index.is_taken(ip("192.0.2.8")));
}

TEST_CASE("index: addresses without a known holder are counted as doubts") {
  Index index(0);
  index.insert(ip("192.0.2.7"), 0);
  CHECK(index.doubts() == 1);
  index.erase(ip("192.0.2.7"), 0);
  CHECK(index.doubts() == 0);
}

TEST_CASE("index: next_free keeps to the range and the stride") {
  Index index(0);
  for (unsigned i = 0; i < 200; ++i) index.insert(ip("192.0.2.0").plus(i), 5);
  CHECK(index.next_free(range("192.0.2.0-192.0.2.255"), 1) == ip("192.0.2.200"));
  CHECK(index.next_free(range("192.0.2.0-192.0.2.199"), 1) == std::nullopt);
  CHECK(index.next_free(range("192.0.2.199-192.0.2.199"), 1) == std::nullopt);
  CHECK(index.next_free(range("192.0.2.2-192.0.2.254"), 4) == ip("192.0.2.202"));
  CHECK(index.next_free(range("255.255.255.254-255.255.255.255"), 1) == ip("255.255.255.254"));
  CHECK(index.next_free(range("2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"), 1) == ip("2001:db8::"));
  CHECK(index.next_free(range("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff0-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), 1) ==
        ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff0"));
}

TEST_CASE("index: 20,000 random changes agree with a plain map, in memory and in a file") {
  std::mt19937 random(7);  // a fixed seed: the same changes in every run
  std::map<Ip, HolderHash> truth;
  Index index(0);
  std::optional<Saved> saved;
  for (int step = 0; step < 20000; ++step) {
    if (step == 10000) {
      saved.emplace(index);
      std::optional<Index> mapped = saved->open();
      REQUIRE(mapped);
      index = std::move(*mapped);
      REQUIRE(index.begin_changes());
    }
    // Dense IPv4 and sparse IPv6, a few holders with many addresses, neighbours in the hash table.
    const Ip some = random() % 2 != 0
                        ? Ip(Family::kIpv4, 0xc0000200U + random() % 3000)
                        : Ip(Family::kIpv6, slicer::addr::Uint128{0x20010db8} << 96 | (random() % 3000) << 9);
    const auto known = truth.find(some);
    CHECK(index.is_taken(some) == (known != truth.end()));
    if (known != truth.end()) {
      index.erase(some, known->second);
      truth.erase(known);
    } else {
      const HolderHash holder = holder_of(static_cast<unsigned>(random() % 500));
      index.insert(some, holder);
      truth[some] = holder;
    }
  }
  for (unsigned number = 1; number < 500; ++number) {
    const HolderHash holder = holder_of(number);
    std::set<Ip> expected;
    for (const auto& [some, its] : truth)
      if (its == holder) expected.insert(some);
    const std::vector<Ip> found = index.find(holder);
    CHECK(std::set<Ip>(found.begin(), found.end()) == expected);
    CHECK(found.size() == expected.size());
  }
}

TEST_CASE("index: a saved one is believed again with its content") {
  Index index(0);
  index.insert(ip("192.0.2.7"), 11);
  const Saved saved(index);
  const std::optional<Index> again = saved.open();
  REQUIRE(again);
  CHECK(again->find(11) == std::vector{ip("192.0.2.7")});
  CHECK(again->is_taken(ip("192.0.2.7")));
}

TEST_CASE("index: any doubt makes it not believed") {
  Index index(0);
  index.insert(ip("192.0.2.7"), 11);
  const Saved saved(index);
  REQUIRE(saved.open());
  const std::string file = saved.place.path() + "/.index";

  SUBCASE("another modification time of the folder, by a nanosecond") {
    timespec other = saved.stamp;
    ++other.tv_nsec;
    CHECK_FALSE(Index::open(saved.folder, kIdentity, other));
  }
  SUBCASE("another boot") { CHECK_FALSE(Index::open(saved.folder, {"later", 1, 2}, saved.stamp)); }
  SUBCASE("another folder") {
    CHECK_FALSE(Index::open(saved.folder, {"boot", 3, 2}, saved.stamp));
    CHECK_FALSE(Index::open(saved.folder, {"boot", 1, 3}, saved.stamp));
  }
  SUBCASE("a session that did not end") {
    REQUIRE(saved.open()->begin_changes());
    CHECK_FALSE(saved.open());
  }
  SUBCASE("another size") {
    std::filesystem::resize_file(file, std::filesystem::file_size(file) - 1);
    CHECK_FALSE(saved.open());
    std::filesystem::resize_file(file, 3);
    CHECK_FALSE(saved.open());
  }
  SUBCASE("zeros") {
    write_file(file, std::string(std::filesystem::file_size(file), '\0'));
    CHECK_FALSE(saved.open());
  }
  SUBCASE("no file") {
    std::filesystem::remove(file);
    CHECK_FALSE(saved.open());
  }
}

TEST_CASE("index: stamps lie before 1970, where no clock is, and differ between generations") {
  std::set<std::pair<time_t, long>> seen;
  for (uint64_t generation = 0; generation < 1000; ++generation) {
    const timespec stamp = stamp_of(generation);
    CHECK(stamp.tv_sec < 0);
    CHECK(stamp.tv_sec >= -(int64_t{1} << 31));
    CHECK(stamp.tv_nsec < 1000000000);
    seen.insert({stamp.tv_sec, stamp.tv_nsec});
  }
  CHECK(seen.size() == 1000);
}
