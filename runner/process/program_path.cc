#include "runner/process/program_path.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
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

Result<std::string> own_program() {
  constexpr std::string_view kDeleted = " (deleted)";  // d_path(), fs/d_path.c
  std::array<char, PATH_MAX> room = {};
  const ssize_t size = readlink("/proc/self/exe", room.data(), room.size());
  if (size < 0) return fail_errno(errno, "find this program");
  std::string path(room.data(), static_cast<size_t>(size));
  if (access(path.c_str(), X_OK) != 0 && path.ends_with(kDeleted)) path.resize(path.size() - kDeleted.size());
  if (access(path.c_str(), X_OK) == 0) return path;
  return fail(Kind::kNotFound, "find this program at '" + path + "': not there any more");
}

}  // namespace slicer::runner
