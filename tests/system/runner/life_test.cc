// A VM beyond one run: stopped, kept, booted again, removed. No guest is needed for that.
#include <doctest/doctest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/system/fixture/snapshot.h"
#include "tests/system/runner/life_support.h"

namespace slicer::test {
namespace {

/// slicer-run lines side by side; each one's exit code, in order.
std::vector<int> at_once(const std::vector<std::string>& lines) {
  std::string script;
  for (size_t i = 0; i < lines.size(); ++i) {
    std::string all;
    for (const std::string& word : Runner::argv(lines[i])) all += word + " ";
    script += "{ " + all + "; echo code" + std::to_string(i) + "=$?; } & ";
  }
  const Outcome raced = run({"sh", "-c", script + "wait"}, {.deadline = std::chrono::seconds(60)});
  INFO(raced.out << raced.err);
  std::vector<int> codes;
  for (size_t i = 0; i < lines.size(); ++i) {
    const std::string word = "code" + std::to_string(i) + "=";
    const size_t at = raced.out.find(word);
    codes.push_back(at == std::string::npos ? -1 : std::atoi(raced.out.c_str() + at + word.size()));
  }
  return codes;
}

}  // namespace

TEST_CASE("life vm stop: the VM is kept and listed, vm start boots it with its MAC, vm rm leaves nothing") {
  const StandInMachine machine;
  (void)Runner::run("list");
  std::filesystem::create_directories("/run/slicer");
  std::filesystem::create_directories("/var/lib/cni/results");
  std::filesystem::create_directories("/var/lib/slicer/vms");
  const std::string before = snapshot();
  REQUIRE(Runner::start("demo-1", "host", "--vcpu 2").ok());
  CHECK_FALSE(exists(kKept));  // a VM that nobody stopped is not kept
  const Outcome stopped = Runner::run("vm stop demo-1");
  INFO(stopped.err);
  CHECK(stopped.ok());
  CHECK(stopped.out == "demo-1 is stopped\n");
  CHECK_FALSE(exists("/run/slicer/demo-1"));
  CHECK(Runner::calls().back() == "DEL demo-1 vmtap0 /proc/self/ns/net");
  const Json listed = Runner::vm("demo-1");
  CHECK(listed["state"] == "stopped");
  CHECK(listed["vcpus"] == 2);
  CHECK(listed["mac"] == "02:00:5e:00:53:01");
  CHECK(listed["addresses"] == Json::array());
  CHECK(Runner::run("list").out.find("demo-1  -      stopped  -") != std::string::npos);

  Runner::network("host", true, {{"address", "192.0.2.9/24"}});  // the network as it is now
  const Outcome started = Runner::run("vm start demo-1");
  INFO(started.err);
  CHECK(started.out == "demo-1 runs: 192.0.2.9/24 on network 'host' (qemu, tcg)\n");
  CHECK(Runner::vm("demo-1")["mac"] == "02:00:5e:00:53:01");
  CHECK(Runner::vm("demo-1")["vcpus"] == 2);
  CHECK_FALSE(exists(kKept + "/vm.json"));  // it has nothing that outlives it
  CHECK(Runner::run("vm rm demo-1").ok());
  CHECK(state_of("demo-1") == "none");
  std::filesystem::remove("/run/calls");
  std::filesystem::remove("/run/slicer/.tap.lock");
  CHECK(difference(before, snapshot()) == "");
}

TEST_CASE("life vm rm: a VM that runs with a state that nobody can read is told with the way out") {
  const StandInMachine machine;
  REQUIRE(Runner::start("demo-1").ok());
  const pid_t supervisor = Runner::vm("demo-1")["supervisorPid"];
  write_text("/run/slicer/demo-1/state.json", "{");
  for (const char* line : {"vm rm demo-1", "vm rm demo-1 --now"}) {
    const Outcome refused = Runner::run(line);
    CHECK(refused.exit_code == 1);
    CHECK(refused.err.starts_with("slicer-run: end VM 'demo-1', which runs: read '/run/slicer/demo-1/state.json': "));
    CHECK(refused.err.find("hint: end its supervisor, and it takes everything back: fuser -k -TERM "
                           "/run/slicer/demo-1/lock\n") != std::string::npos);
  }
  REQUIRE(kill(supervisor, SIGTERM) == 0);
  CHECK(Runner::gone("demo-1"));
  CHECK(Runner::calls().back() == "DEL demo-1 vmtap0 /proc/self/ns/net");
}

TEST_CASE("life vm stop: a VM that a full disk cannot keep runs on") {
  const StandInMachine machine;
  REQUIRE(Runner::start("demo-1").ok());
  REQUIRE(Runner::start("demo-2", "private").ok());
  std::filesystem::create_directories("/var/lib/slicer/vms");
  REQUIRE(mount("tmpfs", "/var/lib/slicer/vms", "tmpfs", 0, "nr_inodes=1") == 0);
  for (const char* line : {"vm stop demo-1", "vm stop demo-1 demo-2", "vm restart demo-1"}) {
    const Outcome refused = Runner::run(line);
    INFO(line << ": " << refused.err);
    CHECK(refused.exit_code == 1);
    CHECK(refused.err.find("keep VM 'demo-1': ") != std::string::npos);
    CHECK(refused.err.find("(ENOSPC)") != std::string::npos);
    CHECK(refused.err.find("make room there, or give the VM up: slicer-run vm rm demo-1") != std::string::npos);
    CHECK(state_of("demo-1") == "running");
    CHECK(state_of("demo-2") == "running");
  }
  REQUIRE(umount2("/var/lib/slicer/vms", MNT_DETACH) == 0);
  CHECK(Runner::run("vm stop demo-1 demo-2").ok());
  CHECK(state_of("demo-1") == "stopped");
  CHECK(state_of("demo-2") == "stopped");
}

TEST_CASE("life: names of kept VMs are taken, and messages say what to do") {
  const StandInMachine machine;
  REQUIRE(Runner::start("demo-1").ok());
  CHECK(Runner::run("vm start demo-1").out == "demo-1 runs already\n");
  REQUIRE(Runner::run("vm stop demo-1").ok());
  CHECK(Runner::run("vm stop demo-1").out == "demo-1 is stopped already\n");
  CHECK(Runner::run("vm console demo-1").err ==
        "slicer-run: VM 'demo-1' does not run; it is stopped\n"
        "slicer-run: hint: boot it: slicer-run vm start demo-1\n");
  const Outcome again = Runner::start("demo-1");
  CHECK(again.exit_code == 1);
  CHECK(again.err ==
        "slicer-run: VM 'demo-1' exists; it is stopped\n"
        "slicer-run: hint: boot it: slicer-run vm start demo-1; or remove it with its disk: slicer-run vm rm demo-1\n");
  CHECK(state_of("demo-1") == "stopped");
  CHECK_FALSE(exists("/run/slicer/demo-1"));
  CHECK(Runner::run("vm rm demo-1").out == "demo-1 is gone\n");
  for (const char* command : {"vm stop demo-1", "vm start demo-1", "vm restart demo-1", "vm rm demo-1"}) {
    CAPTURE(command);
    CHECK(Runner::run(command).err == "slicer-run: no VM 'demo-1'\nslicer-run: hint: slicer-run list shows the VMs\n");
  }
}

TEST_CASE("life: several names, --all, and one that fails does not hold up the others") {
  const StandInMachine machine;
  for (const char* name : {"a", "b", "c"}) REQUIRE(Runner::start(name).ok());
  const Outcome stopped = Runner::run("vm stop a none b");
  CHECK(stopped.exit_code == 1);
  CHECK(stopped.out == "a is stopped\nb is stopped\n");
  CHECK(stopped.err == "slicer-run: no VM 'none'\nslicer-run: hint: slicer-run list shows the VMs\n");
  CHECK(state_of("c") == "running");
  const std::string started = Runner::run("vm start --all").out;
  CHECK(started.starts_with("a runs: "));
  CHECK(started.find("\nb runs: ") != std::string::npos);
  CHECK(started.find("c runs") == std::string::npos);
  CHECK(Runner::run("vm stop --all").out == "a is stopped\nb is stopped\nc is stopped\n");
  REQUIRE(Runner::run("vm start b c").ok());
  const Outcome removed = Runner::run("vm rm --all");
  CHECK(removed.out == "a is gone\nb is gone\nc is gone\n");
  CHECK(removed.err == "");
  CHECK(Runner::run("vm rm --all").out == "");
  CHECK(Runner::run("vm stop").exit_code == 2);
  CHECK(Runner::run("vm stop a --all").exit_code == 2);
}

TEST_CASE("life vm restart: the same VM again, and a stopped one is started") {
  const StandInMachine machine;
  REQUIRE(Runner::start("demo-1", "private").ok());
  const pid_t first = Runner::vm("demo-1")["hypervisorPid"];
  CHECK(Runner::run("vm restart demo-1").out == "demo-1 runs: 192.0.2.2/24 on network 'private' (qemu, tcg)\n");
  CHECK_FALSE(runs(first));
  CHECK(Runner::vm("demo-1")["hypervisorPid"] != first);
  REQUIRE(Runner::run("vm stop demo-1").ok());
  CHECK(Runner::run("vm restart demo-1").ok());
  CHECK(state_of("demo-1") == "running");
}

TEST_CASE("life vm stop: a guest that does not hear the power button is ended after --timeout, with --now at once") {
  const StandInMachine machine;
  for (const char* how : {"--timeout 1", "--timeout 0", "--now"}) {
    CAPTURE(how);
    REQUIRE(Runner::start("demo-1", "host", "--cmdline deaf").ok());
    const auto start = std::chrono::steady_clock::now();
    CHECK(Runner::run(std::string("vm stop demo-1 ") + how).out == "demo-1 is stopped\n");
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(12));  // the default waits for 15
    CHECK(Runner::run("vm rm demo-1").ok());
  }
}

TEST_CASE("life vm stop: one that waits long is overtaken by one that does not") {
  const StandInMachine machine;
  REQUIRE(Runner::start("demo-1", "host", "--cmdline deaf").ok());
  const Background patient(Runner::argv("vm stop demo-1 --timeout 600"), "");
  REQUIRE(eventually([] { return state_of("demo-1") == "stopping"; }));
  CHECK(exists(kKept + "/vm.json"));  // kept before anything else is done
  CHECK(Runner::run("vm stop demo-1 --now").out == "demo-1 is stopped\n");
}

TEST_CASE("life: what a kept VM asks of its network: its address where that can be had, else the next") {
  const StandInMachine machine;
  Runner::network("asked", true, {{"capabilities", {{"ips", true}}}});
  REQUIRE(Runner::start("demo-1", "asked").ok());
  REQUIRE(Runner::run("vm stop demo-1").ok());
  // Another pool: the old address is asked for, and given.
  Runner::network("asked", true, {{"capabilities", {{"ips", true}}}, {"address", "192.0.2.77/24"}});
  CHECK(Runner::run("vm restart demo-1").out.starts_with("demo-1 runs: 192.0.2.2/24 "));
  REQUIRE(Runner::run("vm stop demo-1").ok());
  // Taken by another meanwhile.
  Runner::network("asked", true,
                  {{"capabilities", {{"ips", true}}}, {"address", "192.0.2.78/24"}, {"taken", "192.0.2.2/24"}});
  const Outcome moved = Runner::run("vm start demo-1");
  INFO(moved.err);
  CHECK(moved.out.starts_with("demo-1 runs: 192.0.2.78/24 "));
  const std::vector<std::string> calls = Runner::calls();
  REQUIRE(calls.size() > 2);
  CHECK(calls[calls.size() - 2].starts_with("DEL demo-1 "));  // of the ADD that failed
  CHECK(run(words("ip link show vmtap0")).ok());
  CHECK_FALSE(run(words("ip link show vmtap1")).ok());
}

TEST_CASE("life: a network that is gone is an error of vm start, and the VM stays kept") {
  const StandInMachine machine;
  REQUIRE(Runner::start("demo-1").ok());
  REQUIRE(Runner::run("vm stop demo-1").ok());
  std::filesystem::remove("/etc/cni/net.d/host.conflist");
  const Outcome started = Runner::run("vm start demo-1");
  CHECK(started.exit_code == 1);
  CHECK(started.err.starts_with("slicer-run: find network 'host' in '/etc/cni/net.d': no such network\n"));
  CHECK(state_of("demo-1") == "stopped");
}

TEST_CASE("life: after a reboot of the host a kept VM is stopped, and comes back with its MAC and its address") {
  StandInMachine machine;
  const Json bridge = {{"cniVersion", "1.0.0"},
                       {"name", "lan"},
                       {"plugins", Json::array({{{"type", "slicer-bridge"},
                                                 {"bridge", "brlan0"},
                                                 {"isGateway", true},
                                                 {"ipMasq", false},
                                                 {"capabilities", {{"ips", true}}},
                                                 {"ipam", {{"type", "slicer-ipam"}, {"gateway", "192.0.2.1/24"}}}}})}};
  std::ofstream("/etc/cni/net.d/lan.conflist") << bridge.dump();
  std::filesystem::copy(Runner::kTinyKernel, "/var/lib/slicer/kernel");
  for (const char* name : {"demo-1", "demo-2"}) {
    const Outcome made =
        Runner::run(std::string("vm new ") + name + " --network lan --kernel /var/lib/slicer/kernel --storage 16M");
    INFO(made.err);
    REQUIRE(made.ok());
  }
  const Json before = Runner::vm("demo-2");
  for (const char* name : {"demo-1", "demo-2"}) {
    const Json vm = Runner::vm(name);
    kill_and_wait(vm["supervisorPid"]);
  }
  machine.host.reboot();
  CHECK(state_of("demo-1") == "stopped");
  CHECK(state_of("demo-2") == "stopped");
  Runner::use_stand_in();
  const Outcome started = Runner::run("vm start demo-2");
  INFO(started.err);
  REQUIRE(started.ok());
  const Json after = Runner::vm("demo-2");
  CHECK(after["mac"] == before["mac"]);
  CHECK(after["addresses"] == before["addresses"]);
  CHECK(Runner::run("vm rm --all").ok());
}

TEST_CASE("life: two commands at once on one VM: the VM is in one state, and nobody waits in vain") {
  const StandInMachine machine;
  for (int round = 0; round < 3; ++round) {
    CAPTURE(round);
    REQUIRE(Runner::start("demo-1").ok());
    const std::vector<int> stop_rm = at_once({"vm stop demo-1", "vm rm demo-1"});
    CHECK(stop_rm[1] == 0);
    CHECK(state_of("demo-1") == "none");
    CHECK_FALSE(exists("/run/slicer/demo-1"));

    REQUIRE(Runner::start("demo-1").ok());
    REQUIRE(Runner::run("vm stop demo-1").ok());
    CHECK(at_once({"vm start demo-1", "vm start demo-1", "vm start demo-1"}) == std::vector<int>{0, 0, 0});
    CHECK(state_of("demo-1") == "running");
    CHECK(Runner::run("vm rm demo-1").ok());
  }
}

}  // namespace slicer::test
