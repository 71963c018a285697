#include <fmt/format.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <memory>

#include "lib/cni/json.h"
#include "lib/netfilter/backend.h"
#include "runner/commands/table.h"
#include "runner/commands/vm.h"
#include "runner/networks/policy_view.h"
#include "runner/print.h"
#include "runner/state/vm_files.h"
#include "runner/supervisor/system_user.h"

namespace slicer::runner {
namespace {

using netfilter::PolicyVerdict;

const char* verdict_name(PolicyVerdict verdict) { return verdict == PolicyVerdict::kDrop ? "drop" : "allow"; }

// An interval as the lists would have it.
std::string interval_text(const addr::IpRange& addresses) {
  return netfilter::policy_entry_text({.addresses = addresses, .ports = {}});
}

std::string ports_text(const netfilter::PortRange& ports) {
  return ports.first == ports.last ? std::to_string(ports.first) : fmt::format("{}-{}", ports.first, ports.last);
}

const char* scope_text(PolicyScope scope) {
  switch (scope) {
    case PolicyScope::kVm:
      return "its own lists";
    case PolicyScope::kNetwork:
      return "the network's lists; the counters are of all its VMs";
    case PolicyScope::kNamespace:
      return "in its own namespace, with what is closed to every isolated VM";
    case PolicyScope::kLink:
      return "at its macvtap, packet by packet: answers over TCP and to pings pass";
  }
  return "?";
}

std::string text_of(const VmRecord& record, const PolicyView& view) {
  std::string text = fmt::format("VM {} on network '{}': ", record.name, record.network);
  if (!view.policy) return text + "no lists, everything is allowed\n";
  const netfilter::PolicyInForce& policy = *view.policy;
  text += fmt::format("{}{}\npassed {} packets, dropped {}\n\n", scope_text(view.scope),
                      policy.log ? "; what is dropped is logged" : "", policy.passed, policy.dropped);
  std::vector<std::vector<std::string>> rows = {{"DESTINATION", "PORTS", "VERDICT"}};
  for (const netfilter::PortVerdict& one : policy.policy.ports)
    rows.push_back({interval_text(one.addresses), ports_text(one.ports), verdict_name(one.verdict)});
  for (const netfilter::AddressVerdict& one : policy.policy.addresses)
    rows.push_back({interval_text(one.addresses), "any", verdict_name(one.verdict)});
  rows.push_back({"everything else", "any", verdict_name(policy.policy.fallback)});
  return text + table_text(rows);
}

cni::Json json_of(const VmRecord& record, const PolicyView& view) {
  cni::Json json = {{"name", record.name}, {"network", record.network}, {"lists", cni::Json::array()}};
  if (!view.policy) {
    json["default"] = "allow";
    return json;
  }
  const netfilter::PolicyInForce& policy = *view.policy;
  json["shared"] = view.scope == PolicyScope::kNetwork;
  json["log"] = policy.log;
  json["passed"] = policy.passed;
  json["dropped"] = policy.dropped;
  json["default"] = verdict_name(policy.policy.fallback);
  for (const netfilter::PortVerdict& one : policy.policy.ports)
    json["lists"].push_back({{"destination", interval_text(one.addresses)},
                             {"ports", ports_text(one.ports)},
                             {"verdict", verdict_name(one.verdict)}});
  for (const netfilter::AddressVerdict& one : policy.policy.addresses)
    json["lists"].push_back({{"destination", interval_text(one.addresses)}, {"verdict", verdict_name(one.verdict)}});
  return json;
}

Result<int> run(const Context& context, const std::string& name, bool as_json) {
  TRY(check_vm_name(name));
  TRY(check_root());
  const VmRecord record = TRY(load_record(context, name));
  const PolicyView view = TRY(policy_of(record));
  TRY(print(as_json ? json_of(record, view).dump(2) + "\n" : text_of(record, view)));
  return kExitOk;
}

}  // namespace

void register_vm_firewall(CLI::App& vm, Context& context) {
  struct Options {
    std::string name = {};
    bool json = false;
  };
  const auto options = std::make_shared<Options>();
  CLI::App& command = *vm.add_subcommand("firewall", "Show the drop and allow lists in force, with packet counters");
  command.add_option("NAME", options->name, "The VM")->required();
  command.add_flag("--json", options->json, "As a JSON object");
  command.footer("The most specific entry decides; the lists are shown as the kernel has them, overlaps resolved.");
  command.callback([&context, options] {
    context.action = [&context, options] { return run(context, options->name, options->json); };
  });
}

}  // namespace slicer::runner
