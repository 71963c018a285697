// What becomes of a guest of Firecracker that reboots: to its host that is an end in good order, as a shutdown is.
#include <doctest/doctest.h>

#include <filesystem>

#include "tests/system/hypervisors/vmm_support.h"

namespace slicer::test {

TEST_CASE("hypervisors: a guest of Firecracker that reboots has ended: restart always boots it again, on-failure not") {
  SLICER_NEEDS_KVM_DEVICE();
  const VmmHost host;
  std::filesystem::create_directories("/run/image");
  std::filesystem::copy(VmmHost::kKernel, "/run/image/vmlinux");
  // "q": Firecracker's end at a reboot, which is how its guests switch themselves off; "x": its failure.
  const auto type = [](const std::string& vm, const std::string& text) {
    CHECK(Runner::says(vm, "STAND-IN-READY"));
    write_text("/run/typed", text);
    (void)run({"sh", "-c", "exec " + Runner::argv("")[0] + " vm console " + vm + " </run/typed"});
  };
  const auto is_back = [](int before) {
    return eventually(
        [&] {
          const Json vm = Runner::vm("web-1");
          return !vm.is_null() && vm.value("state", "") == "running" && vm.value("supervisorPid", 0) != before;
        },
        std::chrono::seconds(20));
  };
  const auto up = [](const std::string& restart) {
    write_text("/run/group.yaml",
               "config:\n  host_groups:\n    - name: web\n      count: 2\n      network_name: host\n"
               "      image: /run/image\n      ram_mb: 64\n      hypervisor: firecracker\n      restart: " +
                   restart + "\n");
    REQUIRE(Runner::run("up -d /run/group.yaml").ok());
    return Runner::vm("web-1")["supervisorPid"].get<int>();
  };
  const int first = up("always");
  type("web-1", "q");
  CHECK(is_back(first));
  CHECK(Runner::run("down web").ok());
  const int second = up("on-failure");
  type("web-2", "q");
  CHECK(Runner::gone("web-2"));
  type("web-1", "x");
  CHECK(is_back(second));
  CHECK(Runner::vm("web-2").is_null());  // it would be back by now
  CHECK(Runner::run("down web").ok());
}

}  // namespace slicer::test
