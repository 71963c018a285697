#pragma once
// slicer-run gc: DEL for what dead VMs left.

#include "runner/commands/command.h"

namespace slicer::runner {

void register_gc(CLI::App& app, Context& context);

}  // namespace slicer::runner
