#pragma once
// What the supervisor needs of a hypervisor: start it on a TAP, talk to it, end it.

#include <memory>
#include <string>
#include <vector>

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"
#include "runner/state/process_id.h"

namespace slicer::runner {

/// kAuto becomes one of the others before a hypervisor sees it.
enum class Accelerator { kAuto, kKvm, kTcg };

/// What the guest boots from; each file is handed over as a descriptor.
struct BootFiles {
  std::string kernel = {};
  std::string initrd = {};   ///< may be empty
  std::string disk = {};     ///< may be empty
  std::string cmdline = {};  ///< the kernel's command line, complete
};

/// "qcow2" for a name that ends in .qcow2, else "raw". Never guessed from what is in the file: a guest could write
/// another format's header on its raw disk.
const char* disk_format(const std::string& path);

/// A disk of the machine; handed over as a descriptor, and so is what it stands on.
struct Disk {
  std::string path = {};
  std::string format = "raw";  ///< or "qcow2"
  bool read_only = false;
  std::string base = {};  ///< below a copy-on-write disk; empty: nothing
  std::string base_format = "raw";
};

/// The machine to start.
struct Machine {
  std::string name = {};
  BootFiles boot = {};           ///< its disk is not looked at
  std::vector<Disk> disks = {};  ///< vda, vdb, …
  unsigned vcpus = 1;
  unsigned ram_mib = 256;
  Accelerator accelerator = Accelerator::kTcg;
  std::string guest_mac = {};
  unsigned mtu = 0;       ///< told to the guest; 0: not
  UniqueFd tap = {};      ///< attached to the TAP, IFF_VNET_HDR
  UniqueFd console = {};  ///< the guest's serial line: one end of a socket pair
  std::string log = {};   ///< the hypervisor's own messages
  uid_t uid = 0;          ///< runs as this user and group, without capabilities
  gid_t gid = 0;
};

/// One hypervisor process; a child of this process, which it does not outlive. The destructor kills and reaps.
class Hypervisor {
 public:
  Hypervisor() = default;
  Hypervisor(const Hypervisor&) = delete;
  Hypervisor& operator=(const Hypervisor&) = delete;
  virtual ~Hypervisor() = default;

  /// Starts the machine and returns when it runs (the hypervisor answered). Errors say what it printed.
  virtual Result<void> start(Machine machine) = 0;
  [[nodiscard]] virtual ProcessId process() const = 0;
  /// Readable when the process has ended.
  [[nodiscard]] virtual int pidfd() const = 0;
  /// Readable when the hypervisor says something on its control socket; read_events() then takes it, and is false at
  /// the end.
  [[nodiscard]] virtual int event_fd() const = 0;
  virtual bool read_events() = 0;
  /// Of a machine that has ended: its guest asked for a reset (a reboot, or after a panic), which ends a machine here.
  virtual bool was_reset() { return false; }
  /// Presses the guest's power button.
  virtual Result<void> power_down() = 0;
  /// Ends the hypervisor in good order (disks flushed), guest or no guest.
  virtual Result<void> quit() = 0;
  /// SIGKILL.
  virtual void kill() = 0;
};

/// "qemu". Error: kInvalidConfig with the valid names.
Result<std::unique_ptr<Hypervisor>> make_hypervisor(const std::string& name);

}  // namespace slicer::runner
