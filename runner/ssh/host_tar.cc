#include "runner/ssh/host_tar.h"

#include <optional>

#include "runner/hypervisor/kinds.h"
#include "runner/process/program_path.h"

namespace slicer::runner {

Result<std::string> find_gnu_tar() {
  constexpr const char* kInstall = "install GNU tar (apt install tar), as 'tar' or 'gtar' on PATH";
  std::optional<Error> other;
  for (const char* name : {"tar", "gtar"}) {
    Result<std::string> path = find_program(name, kInstall);
    if (!path) continue;
    const std::string said = TRY(ask_version(*path));
    if (said.find("GNU tar") != std::string::npos) return path;
    if (!other)
      other = Error{.kind = Kind::kUnsupportedVersion,
                    .message = "copy: '" + *path + "' is not GNU tar, which vm cp needs on this machine",
                    .hint = kInstall};
  }
  if (other) return std::unexpected(std::move(*other));
  return find_program("tar", kInstall);
}

}  // namespace slicer::runner
