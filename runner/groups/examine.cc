#include "runner/groups/examine.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/cni/result_versions.h"
#include "runner/chain/runtime.h"
#include "runner/supervisor/attachment.h"

namespace slicer::runner {
namespace {

constexpr const char* kFirewall = "slicer-firewall";

Verdict skipped(std::string reason) { return {.kind = Verdict::Kind::kSkipped, .reason = std::move(reason)}; }

Verdict verdict_of(const Result<void>& result) {
  if (result) return {};
  return {.kind = Verdict::Kind::kFailed, .error = result.error()};
}

/// Why no plugin would be asked; empty: it would be.
std::string no_check(const chain::Conflist& network) {
  if (network.disable_check) return "the network says disableCheck";
  if (cni::version_at_least(network.cni_version, "0.4.0")) return "";
  return fmt::format("version {} has no CHECK", network.cni_version);
}

Result<chain::Conflist> list_for(const Settings& settings, const chain::CacheEntry& entry, const chain::Conflist& now,
                                 CheckBy by) {
  if (by == CheckBy::kNow || entry.config.empty()) return now;
  chain::Conflist list = TRY(chain::network_of(entry, settings.conf_dir));
  const auto is_firewall = [](const chain::PluginConf& plugin) { return plugin.type == kFirewall; };
  const auto newest = std::ranges::find_if(now.plugins, is_firewall);
  const auto added = std::ranges::find_if(list.plugins, is_firewall);
  if (newest != now.plugins.end() && added != list.plugins.end()) *added = *newest;
  return list;
}

Verdict check_one(const Settings& settings, const chain::Runtime& runtime, const NetworkAttachment& attachment,
                  const chain::Conflist& now, CheckBy by) {
  if (attachment.state == AttachmentState::kDead) return skipped("the VM is dead: slicer-run gc");
  if (attachment.state == AttachmentState::kGone) return skipped("its namespace is gone");
  const std::string unfinished = "its ADD is not finished, or its DEL has begun";
  const auto entry = runtime.cache().load(attachment.key);
  if (!entry) return verdict_of(std::unexpected(entry.error()));
  if (!*entry) return skipped(unfinished);
  const Result<chain::Conflist> list = list_for(settings, **entry, now, by);
  if (!list) return verdict_of(std::unexpected(list.error()));
  if (std::string why = no_check(*list); !why.empty()) return skipped(std::move(why));
  const Result<void> checked = runtime.check(*list, chain::attachment_of(**entry));
  if (checked) return {};
  const auto still = runtime.cache().load(attachment.key);
  return still && !*still ? skipped(unfinished) : verdict_of(checked);
}

Verdict ask_status(const chain::Runtime& runtime, const chain::Conflist& network) {
  if (!cni::version_at_least(network.cni_version, "1.1.0"))
    return skipped(fmt::format("version {} has no STATUS", network.cni_version));
  return verdict_of(runtime.status(network));
}

}  // namespace

bool ExaminedNetwork::good() const {
  return status.kind != Verdict::Kind::kFailed &&
         std::ranges::none_of(attachments, [](const auto& one) { return one.check.kind == Verdict::Kind::kFailed; });
}

Result<ExaminedNetwork> examine_network(const Settings& settings, const chain::Conflist& network, CheckBy by) {
  const chain::Runtime runtime(runtime_settings(settings));
  ExaminedNetwork examined{.network = network, .status = ask_status(runtime, network)};
  for (NetworkAttachment& attachment : TRY(list_attachments(settings, network.name))) {
    Verdict check = check_one(settings, runtime, attachment, network, by);
    examined.attachments.push_back({.attachment = std::move(attachment), .check = std::move(check)});
  }
  return examined;
}

}  // namespace slicer::runner
