#pragma once
// Kernel, initrd and disks for a hypervisor that opens its files by name with its own user's rights: the names are
// those of descriptors, so that the folders on the way need not be open to that user.

#include <string>
#include <vector>

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"
#include "runner/hypervisor/confined_process.h"
#include "runner/hypervisor/hypervisor.h"

namespace slicer::runner {

/// "/proc/self/fd/7"
std::string descriptor_name(int fd);

struct GivenFiles {
  std::vector<UniqueFd> open = {};
  std::vector<GivenFile> files = {};  ///< for ConfinedSpec
  std::string kernel = {};            ///< these are names
  std::string initrd = {};            ///< empty: none
  std::vector<std::string> disks = {};
};

/// Opens a machine's files. A disk that was made for the VM becomes the hypervisor's user's. Errors: those of
/// open_disk(); kUnsupportedField for a disk that is not raw.
Result<GivenFiles> open_given(const Machine& machine, const HypervisorKind& kind);

}  // namespace slicer::runner
