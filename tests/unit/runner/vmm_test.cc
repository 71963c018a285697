// What Firecracker and Cloud Hypervisor are told.
#include <doctest/doctest.h>

#include <algorithm>

#include "lib/base/whole_file.h"
#include "runner/hypervisor/cloud_hypervisor.h"
#include "runner/hypervisor/firecracker.h"
#include "runner/hypervisor/jailer.h"
#include "runner/hypervisor/vm_cgroup.h"
#include "runner/hypervisor/vmm_api.h"
#include "tests/unit/runner/temp_folder.h"

namespace slicer::runner {
namespace {

using cni::Json;
using test::TempFolder;

Machine machine() {
  Machine machine;
  machine.name = "demo-1";
  machine.program = {.path = "/usr/bin/vmm", .version = {1, 7}};
  machine.boot.cmdline = "quiet";
  machine.disks = {{.path = "/secret/disk.img"}, {.path = "/secret/seed.iso", .read_only = true}};
  machine.vcpus = 2;
  machine.ram_mib = 512;
  machine.nic.name = "vmtap0";
  machine.nic.mac = "02:00:5e:00:53:01";
  machine.nic.mtu = 1400;
  return machine;
}

GivenFiles files() {
  GivenFiles given;
  given.kernel = "/proc/self/fd/10";
  given.disks = {"/proc/self/fd/11", "/proc/self/fd/12"};
  return given;
}

}  // namespace

TEST_CASE("parse_version: what hypervisors say of themselves") {
  CHECK(parse_version("Firecracker v1.7.0\n\nmore").value() == Version{1, 7});
  CHECK(parse_version("Firecracker v1.17.0-dev").value() == Version{1, 17});
  CHECK(parse_version("cloud-hypervisor v40.0\n").value() == Version{40, 0});
  CHECK(parse_version("cloud-hypervisor 53.1.0-dirty").value() == Version{53, 1});
  for (const char* text : {"", "true (GNU coreutils) new", "x v1", "1.7.0", "x v99999999999.1"})
    CHECK_FALSE(parse_version(text));
  CHECK(Version{1, 10} > Version{1, 9});
}

TEST_CASE("hypervisor kinds: what emulates nothing needs KVM") {
  const HypervisorKind& kind = *find_hypervisor_kind("firecracker").value();
  const KvmFacts works{.cpuinfo = "flags\t: vmx\n"};
  const KvmFacts fails{.cpuinfo = "flags\t: vmx\n", .kvm_error = "no /dev/kvm"};
  CHECK(choose_accelerator(kind, Accelerator::kAuto, works).value() == Accelerator::kKvm);
  CHECK(choose_accelerator(kind, Accelerator::kAuto, fails).error().message ==
        "hypervisor 'firecracker' needs KVM: no /dev/kvm");
  CHECK_FALSE(choose_accelerator(kind, Accelerator::kTcg, works));
  CHECK(find_hypervisor_kind("xen").error().hint == "use qemu, firecracker or cloud-hypervisor");
}

TEST_CASE("firecracker_config: the machine, nothing of the host by name, the MTU only where the version has it") {
  Machine vm = machine();
  const Json config = firecracker_config(vm, files(), "/control");
  CHECK(config["vsock"] == Json{{"guest_cid", 3}, {"uds_path", "/control/vsock.sock"}});
  CHECK(config.dump().find("/secret") == std::string::npos);
  CHECK(config["boot-source"] == Json{{"kernel_image_path", "/proc/self/fd/10"}, {"boot_args", "quiet reboot=k"}});
  CHECK(config["machine-config"] == Json{{"vcpu_count", 2}, {"mem_size_mib", 512}});
  CHECK(config["network-interfaces"] ==
        Json::array({{{"iface_id", "eth0"}, {"host_dev_name", "vmtap0"}, {"guest_mac", "02:00:5e:00:53:01"}}}));
  CHECK(config["drives"][1]["is_read_only"] == true);
  CHECK_FALSE(config.contains("mmds-config"));
  vm.program.version = {1, 16};
  CHECK(firecracker_config(vm, files(), "/control")["network-interfaces"][0]["mtu"] == 1400);
  vm.boot.cmdline = "reboot=t";
  CHECK(firecracker_config(vm, files(), "/control")["boot-source"]["boot_args"] == "reboot=t");
}

TEST_CASE("firecracker_config: bandwidth becomes buckets that hold a whole packet and fill at the rate") {
  Machine vm = machine();
  vm.limits = {.ingress_rate = 100'000'000, .ingress_burst = 16'000'000, .egress_rate = 1'000'000};
  const Json interface = firecracker_config(vm, files(), "/control")["network-interfaces"][0];
  CHECK(interface["rx_rate_limiter"]["bandwidth"] ==
        Json{{"size", 1'250'000}, {"refill_time", 100}, {"one_time_burst", 2'000'000}});
  CHECK(interface["tx_rate_limiter"]["bandwidth"] == Json{{"size", 65536}, {"refill_time", 524}});
}

TEST_CASE("cloud_hypervisor_arguments: the machine, nothing of the host by name, filters on") {
  Machine vm = machine();
  vm.program.version = {53, 0};
  const auto argv = cloud_hypervisor_arguments(vm, files(), {.tap = 20, .api = 21}, true);
  const auto has = [&](const std::vector<std::string>& words) {
    return std::ranges::search(argv, words).begin() != argv.end();
  };
  for (const std::string& word : argv) CHECK(word.find("/secret") == std::string::npos);
  CHECK(has({"--net", "fd=20,mac=02:00:5e:00:53:01"}));
  CHECK(has({"--api-socket", "fd=21"}));
  CHECK(has({"--seccomp", "true"}));
  CHECK(has({"--landlock"}));
  CHECK(has({"--disk", "path=/proc/self/fd/11,image_type=raw", "path=/proc/self/fd/12,readonly=on,image_type=raw"}));
  vm.program.version = {40, 0};
  const auto old = cloud_hypervisor_arguments(vm, files(), {.tap = 20, .api = 21}, false);
  CHECK(std::ranges::find(old, "path=/proc/self/fd/11") != old.end());
  CHECK(std::ranges::find(old, "--landlock") == old.end());
}

TEST_CASE("parse_api_head: the status and the length of what follows") {
  const ApiHead head = parse_api_head("HTTP/1.1 200 OK\r\nServer: x\r\ncontent-Length:  17\r\nX: 5").value();
  CHECK(head.status == 200);
  CHECK(head.body_bytes == 17);
  CHECK(parse_api_head("HTTP/1.1 204 \r\nServer: Firecracker API").value().body_bytes == 0);
  for (const char* text : {"", "HTTP/1.1 2x4 ", "SSH-2.0-OpenSSH", "HTTP/1.1 200 \r\nContent-Length: x",
                           "HTTP/1.1 200 \r\nContent-Length: 99999999999999999999"})
    CHECK_FALSE(parse_api_head(text));
}

TEST_CASE("find_cgroup_root: the first cgroup2 of the mounts, or none") {
  CHECK(find_cgroup_root("") == std::nullopt);
  CHECK(find_cgroup_root("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n") == std::nullopt);
  CHECK(find_cgroup_root("tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n"
                         "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\nnone /mnt cgroup2 rw 0 0") ==
        "/sys/fs/cgroup/unified");
  CHECK(find_cgroup_root("cgroup2 /home/cgroup2 ext4 rw 0 0\nbroken\n") == std::nullopt);
}

TEST_CASE("find_jailer: beside the hypervisor by either name, of the same release, and Firecracker's alone") {
  const TempFolder folder;
  const auto put = [&](const std::string& name, const std::string& says) {
    const std::string path = folder.path() + "/" + name;
    REQUIRE(write_whole_file(path, "#!/bin/sh\necho '" + says + "'\n", {.mode = 0755}));
    return path;
  };
  const HypervisorKind& kind = *find_hypervisor_kind("firecracker").value();
  HypervisorProgram program{.path = folder.path() + "/firecracker-v1.16.0-x86_64", .version = {1, 16}, .jailer = {}};
  const std::string plain = put("jailer", "Jailer v1.16.2");
  CHECK(find_jailer(kind, program, "").value() == plain);
  const std::string twin = put("jailer-v1.16.0-x86_64", "Jailer v1.16.0");
  CHECK(find_jailer(kind, program, "").value() == twin);
  CHECK(find_jailer(kind, program, plain).value() == plain);
  const std::string old = put("old", "Jailer v1.7.0");
  CHECK(find_jailer(kind, program, old).error().message ==
        "'" + old + "' is jailer 1.7, but '" + program.path + "' is firecracker 1.16: both must be of one release");
  const std::string other = put("other", "Firecracker v1.16.0");
  CHECK(find_jailer(kind, program, other).error().message ==
        "'" + other + "' is not Firecracker's jailer: it says no version");
  CHECK(find_jailer(kind, program, "jailer").error().message == "--jailer-path 'jailer': not an absolute path");
  CHECK(find_jailer(kind, program, "/none/jailer").error().kind == Kind::kNotFound);
  CHECK(find_jailer(*find_hypervisor_kind("qemu").value(), program, "").error().message ==
        "a jailer is Firecracker's: qemu has none");
}

}  // namespace slicer::runner
