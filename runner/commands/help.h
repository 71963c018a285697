#pragma once
// slicer-run completion SHELL, and the manual page.

#include <string>

#include "runner/commands/command.h"

namespace slicer::runner {

void register_completion(CLI::App& app, Context& context);

/// slicer-run.8, from the commands and flags as they are defined: `slicer-run __man`, which the build calls.
std::string manual_page(const CLI::App& app);

}  // namespace slicer::runner
