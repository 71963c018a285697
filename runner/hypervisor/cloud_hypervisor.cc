#include "runner/hypervisor/cloud_hypervisor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/landlock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "runner/process/unix_socket.h"

namespace slicer::runner {
namespace {

constexpr Version kHasLandlock = {41, 0};  // its release-notes.md
constexpr Version kNamesFormat = {52, 0};  // from there on a format that is not named is guessed with a warning
constexpr long kLandlockVersion = 3;       // vmm/src/landlock.rs: it takes no older one

bool kernel_has_landlock() {
  return syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION) >= kLandlockVersion;
}

std::string disk_option(const Machine& machine, const Disk& disk, const std::string& name) {
  std::string option = "path=" + name;
  if (disk.read_only) option += ",readonly=on";
  // Never guessed from what is in the file: a guest could write another format's header on its disk.
  if (machine.program.version >= kNamesFormat) option += ",image_type=raw";
  return option;
}

}  // namespace

std::vector<std::string> cloud_hypervisor_arguments(const Machine& machine, const GivenFiles& files,
                                                    const CloudHypervisorDescriptors& descriptors, bool landlock) {
  std::vector<std::string> argv = {"--api-socket", fmt::format("fd={}", descriptors.api),
                                   "--cpus",       fmt::format("boot={}", machine.vcpus),
                                   "--memory",     fmt::format("size={}M", machine.ram_mib),
                                   "--kernel",     files.kernel,
                                   "--cmdline",    machine.boot.cmdline,
                                   "--serial",     "tty",
                                   "--console",    "off",
                                   "--seccomp",    "true",
                                   "--rng",        "src=/dev/urandom"};
  if (!files.initrd.empty()) argv.insert(argv.end(), {"--initramfs", files.initrd});
  // No "mtu": it would set that of the device, which is not its to set. It reads it there and tells the guest.
  argv.insert(argv.end(), {"--net", fmt::format("fd={},mac={}", descriptors.tap, machine.nic.mac)});
  if (!machine.disks.empty()) argv.emplace_back("--disk");
  for (size_t i = 0; i < machine.disks.size(); ++i)
    argv.push_back(disk_option(machine, machine.disks[i], files.disks[i]));
  if (landlock) argv.emplace_back("--landlock");
  return argv;
}

Result<void> CloudHypervisor::start(Machine machine) {
  const HypervisorKind* kind = TRY(find_hypervisor_kind("cloud-hypervisor"));
  const GivenFiles files = TRY(open_given(machine, *kind));
  socket_ = machine.folder + "/api.sock";
  UniqueFd api = TRY(listen_on(machine.folder + "/api.sock"));
  const CloudHypervisorDescriptors fds{.tap = machine.nic.tap.get(), .api = api.get()};
  const bool landlock = machine.program.version >= kHasLandlock && kernel_has_landlock();

  ConfinedSpec spec = common_spec(machine);
  spec.files = files.files;
  spec.descriptors = {fds.tap, fds.api};
  for (std::string& word : cloud_hypervisor_arguments(machine, files, fds, landlock))
    spec.argv.push_back(std::move(word));
  return run(spec, machine, {.path = "/api/v1/vm.info", .word = R"("state":"Running")"}, std::move(api));
}

Result<void> CloudHypervisor::power_down() { return order("/api/v1/vm.power-button"); }

Result<void> CloudHypervisor::quit() { return order("/api/v1/vmm.shutdown"); }

}  // namespace slicer::runner
