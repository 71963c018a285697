#include "runner/groups/reload.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string_view>

#include "lib/base/log.h"
#include "runner/chain/runtime.h"
#include "runner/networks/attachments.h"
#include "runner/print.h"
#include "runner/supervisor/attachment.h"

namespace slicer::runner {
namespace {

constexpr const char* kFirewall = "slicer-firewall";
/// Their ADD of an attachment that stands puts the network's rules back (docs/slicer-bridge.md,
/// docs/slicer-isolated.md).
constexpr std::array<std::string_view, 2> kMainPlugins{"slicer-bridge", "slicer-isolated"};

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

/// The first plugin of an attachment, when its ADD can be repeated.
Result<std::optional<chain::PluginConf>> main_plugin_of(const chain::CacheEntry& entry, const std::string& conf_dir) {
  const chain::Conflist added = TRY(chain::network_of(entry, conf_dir));
  if (added.plugins.empty() || std::ranges::find(kMainPlugins, added.plugins.front().type) == kMainPlugins.end())
    return std::optional<chain::PluginConf>();
  return std::optional(added.plugins.front());
}

void tell(const Error& error) {
  log_line(error.message);
  if (!error.hint.empty()) log_line("hint: " + error.hint);
}

/// `now` absent: the list of the ADD.
Result<void> reload_one(const Settings& settings, const chain::Runtime& runtime, const chain::Conflist* now,
                        const chain::AttachmentKey& key, Reloaded& tally) {
  const std::optional<chain::CacheEntry> entry = TRY(runtime.cache().load(key));
  if (!entry) return {};  // its ADD is not finished, or its DEL has begun
  const chain::Conflist network = now != nullptr ? *now : TRY(chain::network_of(*entry, settings.conf_dir));
  const chain::AttachmentConf attachment = chain::attachment_of(*entry);
  const std::optional<chain::PluginConf> main = TRY(main_plugin_of(*entry, settings.conf_dir));
  if (main) TRY(runtime.repeat_add(network, *main, attachment));
  const std::optional<chain::PluginConf> firewall = firewall_for(network, *entry);
  if (firewall) TRY(runtime.repeat_add(network, *firewall, attachment));
  if (!main && !firewall) return {};
  ++tally.done;
  return print(fmt::format("reloaded {} ({})\n", key.container_id, key.ifname));
}

void reload_and_tell(const Settings& settings, const chain::Runtime& runtime, const chain::Conflist* now,
                     const chain::AttachmentKey& key, Reloaded& tally) {
  const Result<void> reloaded = reload_one(settings, runtime, now, key, tally);
  if (reloaded) return;
  tell(reloaded.error());
  ++tally.failed;
}

}  // namespace

Result<Reloaded> reload_lists(const Settings& settings, const chain::Conflist& network) {
  const chain::Runtime runtime(runtime_settings(settings));
  Reloaded tally;
  for (const NetworkAttachment& attachment : TRY(list_attachments(settings, network.name)))
    if (is_there(attachment)) reload_and_tell(settings, runtime, &network, attachment.key, tally);
  return tally;
}

Result<Reloaded> reload_all(const Settings& settings, const FindNetwork& find) {
  const chain::Runtime runtime(runtime_settings(settings));
  std::map<std::string, std::optional<chain::Conflist>> networks;
  Reloaded tally;
  for (const NetworkAttachment& attachment : TRY(list_attachments(settings))) {
    if (!is_there(attachment)) continue;
    const auto [known, is_new] = networks.try_emplace(attachment.key.network);
    if (is_new) {
      Result<chain::Conflist> now = find(attachment.key.network);
      if (now)
        known->second = std::move(*now);
      else
        log_line(now.error().message + "; its VMs get the rules that they were added with");
    }
    reload_and_tell(settings, runtime, known->second ? &*known->second : nullptr, attachment.key, tally);
  }
  return tally;
}

Result<chain::Conflist> plugins_with_rules(const chain::CacheEntry& entry, const chain::Conflist& now,
                                           const std::string& conf_dir) {
  chain::Conflist list = now;
  list.plugins.clear();
  if (std::optional<chain::PluginConf> main = TRY(main_plugin_of(entry, conf_dir)))
    list.plugins.push_back(std::move(*main));
  if (const chain::PluginConf* firewall = firewall_of(now)) list.plugins.push_back(*firewall);
  return list;
}

}  // namespace slicer::runner
