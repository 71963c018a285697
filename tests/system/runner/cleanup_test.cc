// However a VM ends, nothing stays.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "tests/system/runner/runner_support.h"

namespace slicer::test {
namespace {

struct Machine {
  Host host;
  Runner runner;
};

bool ends(pid_t pid) {
  return eventually([&] { return !runs(pid); }, std::chrono::seconds(10));
}

bool has_link(const std::string& name) { return run({"ip", "link", "show", name}).ok(); }

void kill_supervisor(const std::string& name) {
  const Json vm = Runner::vm(name);
  const pid_t supervisor = vm["supervisorPid"];
  REQUIRE(kill(supervisor, SIGKILL) == 0);
  REQUIRE(ends(supervisor));
}

}  // namespace

TEST_CASE("runner: QEMU killed: its supervisor takes everything back") {
  const Machine machine;
  for (const char* network : {"host", "private"}) {
    CAPTURE(network);
    REQUIRE(Runner::start("demo-1", network).ok());
    const Json vm = Runner::vm("demo-1");
    REQUIRE(kill(vm["hypervisorPid"], SIGKILL) == 0);
    CHECK(Runner::gone("demo-1"));
    CHECK(Runner::calls().back().starts_with("DEL demo-1 "));
    CHECK(ends(vm["supervisorPid"]));
  }
  CHECK_FALSE(has_link("vmtap0"));
  CHECK_FALSE(exists("/run/netns/slicer-demo-1"));
}

TEST_CASE("runner: the guest switches itself off: the same") {
  const Machine machine;
  REQUIRE(Runner::start("demo-1").ok());
  REQUIRE(Runner::says("demo-1", "TINY-READY"));
  CHECK(Runner::run("vm console demo-1", "q").ok());
  CHECK(Runner::gone("demo-1"));
  CHECK_FALSE(has_link("vmtap0"));
}

TEST_CASE("runner: the supervisor asked to end shuts the guest down") {
  const Machine machine;
  REQUIRE(Runner::start("demo-1").ok());
  REQUIRE(Runner::says("demo-1", "TINY-READY"));
  REQUIRE(kill(Runner::vm("demo-1")["supervisorPid"], SIGTERM) == 0);
  CHECK(Runner::gone("demo-1"));
  CHECK_FALSE(has_link("vmtap0"));
}

TEST_CASE("runner: the supervisor killed: QEMU dies with it, list shows it, vm rm cleans up") {
  const Machine machine;
  for (const char* network : {"host", "private"}) {
    CAPTURE(network);
    REQUIRE(Runner::start("demo-1", network).ok());
    const pid_t qemu = Runner::vm("demo-1")["hypervisorPid"];
    kill_supervisor("demo-1");
    CHECK(ends(qemu));
    CHECK(Runner::vm("demo-1")["state"] == "dead");

    const Outcome console = Runner::run("vm console demo-1");
    CHECK(console.exit_code == 1);
    CHECK(console.err.find("VM 'demo-1' is not running") != std::string::npos);
    CHECK(Runner::run("vm logs demo-1").ok());

    CHECK(Runner::run("vm rm demo-1").ok());
    const std::vector<std::string> calls = Runner::calls();
    CHECK(calls.back() == "DEL" + calls[calls.size() - 2].substr(3));  // as it was added
    CHECK_FALSE(exists("/run/slicer/demo-1"));
  }
  CHECK_FALSE(has_link("vmtap0"));
  CHECK_FALSE(exists("/run/netns/slicer-demo-1"));
}

TEST_CASE("runner: vm new takes the name of a dead VM, whose network may be gone from the folder") {
  const Machine machine;
  REQUIRE(Runner::start("demo-1", "private").ok());
  kill_supervisor("demo-1");
  std::filesystem::remove("/etc/cni/net.d/private.conflist");
  const Outcome made = Runner::start("demo-1", "host");
  INFO(made.err);
  CHECK(made.ok());
  CHECK(Runner::calls() == std::vector<std::string>{"ADD demo-1 tap0 /run/netns/slicer-demo-1",
                                                    "DEL demo-1 tap0 /run/netns/slicer-demo-1",
                                                    "ADD demo-1 vmtap0 /proc/self/ns/net"});
  CHECK_FALSE(exists("/run/netns/slicer-demo-1"));
  CHECK(Runner::vm("demo-1")["network"] == "host");
}

TEST_CASE("runner: the supervisor killed during ADD: its plugin dies, the next command takes back what there is") {
  const Machine machine;
  std::ofstream("/run/hold") << "";
  Runner::network("slow", true, {{"addWhile", "/run/hold"}});
  const Background command(Runner::argv(std::string("vm new demo-1 --network slow --kernel ") + Runner::kTinyKernel),
                           "");
  REQUIRE(eventually([] { return exists("/run/hold.pid"); }));
  CHECK(Runner::vm("demo-1")["state"] == "starting");
  kill_supervisor("demo-1");
  CHECK(ends(std::stoi(contents("/run/hold.pid"))));  // it would go on beside the DEL
  CHECK(has_link("vmtap0"));
  CHECK(Runner::run("vm rm demo-1").ok());
  CHECK(Runner::calls().back() == "DEL demo-1 vmtap0 /proc/self/ns/net");
  CHECK_FALSE(has_link("vmtap0"));
  CHECK_FALSE(exists("/run/slicer/demo-1"));
}

TEST_CASE("runner: vm new interrupted: no VM comes up behind the user's back") {
  const Machine machine;
  std::ofstream("/run/hold") << "";
  Runner::network("slow", true, {{"addWhile", "/run/hold"}});
  {
    const Background command(
        Runner::argv(std::string("vm new demo-1 --network slow --ram-mb 16 --kernel ") + Runner::kTinyKernel), "");
    REQUIRE(eventually([] { return exists("/run/hold.pid"); }));
  }  // killed
  std::filesystem::remove("/run/hold");
  CHECK(Runner::gone("demo-1"));
  CHECK_FALSE(has_link("vmtap0"));
}

TEST_CASE("runner: a failed ADD leaves nothing") {
  const Machine machine;
  for (const bool host : {true, false}) {
    CAPTURE(host);
    Runner::network("broken", host, {{"failAdd", true}});
    const Outcome made = Runner::start("demo-1", "broken");
    CHECK(made.exit_code == 1);
    CHECK(made.err.find("add: told to fail") != std::string::npos);
    CHECK(made.out == "");
    CHECK(Runner::calls().back().starts_with("DEL demo-1 "));
    CHECK_FALSE(exists("/run/slicer/demo-1"));
  }
  CHECK_FALSE(has_link("vmtap0"));
  CHECK_FALSE(exists("/run/netns/slicer-demo-1"));
}

TEST_CASE("runner: a hypervisor that does not start leaves nothing, and its words are shown") {
  const Machine machine;
  std::ofstream("/run/garbage") << "this is no kernel";
  const Outcome made = Runner::run("vm new demo-1 --network host --kernel /run/garbage");
  CHECK(made.exit_code == 1);
  CHECK(made.err.find("start QEMU: it says '") != std::string::npos);
  CHECK(made.err.find("slicer-run: hint: slicer-run doctor tells what this host lacks\n") != std::string::npos);
  CHECK(made.err.find("kernel") != std::string::npos);
  CHECK(Runner::calls().back().starts_with("DEL demo-1 "));
  CHECK_FALSE(exists("/run/slicer/demo-1"));
  CHECK_FALSE(has_link("vmtap0"));
}

TEST_CASE("runner: a DEL that fails is tried again by the next command, --force gives it up") {
  const Machine machine;
  Runner::network("stuck", true, {{"failDelWhile", "/run/obstacle"}});
  for (const bool force : {false, true}) {
    CAPTURE(force);
    REQUIRE(Runner::start("demo-1", "stuck").ok());
    std::ofstream("/run/obstacle") << "";
    const Outcome removed = Runner::run("vm rm demo-1");
    CHECK(removed.exit_code == 1);
    CHECK(removed.err.find("delete: told to fail") != std::string::npos);
    CHECK(removed.err.find("hint: ") != std::string::npos);
    CHECK(Runner::vm("demo-1")["state"] == "dead");
    if (!force) std::filesystem::remove("/run/obstacle");
    const Outcome again = Runner::run(force ? "vm rm --force demo-1" : "vm rm demo-1");
    INFO(again.err);
    CHECK(again.ok());
    CHECK(Runner::vm("demo-1") == nullptr);
    CHECK(has_link("vmtap0") == force);
  }
}

TEST_CASE("runner vm new: a plugin that is not there is named before anything is made") {
  const Machine machine;
  Runner::network("incomplete", true, {{"type", "no-such-plugin"}});
  const Outcome made = Runner::start("demo-1", "incomplete");
  CHECK(made.exit_code == 1);
  CHECK(made.err.starts_with("slicer-run: use network 'incomplete': find plugin 'no-such-plugin' in '"));
  CHECK_FALSE(exists("/run/slicer/demo-1"));
}

TEST_CASE("runner: plugins that were moved since ADD are looked for where the command says, --force does without") {
  const Machine machine;
  const std::filesystem::path bin = Runner::plugin_dir();
  for (const bool force : {false, true}) {
    CAPTURE(force);
    std::filesystem::create_directory("/run/plugins");
    std::filesystem::copy(bin / "tap_plugin", "/run/plugins/moved_plugin");
    Runner::network("moved", true, {{"type", "moved_plugin"}});
    REQUIRE(Runner::start("demo-1", "moved", "--cni-path /run/plugins").ok());
    kill_supervisor("demo-1");
    std::filesystem::rename("/run/plugins", "/run/elsewhere");
    const Outcome removed = Runner::run("vm rm demo-1");
    CHECK(removed.exit_code == 1);
    CHECK(removed.err.find("find plugin 'moved_plugin' in '") != std::string::npos);
    const Outcome again = Runner::run(force ? "vm rm --force demo-1" : "vm rm demo-1 --cni-path /run/elsewhere");
    INFO(again.err);
    CHECK(again.ok());
    CHECK_FALSE(exists("/run/slicer/demo-1"));
    CHECK(has_link("vmtap0") == force);
    std::filesystem::remove_all("/run/elsewhere");
  }
  CHECK(Runner::run("vm rm --force demo-1").exit_code == 1);  // nothing there to be forced
}

TEST_CASE("runner: a pid that is another's by now is left alone") {
  const Machine machine;
  REQUIRE(Runner::start("demo-1").ok());
  kill_supervisor("demo-1");
  const Background stranger({"sleep", "1000"}, "");
  Json state = Json::parse(contents("/run/slicer/demo-1/state.json"));
  state["hypervisor"]["pid"] = stranger.pid();
  state["supervisor"]["pid"] = stranger.pid();
  std::ofstream("/run/slicer/demo-1/state.json") << state.dump();
  CHECK(Runner::vm("demo-1")["state"] == "dead");
  CHECK(Runner::run("vm rm demo-1").ok());
  CHECK(runs(stranger.pid()));
}

TEST_CASE("runner: an orphaned hypervisor is ended by the cleanup") {
  const Machine machine;
  REQUIRE(Runner::start("demo-1").ok());
  kill_supervisor("demo-1");
  const Background orphan({"sleep", "1000"}, "");
  const std::string stat = contents("/proc/" + std::to_string(orphan.pid()) + "/stat");
  Json state = Json::parse(contents("/run/slicer/demo-1/state.json"));
  state["hypervisor"]["pid"] = orphan.pid();
  state["hypervisor"]["startTime"] = std::stoull(words(stat.substr(stat.rfind(')') + 2))[19]);
  std::ofstream("/run/slicer/demo-1/state.json") << state.dump();
  CHECK(Runner::run("vm rm demo-1").ok());
  CHECK(ends(orphan.pid()));
}

TEST_CASE("runner: an unreadable state is named, and can be forgotten") {
  const Machine machine;
  std::filesystem::create_directories("/run/slicer/demo-1");
  std::ofstream("/run/slicer/demo-1/state.json") << "{\"phase\": 7}";
  const Outcome removed = Runner::run("vm rm demo-1");
  CHECK(removed.exit_code == 1);
  CHECK(removed.err.find("'/run/slicer/demo-1/state.json'") != std::string::npos);
  CHECK(Runner::run("vm rm --force demo-1").ok());
  CHECK_FALSE(exists("/run/slicer/demo-1"));
}

TEST_CASE("runner vm rm: a guest that is still booting is shut down when it can be") {
  const Machine machine;
  REQUIRE(Runner::start("demo-1").ok());
  const auto start = std::chrono::steady_clock::now();
  CHECK(Runner::run("vm rm demo-1").ok());  // its first press comes before the guest listens
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(12));
}

TEST_CASE("runner vm rm: a guest that does not hear the power button is ended after a while, with --now at once") {
  const Machine machine;
  const std::string line = std::string("vm new demo-1 --network host --ram-mb 16 --kernel ") + Runner::kDeafKernel;
  for (const bool now : {true, false}) {
    CAPTURE(now);
    REQUIRE(Runner::run(line).ok());
    REQUIRE(Runner::says("demo-1", "TINY-READY"));
    const auto start = std::chrono::steady_clock::now();
    CHECK(Runner::run(now ? "vm rm --now demo-1" : "vm rm demo-1").ok());
    CHECK((std::chrono::steady_clock::now() - start < std::chrono::seconds(10)) == now);
    CHECK_FALSE(exists("/run/slicer/demo-1"));
  }
}

}  // namespace slicer::test
