#include "runner/print.h"

#include <unistd.h>

#include <cerrno>

namespace slicer::runner {

Result<void> print(std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = write(STDOUT_FILENO, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(Kind::kIo, "write to standard output: " + errno_text(errno));
    text.remove_prefix(static_cast<size_t>(count));
  }
  return {};
}

}  // namespace slicer::runner
