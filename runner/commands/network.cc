#include "runner/commands/network.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <memory>

#include "lib/base/log.h"
#include "lib/cni/json.h"
#include "runner/chain/conflist.h"
#include "runner/commands/network_check.h"
#include "runner/commands/network_gc.h"
#include "runner/commands/network_reload.h"
#include "runner/commands/network_rm.h"
#include "runner/commands/network_show.h"
#include "runner/commands/table.h"
#include "runner/networks/facts.h"
#include "runner/print.h"

namespace slicer::runner {
namespace {

using cni::Json;

Json list_json(const chain::Listing& listing) {
  Json networks = Json::array();
  for (const chain::Conflist& network : listing.networks) {
    Json plugins = Json::array();
    for (const chain::PluginConf& plugin : network.plugins) plugins.push_back(plugin.type);
    networks.push_back({{"name", network.name},
                        {"file", network.file},
                        {"plugins", std::move(plugins)},
                        {"cniVersion", network.cni_version}});
  }
  return networks;
}

std::string list_text(const chain::Listing& listing) {
  std::vector<std::vector<std::string>> rows = {{"NAME", "FILE", "PLUGINS", "VERSION"}};
  for (const chain::Conflist& network : listing.networks)
    rows.push_back({network.name, network.file, plugin_names(network), network.cni_version});
  return table_text(rows);
}

Result<int> run_list(const Context& context, bool json) {
  const chain::Listing listing = TRY(chain::list_networks(context.conf_dir));
  TRY(print(json ? cni::dump_json(list_json(listing)) + "\n" : list_text(listing)));
  if (listing.networks.empty() && !json) log_line("no networks in '" + context.conf_dir + "'");
  for (const chain::Conflist& network : listing.shadowed)
    log_line(fmt::format("'{}': never used, an earlier file has the network '{}'", network.file, network.name));
  for (const chain::Listing::Broken& broken : listing.broken) log_line(broken.error.message);
  return listing.broken.empty() ? kExitOk : kExitFailed;
}

void register_list_networks(CLI::App& network, Context& context) {
  CLI::App& command = *network.add_subcommand("list", "Show the networks of the configuration folder");
  const auto json = std::make_shared<bool>(false);
  command.add_flag("--json", *json, "Print JSON");
  command.callback([&context, json] { context.action = [&context, json] { return run_list(context, *json); }; });
}

}  // namespace

void register_network(CLI::App& app, Context& context) {
  CLI::App& network = *app.add_subcommand("network", "Show, change and remove networks");
  network.require_subcommand(1);
  register_list_networks(network, context);
  register_network_show(network, context);
  register_network_check(network, context);
  register_network_reload(network, context);
  register_network_gc(network, context);
  register_network_rm(network, context);
}

}  // namespace slicer::runner
