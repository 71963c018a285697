#include "runner/process/program_path.h"

#include <unistd.h>

#include <cstdlib>
#include <string_view>

namespace slicer::runner {

Result<std::string> find_program(const std::string& name, const std::string& hint) {
  const char* path = std::getenv("PATH");  // NOLINT(concurrency-mt-unsafe): nobody sets it
  std::string_view rest = path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin";
  while (!rest.empty()) {
    const size_t colon = rest.find(':');
    const std::string candidate = std::string(rest.substr(0, colon)) + "/" + name;
    if (candidate.front() == '/' && access(candidate.c_str(), X_OK) == 0) return candidate;
    rest.remove_prefix(colon == std::string_view::npos ? rest.size() : colon + 1);
  }
  return fail(Kind::kNotFound, "find '" + name + "' on PATH: not there", hint);
}

}  // namespace slicer::runner
