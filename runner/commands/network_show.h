#pragma once
// slicer-run network show NAME: a network's list in words, and who is on it.

#include "runner/commands/command.h"

namespace slicer::runner {

void register_network_show(CLI::App& network, Context& context);

}  // namespace slicer::runner
