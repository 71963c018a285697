#pragma once
// Firecracker's jailer: the program that starts it in a root folder, a network namespace and a cgroup of its own.

#include <string>
#include <vector>

#include "lib/base/result.h"
#include "lib/net/link.h"
#include "runner/hypervisor/confined_process.h"
#include "runner/hypervisor/given_files.h"
#include "runner/hypervisor/hypervisor.h"
#include "runner/hypervisor/kinds.h"

namespace slicer::runner {

/// The jailer of a hypervisor: at `path`, or (empty) beside the hypervisor, by the name that the releases give both,
/// or on PATH. Errors: kUnsupportedField when the kind has none, kNotFound with where it comes from, kInvalidConfig
/// when it is something else, kUnsupportedVersion when it is of another release than the hypervisor.
Result<std::string> find_jailer(const HypervisorKind& kind, const HypervisorProgram& program, const std::string& path);

/// Error: kUnsupportedField for a macvtap: the jailer makes the /dev/net/tun of all TAPs, and a macvtap is opened by a
/// device of its own.
Result<void> check_jailable(const net::Link& link);

/// A jailed Firecracker's names of what it is given.
struct JailNames {
  static constexpr const char* kConfig = "/firecracker.json";
  static constexpr const char* kControl = "/control";  ///< the folder of its API's socket
  static constexpr const char* kNull = "/null";
};

/// What it is to be given, beside its files.
struct JailContent {
  int config = -1;
  int control = -1;
  std::string id = {};
  std::vector<std::string> arguments = {};  ///< Firecracker's, without --id
};

/// Gives the files their names in the jail, where /proc is not.
void rename_for_jail(GivenFiles& files);

/// The jailer's command line and the jail that it goes into. `program` is the hypervisor's, opened. Errors: kSystem.
Result<void> add_jailer(const Machine& machine, const GivenFiles& files, const JailContent& content, int program,
                        ConfinedSpec& spec);

}  // namespace slicer::runner
