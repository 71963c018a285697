#pragma once
// Calling another plugin: found on CNI_PATH, same environment, same complete configuration. Source: CNI SPEC.md,
// section 4 (delegation).

#include <string>

#include "lib/cni/plugin_main.h"

namespace slicer::cni {

/// Finds an executable file `type` in the folders of `path`. Errors: kNotFound with the folders searched.
Result<std::string> find_plugin(const std::string& type, const std::vector<std::string>& path);

/// How a delegate is called when it is not just "the same again".
struct DelegateCall {
  std::string type = {};  ///< the plugin's file name
  Command command = Command::kAdd;
  bool netns_override = false;  ///< sends CNI_NETNS_OVERRIDE=1
};

/// Runs the delegate with `request`'s environment and raw configuration; its stderr is passed on, its stdout (at most
/// 1 MiB) returned. No shell. Errors: kNotFound; kDelegate with the code and message that it printed, or with the way
/// it ended.
Result<std::string> call_delegate(const Request& request, const DelegateCall& call);

/// ADD by another plugin, its result read in any version.
Result<CniResult> delegate_add(const Request& request, const std::string& type);

}  // namespace slicer::cni
