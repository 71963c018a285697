#pragma once
// slicer-run new | up | down: host groups.

#include "runner/commands/command.h"

namespace slicer::runner {

void register_new(CLI::App& app, Context& context);
void register_up(CLI::App& app, Context& context);
void register_down(CLI::App& app, Context& context);

}  // namespace slicer::runner
