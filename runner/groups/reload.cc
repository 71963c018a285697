#include "runner/groups/reload.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "lib/base/log.h"
#include "runner/chain/runtime.h"
#include "runner/networks/attachments.h"
#include "runner/print.h"
#include "runner/supervisor/attachment.h"

namespace slicer::runner {
namespace {

constexpr const char* kFirewall = "slicer-firewall";

const chain::PluginConf* firewall_of(const chain::Conflist& network) {
  const auto found = std::ranges::find(network.plugins, kFirewall, &chain::PluginConf::type);
  return found == network.plugins.end() ? nullptr : &*found;
}

// A plugin that was taken out of the list has left rules that must go: it is asked to enforce nothing.
std::optional<chain::PluginConf> firewall_for(const chain::Conflist& network, const chain::CacheEntry& entry) {
  if (const chain::PluginConf* now = firewall_of(network)) return *now;
  const Result<chain::Conflist> before = chain::parse_conflist(entry.config, "cache");
  if (!before || firewall_of(*before) == nullptr) return std::nullopt;
  chain::PluginConf empty;
  empty.type = kFirewall;
  empty.capabilities = firewall_of(*before)->capabilities;
  empty.raw = {{"type", kFirewall}};
  return empty;
}

bool is_there(const NetworkAttachment& attachment) {
  return attachment.state == AttachmentState::kRunning || attachment.state == AttachmentState::kOther;
}

Result<void> reload_one(const chain::Runtime& runtime, const chain::Conflist& network, const chain::AttachmentKey& key,
                        Reloaded& tally) {
  const std::optional<chain::CacheEntry> entry = TRY(runtime.cache().load(key));
  if (!entry) return {};  // its ADD is not finished, or its DEL has begun
  const std::optional<chain::PluginConf> firewall = firewall_for(network, *entry);
  if (!firewall) return {};
  TRY(runtime.repeat_add(network, *firewall, chain::attachment_of(*entry)));
  ++tally.done;
  return print(fmt::format("reloaded {} ({})\n", key.container_id, key.ifname));
}

}  // namespace

Result<Reloaded> reload_lists(const Settings& settings, const chain::Conflist& network) {
  const chain::Runtime runtime(runtime_settings(settings));
  Reloaded tally;
  for (const NetworkAttachment& attachment : TRY(list_attachments(settings, network.name))) {
    if (!is_there(attachment)) continue;
    const Result<void> reloaded = reload_one(runtime, network, attachment.key, tally);
    if (reloaded) continue;
    log_line(reloaded.error().message);
    if (!reloaded.error().hint.empty()) log_line("hint: " + reloaded.error().hint);
    ++tally.failed;
  }
  return tally;
}

}  // namespace slicer::runner
