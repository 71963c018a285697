// list, inspect, map and route on a host with VMs.
#include <doctest/doctest.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "tests/system/fixture/kill_at_syscall.h"
#include "tests/system/macvtap/macvtap_support.h"
#include "tests/system/runner/runner_support.h"

namespace slicer::test {
namespace {

struct Machine {
  Host host;
  Runner runner;
};

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

void write_network(const std::string& name, const Json& plugin, bool host_netns = false) {
  Json list = {{"cniVersion", "1.0.0"}, {"name", name}, {"plugins", {plugin}}};
  if (host_netns) list["netns"] = "host";
  std::ofstream("/etc/cni/net.d/" + name + ".conflist") << list.dump();
}

Json bridge_conf(const std::string& bridge, const std::string& subnet) {
  return {{"type", "slicer-bridge"},
          {"bridge", bridge},
          {"isGateway", true},
          {"ipam", {{"type", "slicer-ipam"}, {"subnet", subnet}}}};
}

/// As many records of the VM `first`.
void copy_records(const std::string& first, int count) {
  Json record = Json::parse(contents("/run/slicer/" + first + "/state.json"));
  for (int i = 0; i < count; ++i) {
    const std::string name = "copy-" + std::to_string(i);
    std::filesystem::create_directories("/run/slicer/" + name);
    record["name"] = name;
    std::ofstream("/run/slicer/" + name + "/state.json") << record.dump();
  }
}

}  // namespace

TEST_CASE("runner list: group, hypervisor, uptime, CPU and memory, dead the moment the supervisor is") {
  const Machine machine;
  REQUIRE(Runner::start("demo-1").ok());
  const Json vm = Runner::vm("demo-1");
  INFO(vm.dump(2));
  CHECK(vm["group"] == "");
  CHECK(vm["uptime"].get<int>() >= 0);
  CHECK(vm["memoryBytes"].get<int64_t>() > (int64_t{1} << 20));
  CHECK(vm["cpuSeconds"].get<double>() > 0);
  CHECK(vm["cpuPercent"].get<double>() > 0);  // TCG: the guest polls its serial line
  const std::string table = Runner::run("list").out;
  INFO(table);
  CHECK(table.starts_with("NAME    GROUP  STATE    ADDRESS       MAC                NETWORK  HYPERVISOR  UPTIME  CPU"));
  CHECK(contains(table, "demo-1  -      running  192.0.2.2/24  02:00:5e:00:53:01  host     qemu/tcg    "));
  CHECK(contains(table, "%"));
  CHECK_FALSE(contains(table, "\033"));  // no terminal
  REQUIRE(kill(vm["supervisorPid"], SIGKILL) == 0);
  REQUIRE(eventually([&] { return !runs(vm["hypervisorPid"]); }));
  const Json dead = Runner::vm("demo-1");
  CHECK(dead["state"] == "dead");
  CHECK(dead["memoryBytes"] == nullptr);
  CHECK(dead["uptime"] == nullptr);
}

TEST_CASE("runner list: a stopped VM is listed until it is removed") {
  const Machine machine;
  REQUIRE(Runner::start("demo-1").ok());
  REQUIRE(Runner::run("vm stop --now demo-1").ok());
  const Json vm = Runner::vm("demo-1");
  CHECK(vm["state"] == "stopped");
  CHECK(vm["mac"] == "02:00:5e:00:53:01");
  CHECK(vm["cpuPercent"] == nullptr);
  const Outcome shown = Runner::run("inspect demo-1");
  INFO(shown.out << shown.err);
  CHECK(contains(shown.out, "state       stopped\n"));
  CHECK(contains(shown.out, "kept        yes\n"));
  CHECK(Runner::run("vm rm demo-1").ok());
  CHECK(Runner::run("list --json").out == "[]\n");
}

TEST_CASE("runner list: --watch looks again, as lines for a program, until a signal") {
  const Machine machine;
  REQUIRE(Runner::start("demo-1").ok());
  std::string line = "exec";
  for (const std::string& word : Runner::argv("list --json --watch --interval 0.2")) line += " '" + word + "'";
  const Background watch({"sh", "-c", line + " >/run/watched"}, "");
  const auto looks = [] {
    const std::string text = contents("/run/watched");
    return std::count(text.begin(), text.end(), '\n');
  };
  REQUIRE(eventually([&] { return looks() >= 2; }));
  const std::string text = contents("/run/watched");
  const Json second =
      Json::parse(text.substr(text.find('\n') + 1, text.find('\n', text.find('\n') + 1) - text.find('\n')));
  CHECK(second[0]["name"] == "demo-1");
  CHECK(second[0]["cpuPercent"].get<double>() >= 0);
  (void)kill(watch.pid(), SIGINT);
  CHECK(eventually([&] { return !runs(watch.pid()); }));
}

TEST_CASE("runner list: on a terminal --watch paints in place, with colours unless NO_COLOR says otherwise") {
  const Machine machine;
  REQUIRE(Runner::start("demo-1").ok());
  const auto on_terminal = [](const std::string& environment) {
    std::string line = "env TERM=xterm " + environment;
    for (const std::string& word : Runner::argv("list --watch --interval 0.2")) line += " " + word;
    return run({"timeout", "1", "script", "--quiet", "--command", line, "/dev/null"}).out;
  };
  if (run({"script", "--version"}).exit_code == 127) SLICER_SKIP("needs the program script");
  const std::string painted = on_terminal("NO_COLOR=");
  INFO(painted);
  CHECK(contains(painted, "\033[H"));
  CHECK(contains(painted, "\033[32mrunning\033[0m"));
  CHECK_FALSE(contains(on_terminal("NO_COLOR=1"), "\033[32m"));
}

TEST_CASE("runner list: 200 VMs are a dozen system calls each") {
  const Machine machine;
  REQUIRE(Runner::start("demo-1").ok());
  const auto calls = [] {
    return run_killed_at(Runner::argv("list --json"), {.deadline = std::chrono::seconds(60)}, 0).syscalls;
  };
  copy_records("demo-1", 20);
  const long few = calls();
  copy_records("demo-1", 200);
  const long many = calls();
  CHECK(Json::parse(Runner::run("list --json").out).size() == 201);
  CAPTURE(few);
  CAPTURE(many);
  CHECK((many - few) / 180 <= 20);
  CHECK(many > few);
  std::filesystem::remove_all("/run/slicer/copy-0");
}

TEST_CASE("runner inspect: a VM's links, lists, files and network") {
  const Machine machine;
  write_network("net", bridge_conf("br0", "192.0.2.0/24"));
  REQUIRE(Runner::start("demo-1", "net").ok());
  const Outcome shown = Runner::run("inspect demo-1");
  INFO(shown.out << shown.err);
  REQUIRE(shown.ok());
  CHECK(contains(shown.out, "name        demo-1\n"));
  CHECK(contains(shown.out, "state       running for "));
  CHECK(contains(shown.out, "links       tap0 (tap, mtu 1500), "));
  CHECK(contains(shown.out, " in namespace slicer-demo-1, "));
  CHECK(contains(shown.out, ", port of br0\n"));
  CHECK(contains(shown.out, "policy      no lists\n"));
  CHECK(contains(shown.out, "/run/slicer/demo-1/state.json\n"));
  const Json json = Json::parse(Runner::run("inspect demo-1 --json").out);
  CHECK(json["conflist"]["name"] == "net");
  CHECK(json["links"]["on"] == "br0");
  CHECK(json["links"]["onKind"] == "bridge");
  CHECK(json["links"]["netns"] == "slicer-demo-1");
  CHECK(json["kept"] == false);
  CHECK(json["definition"]["ramMib"] == 16);
  CHECK(Runner::run("inspect demo-2").err ==
        "slicer-run: no VM 'demo-2'\nslicer-run: hint: slicer-run list shows the VMs\n");
}

TEST_CASE("runner map: bridges, parents, namespaces and VMs of this host, as a tree and as a picture") {
  const Machine machine;
  const Surroundings around;
  write_network("net", bridge_conf("br0", "192.0.2.0/24"), true);
  Json isolated = {{"type", "slicer-isolated"}};
  write_network("iso", isolated);
  Json lan = macvtap::quick_conf();
  write_network("lan", lan);
  REQUIRE(Runner::start("vm-1", "net").ok());
  REQUIRE(Runner::start("iso-1", "iso").ok());
  const bool macvtap = Runner::start("lan-1", "lan").ok();
  (void)must("ip link add stranger type veth peer name stranger1");
  (void)must("ip link set stranger master br0");
  const Outcome tree = run([] {
    std::vector<std::string> argv = Runner::argv("map");
    argv.insert(argv.begin(), {"env", "LC_ALL=C"});
    return argv;
  }());
  INFO(tree.out << tree.err);
  REQUIRE(tree.ok());
  CHECK(contains(tree.out, "|-- bridge br0, 192.0.2.1/24, network net\n"));
  CHECK(contains(tree.out, "|   |-- vmtap0 -- vm-1, running, 192.0.2.2/24, no lists\n"));
  CHECK(contains(tree.out, "|   `-- stranger (veth)\n"));
  CHECK(contains(tree.out, "`-- routed by the host, each VM apart, network iso\n"));
  CHECK(contains(tree.out, " === [slicer-iso-1 "));
  CHECK(contains(tree.out, " -- tap0] -- iso-1, running, 169.254."));
  if (macvtap) {
    CHECK(contains(tree.out,
                   "|-- lan0, parent of macvtaps, 198.51.100.2/24, 2001:db8:100::2/64, network lan, default route\n"));
    CHECK(contains(tree.out, "|   `-- [slicer-lan-1 tap0 macvtap bridge] -- lan-1, running, 198.51.100.220/24"));
  }
  CHECK(Runner::run("map /run/map.svg").ok());
  const std::string svg = contents("/run/map.svg");
  for (const char* name : {"vm-1", "iso-1", "br0", "stranger"}) CHECK_MESSAGE(contains(svg, name), name);
  const Outcome parsed =
      run({"python3", "-c", "import xml.etree.ElementTree as e; print(e.parse('/run/map.svg').getroot().tag)"});
  if (parsed.exit_code != 127) CHECK(parsed.out == "{http://www.w3.org/2000/svg}svg\n");
  const Json map = Json::parse(Runner::run("map --json").out);
  std::string vms;
  for (const Json& anchor : map["anchors"])
    for (const Json& link : anchor["links"])
      if (!link["vm"].is_null()) vms += std::string(anchor["kind"]) + " " + std::string(link["vm"]["name"]) + "\n";
  INFO(map.dump(2));
  CHECK(contains(vms, "bridge vm-1\n"));
  CHECK(Runner::run("map --json /run/map.svg").exit_code == 2);
  CHECK(Runner::run("map /run/map.png").err.starts_with("slicer-run: write '/run/map.png': a picture is SVG\n"));
}

TEST_CASE("runner route: another machine reaches the VMs by the printed lines") {
  const Machine machine;
  const Surroundings around;
  write_network("net", bridge_conf("br0", "192.0.2.0/24"), true);
  write_network("iso", {{"type", "slicer-isolated"}});
  REQUIRE(Runner::start("vm-1", "net").ok());
  const Outcome routes = Runner::run("route");
  INFO(routes.out << routes.err);
  REQUIRE(routes.ok());
  CHECK(contains(routes.out, "# network net, bridge br0\nip route add 192.0.2.0/24 via 198.51.100.2\n"));
  CHECK(contains(routes.out, "# network iso needs no route: its VMs take no connections from outside"));
  CHECK(run({"sh", "-c", routes.out}, {.netns = around.machine.path()}).ok());
  CHECK(contains(must("ip route show", around.machine.path()), "192.0.2.0/24 via 198.51.100.2 "));
  CHECK(pings(around.machine.path(), "192.0.2.1"));
  CHECK(contains(Runner::run("route --os windows").out, "route add 192.0.2.0 mask 255.255.255.0 198.51.100.2\n"));
  CHECK(contains(Runner::run("route --via 198.51.100.77").out, "via 198.51.100.77\n"));
  const Json json = Json::parse(Runner::run("route --json").out);
  CHECK(json[0] == Json{{"network", "net"}, {"bridge", "br0"}, {"subnet", "192.0.2.0/24"}, {"via", "198.51.100.2"}});

  (void)must("ip route del default");
  const Outcome lost = Runner::run("route");
  CHECK(lost.exit_code == 1);
  CHECK(contains(lost.err,
                 "route to 192.0.2.0/24: no address of this host is known, since it has no IPv4 default route"));
  CHECK(contains(lost.err, "--via ADDRESS"));
}

TEST_CASE("runner route: IPv6 subnets, too") {
  const Machine machine;
  const Surroundings around;
  Json bridge = bridge_conf("br0", "192.0.2.0/24");
  bridge["ipam"] = {{"type", "slicer-ipam"},
                    {"ranges", Json::array({Json::array({{{"subnet", "192.0.2.0/24"}}}),
                                            Json::array({{{"subnet", "2001:db8:2::/64"}}})})}};
  write_network("net", bridge, true);
  REQUIRE(Runner::start("vm-1", "net").ok());
  const Outcome routes = Runner::run("route");
  INFO(routes.out << routes.err);
  REQUIRE(routes.ok());
  CHECK(contains(routes.out, "ip -6 route add 2001:db8:2::/64 via 2001:db8:100::2\n"));
  CHECK(run({"sh", "-c", routes.out}, {.netns = around.machine.path()}).ok());
  CHECK(pings(around.machine.path(), "2001:db8:2::1"));
  CHECK(contains(Runner::run("route --os windows").out, "route -6 add 2001:db8:2::/64 2001:db8:100::2\n"));
  CHECK(contains(Runner::run("route --os macos --via 2001:db8:100::9").out,
                 "sudo route -n add -inet6 -net 2001:db8:2::/64 2001:db8:100::9\n"));
}

TEST_CASE("runner route: says so when there is nothing to route") {
  const Machine machine;
  for (const char* name : {"host", "private"})
    std::filesystem::remove(std::string("/etc/cni/net.d/") + name + ".conflist");
  CHECK(Runner::run("route").out == "# nothing to route\n");
}

TEST_CASE("runner vm new, gc: JSON for programs") {
  const StandInMachine machine;
  const Outcome made = Runner::start("demo-1", "host", "--json");
  INFO(made.err);
  const Json vm = Json::parse(made.out);
  CHECK(vm["name"] == "demo-1");
  CHECK(vm["state"] == "running");
  CHECK(vm["addresses"] == Json{"192.0.2.2/24"});
  CHECK(Json::parse(Runner::run("gc --json").out) == Json{{"removed", Json::array()}, {"failed", Json::array()}});
  REQUIRE(kill(vm["supervisorPid"], SIGKILL) == 0);
  REQUIRE(eventually([&] { return !runs(vm["supervisorPid"]); }));
  const Json removed = Json::parse(Runner::run("gc --json").out);
  CHECK(removed["removed"] == Json::array({{{"what", "run"}, {"vm", "demo-1"}, {"kept", false}}}));
  CHECK(removed["failed"].empty());
}

TEST_CASE("runner completion: zsh and fish complete commands, flags and this host's VMs") {
  const StandInMachine machine;
  REQUIRE(Runner::start("demo-1").ok());
  const std::string environment = "env PATH=" + bin_dir() + ":/usr/bin:/bin HOME=/run TERM=xterm ";
  const auto has = [](const char* shell) { return run({"sh", "-c", std::string("command -v ") + shell}).ok(); };
  if (!has("fish") || !has("zsh")) SLICER_SKIP("zsh or fish is not installed");
  const auto fish = [&](const std::string& line) {
    std::vector<std::string> argv = words(environment + "fish --no-config -c");
    argv.push_back("source (slicer-run completion fish | psub); complete -C '" + line + "'");
    return run(argv).out;
  };
  CHECK(fish("slicer-run insp").starts_with("inspect\t"));
  CHECK(fish("slicer-run list --wat").starts_with("--watch\t"));
  CHECK(contains(fish("slicer-run inspect "), "demo-1"));
  const auto zsh = [&](const std::string& line, const std::string& shows) {
    std::vector<std::string> argv = words(environment + "zsh -f -c");
    // On a terminal, as a person has it: the key of completion is pressed.
    argv.push_back(
        "zmodload zsh/zpty; zpty shell zsh -f -i; zpty -w shell \"PS1=; autoload -U compinit; compinit -u -d "
        "/run/zcompdump; . <(slicer-run completion zsh); print REA''DY\"; zpty -r shell told '*READY*'; zpty -w -n "
        "shell "
        "$'" +
        line + "\\t'; zpty -r shell told '*" + shows + "*' && print shown");
    return run(argv).out;
  };
  CHECK(zsh("slicer-run insp", "inspect") == "shown\n");
  CHECK(zsh("slicer-run list --wat", "--watch") == "shown\n");
  CHECK(zsh("slicer-run inspect de", "demo-1") == "shown\n");
}

TEST_CASE("runner completion: bash completes commands, flags and this host's VMs") {
  const Machine machine;
  REQUIRE(Runner::start("demo-1").ok());
  const auto completed = [](const std::string& line) {
    const std::string script = ". <(slicer-run completion bash); COMP_WORDS=(" + line +
                               "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _slicer_run; echo ${COMPREPLY[*]}";
    return run({"env", "PATH=" + bin_dir() + ":/usr/bin:/bin", "bash", "-c", script}).out;
  };
  CHECK(completed("slicer-run insp") == "inspect\n");
  CHECK(completed("slicer-run inspect ''") == "demo-1\n");
  CHECK(completed("slicer-run vm new --network ''") == "host private\n");
  CHECK(completed("slicer-run list --wat") == "--watch\n");
}

TEST_CASE("runner: a typo gets the nearest command or flag") {
  const Machine machine;
  CHECK(Runner::run("lsit").err ==
        "slicer-run: 'lsit' is not known behind 'slicer-run': did you mean \"list\"?\n"
        "slicer-run: hint: --help shows what there is\n");
  CHECK(Runner::run("vm nwe").err.starts_with("slicer-run: 'nwe' is not known behind 'vm': did you mean \"new\"?\n"));
  CHECK(Runner::run("list --jsno")
            .err.starts_with("slicer-run: '--jsno' is not known behind 'list': did you mean \"--json\"?\n"));
  CHECK(Runner::run("list --frobnicate").err.starts_with("slicer-run: '--frobnicate' is not known behind 'list'\n"));
}

}  // namespace slicer::test
