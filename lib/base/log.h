#pragma once
// One-line messages on stderr, for the few places below main that must not fail: rollback and "…, ignoring".

#include <string_view>

namespace slicer {

/// Writes "<program>: <line>\n" to stderr in one write(2). stdout belongs to the CNI result alone.
void log_line(std::string_view line);

}  // namespace slicer
