#pragma once
// Programs of the host.

#include <string>

#include "lib/base/result.h"

namespace slicer::runner {

/// The path of a program on PATH; folders that are not absolute are passed over. Error: kNotFound with `hint`.
Result<std::string> find_program(const std::string& name, const std::string& hint);

/// The path of this program, to be started again: of the one that has taken its place when it was replaced (an
/// upgrade). Errors: kNotFound (removed), kSystem.
Result<std::string> own_program();

}  // namespace slicer::runner
