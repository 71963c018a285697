#include <CLI/App.hpp>
#include <algorithm>
#include <memory>

#include "lib/base/log.h"
#include "runner/commands/vm.h"
#include "runner/state/vm_files.h"
#include "runner/supervisor/cleanup.h"
#include "runner/supervisor/supervisor.h"
#include "runner/supervisor/system_user.h"

namespace slicer::runner {
namespace {

struct Options {
  std::string name = {};
  bool now = false;
  bool force = false;
};

// A VM without a readable record: only cleanup can tell what it is.
Result<void> stop(const Context& context, const Options& options) {
  const Result<VmRecord> record = load_record(context, options.name);
  if (record) return stop_vm(context, *record, options.now);
  const Cleaned cleaned = TRY(clean_dead_vm(context, options.name));
  if (cleaned == Cleaned::kDone) return {};
  if (cleaned == Cleaned::kAbsent) return std::unexpected(record.error());
  return fail(Kind::kBusy, "VM '" + options.name + "' is being made", "try again");
}

Result<void> forget(const Context& context, const std::string& name) {
  const VmLock lock = TRY(VmLock::try_existing(context, name));
  if (const Result<VmRecord> record = load_record(context, name); record) TRY(kill_process(record->hypervisor));
  return forget_vm(context, name, lock);
}

// Not by the error's kind: a plugin that is missing is kNotFound too.
Result<bool> has_state(const Context& context, const std::string& name) {
  const std::vector<std::string> names = TRY(list_vm_names(context));
  return std::ranges::find(names, name) != names.end();
}

Result<int> run(const Context& context, const Options& options) {
  TRY(check_vm_name(options.name));
  TRY(check_root());
  Result<void> stopped = stop(context, options);
  if (!stopped && options.force && TRY(has_state(context, options.name))) {
    log_line(stopped.error().message + ", ignoring");
    stopped = forget(context, options.name);
  }
  TRY(std::move(stopped));
  TRY(print(options.name + " is gone\n"));
  return kExitOk;
}

}  // namespace

void register_vm_rm(CLI::App& vm, Context& context) {
  const auto options = std::make_shared<Options>();
  CLI::App& command = *vm.add_subcommand("rm", "Shut a VM down and remove it");
  command.add_option("NAME", options->name, "The VM")->required();
  command.add_flag("--now", options->now, "Do not wait for the guest to shut down");
  command.add_flag("--force", options->force, "Forget the VM even when its network cannot be detached");
  command.callback([&context, options] { context.action = [&context, options] { return run(context, *options); }; });
}

}  // namespace slicer::runner
