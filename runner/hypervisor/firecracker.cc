#include "runner/hypervisor/firecracker.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "lib/base/whole_file.h"
#include "runner/hypervisor/jailer.h"

namespace slicer::runner {
namespace {

using cni::Json;

constexpr Version kTellsMtu = {1, 16};  // its CHANGELOG.md, 1.16.0
constexpr size_t kMaxId = 64;
constexpr const char* kVsock = "/vsock.sock";
constexpr int kGuestCid = 3;  // the first that is nobody's (vsock(7)); each VM has its own process, and so its own CIDs

// Upstream's bandwidth: bits per second, and a burst in bits that may come at once. A bucket here holds bytes and is
// full again after the refill time, so a tenth of a second's worth is the smoothest that lets whole packets through.
Json bucket(uint64_t rate, uint64_t burst) {
  constexpr uint64_t kRefillMs = 100;
  constexpr uint64_t kBits = 8;
  constexpr uint64_t kLeast = uint64_t{64} << 10;  // a packet of a guest
  const uint64_t size = std::max(rate / kBits * kRefillMs / 1000, kLeast);
  // The bucket may be larger than the tenth of a second: then it takes longer to fill.
  const uint64_t refill = std::max<uint64_t>(size * kBits * 1000 / rate, 1);
  Json json = {{"size", size}, {"refill_time", refill}};
  if (burst / kBits > size) json["one_time_burst"] = burst / kBits;
  return {{"bandwidth", std::move(json)}};
}

Json network_interface(const Machine& machine) {
  Json json = {{"iface_id", "eth0"}, {"host_dev_name", machine.nic.name}, {"guest_mac", machine.nic.mac}};
  if (machine.nic.mtu != 0 && machine.program.version >= kTellsMtu) json["mtu"] = machine.nic.mtu;
  const NicLimits& limits = machine.limits;
  if (limits.ingress_rate != 0) json["rx_rate_limiter"] = bucket(limits.ingress_rate, limits.ingress_burst);
  if (limits.egress_rate != 0) json["tx_rate_limiter"] = bucket(limits.egress_rate, limits.egress_burst);
  return json;
}

Json drives(const Machine& machine, const GivenFiles& files) {
  Json list = Json::array();
  for (size_t i = 0; i < machine.disks.size(); ++i)
    // None is the "root device": that one would come first whatever the order, and the kernel's command line, which
    // names the root file system, is the image's. Flushes are heard: the default passes them over.
    list.push_back({{"drive_id", fmt::format("disk{}", i)},
                    {"path_on_host", files.disks[i]},
                    {"is_root_device", false},
                    {"is_read_only", machine.disks[i].read_only},
                    {"cache_type", "Writeback"}});
  return list;
}

// A guest that reboots ends the process, and so is seen; there is no other reset than the keyboard controller's.
std::string boot_arguments(const std::string& cmdline) {
  const std::string padded = " " + cmdline;
  return padded.find(" reboot=") == std::string::npos ? cmdline + " reboot=k" : cmdline;
}

// Letters, digits and "-", 64 at most.
std::string instance_id(std::string name) {
  std::ranges::replace(name, '.', '-');
  return name.substr(0, kMaxId);
}

// Where it makes its socket: a folder of its user's in that of the VM, which no other user enters.
Result<UniqueFd> make_control_folder(const Machine& machine, const std::string& path) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return fail_errno(errno, "make folder '" + path + "'");
  UniqueFd folder(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder.valid() || fchown(folder.get(), machine.uid, machine.gid) != 0)
    return fail_errno(errno, "give folder '" + path + "' to the hypervisor's user");
  return folder;
}

Result<UniqueFd> open_to_read(const std::string& path) {
  UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return fail_errno(errno, "open '" + path + "'");
  return file;
}

// Its log would go to stdout, which is the guest's serial line; why it ends, it says on stderr. Its API closes at the
// socket in a folder that is named by a descriptor, or in the jail: the folders above are closed to its user.
std::vector<std::string> arguments(const std::string& control, const std::string& config, const std::string& null) {
  return {"--api-sock", control + "/api.sock", "--config-file", config, "--log-path", null};
}

}  // namespace

Json firecracker_config(const Machine& machine, const GivenFiles& files, const std::string& control) {
  Json boot = {{"kernel_image_path", files.kernel}, {"boot_args", boot_arguments(machine.boot.cmdline)}};
  if (!files.initrd.empty()) boot["initrd_path"] = files.initrd;
  return {{"boot-source", std::move(boot)},
          {"drives", drives(machine, files)},
          {"machine-config", {{"vcpu_count", machine.vcpus}, {"mem_size_mib", machine.ram_mib}}},
          {"network-interfaces", Json::array({network_interface(machine)})},
          {"vsock", {{"guest_cid", kGuestCid}, {"uds_path", control + kVsock}}},
          {"entropy", Json::object()}};
}

Result<void> Firecracker::start(Machine machine) {
  const HypervisorKind* kind = TRY(find_hypervisor_kind("firecracker"));
  const bool jailed = !machine.program.jailer.empty();
  GivenFiles files = TRY(open_given(machine, *kind));
  if (jailed) rename_for_jail(files);
  const std::string control = machine.folder + "/control";
  const UniqueFd folder = TRY(make_control_folder(machine, control));
  socket_ = control + "/api.sock";
  for (const std::string& socket : {socket_, control + kVsock})
    TRY(delete_file(socket));  // an earlier run's would be in the way
  const std::string config_path = machine.folder + "/firecracker.json";
  const std::string seen = jailed ? JailNames::kControl : descriptor_name(folder.get());
  TRY(write_whole_file(config_path, firecracker_config(machine, files, seen).dump(2) + "\n", {.mode = 0644}));
  const UniqueFd config = TRY(open_to_read(config_path));

  ConfinedSpec spec = common_spec(machine);
  spec.files = files.files;
  if (jailed) {
    const UniqueFd program = TRY(open_to_read(machine.program.path));
    const JailContent content{.config = config.get(),
                              .control = folder.get(),
                              .id = instance_id(machine.name),
                              .arguments = arguments(seen, JailNames::kConfig, JailNames::kNull)};
    TRY(add_jailer(machine, files, content, program.get(), spec));
    return run(spec, machine, running());
  }
  spec.descriptors = {folder.get(), config.get()};
  const std::vector<std::string> more = arguments(seen, descriptor_name(config.get()), "/dev/null");
  spec.argv.insert(spec.argv.end(), {"--id", instance_id(machine.name)});
  spec.argv.insert(spec.argv.end(), more.begin(), more.end());
  return run(spec, machine, running());
}

Result<void> Firecracker::power_down() {
#if defined(__x86_64__)
  return order("/actions", R"({"action_type": "SendCtrlAltDel"})");
#else
  return fail(Kind::kUnsupportedField, "Firecracker has no power button on this processor");
#endif
}

Result<void> Firecracker::quit() { return signal_process(process_->pidfd(), SIGTERM).context("end Firecracker"); }

}  // namespace slicer::runner
