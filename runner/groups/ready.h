#pragma once
// Telling systemd how a service gets on.

#include <string_view>

namespace slicer::runner {

/// sd_notify(3): "READY=1", "STOPPING=1", "STATUS=…". Nothing when this process is not a service of Type=notify; a
/// message that cannot be sent is lost.
void notify_service(std::string_view state);

}  // namespace slicer::runner
