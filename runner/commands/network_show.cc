#include "runner/commands/network_show.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/App.hpp>
#include <memory>

#include "lib/base/log.h"
#include "lib/cni/attachment.h"
#include "lib/cni/json.h"
#include "lib/net/bridge_port.h"
#include "lib/net/link.h"
#include "runner/chain/conflist.h"
#include "runner/commands/table.h"
#include "runner/groups/group_note.h"
#include "runner/groups/group_pool.h"
#include "runner/groups/to_conflist.h"
#include "runner/groups/yaml.h"
#include "runner/networks/attachments.h"
#include "runner/networks/facts.h"
#include "runner/print.h"

namespace slicer::runner {
namespace {

using cni::Json;

constexpr const char* kExamples =
    "Examples:\n"
    "  slicer-run network show slicer\n"
    "  slicer-run network show vm.yaml > /etc/cni/net.d/60-vm.conflist\n"
    "      then take \"network\" out of the YAML and write network_name: vm";

/// The network's bridge as it stands now.
struct Bridge {
  bool exists = false;
  bool ours = false;
  bool up = false;
  size_t ports = 0;
};

/// All that is shown.
struct View {
  chain::Conflist network = {};
  NetworkFacts facts = {};
  Bridge bridge = {};
  uint64_t taken = 0;
  std::vector<NetworkAttachment> attachments = {};
};

Result<Bridge> look_at_bridge(const std::string& name, const std::string& network) {
  net::RouteSocket host = TRY(net::RouteSocket::open());
  const std::optional<net::Link> link = TRY(net::find_link(host, name));
  if (!link || link->kind != "bridge") return Bridge{};
  const size_t ports = TRY(net::list_ports(host, link->index)).size();
  return Bridge{.exists = true, .ours = link->alias == cni::network_alias(network), .up = link->up, .ports = ports};
}

Result<View> look(const Context& context, const std::string& name) {
  View view;
  view.network = TRY(chain::load_network(context.conf_dir, name));
  view.facts = TRY(read_facts(view.network).context("read network '" + view.network.file + "'"));
  if (!view.facts.bridge.empty()) view.bridge = TRY(look_at_bridge(view.facts.bridge, name));
  if (view.facts.pool) view.taken = count_taken(TRY(list_allocations(*view.facts.pool, name)));
  view.attachments = TRY(list_attachments(context, name));
  return view;
}

template <class Items>
std::string texts(const Items& items) {
  std::vector<std::string> all;
  for (const auto& item : items) all.push_back(item.text());
  return all.empty() ? "-" : fmt::format("{}", fmt::join(all, ", "));
}

std::string count_text(uint64_t count) { return count == UINT64_MAX ? "more than 2^64" : std::to_string(count); }

std::string placement_text(const chain::Conflist& network) {
  if (!network.host_netns) return "a private namespace per VM, with the TAP tap0";
  return fmt::format("the host's namespace, TAPs {}0, {}1, …", network.tap_prefix, network.tap_prefix);
}

std::string bridge_text(const View& view) {
  if (view.facts.bridge.empty()) return "none";
  if (!view.bridge.exists) return view.facts.bridge + " (not there yet: the first VM makes it)";
  return fmt::format("{} ({}, {} port{}{})", view.facts.bridge, view.bridge.up ? "up" : "down", view.bridge.ports,
                     view.bridge.ports == 1 ? "" : "s", view.bridge.ours ? "" : ", not made by us");
}

using Rows = std::vector<std::vector<std::string>>;

void add_pool(const View& view, Rows& rows) {
  if (!view.facts.pool) {
    rows.push_back({"addresses", view.facts.ipam.empty() ? "none are given" : "given by " + view.facts.ipam});
    return;
  }
  const Pool& pool = *view.facts.pool;
  rows.push_back({"subnet", texts(pool.subnets)});
  rows.push_back({"pool", fmt::format("{}: {} of {} in use, by {} in {}", texts(pool.ranges), view.taken,
                                      count_text(pool.capacity()), pool.ipam, pool.data_dir)});
  rows.push_back({"gateway", texts(pool.gateways) + (view.facts.is_gateway ? ", on the bridge" : "")});
  rows.push_back({"routes", pool.routes.empty() ? "none" : fmt::format("{}", fmt::join(pool.routes, ", "))});
}

std::string show_text(const View& view) {
  Rows rows = {{"network", view.network.name},
               {"file", view.network.file},
               {"version", view.network.cni_version},
               {"plugins", plugin_names(view.network)},
               {"placement", placement_text(view.network)},
               {"bridge", bridge_text(view)}};
  add_pool(view, rows);
  rows.push_back({"masquerade", view.facts.masquerade ? "on: what leaves the subnet has the host's address" : "off"});
  rows.push_back({"firewall", view.facts.firewall.empty() ? "none in the chain" : view.facts.firewall});
  std::string text = table_text(rows) + "\n";
  if (view.attachments.empty()) return text + "no attachments\n";
  Rows attachments = {{"ATTACHED", "INTERFACE", "ADDRESSES", "STATE"}};
  for (const NetworkAttachment& attachment : view.attachments)
    attachments.push_back({attachment.key.container_id, attachment.key.ifname,
                           attachment.addresses.empty() ? "-" : attachment.addresses, state_name(attachment.state)});
  return text + table_text(attachments);
}

Json pool_json(const View& view) {
  const Pool& pool = *view.facts.pool;
  Json json = {{"ipam", pool.ipam},
               {"dataDir", pool.data_dir},
               {"capacity", pool.capacity()},
               {"inUse", view.taken},
               {"routes", pool.routes}};
  for (const addr::Cidr& subnet : pool.subnets) json["subnets"].push_back(subnet.text());
  for (const addr::IpRange& range : pool.ranges) json["ranges"].push_back(range.text());
  for (const addr::Ip& gateway : pool.gateways) json["gateways"].push_back(gateway.text());
  return json;
}

Json show_json(const View& view) {
  Json json = {{"name", view.network.name},
               {"file", view.network.file},
               {"cniVersion", view.network.cni_version},
               {"netns", view.network.host_netns ? "host" : "private"},
               {"masquerade", view.facts.masquerade},
               {"attachments", Json::array()},
               {"plugins", Json::array()}};
  for (const chain::PluginConf& plugin : view.network.plugins) json["plugins"].push_back(plugin.type);
  if (!view.facts.bridge.empty()) {
    json["bridge"] = {{"name", view.facts.bridge},
                      {"exists", view.bridge.exists},
                      {"ours", view.bridge.ours},
                      {"ports", view.bridge.ports},
                      {"isGateway", view.facts.is_gateway}};
  }
  if (view.facts.pool) json["pool"] = pool_json(view);
  if (!view.facts.firewall.empty()) json["firewall"] = view.facts.firewall;
  for (const NetworkAttachment& attachment : view.attachments)
    json["attachments"].push_back({{"containerID", attachment.key.container_id},
                                   {"ifname", attachment.key.ifname},
                                   {"addresses", attachment.addresses},
                                   {"state", state_name(attachment.state)}});
  return json;
}

// What stands in memory only: saved as a file of the CNI folder, and with network_name in the YAML, it does the same.
std::string conflist_text(const HostGroup& group) { return group_conflist_json(group).dump(2) + "\n"; }

Result<int> show_file(const Context& context, const std::string& file, const std::string& wanted) {
  HostGroups groups = TRY(read_host_groups(file));
  TRY(choose_gateways(context, groups, Keep::kNo));
  std::string text;
  unsigned shown = 0;
  for (const HostGroup& group : groups.groups) {
    if (!wanted.empty() && group.name != wanted) continue;
    if (!group.network) {
      log_line(fmt::format("host group '{}' is on the network '{}' of the CNI folder", group.name, group.network_name));
      continue;
    }
    text += conflist_text(group);
    ++shown;
  }
  if (shown == 0)
    return fail(Kind::kNotFound, wanted.empty()
                                     ? fmt::format("no host group of '{}' has a network of its own", file)
                                     : fmt::format("'{}' has no network of a host group '{}'", file, wanted));
  if (shown > 1) log_line(fmt::format("{} lists, of which each wants a file of its own: --group NAME", shown));
  TRY(print(text));
  return kExitOk;
}

// A network of the CNI folder in words; of a group that is up, its list.
Result<int> show_name(const Context& context, const std::string& name, bool json) {
  Result<View> view = look(context, name);
  if (!view && view.error().kind == Kind::kNotFound) {
    const std::optional<GroupNote> note = TRY(find_note(context, name));
    if (!note) return std::unexpected(std::move(view).error());
    const HostGroup group = TRY(group_of(context, *note));
    if (!group.network) return show_name(context, group.network_name, json);
    TRY(print(conflist_text(group)));
    return kExitOk;
  }
  const View found = TRY(std::move(view));
  TRY(print(json ? cni::dump_json(show_json(found)) + "\n" : show_text(found)));
  return kExitOk;
}

}  // namespace

void register_network_show(CLI::App& network, Context& context) {
  struct Options {
    std::string name = {};
    std::string group = {};
    bool json = false;
  };
  CLI::App& command =
      *network.add_subcommand("show", "Show one network and who is attached to it, or a host group's as a conflist");
  const auto options = std::make_shared<Options>();
  command
      .add_option("NAME|FILE", options->name,
                  "A network, in words; a host group that is up, or the YAML of one: what to save in the CNI folder")
      ->required();
  command.add_option("--group", options->group, "Of a FILE, this group's network alone");
  command.add_flag("--json", options->json, "Print JSON");
  command.footer(kExamples);
  command.callback([&context, options] {
    context.action = [&context, options]() -> Result<int> {
      if (options->name == "-" || looks_like_file(options->name))
        return show_file(context, options->name, options->group);
      return show_name(context, options->name, options->json);
    };
  });
}

}  // namespace slicer::runner
