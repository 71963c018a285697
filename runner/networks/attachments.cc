#include "runner/networks/attachments.h"

#include <algorithm>
#include <map>
#include <set>

#include "lib/cni/netns_path.h"
#include "lib/cni/result_versions.h"
#include "runner/chain/runtime.h"
#include "runner/state/vm_files.h"
#include "runner/state/vm_record.h"

namespace slicer::runner {
namespace {

bool is_ours(const chain::CacheEntry& entry) {
  return std::ranges::any_of(
      entry.args, [&](const auto& arg) { return arg.first == chain::kVmArg && arg.second == entry.key.container_id; });
}

std::string addresses_of(const chain::CacheEntry& entry) {
  const Result<cni::CniResult> result = cni::parse_result(entry.result);
  std::string text;
  if (!result) return text;
  for (const cni::IpConfig& ip : result->ips) text += (text.empty() ? "" : ", ") + ip.address.text();
  return text;
}

AttachmentState state_of_other(const chain::CacheEntry& entry) {
  const Result<cni::NetnsPath> place = cni::inspect_netns(entry.netns);
  const bool there = place && (*place == cni::NetnsPath::kHost || *place == cni::NetnsPath::kPrivate);
  return there ? AttachmentState::kOther : AttachmentState::kGone;
}

using Found = std::map<chain::AttachmentKey, NetworkAttachment>;

Result<void> add_vms(const Settings& settings, Found& found) {
  for (const std::string& name : TRY(list_vm_names(settings))) {
    const Result<VmRecord> record = load_record(settings, name);
    if (!record || record->network.empty()) continue;  // just beginning or just ending; gc tells of broken ones
    NetworkAttachment attachment{.key = {.network = record->network, .container_id = name, .ifname = record->ifname},
                                 .state = is_alive(*record) ? AttachmentState::kRunning : AttachmentState::kDead};
    for (const std::string& address : record->addresses)
      attachment.addresses += (attachment.addresses.empty() ? "" : ", ") + address;
    found[attachment.key] = std::move(attachment);
  }
  return {};
}

}  // namespace

const char* state_name(AttachmentState state) {
  switch (state) {
    case AttachmentState::kRunning:
      return "running";
    case AttachmentState::kDead:
      return "dead";
    case AttachmentState::kOther:
      return "another runtime's";
    case AttachmentState::kGone:
      break;
  }
  return "another runtime's, its namespace is gone";
}

Result<std::vector<NetworkAttachment>> list_attachments(const Settings& settings) {
  Found found;
  TRY(add_vms(settings, found));
  for (const chain::CacheEntry& entry : TRY(chain::Cache(settings.cache_dir).list())) {
    if (found.contains(entry.key)) continue;
    found[entry.key] = {.key = entry.key,
                        .state = is_ours(entry) ? AttachmentState::kDead : state_of_other(entry),
                        .addresses = addresses_of(entry)};
  }
  std::vector<NetworkAttachment> attachments;
  for (auto& [key, attachment] : found) attachments.push_back(std::move(attachment));
  return attachments;
}

Result<std::vector<NetworkAttachment>> list_attachments(const Settings& settings, const std::string& network) {
  std::vector<NetworkAttachment> attachments = TRY(list_attachments(settings));
  std::erase_if(attachments, [&](const NetworkAttachment& attachment) { return attachment.key.network != network; });
  return attachments;
}

Result<std::vector<chain::CacheEntry>> orphaned_entries(const Settings& settings) {
  std::vector<chain::CacheEntry> entries = TRY(chain::Cache(settings.cache_dir).list());
  // Asked after the cache: a VM that begins meanwhile has its folder before its entry.
  const std::vector<std::string> names = TRY(list_vm_names(settings));
  const std::set<std::string> known(names.begin(), names.end());
  std::erase_if(entries, [&](const chain::CacheEntry& entry) {
    return !is_ours(entry) || known.contains(entry.key.container_id);
  });
  return entries;
}

}  // namespace slicer::runner
