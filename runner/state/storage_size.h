#pragma once
// Sizes of disks, as users write them.

#include <cstdint>
#include <string>
#include <string_view>

#include "lib/base/result.h"

namespace slicer::runner {

/// "10G", "512M", "2T", "65536K" (powers of 1024; "Gi" and "GiB" mean the same), or a whole number of GiB: bytes.
/// Between 1 MiB and 64 TiB. Error: kInvalidConfig, with what is allowed.
Result<uint64_t> parse_storage_size(std::string_view text);

/// The shortest way to write it: "10G", "1536M".
std::string storage_size_text(uint64_t bytes);

}  // namespace slicer::runner
