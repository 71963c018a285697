#include <CLI/App.hpp>
#include <memory>

#include "runner/commands/vm.h"
#include "runner/commands/vm_names.h"
#include "runner/life/kept_vms.h"
#include "runner/supervisor/launch.h"

namespace slicer::runner {
namespace {

Result<void> start(const Context& context, const std::string& name) {
  const Started started = TRY(start_kept(context, name));
  return print(started.already ? name + " runs already\n" : summary_text(started.record) + "\n");
}

Result<int> run(const Context& context, const VmNames& vms) {
  const std::vector<std::string> names =
      TRY(chosen_names(context, vms, [](const VmRecord& record) { return record.phase == Phase::kStopped; }));
  return for_each_name(names, [&](const std::string& name) { return start(context, name); });
}

}  // namespace

void register_vm_start(CLI::App& vm, Context& context) {
  const auto names = std::make_shared<VmNames>();
  CLI::App& command = *vm.add_subcommand("start", "Boot stopped VMs again, with their disks, MACs and addresses");
  add_vm_names(command, *names, " that is stopped");
  command.callback([&context, names] { context.action = [&context, names] { return run(context, *names); }; });
}

}  // namespace slicer::runner
