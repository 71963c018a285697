#include "runner/networks/facts.h"

#include "lib/cni/fields.h"

namespace slicer::runner {
namespace {

constexpr const char* kDefaultBridge = "cni0";  // upstream's bridge and ours

bool makes_bridge(const std::string& type) { return type == "slicer-bridge" || type == "bridge"; }

}  // namespace

Result<NetworkFacts> read_facts(const chain::Conflist& network) {
  NetworkFacts facts;
  if (network.plugins.empty()) return facts;
  const chain::PluginConf& first = network.plugins.front();
  facts.main_plugin = first.type;
  facts.ipam = TRY(cni::string_field(TRY(cni::object_field(first.raw, "ipam")), "type"));
  facts.pool = TRY(find_pool(network));
  facts.masquerade = TRY(cni::bool_field(first.raw, "ipMasq", first.type == "slicer-isolated"));
  if (makes_bridge(first.type)) {
    facts.bridge = TRY(cni::string_field(first.raw, "bridge", kDefaultBridge));
    facts.is_gateway = TRY(cni::bool_field(first.raw, "isGateway", false)) ||
                       TRY(cni::bool_field(first.raw, "isDefaultGateway", false));
  }
  for (const chain::PluginConf& plugin : network.plugins)
    if (plugin.type == "slicer-firewall" || plugin.type == "firewall") facts.firewall = plugin.type;
  return facts;
}

std::string plugin_names(const chain::Conflist& network) {
  std::string names;
  for (const chain::PluginConf& plugin : network.plugins) names += (names.empty() ? "" : ", ") + plugin.type;
  return names;
}

}  // namespace slicer::runner
