#pragma once
// The key by which slicer-run logs in to its guests.

#include <string>

#include "lib/base/result.h"
#include "runner/settings.h"

namespace slicer::runner {

struct RunnerKey {
  std::string file = {};         ///< the private key's
  std::string public_line = {};  ///< "ssh-ed25519 AAAA… slicer-run@host"
};

/// Makes the key of this host when it has none: whole or not at all, and once, whoever else asks at the same time.
/// Errors: kNotFound (no ssh-keygen), kSystem, kIo.
Result<RunnerKey> ensure_runner_key(const Settings& settings);

/// Where its public half is.
std::string public_key_file(const Settings& settings);

/// Error: kNotFound.
Result<RunnerKey> load_runner_key(const Settings& settings);

}  // namespace slicer::runner
