// slicer-run network check and network gc: CNI's CHECK, STATUS and GC when a user wants them.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "runner/supervisor/attach_lock.h"
#include "tests/system/runner/runner_support.h"
#include "tests/system/runner/upstream.h"

namespace slicer::test {
namespace {

using std::chrono::milliseconds;

/// VMs on a bridge, with an address for two.
Json bridged(const std::string& name) {
  return {{"cniVersion", "1.1.0"},
          {"name", name},
          {"netns", "host"},
          {"plugins",
           {{{"type", "slicer-bridge"},
             {"bridge", "check0"},
             {"isGateway", true},
             {"ipam", {{"type", "slicer-ipam"}, {"range", "192.0.2.8-192.0.2.9"}, {"gateway", "192.0.2.1/24"}}}}}}};
}

Json check_json(const std::string& network) {
  const Outcome checked = Runner::run("network check --json " + network);
  INFO(checked.err);
  const Json all = Json::parse(checked.out);
  REQUIRE(all.size() == 1);
  CHECK(checked.exit_code == (checked.out.find("\"failed\"") == std::string::npos ? 0 : 1));
  return all[0];
}

}  // namespace

TEST_CASE("runner: network check asks every plugin for STATUS and CHECK") {
  const StandInMachine machine;
  write_network("check.conflist", bridged("check"));
  const Json empty = check_json("check");
  CHECK(empty["status"]["result"] == "ok");
  CHECK(empty["attachments"] == Json::array());
  REQUIRE(Runner::start("demo-1", "check").ok());
  const Json good = check_json("check");
  CHECK(good["status"]["result"] == "ok");
  REQUIRE(good["attachments"].size() == 1);
  CHECK(good["attachments"][0]["containerID"] == "demo-1");
  CHECK(good["attachments"][0]["check"]["result"] == "ok");

  REQUIRE(Runner::start("demo-2", "check").ok());
  must("ip link set vmtap1 nomaster");
  const Json bad = check_json("check");
  CHECK(bad["status"]["result"] == "failed");  // both addresses are given
  CHECK(bad["status"]["code"] == 50);
  CHECK(bad["attachments"][0]["check"]["result"] == "ok");
  CHECK(bad["attachments"][1]["check"]["code"] == 105);
  CHECK(bad["attachments"][1]["check"]["message"].get<std::string>().find("vmtap1") != std::string::npos);
  const Outcome text = Runner::run("network check");  // of all networks
  CHECK(text.exit_code == 1);
  CHECK(text.out.find("network check (/etc/cni/net.d/check.conflist): failed") != std::string::npos);
  CHECK(text.out.find("network host ") != std::string::npos);
  CHECK(text.err.find("vmtap1") != std::string::npos);
}

TEST_CASE("runner: network check says what it did not ask, and checks by a file that is named") {
  const StandInMachine machine;
  write_network("check.conflist", bridged("check"));
  REQUIRE(Runner::start("demo-1", "check").ok());
  Json edited = bridged("check");
  edited["plugins"].push_back({{"type", "slicer-firewall"}, {"drop", {"203.0.113.0/24"}}});  // of later VMs
  write_network("check.conflist", edited);
  CHECK(check_json("check")["attachments"][0]["check"]["result"] == "ok");
  CHECK(check_json("/etc/cni/net.d/check.conflist")["attachments"][0]["check"]["code"] == 105);
  edited["disableCheck"] = true;
  edited["cniVersion"] = "1.0.0";
  std::ofstream("/run/other.conflist") << edited.dump();
  const Json skipped = check_json("/run/other.conflist");
  CHECK(skipped["status"]["reason"] == "version 1.0.0 has no STATUS");
  CHECK(skipped["attachments"][0]["check"]["reason"] == "the network says disableCheck");
  CHECK(Runner::run("network check nothing").exit_code == 1);
}

TEST_CASE("runner: network gc removes what nobody knows of, and nothing else") {
  const StandInMachine machine;
  write_network("check.conflist", bridged("check"));
  REQUIRE(Runner::start("demo-1", "check").ok());
  const Netns sandbox("lost");
  Json conf = bridged("check")["plugins"][0];
  conf.update({{"cniVersion", "1.1.0"}, {"name", "check"}});
  REQUIRE(call_plugin("slicer-bridge", conf, {.container_id = "lost", .netns = sandbox.path(), .ifname = "tap0"}).ok());
  REQUIRE(exists("/var/lib/cni/networks/check/192.0.2.9"));
  const Outcome collected = Runner::run("network gc check");
  INFO(collected.err);
  CHECK(collected.ok());
  CHECK(collected.out == "network check: 1 attachment is known; the plugins removed what others left\n");
  CHECK_FALSE(exists("/var/lib/cni/networks/check/192.0.2.9"));
  CHECK(must("ip link show dev vmtap0").find("master check0") != std::string::npos);
  CHECK(check_json("check")["attachments"][0]["check"]["result"] == "ok");

  Json kept = bridged("check");
  kept["disableGC"] = true;
  write_network("check.conflist", kept);
  const Outcome refused = Runner::run("network gc check");
  CHECK(refused.exit_code == 1);
  CHECK(refused.err.find("says \"disableGC\"") != std::string::npos);
  kept["disableGC"] = false;
  kept["cniVersion"] = "1.0.0";
  write_network("check.conflist", kept);
  CHECK(Runner::run("network gc check").err.find("version 1.0.0 has no GC") != std::string::npos);
}

TEST_CASE("runner: network gc gives up a plugin that hangs, so that VMs can start again") {
  const StandInMachine machine;
  std::filesystem::create_directories("/run/hanging");
  std::ofstream("/run/hanging/hangs") << "#!/bin/sh\nexec sleep 1000\n";
  std::filesystem::permissions("/run/hanging/hangs", std::filesystem::perms::owner_all);
  Json conf = bridged("check");
  conf["plugins"] = {{{"type", "hangs"}}};
  write_network("check.conflist", conf);
  std::vector<std::string> command = Runner::argv("network gc check --timeout 1");
  command[2] = "/run/hanging";
  const Outcome collected = run(command, {.deadline = std::chrono::seconds(60)});
  CHECK(collected.exit_code == 1);
  CHECK(collected.err.find("'hangs'") != std::string::npos);
  CHECK(slicer::runner::AttachLock::for_gc({}, milliseconds(0)));
}

TEST_CASE("runner: a VM that is being attached keeps GC out, other VMs not") {
  const Host host;
  const Runner runner;
  std::ofstream("/run/hold") << "";
  Runner::network("slow", true, {{"addWhile", "/run/hold"}});
  const slicer::runner::Settings settings;
  const Background command(Runner::argv(std::string("vm new demo-1 --network slow --kernel ") + Runner::kTinyKernel),
                           "");
  REQUIRE(eventually([] { return exists("/run/hold.pid"); }));
  const auto kept_out = slicer::runner::AttachLock::for_gc(settings, milliseconds(0));
  REQUIRE_FALSE(kept_out);
  CHECK(kept_out.error().kind == Kind::kBusy);
  CHECK(slicer::runner::AttachLock::for_add(settings));
  std::filesystem::remove("/run/hold");
  CHECK(eventually([&] { return slicer::runner::AttachLock::for_gc(settings, milliseconds(0)).has_value(); }));
}

}  // namespace slicer::test
