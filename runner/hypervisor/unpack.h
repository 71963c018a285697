#pragma once
// The formats in which kernels are packed, by the libraries that own them.

#include <string>
#include <string_view>

#include "lib/base/result.h"

namespace slicer::runner {

/// Unpacks gzip, xz, zstd or LZ4's legacy form, to its end; bytes behind it are passed over. Errors: kDecode,
/// kInvalidConfig (another form).
Result<std::string> unpack(std::string_view packed);

}  // namespace slicer::runner
