#include "runner/hypervisor/qemu.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "runner/hypervisor/boot_file.h"

namespace slicer::runner {
namespace {

using namespace std::chrono_literals;

constexpr auto kAnswerLimit = 3s;

// Syscalls that a started QEMU has no use for. Source: QEMU, docs/system/security.rst and `-sandbox help`.
constexpr const char* kSandbox = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

std::string same_number(int fd) { return fmt::format("/proc/self/fd/{}", fd); }

// In an option's value a comma is doubled.
std::string escaped(const std::string& value) {
  std::string result;
  for (const char c : value) result.append(c == ',' ? 2 : 1, c);
  return result;
}

constexpr size_t kFirstDiskSet = 1;  // numbers of descriptor sets

// One -blockdev for the file behind a descriptor and one for its format. With "backing" given, QEMU does not open the
// name that a qcow2 file's header says.
void add_image(std::vector<std::string>& argv, const std::string& node, size_t set, int fd,
               const std::string& options) {
  argv.insert(argv.end(), {"-add-fd", fmt::format("fd={},set={}", fd, set), "-blockdev",
                           fmt::format("driver=file,node-name={}-file,filename=/dev/fdset/{}{}", node, set,
                                       options.find("read-only=on") != std::string::npos ? ",read-only=on" : ""),
                           "-blockdev", fmt::format("node-name={},file={}-file,driver={}", node, node, options)});
}

void add_disk(std::vector<std::string>& argv, size_t index, const Disk& disk, const QemuDisk& fds) {
  const std::string node = fmt::format("disk{}", index);
  const size_t set = kFirstDiskSet + 2 * index;
  std::string options = disk.format + (disk.read_only ? ",read-only=on" : "");
  if (fds.base >= 0) {
    add_image(argv, node + "-base", set + 1, fds.base, disk.base_format + ",read-only=on");
    options += fmt::format(",backing={}-base", node);
  }
  add_image(argv, node, set, fds.file, options);
  argv.insert(argv.end(), {"-device", fmt::format("virtio-blk-pci,drive={}", node)});
}

std::string network_device(const Machine& machine) {
  // Without a ROM: nothing boots from the network, and the file need not be there.
  std::string device = fmt::format("virtio-net-pci,netdev=net,mac={},romfile=", machine.nic.mac);
  // A guest that is not told the MTU stalls where the way out is narrower than 1500.
  if (machine.nic.mtu != 0) device += fmt::format(",host_mtu={}", machine.nic.mtu);
  return device;
}

struct SocketPair {
  UniqueFd ours = {};
  UniqueFd theirs = {};
};
Result<SocketPair> socket_pair() {
  std::array<int, 2> ends = {-1, -1};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
    return fail_errno(errno, "make a socket pair");
  return SocketPair{.ours = UniqueFd(ends[0]), .theirs = UniqueFd(ends[1])};
}

// Keeps what QEMU inherits open until it has started.
struct OpenFiles {
  UniqueFd kernel = {};
  UniqueFd initrd = {};
  std::vector<UniqueFd> disks = {};
  std::vector<QemuDisk> disk_numbers = {};
};

Result<void> open_disks(const Machine& machine, OpenFiles& files) {
  const auto open_one = [&](const std::string& path, DiskAccess access) -> Result<int> {
    files.disks.push_back(TRY(open_disk(path, access)));
    return files.disks.back().get();
  };
  for (const Disk& disk : machine.disks) {
    QemuDisk numbers;
    numbers.file = TRY(open_one(disk.path, disk.read_only ? DiskAccess::kReadOnly : DiskAccess::kReadWrite));
    if (!disk.base.empty()) numbers.base = TRY(open_one(disk.base, DiskAccess::kReadOnly));
    files.disk_numbers.push_back(numbers);
  }
  return {};
}

Result<OpenFiles> open_files(const Machine& machine) {
  OpenFiles files;
  files.kernel = TRY(open_boot_file(machine.boot.kernel));
  if (!machine.boot.initrd.empty()) files.initrd = TRY(open_boot_file(machine.boot.initrd));
  TRY(open_disks(machine, files));
  return files;
}

std::vector<int> inherited(const QemuDescriptors& fds) {
  std::vector<int> list;
  for (const int fd : {fds.tap, fds.console, fds.control, fds.kernel, fds.initrd})
    if (fd >= 0) list.push_back(fd);
  for (const QemuDisk& disk : fds.disks) {
    list.push_back(disk.file);
    if (disk.base >= 0) list.push_back(disk.base);
  }
  return list;
}

}  // namespace

QemuPlatform qemu_platform() {
#if defined(__x86_64__)
  // rdrand: without it a guest waits for entropy under TCG.
  return {.program = "qemu-system-x86_64", .machine = "q35", .tcg_cpu = "qemu64,+rdrand"};
#elif defined(__aarch64__)
  return {.program = "qemu-system-aarch64", .machine = "virt,gic-version=max", .tcg_cpu = "max"};
#else
#error "no QEMU machine type is known for this processor"
#endif
}

std::vector<std::string> qemu_arguments(const Machine& machine, const QemuPlatform& platform,
                                        const QemuDescriptors& descriptors) {
  const bool kvm = machine.accelerator == Accelerator::kKvm;
  std::vector<std::string> argv = {"-name",
                                   escaped(machine.name),
                                   "-nodefaults",
                                   "-no-user-config",
                                   "-display",
                                   "none",
                                   "-no-reboot",
                                   "-sandbox",
                                   kSandbox,
                                   "-machine",
                                   fmt::format("{},accel={}", platform.machine, kvm ? "kvm" : "tcg"),
                                   "-cpu",
                                   kvm ? "host" : platform.tcg_cpu,
                                   "-smp",
                                   std::to_string(machine.vcpus),
                                   "-m",
                                   std::to_string(machine.ram_mib),
                                   "-chardev",
                                   fmt::format("socket,id=control,fd={}", descriptors.control),
                                   "-mon",
                                   "chardev=control,mode=control",
                                   "-chardev",
                                   fmt::format("socket,id=console,fd={}", descriptors.console),
                                   "-serial",
                                   "chardev:console",
                                   "-kernel",
                                   same_number(descriptors.kernel),
                                   "-append",
                                   machine.boot.cmdline};
  if (descriptors.initrd >= 0) argv.insert(argv.end(), {"-initrd", same_number(descriptors.initrd)});
  for (size_t i = 0; i < descriptors.disks.size(); ++i) add_disk(argv, i, machine.disks[i], descriptors.disks[i]);
  argv.insert(argv.end(),
              {"-netdev", fmt::format("tap,id=net,fd={}", descriptors.tap), "-device", network_device(machine),
               "-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng"});
  return argv;
}

Result<void> Qemu::start(Machine machine) {
  const QemuPlatform platform = qemu_platform();
  SocketPair control = TRY(socket_pair());
  const OpenFiles files = TRY(open_files(machine));
  const QemuDescriptors fds{.tap = machine.nic.tap.get(),
                            .console = machine.console.get(),
                            .control = control.theirs.get(),
                            .kernel = files.kernel.get(),
                            .initrd = files.initrd.get(),
                            .disks = files.disk_numbers};
  ConfinedSpec spec{.argv = {machine.program.path},
                    .descriptors = inherited(fds),
                    .log = machine.log,
                    .uid = machine.uid,
                    .gid = machine.gid,
                    .kvm = machine.accelerator == Accelerator::kKvm,
                    // Its TAP is a descriptor: one that its guest has taken over gets no network but that.
                    .no_network = true};
  for (std::string& word : qemu_arguments(machine, platform, fds)) spec.argv.push_back(std::move(word));
  process_ = std::make_unique<ConfinedProcess>(TRY(ConfinedProcess::start(spec)));
  control.theirs.reset();  // so that QEMU's end is the end of the socket
  control_ = Qmp(std::move(control.ours));

  Result<void> answered = control_.handshake(machine.start_limit);
  if (answered) return answered;
  const std::string said = last_words(machine.log);
  return std::move(answered)
      .context(said.empty() ? "start QEMU" : "start QEMU: it says '" + said + "'")
      .hint(said.find("Is another process using the image") == std::string::npos
                ? "slicer-run doctor tells what this host lacks"
                : "another VM has that disk: give each a disk of its own on top of it, --storage SIZE");
}

Result<void> Qemu::power_down() { return control_.execute("system_powerdown", kAnswerLimit); }

Result<void> Qemu::quit() { return control_.execute("quit", kAnswerLimit); }

}  // namespace slicer::runner
