#include "lib/base/result.h"

#include <cstring>

namespace slicer {

std::string errno_text(int err) {
  std::string text = strerrordesc_np(err) != nullptr ? strerrordesc_np(err) : "unknown error";
  const char* name = strerrorname_np(err);
  return text + " (" + (name != nullptr ? name : std::to_string(err)) + ")";
}

Error errno_error(int err, std::string_view action) {
  return {.kind = Kind::kSystem, .message = std::string(action) + ": " + errno_text(err), .sys_errno = err};
}

}  // namespace slicer
