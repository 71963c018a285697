#pragma once
// What the supervisor needs of a hypervisor: start it on a TAP, talk to it, end it.

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"
#include "runner/hypervisor/accelerator.h"
#include "runner/hypervisor/kinds.h"
#include "runner/hypervisor/nic.h"
#include "runner/state/process_id.h"

namespace slicer::runner {

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
  bool ours = false;      ///< made for this VM alone: the hypervisor's user may be made its owner
  std::string base = {};  ///< below a copy-on-write disk; empty: nothing
  std::string base_format = "raw";
};

/// What the guest may send and receive, in bits and bits per second; 0: no limit. In upstream's words (the capability
/// "bandwidth"): ingress is what comes to the guest.
struct NicLimits {
  uint64_t ingress_rate = 0;
  uint64_t ingress_burst = 0;
  uint64_t egress_rate = 0;
  uint64_t egress_burst = 0;
};

/// The machine to start.
struct Machine {
  std::string name = {};
  std::string folder = {};         ///< the VM's own, for what the hypervisor needs a file or a socket for
  HypervisorProgram program = {};  ///< to run
  BootFiles boot = {};             ///< its disk is not looked at
  std::vector<Disk> disks = {};    ///< vda, vdb, …
  unsigned vcpus = 1;
  unsigned ram_mib = 256;
  Accelerator accelerator = Accelerator::kTcg;
  Nic nic = {};
  NicLimits limits = {};
  UniqueFd console = {};  ///< the guest's serial line, of the hypervisor's LineKind
  std::string log = {};   ///< the hypervisor's own messages
  uid_t uid = 0;          ///< runs as this user and group, without capabilities
  gid_t gid = 0;
  /// For the hypervisor's first answer: 0.1 s as measured; a host that is out of memory or very busy needs longer.
  std::chrono::milliseconds start_limit = std::chrono::seconds(20);
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

/// By its kind's name. Error: kInvalidConfig with the valid names.
Result<std::unique_ptr<Hypervisor>> make_hypervisor(const std::string& name);

/// What a hypervisor wrote to its log before its end, on one line; its warnings are no reason to end.
std::string last_words(const std::string& log);

}  // namespace slicer::runner
