#pragma once
// Running a plugin's program: for delegation (delegate.h) and for the runtime (runner/chain). No shell, no PATH.

#include <chrono>
#include <string>
#include <vector>

#include "lib/base/result.h"

namespace slicer::cni {

struct Program {
  std::string file = {};                         ///< path
  std::vector<std::string> environment = {};     ///< all of it, "NAME=value"
  std::string input = {};                        ///< its stdin
  std::chrono::milliseconds limit = kUnlimited;  ///< past it the program is killed
  static constexpr auto kUnlimited = std::chrono::milliseconds::max();
};

struct Finished {
  std::string output = {};  ///< its stdout
  int status = 0;           ///< as waitpid(2) gives it
  /// 128 + the signal's number when one ended it.
  [[nodiscard]] int exit_code() const;
};

/// Runs it to its end; it dies with this process (and with the calling thread). Its stderr is passed on, its stdout (at
/// most 1 MiB) collected. A grandchild that keeps stdout open is not waited for. A file that is being written just now
/// (ETXTBSY: an installation under way) is tried again for up to 5 s, as libcni does. Errors: kSystem; kDelegate (it
/// printed too much); kBusy (killed at its limit).
Result<Finished> run_program(const Program& program);

/// What `plugin` printed when it ended well. Error: kDelegate, with the code and message that it printed, or with the
/// way it ended.
Result<std::string> checked_output(Finished finished, const std::string& plugin);

}  // namespace slicer::cni
