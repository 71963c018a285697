// A VM beyond one run: stopped, kept, booted again, removed. No guest is needed for that.
#include <doctest/doctest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/system/fixture/kill_at_syscall.h"
#include "tests/system/fixture/snapshot.h"
#include "tests/system/runner/runner_support.h"

namespace slicer::test {
namespace {

using Machine = StandInMachine;

const std::string kKept = "/var/lib/slicer/vms/demo-1";

std::string state_of(const std::string& name) {
  const Json vm = Runner::vm(name);
  return vm.is_null() ? "none" : vm.value("state", "?");
}

void kill_and_wait(pid_t pid) {
  REQUIRE(kill(pid, SIGKILL) == 0);
  REQUIRE(eventually([&] { return !runs(pid); }));
}

Json kept() { return Json::parse(contents(kKept + "/vm.json"), nullptr, false); }

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

std::string names_in(const std::string& folder) {
  std::string names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) names += entry.path().filename().string() + " ";
  return names;
}

/// A disk of an image: 1 MiB with a word at its beginning.
void put_image(const std::string& path, const std::string& word = "base") {
  std::ofstream(path) << word;
  std::filesystem::resize_file(path, 1 << 20);
}

}  // namespace

TEST_CASE("life vm stop: the VM is kept and listed, vm start boots it with its MAC, vm rm leaves nothing") {
  const Machine machine;
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
  const Machine machine;
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
  const Machine machine;
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
  const Machine machine;
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
  const Machine machine;
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
  const Machine machine;
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
  const Machine machine;
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
  const Machine machine;
  REQUIRE(Runner::start("demo-1", "host", "--cmdline deaf").ok());
  const Background patient(Runner::argv("vm stop demo-1 --timeout 600"), "");
  REQUIRE(eventually([] { return state_of("demo-1") == "stopping"; }));
  CHECK(exists(kKept + "/vm.json"));  // kept before anything else is done
  CHECK(Runner::run("vm stop demo-1 --now").out == "demo-1 is stopped\n");
}

TEST_CASE("life: what a kept VM asks of its network: its address where that can be had, else the next") {
  const Machine machine;
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
  const Machine machine;
  REQUIRE(Runner::start("demo-1").ok());
  REQUIRE(Runner::run("vm stop demo-1").ok());
  std::filesystem::remove("/etc/cni/net.d/host.conflist");
  const Outcome started = Runner::run("vm start demo-1");
  CHECK(started.exit_code == 1);
  CHECK(started.err.starts_with("slicer-run: find network 'host' in '/etc/cni/net.d': no such network\n"));
  CHECK(state_of("demo-1") == "stopped");
}

TEST_CASE("life --storage: a disk of the VM's own on the image's, kept whatever ends the VM, gone with vm rm") {
  const Machine machine;
  put_image("/run/disk.img");
  const Outcome made = Runner::start("demo-1", "host", "--disk /run/disk.img --storage 1G");
  INFO(made.err);
  REQUIRE(made.ok());
  struct stat info{};
  REQUIRE(stat((kKept + "/disk.qcow2").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777U) == 0600);
  CHECK(kept()["keptDisk"]["base"] == "/run/disk.img");
  const auto killed = [](const char* which) {
    kill_and_wait(Runner::vm("demo-1")[which]);
    REQUIRE(Runner::run("gc").ok());
    CHECK(state_of("demo-1") == "stopped");
    CHECK(exists(kKept + "/disk.qcow2"));
    REQUIRE(Runner::run("vm start demo-1").ok());
  };
  killed("supervisorPid");
  REQUIRE(kill(Runner::vm("demo-1")["hypervisorPid"], SIGKILL) == 0);
  REQUIRE(eventually([] { return state_of("demo-1") == "stopped"; }));
  REQUIRE(Runner::run("vm start demo-1").ok());
  CHECK(Runner::run("vm rm demo-1").ok());
  CHECK_FALSE(exists(kKept));
}

TEST_CASE("life --storage-copy: a disk that needs the image no more") {
  const Machine machine;
  put_image("/run/disk.img");
  REQUIRE(Runner::start("demo-1", "host", "--disk /run/disk.img --storage 2M --storage-copy").ok());
  CHECK(contents(kKept + "/disk.raw").starts_with("base"));
  CHECK(std::filesystem::file_size(kKept + "/disk.raw") == 2U << 20);
  REQUIRE(Runner::run("vm stop demo-1").ok());
  put_image("/run/disk.img", "another");
  CHECK(Runner::run("vm start demo-1").ok());
}

TEST_CASE("life --storage: without an image's disk it is an empty one") {
  const Machine machine;
  REQUIRE(Runner::start("demo-1", "host", "--storage 64M").ok());
  CHECK(std::filesystem::file_size(kKept + "/disk.raw") == 64U << 20);
}

TEST_CASE("life --storage: what cannot be made is one line that says what to do, and leaves nothing") {
  const Machine machine;
  put_image("/run/disk.img");
  const auto refused = [](const std::string& more, const std::string& message) {
    CAPTURE(more);
    const Outcome made = Runner::start("demo-1", "host", more);
    CHECK(made.exit_code == 1);
    CHECK_MESSAGE(made.err.find("slicer-run: " + message) != std::string::npos, made.err);  // the key's may be first
    CHECK(made.err.find("\nslicer-run: hint: ") != std::string::npos);
    CHECK(Runner::calls().empty());
    CHECK_FALSE(exists("/run/slicer/demo-1"));
    CHECK_FALSE(exists(kKept));
  };
  refused("--storage 1X", "storage '1X': the unit is not known");
  std::filesystem::resize_file("/run/disk.img", 8 << 20);
  refused("--disk /run/disk.img --storage 2M",
          "give VM 'demo-1' a disk: storage 2M: the image's disk '/run/disk.img' has 8M");
  REQUIRE(run(words("mount -t tmpfs -o size=64k tmpfs /var/lib/slicer")).ok());
  std::ofstream("/var/lib/slicer/filler") << std::string(60 << 10, 'x');
  refused("--disk /run/disk.img --storage 1G", "give VM 'demo-1' a disk: ");
  REQUIRE(run(words("mount -o remount,ro /var/lib/slicer")).ok());
  const Outcome read_only = Runner::start("demo-1", "host", "--storage 1G");
  CHECK(read_only.exit_code == 1);
  CHECK_MESSAGE(read_only.err.find("Read-only file system (EROFS)") != std::string::npos, read_only.err);
  CHECK_FALSE(exists("/run/slicer/demo-1"));
}

TEST_CASE("life: a kept disk or its image that is gone or changed is told before anything is made") {
  const Machine machine;
  put_image("/run/disk.img");
  REQUIRE(Runner::start("demo-1", "host", "--disk /run/disk.img --storage 1G").ok());
  REQUIRE(Runner::run("vm stop demo-1").ok());
  const size_t calls = Runner::calls().size();
  const auto refused = [&](const std::string& message) {
    const Outcome started = Runner::run("vm start demo-1");
    CHECK(started.exit_code == 1);
    CHECK_MESSAGE(started.err.find(message) != std::string::npos, started.err);
    CHECK(state_of("demo-1") == "stopped");
    CHECK(Runner::calls().size() == calls);
  };
  std::filesystem::rename("/run/disk.img", "/run/elsewhere.img");
  refused("open disk '/run/disk.img': No such file or directory (ENOENT)");
  put_image("/run/disk.img", "other");
  refused("the image's disk '/run/disk.img' has changed since this VM's disk was made on top of it");
  std::filesystem::rename("/run/elsewhere.img", "/run/disk.img");
  std::filesystem::rename(kKept + "/disk.qcow2", "/var/lib/slicer/away");
  refused("open disk '" + kKept + "/disk.qcow2': No such file or directory (ENOENT)");
  std::filesystem::rename("/var/lib/slicer/away", kKept + "/disk.qcow2");
  CHECK(Runner::run("vm start demo-1").ok());
}

TEST_CASE("life: after a reboot of the host a kept VM is stopped, and comes back with its MAC and its address") {
  Machine machine;
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
  const Machine machine;
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

TEST_CASE("life: restart, and QEMU or the supervisor killed meanwhile: afterwards the VM can be started") {
  const Machine machine;
  for (const char* which : {"hypervisorPid", "supervisorPid"}) {
    CAPTURE(which);
    REQUIRE(Runner::start("demo-1", "host", "--cmdline deaf --storage 16M").ok());
    const pid_t victim = Runner::vm("demo-1")[which];
    const Background restart(Runner::argv("vm restart demo-1 --timeout 600"), "");
    REQUIRE(eventually([] { return state_of("demo-1") == "stopping"; }));
    REQUIRE(kill(victim, SIGKILL) == 0);
    CHECK(eventually([] { return state_of("demo-1") == "running"; }));
    CHECK(Runner::vm("demo-1")[which] != victim);
    CHECK(Runner::run("vm rm demo-1 --now").ok());
    CHECK_FALSE(exists(kKept));
  }
}

TEST_CASE("life: the supervisor killed while it restarts or stops: list tells the truth, gc and vm start go on") {
  const Machine machine;
  REQUIRE(Runner::start("demo-1", "host", "--cmdline deaf").ok());
  const pid_t supervisor = Runner::vm("demo-1")["supervisorPid"];
  const Background stop(Runner::argv("vm stop demo-1 --timeout 600"), "");
  REQUIRE(eventually([] { return state_of("demo-1") == "stopping"; }));
  kill_and_wait(supervisor);
  // The command that waited for it cleans up after it.
  REQUIRE(eventually([] { return state_of("demo-1") == "stopped"; }));
  CHECK(Runner::run("vm start demo-1").ok());
  kill_and_wait(Runner::vm("demo-1")["supervisorPid"]);
  CHECK(state_of("demo-1") == "dead");
  CHECK(Runner::run("vm stop demo-1").out == "demo-1 is stopped\n");  // of a dead VM: kept, what it left removed
  CHECK(state_of("demo-1") == "stopped");
  CHECK(Runner::run("vm start demo-1").ok());
  kill_and_wait(Runner::vm("demo-1")["supervisorPid"]);
  CHECK(Runner::run("vm start demo-1").ok());  // of a dead VM: the same
  CHECK(state_of("demo-1") == "running");
}

// What a VM goes through, one command after the other.
static std::vector<std::string> whole_life() {
  std::string script;
  for (const char* line : {"vm new demo-1 --network private --kernel /run/tiny-kernel --storage 16M", "vm stop demo-1",
                           "vm start demo-1", "vm rm demo-1"}) {
    for (const std::string& word : Runner::argv(line)) script += word + " ";
    script += "&& ";
  }
  return {"sh", "-c", script + "echo all"};
}

// SLICER_KILL_ROUNDS: at how many system calls something is killed; 0: at every one.
static long kill_step(long syscalls, long rounds) {
  if (const char* wish = std::getenv("SLICER_KILL_ROUNDS"); wish != nullptr) rounds = std::atol(wish);
  return rounds == 0 ? 1 : std::max(syscalls / rounds, 1L);
}

static void check_cleaned_up() {
  const std::string state = state_of("demo-1");
  CHECK_MESSAGE((state == "none" || state == "dead" || state == "stopped"), state);
  const Outcome cleaned = Runner::run("gc");
  INFO(cleaned.err);
  CHECK(cleaned.ok());
  CHECK_FALSE(exists("/run/slicer/demo-1"));
  CHECK_FALSE(exists("/run/netns/slicer-demo-1"));
  const std::string then = state_of("demo-1");
  CHECK_MESSAGE((then == "none" || then == "stopped"), then);
  if (then == "stopped") CHECK(exists(kKept + "/disk.raw"));
  if (exists(kKept)) CHECK(Runner::run("vm rm demo-1").ok());
  CHECK_FALSE(exists(kKept));
  CHECK(names_in("/var/lib/cni/results") == "");
}

constexpr RunOptions kPatient{.deadline = std::chrono::seconds(60)};

// All processes at once: a power cut for the runner.
TEST_CASE("life: killed at any moment, list tells the truth, gc cleans up, and the name can be used") {
  const Machine machine;
  const KillOutcome whole = run_killed_at(whole_life(), kPatient, 0);
  INFO(whole.outcome.err);
  REQUIRE(whole.outcome.ok());
  const long step = kill_step(whole.syscalls, 48);
  for (long nth = step; nth < whole.syscalls; nth += step) {
    CAPTURE(nth);
    (void)run_killed_at(whole_life(), kPatient, nth);
    check_cleaned_up();
  }
  CHECK(Runner::start("demo-1", "private", "--storage 16M").ok());
}

// The supervisor (or what it forks) alone, while the command that waits for it lives: at its start and at its end.
TEST_CASE("life: the supervisor killed at any moment, its command ends, list tells the truth and gc leaves nothing") {
  const Machine machine;
  const KillOutcome whole = run_child_killed_at(whole_life(), kPatient, 0, "slicer-run");
  INFO(whole.outcome.err);
  REQUIRE(whole.outcome.ok());
  REQUIRE(whole.syscalls > 100);
  const long step = kill_step(whole.syscalls, 24);
  for (long nth = step; nth < whole.syscalls; nth += step) {
    CAPTURE(nth);
    const KillOutcome killed = run_child_killed_at(whole_life(), kPatient, nth, "slicer-run");
    INFO(killed.outcome.err);
    CHECK(killed.outcome.exit_code < 128);
    check_cleaned_up();
  }
  CHECK(Runner::start("demo-1", "private", "--storage 16M").ok());
}

}  // namespace slicer::test
