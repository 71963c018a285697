#include "ipam/disk_store.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <set>

#include "tests/unit/ipam/helpers.h"

using namespace slicer::ipam;
using namespace slicer::ipam::test;
using slicer::Kind;
using slicer::Result;
using slicer::addr::Ip;
namespace fs = std::filesystem;

namespace {

struct Place {
  TemporaryFolder folder;
  bool in_use = false;
  int asked = 0;

  [[nodiscard]] std::string net(const std::string& name = "") const { return folder.path() + "/net/" + name; }
  [[nodiscard]] std::string record(const std::string& name) const { return folder.path() + "/.slicer/net/" + name; }
  std::unique_ptr<DiskStore> open() {
    auto store = DiskStore::open({.data_dir = folder.path(),
                                  .folder = "net",
                                  .create = true,
                                  .in_use_by_host = [this](const Ip&) -> Result<bool> {
                                    ++asked;
                                    return in_use;
                                  }});
    REQUIRE_MESSAGE(store, store.error().message);
    return std::move(*store);
  }
  /// As host-local creates one.
  void foreign(const std::string& name, const std::string& content) const { write_file(net(name), content); }
};

const Owner kOwner{"net", "vm-1", "eth0"};
const Owner kOther{"net", "vm-2", "eth0"};
const auto kRange = range("192.0.2.1-192.0.2.254");

Ip first_free(Place& place) { return place.open()->next_free(kRange, 1).value().value(); }

void copy_time(const std::string& from, const std::string& to) {
  struct stat info{};
  REQUIRE(stat(from.c_str(), &info) == 0);
  const timespec times[2] = {info.st_mtim, info.st_mtim};
  REQUIRE(utimensat(AT_FDCWD, to.c_str(), times, 0) == 0);
}

/// The record as a store of another boot would have left it, with the same time as the allocation.
void age(const Place& place, const std::string& name) {
  const std::string text = content_of(place.record(name));
  std::optional<BootRecord> record = parse_boot_record(text);
  REQUIRE(record);
  record->boot_id = "11111111-2222-3333-4444-555555555555";
  write_file(place.record(name), record->text());
  copy_time(place.net(name), place.record(name));
}

/// After a reboot nobody believes the index: its boot id is another. Here it is removed.
void forget_index(const Place& place) { fs::remove(place.record(".index")); }

}  // namespace

TEST_CASE("disk store: the layout is host-local's to the letter") {
  Place place;
  CHECK(place.open()->reserve(kOwner, ip("192.0.2.7")).value());
  CHECK(place.open()->set_last_reserved(0, ip("192.0.2.7")));
  CHECK(content_of(place.net("192.0.2.7")) == "vm-1\r\neth0");
  CHECK(content_of(place.net("last_reserved_ip.0")) == "192.0.2.7");
  CHECK(fs::exists(place.net("lock")));
  CHECK((fs::status(place.net("192.0.2.7")).permissions() & fs::perms::mask) == fs::perms(0600));
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(place.net())) names.insert(entry.path().filename());
  CHECK(names == std::set<std::string>{"192.0.2.7", "last_reserved_ip.0", "lock"});
  CHECK(place.open()->reserve(kOwner, ip("2001:db8::7")).value());
  CHECK(fs::exists(place.net("2001:db8::7")));  // with its colons, as host-local on Linux
}

TEST_CASE("disk store: reserve, find, release, over sessions") {
  Place place;
  CHECK(place.open()->reserve(kOwner, ip("192.0.2.7")).value());
  CHECK(place.open()->reserve(kOwner, ip("192.0.2.8")).value());
  CHECK_FALSE(place.open()->reserve(kOther, ip("192.0.2.7")).value());
  CHECK(place.open()->find(kOwner).value().size() == 2);
  CHECK(place.open()->find(kOther).value().empty());
  CHECK(place.open()->release(kOwner, ip("192.0.2.7")));
  CHECK(place.open()->find(kOwner).value() == std::vector{ip("192.0.2.8")});
  CHECK_FALSE(fs::exists(place.net("192.0.2.7")));
  CHECK_FALSE(fs::exists(place.record("192.0.2.7")));
  CHECK(place.open()->release(kOwner, ip("192.0.2.7")));
}

TEST_CASE("disk store: what host-local creates and deletes is seen at once") {
  Place place;
  CHECK(place.open()->reserve(kOwner, ip("192.0.2.1")).value());
  place.foreign("192.0.2.2", "other\r\neth0");
  CHECK(first_free(place) == ip("192.0.2.3"));
  CHECK(place.open()->find({"net", "other", "eth0"}).value() == std::vector{ip("192.0.2.2")});
  fs::remove(place.net("192.0.2.1"));
  CHECK(first_free(place) == ip("192.0.2.1"));
  CHECK(place.open()->find(kOwner).value().empty());
  CHECK_FALSE(fs::exists(place.record("192.0.2.1")));
}

TEST_CASE("disk store: 150 foreign changes between our own, in the same tick or not, are all seen") {
  Place place;
  for (unsigned i = 0; i < 150; ++i) {
    const Ip ours = ip("198.51.100.0").plus(i);
    const Ip theirs = ip("203.0.113.0").plus(i);
    CHECK(place.open()->reserve(kOwner, ours).value());
    place.foreign(theirs.text(), "other\r\neth0");
    CHECK_FALSE(place.open()->reserve(kOther, theirs).value());
  }
}

TEST_CASE("disk store: files of an older host-local, with the ID alone, belong to the container") {
  Place place;
  (void)place.open();
  place.foreign("192.0.2.2", "vm-1");
  CHECK(place.open()->find(kOwner).value() == std::vector{ip("192.0.2.2")});
  CHECK(place.open()->release(kOwner, ip("192.0.2.2")));
  CHECK(place.open()->find(kOwner).value().empty());
}

TEST_CASE("disk store: a file rewritten behind an unchanged folder is noticed when it is asked for") {
  Place place;
  CHECK(place.open()->reserve(kOwner, ip("192.0.2.1")).value());
  write_file(place.net("192.0.2.1"), "vm-2\r\neth0");  // no change of the folder
  CHECK(place.open()->find(kOwner).value().empty());
  CHECK(place.open()->find(kOther).value() == std::vector{ip("192.0.2.1")});
}

TEST_CASE("disk store: names that are no address are left alone") {
  Place place;
  (void)place.open();
  for (const char* name : {"notes", "192.0.2.007", "192.0.2.1.bak", "2001:DB8::1", "-1"}) place.foreign(name, "x");
  CHECK(first_free(place) == ip("192.0.2.1"));
  for (const char* name : {"notes", "192.0.2.007", "192.0.2.1.bak", "2001:DB8::1", "-1"})
    CHECK(fs::exists(place.net(name)));
}

TEST_CASE("disk store: an allocation of ours from an earlier boot is free again") {
  Place place;
  CHECK(place.open()->reserve(kOwner, ip("192.0.2.1")).value());
  CHECK(place.open()->reserve(kOther, ip("192.0.2.2")).value());
  age(place, "192.0.2.1");
  forget_index(place);
  CHECK(first_free(place) == ip("192.0.2.1"));
  CHECK_FALSE(fs::exists(place.net("192.0.2.1")));
  CHECK(place.open()->find(kOther).value() == std::vector{ip("192.0.2.2")});  // of this boot
}

TEST_CASE("disk store: a record that power cut short is of an earlier boot") {
  Place place;
  CHECK(place.open()->reserve(kOwner, ip("192.0.2.1")).value());
  write_file(place.record("192.0.2.1"), "");
  copy_time(place.net("192.0.2.1"), place.record("192.0.2.1"));
  forget_index(place);
  CHECK(first_free(place) == ip("192.0.2.1"));
}

TEST_CASE("disk store: what another program wrote after us is its own, whatever our old record says") {
  Place place;
  CHECK(place.open()->reserve(kOwner, ip("192.0.2.1")).value());
  age(place, "192.0.2.1");
  SUBCASE("by another owner") {
    fs::remove(place.net("192.0.2.1"));
    place.foreign("192.0.2.1", "other\r\neth0");
    copy_time(place.net("192.0.2.1"), place.record("192.0.2.1"));  // even then
  }
  SUBCASE("by the same owner, later") {
    fs::remove(place.net("192.0.2.1"));
    place.foreign("192.0.2.1", "vm-1\r\neth0");
  }
  forget_index(place);
  CHECK(first_free(place) == ip("192.0.2.2"));
}

TEST_CASE("disk store: a foreign allocation without record survives every boot") {
  Place place;
  (void)place.open();
  place.foreign("192.0.2.1", "other\r\neth0");
  forget_index(place);
  CHECK(first_free(place) == ip("192.0.2.2"));
}

TEST_CASE("disk store: an empty or garbage file is free, unless the host uses the address") {
  Place place;
  (void)place.open();
  place.foreign("192.0.2.1", "");
  place.foreign("192.0.2.2", std::string(9, '\0'));
  SUBCASE("not used") {
    CHECK(first_free(place) == ip("192.0.2.1"));
    CHECK_FALSE(fs::exists(place.net("192.0.2.1")));
    CHECK_FALSE(fs::exists(place.net("192.0.2.2")));
    CHECK(place.asked == 2);
    CHECK(place.open()->reserve(kOwner, ip("192.0.2.1")).value());
    CHECK(place.asked == 2);  // never asked again
  }
  SUBCASE("used") {
    place.in_use = true;
    CHECK(first_free(place) == ip("192.0.2.3"));
    CHECK(fs::exists(place.net("192.0.2.1")));
    CHECK(place.open()->has_doubts());
    place.in_use = false;
    auto store = place.open();
    CHECK(store->refresh());
    CHECK(store->next_free(kRange, 1).value() == ip("192.0.2.1"));
    CHECK_FALSE(store->has_doubts());
  }
}

TEST_CASE("disk store: an allocation with the longest container ID is no garbage") {
  Place place;
  const Owner owner{"net", std::string(100000, 'a'), "eth0"};
  CHECK(place.open()->reserve(owner, ip("192.0.2.1")).value());
  forget_index(place);
  CHECK(place.open()->find(owner).value() == std::vector{ip("192.0.2.1")});
}

TEST_CASE("disk store: something else than a file under an address holds the address") {
  Place place;
  (void)place.open();
  fs::create_directory(place.net("192.0.2.1"));
  REQUIRE(mkfifo(place.net("192.0.2.2").c_str(), 0600) == 0);
  CHECK(first_free(place) == ip("192.0.2.3"));
}

TEST_CASE("disk store: records of nobody are removed by a scan") {
  Place place;
  (void)place.open();
  write_file(place.record("192.0.2.9"), "anything");
  write_file(place.record(".stage"), "left by a killed process");
  forget_index(place);
  (void)place.open();
  CHECK_FALSE(fs::exists(place.record("192.0.2.9")));
  CHECK_FALSE(fs::exists(place.record(".stage")));
}

TEST_CASE("disk store: allocations lists owners, not notes") {
  Place place;
  CHECK(place.open()->reserve(kOwner, ip("192.0.2.1")).value());
  place.foreign("192.0.2.2", "other\r\neth0");
  place.foreign("192.0.2.3", "kept for the printer");
  const auto found = place.open()->allocations("net").value();
  REQUIRE(found.size() == 2);
  CHECK(found[0].owner.network == "net");
}

TEST_CASE("disk store: a folder of all networks tells them apart by the record") {
  TemporaryFolder folder;
  const auto open = [&] {
    return DiskStore::open(
               {.data_dir = folder.path(), .folder = kBlocksFolder, .shared_by_networks = true, .create = true})
        .value();
  };
  const Owner a{"net-a", "vm", "eth0"};
  const Owner b{"net-b", "vm", "eth0"};
  CHECK(open()->reserve(a, ip("169.254.0.2")).value());
  CHECK(open()->reserve(b, ip("169.254.0.6")).value());
  CHECK_FALSE(open()->reserve(b, ip("169.254.0.2")).value());
  CHECK(open()->find(a).value() == std::vector{ip("169.254.0.2")});
  CHECK(open()->allocations("net-b").value().size() == 1);
  fs::remove(folder.path() + "/.slicer/_blocks/.index");
  CHECK(open()->find(b).value() == std::vector{ip("169.254.0.6")});
}

TEST_CASE("disk store: without create, a folder that is not there is not made") {
  TemporaryFolder folder;
  const auto store = DiskStore::open({.data_dir = folder.path(), .folder = "net"});
  REQUIRE_FALSE(store);
  CHECK(store.error().kind == Kind::kNotFound);
  CHECK(fs::is_empty(folder.path()));
}

TEST_CASE("disk store: the index is used: a second session does not read the allocation files again") {
  Place place;
  CHECK(place.open()->reserve(kOwner, ip("192.0.2.1")).value());
  struct stat before{};
  struct stat after{};
  REQUIRE(stat(place.record(".index").c_str(), &before) == 0);
  CHECK(first_free(place) == ip("192.0.2.2"));
  CHECK(place.open()->reserve(kOther, ip("192.0.2.2")).value());
  REQUIRE(stat(place.record(".index").c_str(), &after) == 0);
  CHECK(before.st_ino == after.st_ino);  // a scan would have made a new file
}
