#pragma once
// Standard output.

#include <string_view>

#include "lib/base/result.h"

namespace slicer::runner {

/// Writes all of `text` to stdout. Error: kIo (the reader is gone, the disk is full).
Result<void> print(std::string_view text);

}  // namespace slicer::runner
