#pragma once

#include <string>
#include <string_view>

namespace slicer {

/// SHA-512 (FIPS 180-4) of `text`, as 128 lower-case hexadecimal digits. Other programs name their objects by it; what
/// is ours is named by hash_names().
std::string sha512_hex(std::string_view text);

}  // namespace slicer
