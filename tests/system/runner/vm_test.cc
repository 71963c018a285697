// The life of a VM, with a real QEMU and a guest of 120 bytes.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>

#include "tests/system/fixture/snapshot.h"
#include "tests/system/runner/runner_support.h"

namespace slicer::test {
namespace {

struct Machine {
  Host host;
  Runner runner;
};

std::string status_field(pid_t pid, const std::string& field) {
  const std::string status = contents("/proc/" + std::to_string(pid) + "/status");
  const size_t at = status.find("\n" + field + ":\t");
  if (at == std::string::npos) return "";
  const size_t begin = at + field.size() + 3;
  return status.substr(begin, status.find('\n', begin) - begin);
}

std::vector<std::string> open_files(pid_t pid) {
  std::vector<std::string> targets;
  for (const auto& fd : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd"))
    targets.push_back(std::filesystem::read_symlink(fd.path()));
  return targets;
}

}  // namespace

TEST_CASE("runner vm new: returns when the VM runs, with its name and address, vm rm leaves nothing") {
  const Machine machine;
  REQUIRE(Runner::run("list").ok());
  std::filesystem::create_directories("/run/slicer");
  std::filesystem::create_directories("/var/lib/cni/results");
  const std::string before = snapshot();
  const Outcome made = Runner::start("demo-1");
  INFO(made.err);
  REQUIRE(made.ok());
  CHECK(made.out == "demo-1 runs: 192.0.2.2/24 on network 'host' (qemu, tcg)\n");
  CHECK(Runner::says("demo-1", "TINY-READY"));
  CHECK(exists("/var/lib/cni/results/host-demo-1-vmtap0"));

  const Outcome removed = Runner::run("vm rm demo-1");
  INFO(removed.err);
  CHECK(removed.ok());
  CHECK(removed.out == "demo-1 is gone\n");
  CHECK(Runner::calls() ==
        std::vector<std::string>{"ADD demo-1 vmtap0 /proc/self/ns/net", "DEL demo-1 vmtap0 /proc/self/ns/net"});
  std::filesystem::remove("/run/calls");
  std::filesystem::remove("/run/slicer/.tap.lock");
  CHECK(difference(before, snapshot()) == "");
}

TEST_CASE("runner vm new: a private network gets a namespace of the VM's own") {
  const Machine machine;
  REQUIRE(Runner::start("demo-1", "private").ok());
  CHECK(Runner::calls() == std::vector<std::string>{"ADD demo-1 tap0 /run/netns/slicer-demo-1"});
  CHECK(run(words("ip -n slicer-demo-1 link show tap0")).ok());
  // What plugins make for all has the mode that they give it: the supervisor's umask is no tighter than usual.
  CHECK((std::filesystem::status("/run/calls").permissions() & std::filesystem::perms::mask) ==
        std::filesystem::perms{0644});
  CHECK_FALSE(run(words("ip link show tap0")).ok());
  CHECK(Runner::vm("demo-1")["netns"] == "/run/netns/slicer-demo-1");
  REQUIRE(Runner::run("vm rm demo-1").ok());
  CHECK_FALSE(exists("/run/netns/slicer-demo-1"));
}

TEST_CASE("runner list: JSON for programs") {
  const Machine machine;
  CHECK(Runner::run("list --json").out == "[]\n");
  REQUIRE(Runner::start("demo-1", "host", "--vcpu 2").ok());
  const Json vm = Runner::vm("demo-1");
  INFO(vm.dump(2));
  CHECK(vm["state"] == "running");
  CHECK(vm["network"] == "host");
  CHECK(vm["addresses"] == Json::array({"192.0.2.2/24"}));
  CHECK(vm["gateways"] == Json::array({"192.0.2.1"}));
  CHECK(vm["mac"] == "02:00:5e:00:53:01");
  CHECK(vm["tap"] == "vmtap0");
  CHECK(vm["netns"] == "");
  CHECK(vm["hypervisor"] == "qemu");
  CHECK(vm["accelerator"] == "tcg");
  CHECK(vm["vcpus"] == 2);
  CHECK(vm["ramMb"] == 16);
  CHECK(vm["created"].is_number_integer());
  CHECK(runs(vm["supervisorPid"]));
  CHECK(runs(vm["hypervisorPid"]));
  CHECK(vm["lease"] == nullptr);
  CHECK(vm["linkGone"] == false);
  CHECK(vm["jailer"] == false);
  const std::string documented = contents(SLICER_DOCS "/views.md");
  for (const auto& [key, value] : vm.items()) CHECK_MESSAGE(documented.find("`" + key + "`") != std::string::npos, key);
  CHECK(Json::parse(Runner::run("vm list --json").out).size() == 1);
}

TEST_CASE("runner vm new: QEMU has no rights beyond its descriptors") {
  const Machine machine;
  REQUIRE(Runner::start("demo-1").ok());
  const pid_t qemu = Runner::vm("demo-1")["hypervisorPid"];
  const std::string uid = std::to_string(Runner::kUid);
  CHECK(status_field(qemu, "Uid") == uid + "\t" + uid + "\t" + uid + "\t" + uid);
  CHECK(status_field(qemu, "Gid") == uid + "\t" + uid + "\t" + uid + "\t" + uid);
  CHECK(status_field(qemu, "Groups").find_first_not_of(' ') == std::string::npos);
  for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"})
    CHECK_MESSAGE(status_field(qemu, set) == "0000000000000000", set);
  CHECK(status_field(qemu, "NoNewPrivs") == "1");
  CHECK(status_field(qemu, "Seccomp") == "2");
  for (const std::string& file : open_files(qemu)) {
    CAPTURE(file);
    CHECK(file.find("/lock") == std::string::npos);
    CHECK(file.find("state.json") == std::string::npos);
  }
  CHECK(contents("/proc/" + std::to_string(qemu) + "/environ").empty());
}

TEST_CASE("runner vm new: a caller that waits for the end of a pipe does not wait for the VM") {
  const Machine machine;
  int ends[2];
  REQUIRE(pipe(ends) == 0);  // inherited: not close-on-exec
  const UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  REQUIRE(Runner::start("demo-1").ok());  // run() itself reads stdout and stderr to their ends
  write_end.reset();
  pollfd waiting{.fd = read_end.get(), .events = POLLIN, .revents = 0};
  CHECK(poll(&waiting, 1, 0) == 1);
  CHECK((waiting.revents & POLLHUP) != 0);
  CHECK(Runner::vm("demo-1")["state"] == "running");
}

TEST_CASE("runner vm new: files that only root may read are handed over") {
  const Machine machine;
  REQUIRE(chmod(Runner::kTinyKernel, 0600) == 0);
  const UniqueFd disk(open("/run/disk.img", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  REQUIRE(ftruncate(disk.get(), 1 << 20) == 0);
  const Outcome made = Runner::start("demo-1", "host", "--disk /run/disk.img");
  INFO(made.err);
  REQUIRE(made.ok());
  CHECK(Runner::says("demo-1", "TINY-READY"));
  // Two machines never write one disk.
  const Outcome second = Runner::start("demo-2", "host", "--disk /run/disk.img");
  CHECK(second.exit_code == 1);
  CHECK_MESSAGE(second.err.find("Failed to get \"write\" lock") != std::string::npos, second.err);
  CHECK(Runner::vm("demo-2") == nullptr);
}

TEST_CASE("runner vm new: a name in use is an error") {
  const Machine machine;
  REQUIRE(Runner::start("demo-1").ok());
  const Outcome again = Runner::start("demo-1", "private");
  CHECK(again.exit_code == 1);
  CHECK(again.err ==
        "slicer-run: VM 'demo-1' exists\n"
        "slicer-run: hint: choose another name, or remove it: slicer-run vm rm demo-1\n");
  CHECK(Runner::vm("demo-1")["network"] == "host");
}

TEST_CASE("runner vm new: of two at once with one name, one wins") {
  const Machine machine;
  const std::string line = std::string("vm new demo-1 --network host --ram-mb 16 --kernel ") + Runner::kTinyKernel;
  std::string both;
  for (const std::string& word : Runner::argv(line)) both += word + " ";
  const Outcome raced = run({"sh", "-c", "{ " + both + "; echo first=$?; } & { " + both + "; echo second=$?; }; wait"});
  INFO(raced.out << raced.err);
  const bool first_won = raced.out.find("first=0") != std::string::npos;
  const bool second_won = raced.out.find("second=0") != std::string::npos;
  CHECK(first_won != second_won);
  CHECK(raced.out.find(first_won ? "second=1" : "first=1") != std::string::npos);
  CHECK(raced.err.find("VM 'demo-1' exists") != std::string::npos);
  CHECK(Runner::calls().size() == 1);
}

TEST_CASE("runner vm new: VMs made at once get TAPs of their own") {
  const Machine machine;
  std::string all;
  for (const char* name : {"a", "b", "c", "d"}) {
    for (const std::string& word :
         Runner::argv(std::string("vm new ") + name + " --network host --ram-mb 16 --kernel " + Runner::kTinyKernel))
      all += word + " ";
    all += "& ";
  }
  const Outcome made = run({"sh", "-c", all + "wait"}, {.deadline = std::chrono::seconds(60)});
  INFO(made.out << made.err);
  std::vector<std::string> taps;
  for (const char* name : {"a", "b", "c", "d"}) taps.push_back(Runner::vm(name).value("tap", "?"));
  std::sort(taps.begin(), taps.end());
  CHECK(taps == std::vector<std::string>{"vmtap0", "vmtap1", "vmtap2", "vmtap3"});
}

TEST_CASE("runner vm new: the lowest free number is used again, a stranger's name is left alone") {
  const Machine machine;
  (void)must("ip link add vmtap0 type bridge");
  REQUIRE(Runner::start("a").ok());
  REQUIRE(Runner::start("b").ok());
  CHECK(Runner::vm("a")["tap"] == "vmtap1");
  CHECK(Runner::vm("b")["tap"] == "vmtap2");
  REQUIRE(Runner::run("vm rm a").ok());
  REQUIRE(Runner::start("c").ok());
  CHECK(Runner::vm("c")["tap"] == "vmtap1");
}

TEST_CASE("runner: errors say what is wrong and what to do, and exit 1") {
  const Machine machine;
  struct Case {
    const char* line;
    const char* message;
  };
  for (const auto& [line, message] : std::initializer_list<Case>{
           {"vm new demo-1 --network lan --kernel /run/tiny-kernel",
            "slicer-run: find network 'lan' in '/etc/cni/net.d': no such network\n"
            "slicer-run: hint: the networks there are: host, private\n"},
           {"vm new demo-1 --network host --kernel /run/none",
            "slicer-run: open kernel '/run/none': No such file or directory (ENOENT)\n"
            "slicer-run: hint: make the demo image: sudo ./scripts/guest-image, in the sources or in "
            "/usr/share/slicer-cni; or name a kernel: --kernel FILE\n"},
           {"vm new demo-1 --network host",
            "slicer-run: find a kernel in image '/var/lib/slicer/images/demo': not there\n"
            "slicer-run: hint: make the demo image: sudo ./scripts/guest-image, in the sources or in "
            "/usr/share/slicer-cni; or name a kernel: --kernel FILE\n"},
           {"vm new demo-1 --network host --kernel /etc",
            "slicer-run: open kernel '/etc': not a regular file\n"
            "slicer-run: hint: make the demo image: sudo ./scripts/guest-image, in the sources or in "
            "/usr/share/slicer-cni; or name a kernel: --kernel FILE\n"},
           {"vm rm demo-1", "slicer-run: no VM 'demo-1'\nslicer-run: hint: slicer-run list shows the VMs\n"},
           {"vm console demo-1", "slicer-run: no VM 'demo-1'\nslicer-run: hint: slicer-run list shows the VMs\n"},
           {"vm logs demo-1", "slicer-run: no VM 'demo-1'\nslicer-run: hint: slicer-run list shows the VMs\n"}}) {
    CAPTURE(line);
    const Outcome outcome = Runner::run(line);
    CHECK(outcome.exit_code == 1);
    CHECK(outcome.out == "");
    CHECK(outcome.err == message);
  }
  const Outcome bad_name = Runner::run("vm new Demo_1 --network host");
  CHECK(bad_name.exit_code == 1);
  CHECK(bad_name.err.starts_with("slicer-run: name 'Demo_1' is not a DNS name\n"));
  CHECK(Runner::calls().empty());
}

TEST_CASE("runner list: who may not read what a VM is gets no empty list") {
  const Machine machine;
  REQUIRE(Runner::start("demo-1").ok());
  std::vector<std::string> line = Runner::argv("list");
  line.insert(line.begin(), {"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"});
  const Outcome listed = run(line);
  CHECK(listed.exit_code == 1);
  CHECK(listed.out == "");
  CHECK(listed.err.find("hint: run it with sudo") != std::string::npos);
}

TEST_CASE("runner: QEMU has no network but its TAP") {
  const StandInMachine machine;
  REQUIRE(Runner::start("demo-1", "private").ok());
  REQUIRE(Runner::start("demo-2", "host").ok());
  for (const char* vm : {"demo-1", "demo-2"}) {
    CAPTURE(vm);
    const std::string pid = std::to_string(Runner::vm(vm)["hypervisorPid"].get<int>());
    CHECK(must("nsenter --net=/proc/" + pid + "/ns/net ip -br link").starts_with("lo "));
    CHECK(words(must("nsenter --net=/proc/" + pid + "/ns/net ip -br addr")) == words("lo DOWN"));
  }
}

TEST_CASE("runner: who may not look is told to be root") {
  const Machine machine;
  std::filesystem::create_directories("/var/lib/slicer/vms");
  std::filesystem::create_directories("/var/lib/cni/results");
  for (const char* folder : {"/var/lib/slicer/vms", "/var/lib/cni/results"}) REQUIRE(chmod(folder, 0700) == 0);
  for (const char* command : {"list", "network show host"}) {
    CAPTURE(command);
    std::vector<std::string> line = Runner::argv(command);
    line.insert(line.begin(), {"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"});
    const Outcome refused = run(line);
    CHECK(refused.exit_code == 1);
    CHECK(refused.err.find("Permission denied (EACCES)\nslicer-run: hint: run it with sudo\n") != std::string::npos);
  }
}

TEST_CASE("runner: a wrong command line exits 2") {
  const Machine machine;
  for (const char* line : {"", "vm", "vm new", "vm new a b c", "frobnicate", "vm new a --accel hvf",
                           "vm new a --vcpu 0", "vm new a --ram-mb x", "list --xml"}) {
    CAPTURE(line);
    const Outcome outcome = Runner::run(line);
    CHECK(outcome.exit_code == 2);
    CHECK(outcome.out == "");
    CHECK(outcome.err.starts_with("slicer-run: "));
  }
  const Outcome bare = Runner::run("");
  for (const char* command : {"\n  vm ", "\n  list ", "\n  network ", "\n  gc ", "\n  doctor "})
    CHECK_MESSAGE(bare.err.find(command) != std::string::npos, command);
  CHECK(Runner::run("vm").err.find("\n  console ") != std::string::npos);
  CHECK(Runner::run("vm frob").err.starts_with("slicer-run: 'frob' is not known behind 'vm': use one of new, list, "));
  CHECK(Runner::run("--help").exit_code == 0);
  CHECK(Runner::run("--version").out.starts_with("slicer-run "));
}

TEST_CASE("runner vm new: without the system user it says how to create it") {
  const Machine machine;
  (void)must("umount /etc/passwd");
  const Outcome outcome = Runner::start("demo-1");
  CHECK(outcome.exit_code == 1);
  CHECK(
      outcome.err.starts_with("slicer-run: find system user 'slicer-vm': there is none\n"
                              "slicer-run: hint: create it: useradd --system "));
  CHECK(Runner::calls().empty());
}

TEST_CASE("runner vm new: a network for containers is refused, and taken back") {
  const Machine machine;
  Runner::network("veth", false, {{"containerResult", true}});
  const Outcome outcome = Runner::start("demo-1", "veth");
  CHECK(outcome.exit_code == 1);
  CHECK(outcome.err.starts_with("slicer-run: network 'veth' gives no TAP for a VM\n"));
  CHECK(Runner::calls().back() == "DEL demo-1 tap0 /run/netns/slicer-demo-1");
  CHECK_FALSE(exists("/run/slicer/demo-1"));
  CHECK_FALSE(exists("/run/netns/slicer-demo-1"));
}

TEST_CASE("runner --debug: the plugins' calls and answers") {
  const Machine machine;
  const Outcome made =
      Runner::run(std::string("--debug vm new demo-1 --network host --ram-mb 16 --kernel ") + Runner::kTinyKernel);
  REQUIRE(made.ok());
  CHECK(made.err.find("debug: ADD tap_plugin (") != std::string::npos);
  CHECK(made.err.find("debug:   stdin  {") != std::string::npos);
  CHECK(made.err.find("\"sandbox\":\"demo-1\"") != std::string::npos);
  CHECK(made.out == "demo-1 runs: 192.0.2.2/24 on network 'host' (qemu, tcg)\n");
}

TEST_CASE("runner vm new: NETCONFPATH and --cni-conf-dir name the networks' folder") {
  const Machine machine;
  std::filesystem::create_directories("/run/nets");
  std::filesystem::copy("/etc/cni/net.d/host.conflist", "/run/nets/host.conflist");
  std::filesystem::remove("/etc/cni/net.d/host.conflist");
  CHECK(Runner::start("a").exit_code == 1);
  CHECK(Runner::start("a", "host", "--cni-conf-dir /run/nets").ok());
  REQUIRE(setenv("NETCONFPATH", "/run/nets", 1) == 0);
  CHECK(Runner::start("b").ok());
  REQUIRE(unsetenv("NETCONFPATH") == 0);
}

TEST_CASE("runner vm new: a VM without an address says so") {
  const Machine machine;
  Runner::network("dhcp", true, {{"address", ""}, {"gateway", ""}});
  const Outcome made = Runner::start("demo-1", "dhcp");
  CHECK(made.out == "demo-1 runs: address by DHCP (slicer-run list shows it) on network 'dhcp' (qemu, tcg)\n");
}

}  // namespace slicer::test
