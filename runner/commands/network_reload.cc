#include "runner/commands/network_reload.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <memory>

#include "runner/groups/find_network.h"
#include "runner/groups/reload.h"
#include "runner/print.h"
#include "runner/supervisor/system_user.h"

namespace slicer::runner {
namespace {

constexpr const char* kExplanation =
    "Edit \"drop\", \"allow\" or \"default\" in the conflist (or in the YAML of a running host group), then:\n"
    "  slicer-run network reload slicer\n"
    "Each VM's rules are replaced in one transaction; open connections are judged by the new lists at once.\n"
    "VMs with lists of their own (vm new --drop, --allow) keep them.\n"
    "Without NAME all networks are: their masquerade and isolation, too, are put back that another program took\n"
    "(nft flush ruleset).";

Result<int> run_all(const Context& context) {
  TRY(check_root());
  const Reloaded reloaded =
      TRY(reload_all(context, [&context](const std::string& name) { return find_network_now(context, name); }));
  if (reloaded.done == 0 && reloaded.failed == 0) TRY(print("nothing to reload\n"));
  return reloaded.failed == 0 ? kExitOk : kExitFailed;
}

Result<int> run(const Context& context, const std::string& name) {
  if (name.empty()) return run_all(context);
  TRY(check_root());
  const chain::Conflist network = TRY(find_network_now(context, name));
  const Reloaded reloaded = TRY(reload_lists(context, network));
  if (reloaded.done == 0 && reloaded.failed == 0) TRY(print(fmt::format("nothing to reload on network '{}'\n", name)));
  return reloaded.failed == 0 ? kExitOk : kExitFailed;
}

}  // namespace

void register_network_reload(CLI::App& network, Context& context) {
  CLI::App& command =
      *network.add_subcommand("reload", "Put a network's rules (or all networks') into force again, with edited lists");
  const auto name = std::make_shared<std::string>();
  command.add_option("NAME", *name, "The network's, or a running host group's name; none: all that have VMs");
  command.footer(kExplanation);
  command.callback([&context, name] { context.action = [&context, name] { return run(context, *name); }; });
}

}  // namespace slicer::runner
