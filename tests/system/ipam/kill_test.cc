// slicer-ipam killed at every system call: nothing is lost, nothing is leaked that the next DEL does not remove.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "tests/system/fixture/host.h"
#include "tests/system/fixture/kill_at_syscall.h"
#include "tests/system/fixture/snapshot.h"

using namespace slicer::test;
namespace fs = std::filesystem;

namespace {

const Json kConf = Json::parse(R"({"cniVersion": "1.1.0", "name": "net", "type": "slicer-bridge",
  "ipam": {"type": "slicer-ipam", "ranges": [[{"subnet": "192.0.2.0/24"}], [{"subnet": "2001:db8::/64"}]]}})");

constexpr const char* kData = "/var/lib/cni/networks";

/// Every file of ours but the cache, the lock and the search position; names and contents.
std::string state() { return snapshot({.folders = {kData}}); }

Answer call(const std::string& command, const std::string& id) {
  return call_plugin("slicer-ipam", kConf, {.command = command, .container_id = id, .netns = Host::netns()});
}

void must_work(const Answer& answer) {
  INFO(answer.text());
  REQUIRE(answer.ok());
}

// Files that are neither an allocation, nor a record of one, nor known by name.
std::string strange_files() {
  std::string found;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(kData)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_regular_file() || name == "lock" || name == ".index" || name.starts_with("last_reserved_ip."))
      continue;
    const bool address = name.starts_with("192.0.2.") || name.starts_with("2001:db8::");
    const bool record = entry.path().string().find("/.slicer/") != std::string::npos;
    if (!address || (record && !fs::exists(fs::path(kData) / "net" / name))) found += entry.path().string() + " ";
  }
  return found;
}

void check_index_and_files_agree() {
  // A fresh look (GC without owners to spare would remove all) must give the same answer as the index: whoever is held
  // is found, and the next address is free.
  must_work(call("CHECK", "bystander"));
  must_work(call("ADD", "probe"));
  must_work(call("DEL", "probe"));
}

}  // namespace

TEST_CASE("ipam: ADD killed at any system call leaves nothing that DEL does not remove") {
  const Host host;
  must_work(call("ADD", "bystander"));
  must_work(call("ADD", "vm"));
  must_work(call("DEL", "vm"));
  const std::string before = state();
  const long rounds = kill_at_every_syscall(
      {.plugin = "slicer-ipam", .conf = kConf, .call = {.container_id = "vm", .netns = Host::netns()}}, [] {},
      [&](const KillOutcome& outcome) {
        INFO("killed at system call ", outcome.syscalls, " ", outcome.name);
        must_work(call("DEL", "vm"));
        CHECK(difference(before, state()) == "");
        CHECK(strange_files() == "");
        check_index_and_files_agree();
      });
  CHECK(rounds > 60);  // it does more than 60 system calls: the sweep went through all of them
}

TEST_CASE("ipam: DEL killed at any system call leaves nothing that a second DEL does not remove") {
  const Host host;
  must_work(call("ADD", "bystander"));
  must_work(call("ADD", "vm"));
  must_work(call("DEL", "vm"));
  const std::string before = state();
  const long rounds = kill_at_every_syscall(
      {.plugin = "slicer-ipam", .conf = kConf, .call = {.command = "DEL", .container_id = "vm"}},
      [] { must_work(call("ADD", "vm")); },
      [&](const KillOutcome& outcome) {
        INFO("killed at system call ", outcome.syscalls, " ", outcome.name);
        must_work(call("DEL", "vm"));
        CHECK(difference(before, state()) == "");
        CHECK(strange_files() == "");
        check_index_and_files_agree();
      });
  CHECK(rounds > 50);
}

TEST_CASE("ipam: the first ADD of a network killed at any system call") {
  const Host host;
  kill_at_every_syscall(
      {.plugin = "slicer-ipam", .conf = kConf, .call = {.container_id = "vm", .netns = Host::netns()}},
      [] { fs::remove_all(kData); },
      [&](const KillOutcome& outcome) {
        INFO("killed at system call ", outcome.syscalls, " ", outcome.name);
        must_work(call("DEL", "vm"));
        const Answer again = call("ADD", "vm");
        must_work(again);
        CHECK(strange_files() == "");
        must_work(call("DEL", "vm"));
      });
}

TEST_CASE("ipam: a killed ADD is removed by GC, and a scan after a kill keeps what others hold") {
  const Host host;
  must_work(call("ADD", "bystander"));
  const std::string before = state();
  const Json gc =
      with(kConf, "/cni.dev~1valid-attachments", Json::parse(R"([{"containerID": "bystander", "ifname": "vmtap0"}])"));
  kill_at_every_syscall(
      {.plugin = "slicer-ipam", .conf = kConf, .call = {.container_id = "vm", .netns = Host::netns()}, .step = 3},
      [] {},
      [&](const KillOutcome& outcome) {
        INFO("killed at system call ", outcome.syscalls, " ", outcome.name);
        must_work(call_plugin("slicer-ipam", gc, {.command = "GC"}));
        CHECK(difference(before, state()) == "");
        CHECK(strange_files() == "");
      });
}
