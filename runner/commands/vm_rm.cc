#include <CLI/App.hpp>
#include <memory>

#include "runner/commands/stop_options.h"
#include "runner/commands/vm.h"
#include "runner/commands/vm_names.h"
#include "runner/life/kept_vms.h"

namespace slicer::runner {
namespace {

struct Options {
  VmNames vms = {};
  RemoveWish wish = {};
};

Result<int> run(const Context& context, const Options& options) {
  const std::vector<std::string> names = TRY(chosen_names(context, options.vms, [](const VmRecord&) { return true; }));
  const std::set<std::string> asked = ask_all_to_stop(context, names, {.now = options.wish.now});
  return for_each_name(names, [&](const std::string& name) -> Result<void> {
    Result<void> removed = remove_for_good(context, name, options.wish);
    // It was so quick that nothing of it is left.
    if (!removed && !(removed.error().kind == Kind::kNotFound && asked.contains(name))) return removed;
    return print(name + " is gone\n");
  });
}

}  // namespace

void register_vm_rm(CLI::App& vm, Context& context) {
  const auto options = std::make_shared<Options>();
  CLI::App& command = *vm.add_subcommand("rm", "Shut VMs down and remove them with their disks");
  add_vm_names(command, options->vms, "");
  command.add_flag("--now", options->wish.now, "Do not wait for the guest to shut down");
  command.add_flag("--force", options->wish.force, "Forget a VM even when its network cannot be detached");
  command.callback([&context, options] { context.action = [&context, options] { return run(context, *options); }; });
}

}  // namespace slicer::runner
