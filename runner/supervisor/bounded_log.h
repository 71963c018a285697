#pragma once
// Logs that a guest can fill: /run is memory.

#include <string>

namespace slicer::runner {

/// Above this a log is cut.
inline constexpr long kMaxLogBytes = 4L << 20;
/// What a cut leaves: its end.
inline constexpr long kKeptLogBytes = 1L << 20;

/// Cuts the file when it is larger than kMaxLogBytes. Its writers append (O_APPEND), so they go on behind what is left;
/// what they write during the cut may be lost. Absent is fine.
void bound_log(const std::string& path);

}  // namespace slicer::runner
