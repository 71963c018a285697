#include "lib/base/log.h"

#include <unistd.h>

#include <cerrno>
#include <string>

#include "lib/base/visible_text.h"

namespace slicer {

void log_line(std::string_view line) {
  // Names and values of others stand in it: what they do to a terminal is nobody's wish.
  const std::string text = std::string(program_invocation_short_name) + ": " + visible_text(line) + "\n";
  (void)!write(STDERR_FILENO, text.data(), text.size());  // nowhere left to report to
}

}  // namespace slicer
