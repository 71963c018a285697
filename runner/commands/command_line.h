#pragma once
// The whole command line of slicer-run.

namespace slicer::runner {

/// Parses and runs. Returns the exit code: kExitOk, kExitFailed (one line says what is wrong, a second what to do), or
/// kExitUsage.
int run_command_line(int argc, char** argv);

}  // namespace slicer::runner
