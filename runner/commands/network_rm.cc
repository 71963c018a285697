#include "runner/commands/network_rm.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <memory>

#include "lib/base/whole_file.h"
#include "lib/cni/attachment.h"
#include "lib/net/bridge_port.h"
#include "lib/net/link.h"
#include "lib/net/sysctl.h"
#include "lib/netfilter/backend.h"
#include "lib/netfilter/isolation.h"
#include "lib/netfilter/nftables/traces.h"
#include "runner/chain/conflist.h"
#include "runner/networks/attachments.h"
#include "runner/print.h"
#include "runner/state/vm_files.h"
#include "runner/state/vm_record.h"
#include "runner/supervisor/cleanup.h"

namespace slicer::runner {
namespace {

/// The bridges of networks, by the alias that slicer-bridge gives them.
struct Bridges {
  std::vector<net::Link> own = {};  ///< of the network in question
  bool others = false;              ///< another network has one
};

Result<Bridges> find_bridges(net::RouteSocket& host, const std::string& network) {
  Bridges bridges;
  for (net::Link& link : TRY(net::list_links(host, ""))) {
    if (link.kind != "bridge" || !link.alias.starts_with("slicer:")) continue;
    if (link.alias == cni::network_alias(network)) {
      bridges.own.push_back(std::move(link));
    } else {
      bridges.others = true;
    }
  }
  return bridges;
}

Result<void> clean_dead_vms_of(const Context& context, const std::string& network) {
  for (const std::string& name : TRY(list_vm_names(context))) {
    const Result<VmRecord> record = load_record(context, name);
    if (!record || record->network != network || is_alive(*record)) continue;
    if (TRY(clean_dead_vm(context, name)) == Cleaned::kDone) TRY(print("removed dead VM " + name + "\n"));
  }
  return {};
}

std::unexpected<Error> still_used(const std::string& network, const std::string& by, std::string hint) {
  return fail(Kind::kBusy, fmt::format("remove network '{}': still used by {}", network, by), std::move(hint));
}

/// Refuses while anybody needs the network. A dead attachment of another runtime, whose namespace is gone, is nobody.
Result<void> check_unused(const Context& context, const std::string& network) {
  std::vector<std::string> vms;
  std::vector<std::string> others;
  for (const NetworkAttachment& attachment : TRY(list_attachments(context, network))) {
    if (attachment.state == AttachmentState::kGone) continue;
    const bool vm = attachment.state != AttachmentState::kOther;
    (vm ? vms : others).push_back(fmt::format("{} ({})", attachment.key.container_id, attachment.key.ifname));
  }
  if (!vms.empty())
    return still_used(network, fmt::format("VM {}", fmt::join(vms, ", ")),
                      "slicer-run vm rm NAME for each, or slicer-run gc for dead ones");
  if (others.empty()) return {};
  return still_used(network, fmt::format("{}", fmt::join(others, ", ")),
                    "these are another runtime's (its DEL comes first): cnitool, containerd, …");
}

/// The bridge's ports that are the network's own: the gateways of its VLANs. Error: kBusy, when there is another port.
Result<std::vector<int>> network_ports(net::RouteSocket& host, const std::string& network, const net::Link& bridge) {
  std::vector<int> own;
  std::vector<std::string> others;
  for (const int port : TRY(net::list_ports(host, bridge.index))) {
    const auto link = TRY(net::find_link(host, port));
    if (!link) continue;
    if (link->alias == cni::network_alias(network)) {
      own.push_back(port);
    } else {
      others.push_back(link->name);
    }
  }
  if (others.empty()) return own;
  return still_used(network, fmt::format("port {} of bridge {}", fmt::join(others, ", "), bridge.name),
                    "delete these links, or find out who made them by `ip -d link show`");
}

/// What is said about the file, which is the administrator's.
Result<void> finish_file(const Result<chain::Conflist>& network, bool purge) {
  if (!network) return {};
  if (!purge)
    return print(fmt::format("kept '{}': the next VM makes the network anew (--purge removes it)\n", network->file));
  TRY(delete_file(network->file));
  return print("removed '" + network->file + "'\n");
}

Result<void> delete_bridges(net::RouteSocket& host, const std::string& network, const Bridges& bridges) {
  for (const net::Link& bridge : bridges.own) (void)TRY(network_ports(host, network, bridge));
  for (const net::Link& bridge : bridges.own) {
    for (const int port : TRY(network_ports(host, network, bridge)))
      TRY(net::delete_link(host, port).context("delete VLAN gateway of bridge '" + bridge.name + "'"));
    TRY(net::delete_link(host, bridge.index).context("delete bridge '" + bridge.name + "'"));
    TRY(print("removed bridge " + bridge.name + "\n"));
  }
  return {};
}

Result<bool> has_isolated_vms(net::RouteSocket& host) {
  return !TRY(net::list_links(host, netfilter::kIsolatedLinks)).empty();
}

/// What all isolated networks share goes with the last isolated VM. An ADD that comes meanwhile waits with its link.
Result<void> remove_unused_isolation(net::RouteSocket& host) {
  const auto lock = TRY(netfilter::IsolationLock::acquire(netfilter::IsolationLock::Use::kRemoval));
  if (TRY(has_isolated_vms(host)) || !TRY(netfilter::remove_isolation())) return {};
  return print("removed the rules of isolated networks: no VM is on one now\n");
}

/// A network without a file (a host group's, or one whose file was removed) is known by what it left.
Result<bool> left_anything(const Context& context, const std::string& name, const Bridges& bridges) {
  if (!bridges.own.empty() || !TRY(list_attachments(context, name)).empty()) return true;
  return netfilter::has_nftables_rules(name);
}

/// The values stay as they are: others may rely on forwarding by now. Only nothing keeps them any more.
Result<void> forget_sysctls() {
  const std::string file = std::string(net::kSysctlFolder) + "/" + net::kSysctlFile;
  if (!read_file(file)) return {};
  TRY(delete_file(file));
  return print("removed '" + file + "'; forwarding itself stays as it is\n");
}

Result<int> run_rm(const Context& context, const std::string& name, bool purge) {
  net::RouteSocket host = TRY(net::RouteSocket::open());
  const Result<chain::Conflist> network = chain::load_network(context.conf_dir, name);
  const Bridges bridges = TRY(find_bridges(host, name));
  if (!network && network.error().kind == Kind::kNotFound && !TRY(left_anything(context, name, bridges)))
    return std::unexpected(network.error());
  TRY(clean_dead_vms_of(context, name));
  TRY(check_unused(context, name));
  TRY(delete_bridges(host, name, bridges));
  TRY(remove_unused_isolation(host));
  const auto backend = TRY(netfilter::make_backend("auto"));
  const bool had_rules = TRY(netfilter::has_nftables_rules(name));
  TRY(backend->remove(name).context("remove rules of network '" + name + "'"));
  if (had_rules) TRY(print("removed the rules of network '" + name + "'\n"));
  if (!bridges.others && !TRY(has_isolated_vms(host))) TRY(forget_sysctls());
  TRY(finish_file(network, purge));
  return kExitOk;
}

}  // namespace

void register_network_rm(CLI::App& network, Context& context) {
  struct Options {
    std::string name = {};
    bool purge = false;
  };
  CLI::App& command =
      *network.add_subcommand("rm", "Remove a network's bridge and rules; refused while somebody is attached");
  const auto options = std::make_shared<Options>();
  command.add_option("NAME", options->name, "The network's name")->required();
  command.add_flag("--purge", options->purge, "Remove the network's file too");
  command.callback([&context, options] {
    context.action = [&context, options] { return run_rm(context, options->name, options->purge); };
  });
}

}  // namespace slicer::runner
