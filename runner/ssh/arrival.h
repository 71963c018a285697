#pragma once
// Files that came from a guest, on their way to their place on this machine.

#include <string>

#include "lib/base/result.h"

namespace slicer::runner {

/// Looks through what was unpacked below `folder`: devices, FIFOs and sockets are an error (kUnsupportedField), setuid
/// and setgid bits are taken away. No link is followed.
Result<void> check_arrival(const std::string& folder);

/// Moves `from` to `to`; both are on one file system. Folders are merged, files replaced, as cp(1) does it. Errors:
/// kExists (a folder where a file is to be, or the other way round), kSystem.
Result<void> put_in_place(const std::string& from, const std::string& to);

}  // namespace slicer::runner
