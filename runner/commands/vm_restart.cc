#include <CLI/App.hpp>
#include <memory>

#include "runner/commands/stop_options.h"
#include "runner/commands/vm.h"
#include "runner/commands/vm_names.h"
#include "runner/life/kept_vms.h"
#include "runner/supervisor/launch.h"

namespace slicer::runner {
namespace {

struct Options {
  VmNames vms = {};
  StopOptions stop = {};
};

// One that was stopped is started.
Result<void> restart(const Context& context, const std::string& name, const StopWish& wish) {
  if (TRY(stop_and_keep(context, name, wish)) == Stopped::kGone)
    return fail(Kind::kNotFound, "VM '" + name + "' ended before it was stopped, and is gone",
                "slicer-run vm new makes it anew");
  return print(summary_text(TRY(start_kept(context, name)).record) + "\n");
}

Result<int> run(const Context& context, const Options& options) {
  const std::vector<std::string> names =
      TRY(chosen_names(context, options.vms, [](const VmRecord& record) { return record.phase != Phase::kStopped; }));
  StopWish wish = options.stop.wish();
  wish.keep = true;
  (void)ask_all_to_stop(context, names, wish);
  return for_each_name(names, [&](const std::string& name) { return restart(context, name, wish); });
}

}  // namespace

void register_vm_restart(CLI::App& vm, Context& context) {
  const auto options = std::make_shared<Options>();
  CLI::App& command = *vm.add_subcommand("restart", "Stop VMs and boot them again, on their network as it is now");
  add_vm_names(command, options->vms, " that runs");
  add_stop_options(command, options->stop);
  command.callback([&context, options] { context.action = [&context, options] { return run(context, *options); }; });
}

}  // namespace slicer::runner
