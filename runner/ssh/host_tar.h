#pragma once
// The tar of this machine that vm cp works with.

#include <string>

#include "lib/base/result.h"

namespace slicer::runner {

/// The path of GNU tar, as "tar" or "gtar" on PATH. Others (bsdtar, busybox) take no list of names with zeros between
/// them and no second -C, and not all of them keep what a guest sends inside of the folder that they unpack it into.
/// Errors: kNotFound (no tar at all), kUnsupportedVersion (another one).
Result<std::string> find_gnu_tar();

}  // namespace slicer::runner
