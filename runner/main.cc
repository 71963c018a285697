// slicer-run: boots microVMs on CNI networks.

#include <cstdlib>
#include <exception>
#include <string>

#include "lib/base/log.h"
#include "runner/commands/command_line.h"

int main(int argc, char** argv) {
  try {
    return slicer::runner::run_command_line(argc, argv);
  } catch (const std::exception& error) {
    slicer::log_line(std::string("internal error: ") + error.what());
    return EXIT_FAILURE;
  }
}
