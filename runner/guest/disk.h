#pragma once
// A VM's own disk: copy-on-write on the image's, or a copy of it, or empty.

#include <cstdint>
#include <string>

#include "lib/base/result.h"
#include "runner/hypervisor/hypervisor.h"
#include "runner/state/vm_definition.h"

namespace slicer::runner {

struct NewDisk {
  std::string folder = {};  ///< where it is made
  std::string image = {};   ///< the image's disk; empty: it begins with zeros
  uint64_t bytes = 0;       ///< at least the image's
  bool copy = false;        ///< a copy of a raw image (reflink where the file system can), not a layer above it
};

/// Makes disk.qcow2 or disk.raw; neither takes room before the guest writes. On an error the file is gone again.
/// Errors: kInvalidConfig (smaller than the image), kNotFound, kSystem; each says what to do.
Result<KeptDisk> create_disk(const NewDisk& wish);

/// The disk of `folder`, for the machine, made larger when `bytes` is more than it has. Errors: kNotFound (it, or what
/// it stands on), kMismatch (what it stands on has changed: its guest would see another's data).
Result<Disk> open_kept_disk(const std::string& folder, const KeptDisk& kept, uint64_t bytes);

}  // namespace slicer::runner
