// The restart policies of a host group: who is booted again, and who is not.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <optional>

#include "tests/system/runner/group_support.h"

namespace slicer::test {
namespace {

using namespace std::chrono_literals;
using Names = std::set<std::string>;

// A new run of the VM.
bool is_back(const std::string& vm, pid_t before) {
  return eventually(
      [&] {
        const Json record = Runner::vm(vm);
        return !record.is_null() && record.value("state", "") == "running" &&
               record.value("supervisorPid", 0) != before;
      },
      20s);
}

// The firmware loses what comes before the guest runs.
void type(const std::string& vm, const std::string& text) {
  CHECK(Runner::says(vm, "TINY-READY"));
  write_text("/run/typed", text);
  (void)run({"sh", "-c", "exec " + Runner::argv("")[0] + " vm console " + vm + " </run/typed"});
}

// Resets its machine (q35: port 0xcf9) where the tiny guest begins to wait.
std::string resetting_kernel() {
  std::string kernel = contents(Runner::kTinyKernel);
  const std::string ready("\x66\xba\x02\x06\x66\xb8\x00\x01\x66\xef", 10);  // mov dx, 0x602; mov ax, 0x100; out dx, ax
  const std::string reset("\x66\xba\xf9\x0c\xb0\x06\xee\x90\x90\x90", 10);  // mov dx, 0xcf9; mov al, 6; out dx, al
  const size_t at = kernel.find(ready);
  if (at == std::string::npos) give_up("the tiny guest does not wait as it did");
  return kernel.replace(at, ready.size(), reset);
}

}  // namespace

TEST_CASE("runner up: restart always brings a VM back, unless somebody ended it") {
  const GroupHost machine;
  write_groups(group_text("vm", 2, "      restart: always\n" + std::string(kBridgeGroup)));
  const std::string before = group_leftovers();
  std::optional<Background> foreground;
  SUBCASE("kept in the foreground") { foreground.emplace(Runner::argv("up " + std::string(kGroupFile)), ""); }
  SUBCASE("kept in the background") { REQUIRE(up().ok()); }
  REQUIRE(eventually([] { return running_vms() == 2; }, 20s));
  const Json was = Runner::vm("vm-1");
  REQUIRE(kill(was["hypervisorPid"], SIGKILL) == 0);
  CHECK(is_back("vm-1", was["supervisorPid"]));
  CHECK(Runner::vm("vm-1")["mac"] == was["mac"]);
  CHECK(Runner::vm("vm-1")["addresses"] == was["addresses"]);
  const pid_t second = supervisor_of("vm-2");
  REQUIRE(kill(second, SIGKILL) == 0);
  CHECK(is_back("vm-2", second));

  REQUIRE(Runner::run("vm rm vm-2").ok());
  const pid_t third = supervisor_of("vm-1");
  type("vm-1", "q");  // switches itself off
  CHECK(is_back("vm-1", third));
  CHECK(vm_names() == Names{"vm-1"});  // not vm-2: by now it would be back

  const Outcome down = Runner::run("down vm");
  INFO(down.out << down.err);
  CHECK(down.ok());
  CHECK(down.out == "vm-1 is gone\n");  // who keeps the group ended it
  CHECK(group_leftovers() == before);
}

TEST_CASE("runner up: restart always tries a VM again whose first boot fails") {
  const GroupHost machine;
  const std::string plugin = "/run/plugins/late";
  std::filesystem::create_directories("/run/plugins");
  for (const auto& each : std::filesystem::directory_iterator(bin_dir()))
    std::filesystem::create_symlink(each.path(), "/run/plugins/" + each.path().filename().string());
  write_text(plugin,
             "#!/bin/sh\n[ \"$CNI_COMMAND\" != ADD ] || [ -e /run/ready ] || { echo '{\"code\": 100, \"msg\": "
             "\"not yet\"}'; exit 1; }\nexec /run/plugins/tap_plugin\n");
  REQUIRE(chmod(plugin.c_str(), 0755) == 0);
  std::filesystem::create_symlink(Runner::plugin_dir() + "/tap_plugin", "/run/plugins/tap_plugin");
  write_text("/etc/cni/net.d/70-late.conflist",
             R"({"cniVersion": "1.0.0", "name": "late", "netns": "host", "plugins": [{"type": "late"}]})");
  write_groups(group_text("vm", 1, "      network_name: late\n      restart: always\n"));
  const Outcome first = Runner::run("--cni-path /run/plugins up " + std::string(kGroupFile) + " --detach");
  CHECK(first.exit_code == 1);
  CHECK(first.err.find("not yet") != std::string::npos);
  CHECK(running_vms() == 0);
  write_text("/run/ready", "");
  INFO(contents("/run/slicer/.group-vm.log"));
  CHECK(eventually([] { return running_vms() == 1; }, 20s));
  CHECK(Runner::run("down vm").ok());
}

TEST_CASE("runner up: restart on-failure leaves a VM that switched itself off") {
  const GroupHost machine;
  write_groups(group_text("vm", 2, "      restart: on-failure\n" + std::string(kBridgeGroup)));
  REQUIRE(up().ok());
  type("vm-2", "q");
  CHECK(Runner::gone("vm-2"));
  const pid_t first = supervisor_of("vm-1");
  REQUIRE(kill(Runner::vm("vm-1")["hypervisorPid"], SIGKILL) == 0);
  CHECK(is_back("vm-1", first));
  CHECK(vm_names() == Names{"vm-1"});
  CHECK(Runner::run("down vm").ok());
}

TEST_CASE("runner up: restart on-failure boots a guest again that was given up after resets") {
  const GroupHost machine;
  write_text("/run/image/vmlinux", resetting_kernel());
  write_groups(group_text("vm", 1, "      restart: on-failure\n" + std::string(kBridgeGroup)));
  REQUIRE(up().ok());
  const auto log = [] { return contents("/run/slicer/.group-vm.log"); };
  const bool told = eventually(
      [&] {
        return log().find(
                   "VM 'vm-1' has ended: the guest crashed, or was reset again and again; it is booted again in 1 "
                   "s\n") != std::string::npos;
      },
      40s);
  INFO(log());
  CHECK(told);
  CHECK(Runner::run("down vm").ok());
}

}  // namespace slicer::test
