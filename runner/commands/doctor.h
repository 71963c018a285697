#pragma once
// slicer-run doctor: what is wrong with this host, and what to do.

#include "runner/commands/command.h"

namespace slicer::runner {

void register_doctor(CLI::App& app, Context& context);

}  // namespace slicer::runner
