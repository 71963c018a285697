// Masquerade and lists of networks that are in use: nobody misses them before packets go astray.

#include <fmt/format.h>

#include <map>

#include "runner/chain/runtime.h"
#include "runner/doctor/checks.h"
#include "runner/groups/reload.h"
#include "runner/networks/attachments.h"
#include "runner/supervisor/attachment.h"

namespace slicer::runner::doctor {
namespace {

constexpr const char* kCheck = "rules";

/// CHECK of the plugins of ours that have rules on the host.
Result<void> check_one(const Settings& settings, const chain::Runtime& runtime, const chain::AttachmentKey& key) {
  const std::optional<chain::CacheEntry> entry = TRY(runtime.cache().load(key));
  if (!entry) return {};  // its ADD is not finished, or its DEL has begun
  // A host group's list is in no file; what it was added with is as near as one gets.
  Result<chain::Conflist> now = chain::load_network(settings.conf_dir, key.network);
  const chain::Conflist network = now ? std::move(*now) : TRY(chain::network_of(*entry, settings.conf_dir));
  const chain::Conflist list = TRY(plugins_with_rules(*entry, network, settings.conf_dir));
  if (list.plugins.empty()) return {};
  return runtime.check(list, chain::attachment_of(*entry));
}

}  // namespace

void check_network_rules(const Settings& settings, Findings& findings) {
  const Result<std::vector<NetworkAttachment>> attachments = list_attachments(settings);
  if (!attachments) return findings.warn(kCheck, attachments.error().message, attachments.error().hint);
  std::map<std::string, chain::AttachmentKey> networks;  // one attachment of each
  for (const NetworkAttachment& one : *attachments)
    if (one.state == AttachmentState::kRunning || one.state == AttachmentState::kOther)
      networks.try_emplace(one.key.network, one.key);
  const chain::Runtime runtime(runtime_settings(settings));
  for (const auto& [network, key] : networks) {
    const Result<void> checked = check_one(settings, runtime, key);
    if (checked)
      findings.ok(kCheck,
                  fmt::format("network '{}': its rules stand, as far as '{}' needs them", network, key.container_id));
    else
      findings.fail(kCheck, checked.error().message, checked.error().hint);
  }
  if (networks.empty()) findings.ok(kCheck, "nobody is attached to a network");
}

}  // namespace slicer::runner::doctor
