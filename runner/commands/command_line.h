#pragma once
// The whole command line of slicer-run.

#include "runner/commands/command.h"

namespace slicer::runner {

inline constexpr const char* kProgramName = "slicer-run";
inline constexpr const char* kProgramDescription = "Boots microVMs on CNI networks.";

/// Every command with its flags, and what stands before all of them. `app` holds references to `context`.
void register_commands(CLI::App& app, Context& context);

/// Parses and runs. Returns the exit code: kExitOk, kExitFailed (one line says what is wrong, a second what to do), or
/// kExitUsage.
int run_command_line(int argc, char** argv);

}  // namespace slicer::runner
