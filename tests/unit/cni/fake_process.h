#pragma once
// A call of plugin_main() without a process: variables, a configuration, and what came out.

#include <sys/mman.h>
#include <unistd.h>

#include <map>
#include <string>

#include "lib/base/unique_fd.h"
#include "lib/base/whole_file.h"
#include "lib/cni/plugin_main.h"

namespace slicer::cni::testing {

inline UniqueFd memory_file(const std::string& content) {
  UniqueFd file(memfd_create("test", MFD_CLOEXEC));
  if (pwrite(file.get(), content.data(), content.size(), 0) != static_cast<ssize_t>(content.size())) file.reset();
  return file;
}

inline std::string content_of(const UniqueFd& file) {
  (void)lseek(file.get(), 0, SEEK_SET);  // a memory file: cannot fail
  return read_file("/proc/self/fd/" + std::to_string(file.get()), size_t{64} << 20).value();
}

struct FakeProcess {
  std::map<std::string, std::string> env = {};
  std::string in = {};
  std::string out = {};
  std::string err = {};

  int run(const Plugin& plugin) {
    const UniqueFd in_file = memory_file(in);
    const UniqueFd out_file = memory_file("");
    const UniqueFd err_file = memory_file("");
    const Process process{.getenv = [this](const char* name) -> std::optional<std::string> {
                            const auto found = env.find(name);
                            return found == env.end() ? std::nullopt : std::optional(found->second);
                          },
                          .in = in_file.get(),
                          .out = out_file.get(),
                          .err = err_file.get()};
    const int code = plugin_main(process, plugin);
    out = content_of(out_file);
    err = content_of(err_file);
    return code;
  }
  /// stdout as JSON; null when it is not JSON.
  [[nodiscard]] Json json() const {
    const Result<Json> parsed = parse_json(out);
    return parsed ? *parsed : Json();
  }
};

}  // namespace slicer::cni::testing
