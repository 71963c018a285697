#include "runner/commands/network_gc.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Validators.hpp>
#include <chrono>
#include <memory>

#include "lib/cni/result_versions.h"
#include "runner/chain/runtime.h"
#include "runner/groups/find_network.h"
#include "runner/networks/attachments.h"
#include "runner/print.h"
#include "runner/supervisor/attach_lock.h"
#include "runner/supervisor/attachment.h"
#include "runner/supervisor/system_user.h"

namespace slicer::runner {
namespace {

constexpr const char* kExplanation =
    "The plugins remove what no attachment of the network needs: links, addresses and rules that neither a VM nor "
    "libcni's\n"
    "cache knows of. What is in the cache stays, dead or not: slicer-run gc removes what dead VMs left.\n"
    "Not for a network that says disableGC, as the shipped ones do: a runtime with a cache of its own\n"
    "(firecracker-go-sdk) may have attachments there. No other runtime may attach to the network meanwhile.\n"
    "Examples:\n"
    "  slicer-run network gc web";

/// VMs that are started wait meanwhile.
constexpr unsigned kPluginSeconds = 60;
constexpr unsigned kMaxPluginSeconds = 3600;

struct Wish {
  std::string name = {};
  unsigned plugin_seconds = kPluginSeconds;
};

Result<void> check_wanted(const chain::Conflist& network) {
  if (network.disable_gc)
    return fail(
        Kind::kUnsupportedField,
        fmt::format("collect what network '{}' lost: '{}' says \"disableGC\"", network.name, network.file),
        "take the key out when no runtime keeps attachments of this network where slicer-run does not see them");
  if (cni::version_at_least(network.cni_version, "1.1.0")) return {};
  return fail(Kind::kUnsupportedVersion,
              fmt::format("collect what network '{}' lost: version {} has no GC", network.name, network.cni_version),
              "GC came with 1.1.0: \"cniVersions\": [\"1.0.0\", \"1.1.0\"]");
}

Result<int> run(const Context& context, const Wish& wish) {
  TRY(check_root());
  const chain::Conflist network = TRY(find_network_now(context, wish.name));
  TRY(check_wanted(network));
  const AttachLock lock = TRY(AttachLock::for_gc(context, std::chrono::seconds(10)));
  std::vector<cni::ValidAttachment> valid;
  for (const NetworkAttachment& one : TRY(list_attachments(context, wish.name)))
    valid.push_back({.container_id = one.key.container_id, .ifname = one.key.ifname});
  chain::RuntimeSettings settings = runtime_settings(context);
  settings.limit = std::chrono::seconds(wish.plugin_seconds);
  TRY(chain::Runtime(std::move(settings)).gc(network, valid));
  TRY(print(fmt::format("network {}: {} attachment{} known; the plugins removed what others left\n", wish.name,
                        valid.size(), valid.size() == 1 ? " is" : "s are")));
  return kExitOk;
}

}  // namespace

void register_network_gc(CLI::App& network, Context& context) {
  CLI::App& command =
      *network.add_subcommand("gc", "Let a network's plugins remove what no attachment needs (CNI's GC)");
  const auto wish = std::make_shared<Wish>();
  command.add_option("NAME", wish->name, "The network's, or a running host group's name")->required();
  command.add_option("--timeout", wish->plugin_seconds, "Seconds that a plugin may take")
      ->check(CLI::Range(1U, kMaxPluginSeconds))
      ->capture_default_str();
  command.footer(kExplanation);
  command.callback([&context, wish] { context.action = [&context, wish] { return run(context, *wish); }; });
}

}  // namespace slicer::runner
