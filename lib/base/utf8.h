#pragma once
// UTF-8 as RFC 3629 has it.

#include <cstddef>
#include <string_view>

namespace slicer {

/// The bytes of the one character at the start of `text` (not empty), 1-4; 0: there is none, or not all of it.
size_t utf8_length(std::string_view text);

}  // namespace slicer
