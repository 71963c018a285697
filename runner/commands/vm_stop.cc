#include <CLI/App.hpp>
#include <memory>

#include "runner/commands/stop_options.h"
#include "runner/commands/vm.h"
#include "runner/commands/vm_names.h"
#include "runner/life/kept_vms.h"

namespace slicer::runner {
namespace {

constexpr const char* kExamples =
    "Examples:\n"
    "  slicer-run vm stop demo-1                  power button, then the VM is kept; vm start boots it again\n"
    "  slicer-run vm stop demo-1 demo-2 --timeout 60\n"
    "  slicer-run vm stop --all --now";

struct Options {
  VmNames vms = {};
  StopOptions stop = {};
};

const char* outcome_text(Stopped stopped) {
  switch (stopped) {
    case Stopped::kDone:
      return " is stopped\n";
    case Stopped::kAlready:
      return " is stopped already\n";
    case Stopped::kGone:
      return " ended before it was stopped, and is gone\n";
  }
  return "\n";
}

Result<int> run(const Context& context, const Options& options) {
  const std::vector<std::string> names =
      TRY(chosen_names(context, options.vms, [](const VmRecord& record) { return record.phase != Phase::kStopped; }));
  StopWish wish = options.stop.wish();
  wish.keep = true;
  const std::set<std::string> asked = ask_all_to_stop(context, names, wish);
  return for_each_name(names, [&](const std::string& name) -> Result<void> {
    const Stopped stopped = TRY(stop_and_keep(context, name, wish));
    return print(name + outcome_text(stopped == Stopped::kAlready && asked.contains(name) ? Stopped::kDone : stopped));
  });
}

}  // namespace

void register_vm_stop(CLI::App& vm, Context& context) {
  const auto options = std::make_shared<Options>();
  CLI::App& command = *vm.add_subcommand("stop", "Shut VMs down and keep them");
  add_vm_names(command, options->vms, " that runs");
  add_stop_options(command, options->stop);
  command.footer(kExamples);
  command.callback([&context, options] { context.action = [&context, options] { return run(context, *options); }; });
}

}  // namespace slicer::runner
