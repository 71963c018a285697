#include "lib/base/log.h"

#include <unistd.h>

#include <cerrno>
#include <string>

namespace slicer {

void log_line(std::string_view line) {
  const std::string text = std::string(program_invocation_short_name) + ": " + std::string(line) + "\n";
  (void)!write(STDERR_FILENO, text.data(), text.size());  // nowhere left to report to
}

}  // namespace slicer
