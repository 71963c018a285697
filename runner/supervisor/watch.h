#pragma once
// What a supervisor waits for while its VM runs.

#include <functional>
#include <memory>
#include <span>

#include "runner/hypervisor/hypervisor.h"
#include "runner/supervisor/side_task.h"
#include "runner/supervisor/signals.h"
#include "runner/supervisor/stop_order.h"

namespace slicer::runner {

/// Returns when the hypervisor has ended, however that came about. SIGTERM or SIGHUP: the guest's power button, every
/// second; after the order's limit QEMU's quit, after 3 s more SIGKILL. SIGINT: without the power button. Keeps the
/// logs bounded meanwhile, and the side tasks going. `on_stop` is called for each signal.
void watch_vm(Hypervisor& hypervisor, const Signals& signals, std::span<const std::unique_ptr<SideTask>> tasks,
              const std::function<void(const StopOrder&)>& on_stop);

}  // namespace slicer::runner
