// What the lists drop, from the guest's packet to the line in its packets.log: real plugins, the real NFLOG.
#include <doctest/doctest.h>
#include <poll.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>

#include "lib/netfilter/packet_log.h"
#include "lib/netfilter/ruleset.h"
#include "runner/state/vm_files.h"
#include "runner/supervisor/packet_log.h"
#include "runner/supervisor/packet_share.h"
#include "tests/system/firewall/policy_support.h"
#include "tests/system/isolated/isolated_support.h"
#include "tests/system/macvtap/macvtap_support.h"

using namespace slicer::test;
using slicer::runner::SharedPackets;
using slicer::runner::SideTask;
using slicer::runner::VmRecord;

namespace {

using Role = SharedPackets::Role;

const slicer::runner::Settings kSettings;

std::string packets_of(const VmRecord& record) {
  std::ifstream file(slicer::runner::vm_files(kSettings, record.name).packet_log);
  return {std::istreambuf_iterator<char>(file), {}};
}

VmRecord record_of(const Call& call, const Json& result) {
  VmRecord record{.name = call.container_id, .netns = call.netns};
  record.mac = guest_entry(result, call.container_id)["mac"];
  for (const Json& ip : result["ips"]) record.addresses.push_back(ip["address"]);
  std::filesystem::create_directories("/run/slicer/" + record.name);
  return record;
}

/// The supervisors' loops, until `done`.
bool serve(const std::vector<SideTask*>& tasks, const std::function<bool()>& done) {
  return eventually([&] {
    for (SideTask* task : tasks) {
      pollfd waiting{.fd = task->fd(), .events = POLLIN, .revents = 0};
      if (poll(&waiting, 1, 0) > 0) task->on_readable();
      if (SideTask::Clock::now() >= task->next_wakeup()) task->on_time();
    }
    return done();
  });
}

std::unique_ptr<SharedPackets> shared(const VmRecord& record) {
  return std::make_unique<SharedPackets>(
      kSettings.state_dir, slicer::runner::PacketSink(slicer::runner::vm_files(kSettings, record.name).packet_log,
                                                      slicer::runner::PacketEnds::of(record)));
}

firewall::Chain logging_chain() {
  firewall::Chain chain;
  chain.firewall["drop"] = {"203.0.113.0/24", "2001:db8:113::/64"};
  chain.firewall["log"] = true;
  return chain;
}

/// One packet that the lists drop.
void try_internet(const std::string& guest, uint16_t port, bool v6 = false) {
  const std::string to = v6 ? Surroundings::kInternet6 : Surroundings::kInternet;
  CHECK(reach(guest, {{Protocol::kUdp, to, port}}, std::chrono::milliseconds(1)) == std::vector<bool>{false});
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("packets: what an isolated VM's lists drop is told, from its own namespace") {
  if (const std::string missing = isolated::missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Surroundings around;
  const isolated::Vm vm(isolated::sandbox_conf());
  Json firewall = {{"cniVersion", "1.1.0"},      {"name", "sandbox"}, {"type", "slicer-firewall"},
                   {"drop", {"203.0.113.0/24"}}, {"log", true},       {"prevResult", vm.result}};
  REQUIRE(call_plugin("slicer-firewall", firewall, vm.how).ok());
  const VmRecord record = record_of(vm.how, vm.result);
  slicer::Result<std::unique_ptr<SideTask>> task = slicer::runner::read_own_packets(kSettings, record);
  REQUIRE(task.has_value());
  try_internet(vm.guest.netns(), 7777);
  CHECK(serve({task->get()}, [&] { return has(packets_of(record), ":7777, "); }));
  const std::string line = packets_of(record);
  CAPTURE(line);
  CHECK(has(line, "Z dropped: from the VM, udp " + vm.ip() + ":"));
  CHECK(has(line, " -> 203.0.113.9:7777, by the lists of network 'sandbox'\n"));
  CHECK(slicer::runner::read_own_packets(kSettings, record).error().kind == slicer::Kind::kBusy);
}

TEST_CASE("packets: on a macvtap, where a packet has its Ethernet header on when the lists see it") {
  const Host host;
  const Surroundings around;
  const macvtap::Vm vm(macvtap::quick_conf());
  const Json firewall = {{"cniVersion", "1.1.0"},      {"name", "lan"}, {"type", "slicer-firewall"},
                         {"drop", {"203.0.113.0/24"}}, {"log", true},   {"prevResult", vm.result}};
  const Answer answer = call_plugin("slicer-firewall", firewall, vm.how);
  if (answer.code() == 106) SLICER_SKIP("this kernel has no netdev egress hook");
  REQUIRE_MESSAGE(answer.ok(), answer.text());
  const VmRecord record = record_of(vm.how, vm.result);
  const slicer::Result<std::unique_ptr<SideTask>> task = slicer::runner::read_own_packets(kSettings, record);
  REQUIRE(task.has_value());
  try_internet(vm.guest.netns(), 7777);
  CHECK(serve({task->get()}, [&] { return has(packets_of(record), ":7777, "); }));
  CHECK_MESSAGE(has(packets_of(record), "Z dropped: from the VM, udp " + vm.ip() + ":"), packets_of(record));
  CHECK(has(packets_of(record), " -> 203.0.113.9:7777, by the lists of network 'lan'\n"));
}

TEST_CASE("packets: on a bridge one supervisor reads for all, and another takes over when it ends") {
  const Host host;
  const Surroundings around;
  const firewall::Chain chain = logging_chain();
  const firewall::Vm one(chain, 1);
  const firewall::Vm two(chain, 2);
  const VmRecord first = record_of(one.call, one.result);
  const VmRecord second = record_of(two.call, two.result);
  std::unique_ptr<SharedPackets> reader = shared(first);
  const std::unique_ptr<SharedPackets> member = shared(second);
  CHECK(reader->role() == Role::kReader);
  CHECK(member->role() == Role::kMember);
  try_internet(one.netns(), 7771);
  try_internet(two.netns(), 7772);
  try_internet(two.netns(), 7773, true);
  const std::vector<SideTask*> both = {reader.get(), member.get()};
  CHECK(serve(both, [&] { return has(packets_of(first), ":7771, ") && has(packets_of(second), "]:7773, "); }));
  CHECK(has(packets_of(second), "from the VM, udp " + two.ip() + ":"));
  CHECK(has(packets_of(second), " -> [2001:db8:113::9]:7773, by the lists of network 'demo'\n"));
  CHECK_FALSE(has(packets_of(first), ":7772"));
  CHECK_FALSE(has(packets_of(second), ":7771"));

  reader.reset();
  CHECK(serve({member.get()}, [&] { return member->role() == Role::kReader; }));
  try_internet(two.netns(), 7774);
  CHECK(serve({member.get()}, [&] { return has(packets_of(second), ":7774, "); }));
  const std::unique_ptr<SharedPackets> again = shared(first);
  CHECK(again->role() == Role::kMember);
  try_internet(one.netns(), 7775);
  CHECK(serve({member.get(), again.get()}, [&] { return has(packets_of(first), ":7775, "); }));
}

TEST_CASE(
    "packets: while another program has the group a supervisor waits, a socket left by a dead one is no hindrance") {
  const Host host;
  const Surroundings around;
  const firewall::Vm vm(logging_chain(), 1);
  const VmRecord record = record_of(vm.call, vm.result);
  std::ofstream("/run/slicer/.packet-log") << "";
  std::optional<slicer::netfilter::PacketLog> other =
      slicer::netfilter::PacketLog::open(slicer::netfilter::kLogGroup).value();
  const std::unique_ptr<SharedPackets> waiting = shared(record);
  CHECK(waiting->role() == Role::kNone);
  CHECK(waiting->fd() == -1);
  other.reset();
  CHECK(serve({waiting.get()}, [&] { return waiting->role() == Role::kReader; }));
  try_internet(vm.netns(), 7777);
  CHECK(serve({waiting.get()}, [&] { return has(packets_of(record), ":7777, "); }));
}

TEST_CASE("packets: the socket's name goes with the last reader") {
  const Host host;
  std::filesystem::create_directories("/run/slicer");
  std::unique_ptr<SharedPackets> reader = shared({.name = "vm-1", .mac = "02:00:5e:00:53:01"});
  CHECK(std::filesystem::exists("/run/slicer/.packet-log"));
  CHECK(std::filesystem::status("/run/slicer/.packet-log").permissions() == std::filesystem::perms{0600});
  reader.reset();
  CHECK_FALSE(std::filesystem::exists("/run/slicer/.packet-log"));
}
