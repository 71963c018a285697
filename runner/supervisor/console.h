#pragma once
// A terminal on the guest's serial console, and its log.

#include "lib/base/result.h"
#include "runner/settings.h"
#include "runner/state/vm_record.h"

namespace slicer::runner {

enum class ConsoleEnd {
  kDetached,  ///< the escape key, ctrl-]
  kVmEnded,
  kSignal,  ///< SIGINT, SIGTERM or SIGHUP (a terminal in raw mode sends ctrl-c to the guest)
};

/// Connects stdin and stdout to the console until one of the above. A terminal is put into raw mode and always put
/// back; when stdin is none, its end is no end. What it wrote
/// before (64 KiB) comes first. Error: kUnavailable (not running).
Result<ConsoleEnd> attach_console(const Settings& settings, const VmRecord& record);

struct LogWish {
  bool console = true;   ///< what the guest wrote to its console
  bool packets = true;   ///< and, behind it, what its network's lists dropped
  bool follow = false;   ///< goes on until the VM ends; lines come as they are written
  bool visible = false;  ///< for a terminal: a guest's control characters do nothing (lib/base/visible_text.h)
};
/// Writes a VM's logs to stdout. Errors: kNotFound, kIo.
Result<void> show_log(const Settings& settings, const VmRecord& record, const LogWish& wish);

}  // namespace slicer::runner
