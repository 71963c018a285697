#pragma once
// slicer-run inspect | map | route: what is there, to look at.

#include "runner/commands/command.h"

namespace slicer::runner {

void register_inspect(CLI::App& app, Context& context);
void register_map(CLI::App& app, Context& context);
void register_route(CLI::App& app, Context& context);

}  // namespace slicer::runner
