#pragma once
// The hypervisors that there are, and what each of them can: nothing else in the runner tells one from another.

#include <compare>
#include <span>
#include <string>
#include <string_view>

#include "lib/base/result.h"
#include "runner/hypervisor/accelerator.h"

namespace slicer::runner {

/// Of a hypervisor; the third number makes no difference to us.
struct Version {
  unsigned major = 0;
  unsigned minor = 0;
  friend auto operator<=>(const Version&, const Version&) = default;
};
std::string version_text(Version version);

/// How the guest's serial line reaches the hypervisor.
enum class LineKind {
  kSocket,    ///< one end of a socket pair, by descriptor
  kTerminal,  ///< its stdin and stdout: a terminal
};

/// How a hypervisor gets the VM's network device.
enum class DeviceWay {
  kDescriptor,  ///< an open descriptor
  kName,        ///< a name, which it opens itself by /dev/net/tun in the namespace of the device
};

struct HypervisorKind {
  const char* name = "";     ///< as users write it
  const char* program = "";  ///< looked for on PATH
  const char* source = "";   ///< where it comes from
  Version least = {};        ///< {0, 0}: any will do, and none is asked
  DeviceWay device = DeviceWay::kDescriptor;
  bool in_netns = false;  ///< runs in the namespace of the VM's device
  LineKind line = LineKind::kSocket;
  const char* console = "";   ///< the guest's name of its serial line: "ttyS0"
  bool emulates = false;      ///< runs guests without KVM
  bool layers = false;        ///< takes qcow2 disks, and layers above another disk
  bool jailer = false;        ///< has one, which it can be started through
  bool plain_kernel = false;  ///< boots what loadable_kernel() makes, not a bzImage
  /// Keeps a VM to its "bandwidth" itself, where no plugin of the network does.
  bool limits_rate = false;
  unsigned max_vcpus = 255;
};

std::span<const HypervisorKind> hypervisor_kinds();
/// "qemu, firecracker or cloud-hypervisor"
std::string hypervisor_names();
/// Error: kInvalidConfig with the valid names.
Result<const HypervisorKind*> find_hypervisor_kind(std::string_view name);

/// choose_accelerator() for a hypervisor: kTcg is an error where it emulates nothing.
Result<Accelerator> choose_accelerator(const HypervisorKind& kind, Accelerator wanted, const KvmFacts& facts);

/// "Firecracker v1.7.0", "cloud-hypervisor v40.0", "cloud-hypervisor 51.1.0-dirty": the first number after a blank.
Result<Version> parse_version(std::string_view text);

/// An installed hypervisor.
struct HypervisorProgram {
  std::string path = {};
  Version version = {};     ///< {0, 0}: not asked
  std::string jailer = {};  ///< the program that starts it; empty: it is started by itself
};
/// At `path`, or (empty) on PATH. Errors: kNotFound with where it comes from, kUnsupportedVersion when it is too old,
/// kInvalidConfig when it is something else.
Result<HypervisorProgram> find_hypervisor(const HypervisorKind& kind, const std::string& path);

/// What `PROGRAM --version` prints; empty when it prints nothing in time.
Result<std::string> ask_version(const std::string& program);

}  // namespace slicer::runner
