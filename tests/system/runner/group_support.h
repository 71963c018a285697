#pragma once
// Host groups of the tiny guest.

#include <set>
#include <string>
#include <vector>

#include "tests/system/runner/runner_support.h"

namespace slicer::test {

/// A host with a LAN, the runner, and the tiny guest as the image folder /run/image.
struct GroupHost {
  Host host;
  Surroundings surroundings;
  Runner runner;
  GroupHost();
};

inline constexpr const char* kGroupFile = "/run/groups.yaml";
inline constexpr const char* kIsolatedGroup =
    "      network:\n        mode: isolated\n        range: \"169.254.100.0/24\"\n";
inline constexpr const char* kBridgeGroup = "      network:\n        gateway: 192.0.2.1/24\n";

/// One group of the tiny guest: `lines` are further keys, indented by six.
std::string group_text(const std::string& name, unsigned count, const std::string& lines);
std::string groups_text(const std::string& groups);

/// Writes kGroupFile, and brings it up.
void write_groups(const std::string& groups);
Outcome up(const std::string& options = "--detach");

/// Of a VM; 0 when there is none.
pid_t supervisor_of(const std::string& vm);
/// Of all VMs in `list`.
std::set<std::string> vm_names();
size_t running_vms();
/// What `list --json` says of a VM, without what changes while it runs.
Json lasting(const std::string& vm);
/// What belongs to the network or to no VM stays; this is what VMs and groups must not leave.
std::string group_leftovers();

}  // namespace slicer::test
