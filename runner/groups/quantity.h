#pragma once
// Numbers with a unit, as people write them.

#include <cstdint>
#include <string>

#include "lib/base/result.h"

namespace slicer::runner {

/// "100M" (K, M, G: powers of 1000), or a number alone. In bits, or bits per second. Error: kInvalidConfig.
Result<uint64_t> parse_bits(const std::string& text);

}  // namespace slicer::runner
