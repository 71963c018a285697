#pragma once
// Starting a hypervisor: as an unprivileged user, with nothing but the descriptors it is given, and never longer alive
// than the process that started it.

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"
#include "runner/hypervisor/device_view.h"
#include "runner/hypervisor/jail.h"
#include "runner/hypervisor/process_cell.h"
#include "runner/state/process_id.h"

namespace slicer::runner {

/// A file that the program opens again as /proc/self/fd/N, with its own rights.
struct GivenFile {
  int fd = -1;
  bool writable = false;
  std::string what = {};  ///< "disk '/srv/web.img'"
};

struct ConfinedSpec {
  std::vector<std::string> argv = {};  ///< argv[0] is the program's path
  std::vector<int> descriptors = {};   ///< kept, under their own numbers; all others but 0-2 are closed
  /// Descriptors too; start() fails with kSystem when the user may not open one of them.
  std::vector<GivenFile> files = {};
  std::string log = {};  ///< stdout and stderr are appended to it; stdin is /dev/null
  int terminal = -1;     ///< one to be stdin and stdout, each opened by itself
  uid_t uid = 0;
  gid_t gid = 0;
  /// It needs /dev/kvm: by the device's group, else by a node of its own, as those of `devices`.
  bool kvm = false;
  std::vector<ShownDevice> devices = {};  ///< what it opens by name, in a private mount namespace
  int netns = -1;                         ///< the network namespace to run in; -1: this process's
  bool no_network = false;                ///< in an empty network namespace of its own; `netns` is -1
  /// The program is a jailer: it starts as root, with the jail to go into and the capabilities for that, and does
  /// itself what kvm, devices and netns are for. It gets no descriptors.
  std::optional<JailSpec> jail = {};
};

/// A child process. The destructor kills and reaps it.
class ConfinedProcess {
 public:
  /// No capabilities, no supplementary groups (but the one of /dev/kvm), no_new_privs, an empty environment. Dies with
  /// this process (PR_SET_PDEATHSIG: with the *thread* that calls this; a jailer's program by a ProcessCell). Errors:
  /// the step that failed.
  static Result<ConfinedProcess> start(const ConfinedSpec& spec);

  ConfinedProcess() = default;
  ConfinedProcess(ConfinedProcess&&) noexcept = default;
  ConfinedProcess& operator=(ConfinedProcess&&) noexcept = delete;
  ~ConfinedProcess();

  [[nodiscard]] const ProcessId& id() const { return id_; }
  [[nodiscard]] const UniqueFd& pidfd() const { return pidfd_; }
  void kill() const;

 private:
  ConfinedProcess(ProcessId id, UniqueFd pidfd) : id_(id), pidfd_(std::move(pidfd)) {}

  ProcessId id_ = {};
  UniqueFd pidfd_ = {};                   ///< not valid: moved from
  std::optional<ProcessCell> cell_ = {};  ///< ends after the process
};

}  // namespace slicer::runner
