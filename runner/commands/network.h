#pragma once
// slicer-run network list | show NAME | reload NAME | rm NAME

#include "runner/commands/command.h"

namespace slicer::runner {

void register_network(CLI::App& app, Context& context);

}  // namespace slicer::runner
