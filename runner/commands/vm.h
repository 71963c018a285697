#pragma once
// slicer-run vm new | list | console | logs | rm, and list, the same as vm list.

#include "runner/commands/command.h"

namespace slicer::runner {

void register_vm(CLI::App& app, Context& context);
void register_list(CLI::App& app, Context& context);

}  // namespace slicer::runner
