#pragma once
// --drop, --allow and --default: lists of one VM, in place of its network's.

#include <string>
#include <vector>

#include "lib/base/result.h"
#include "lib/cni/json.h"

namespace CLI {
class App;
}

namespace slicer::runner {

struct PolicyOptions {
  std::vector<std::string> drop = {};
  std::vector<std::string> allow = {};
  std::string fallback = {};
};

/// Adds --drop, --allow (each may be given often, or with a list behind commas) and --default.
void add_policy_options(CLI::App& command, PolicyOptions& options);

/// {"policy": {"drop": […], "allow": […], "default": "drop"}}: a list that was not given is left out, so the network's
/// own stands; one given as "" or "none" is empty and clears it. Empty when nothing was given.
/// Error: kInvalidConfig with the entry.
Result<cni::Json> policy_capability(const PolicyOptions& options);

}  // namespace slicer::runner
