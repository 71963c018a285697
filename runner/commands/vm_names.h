#pragma once
// Commands that take the names of several VMs, or --all.

#include <functional>
#include <string>
#include <vector>

#include "runner/commands/command.h"
#include "runner/state/vm_record.h"

namespace slicer::runner {

struct VmNames {
  std::vector<std::string> names = {};
  bool all = false;
};

/// NAME… or --all; one of them must be there. `which` completes "Every VM".
void add_vm_names(CLI::App& command, VmNames& names, const std::string& which);

/// The names that are meant: with --all those of the VMs (kept ones too) that `wanted` takes.
Result<std::vector<std::string>> chosen_names(const Settings& settings, const VmNames& names,
                                              const std::function<bool(const VmRecord&)>& wanted);

/// Does it for each name. One that fails is told, and the others follow; then the exit code says so.
Result<int> for_each_name(const std::vector<std::string>& names,
                          const std::function<Result<void>(const std::string&)>& action);

}  // namespace slicer::runner
