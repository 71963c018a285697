#pragma once
// Programs of the host.

#include <string>

#include "lib/base/result.h"

namespace slicer::runner {

/// The path of a program on PATH; folders that are not absolute are passed over. Error: kNotFound with `hint`.
Result<std::string> find_program(const std::string& name, const std::string& hint);

}  // namespace slicer::runner
