#include "runner/supervisor/attachment.h"

#include <fmt/format.h>
#include <net/if.h>

#include <algorithm>
#include <chrono>

#include "lib/base/log.h"
#include "lib/base/whole_file.h"
#include "lib/net/netns.h"
#include "runner/supervisor/attach_lock.h"

namespace slicer::runner {
namespace {

using namespace std::chrono_literals;

// Longer than any ADD of ours; a foreign plugin of the chain may wait for a DHCP server.
constexpr auto kTapLockLimit = 120s;
constexpr unsigned kMaxTapNumber = 99999;

// The plugins' own namespace by a path that is true in every process: a path with our pid would be gone at the DEL.
constexpr const char* kHostNetns = "/proc/self/ns/net";

void show(const chain::PluginCall& call) {
  log_line(fmt::format("debug: {} {} ({}) on '{}': exit {} after {} us", cni::command_name(call.command), call.plugin,
                       call.path, call.network, call.exit_code, call.duration.count()));
  log_line("debug:   stdin  " + call.input);
  log_line("debug:   stdout " + call.output);
}

chain::AttachmentConf attachment_of(const VmRecord& record) {
  return {.container_id = record.name,
          .netns = record.netns,
          .ifname = record.ifname,
          .args = record.cni_args,
          .capability_args = record.capability_args};
}

// The lowest number whose name no link has. The caller holds the lock, so two VMs never choose the same.
Result<std::string> free_tap_name(const std::string& prefix) {
  for (unsigned number = 0; number <= kMaxTapNumber; ++number) {
    const std::string name = prefix + std::to_string(number);
    if (name.size() >= IFNAMSIZ) break;
    if (if_nametoindex(name.c_str()) == 0) return name;
  }
  return fail(Kind::kExhausted, "find a free name for a TAP: '" + prefix + "0' and up are all in use",
              "use a shorter \"tap_prefix\" in the conflist");
}

Result<cni::CniResult> add(const Settings& settings, const chain::Conflist& network, VmRecord& record) {
  const AttachLock lock = TRY(AttachLock::for_add(settings));
  record.attached = true;
  TRY(save_record(settings, record));
  return chain::Runtime(runtime_settings(settings)).add(network, attachment_of(record));
}

Result<cni::CniResult> attach_to_host(const Settings& settings, const chain::Conflist& network, VmRecord& record) {
  const FileLock lock = TRY(FileLock::acquire(settings.state_dir + "/.tap.lock", kTapLockLimit));
  record.netns = kHostNetns;
  record.ifname = TRY(free_tap_name(network.tap_prefix));
  return add(settings, network, record);
}

// Behind a container plugin these make the TAP, which then has another name than CNI_IFNAME.
bool has_follower(const chain::Conflist& network) {
  const auto follows = [](const chain::PluginConf& one) {
    return one.type == "slicer-tap" || one.type == "tc-redirect-tap";
  };
  return network.plugins.size() > 1 && std::any_of(network.plugins.begin() + 1, network.plugins.end(), follows);
}

Result<cni::CniResult> attach_to_sandbox(const Settings& settings, const chain::Conflist& network, VmRecord& record) {
  record.netns = "/run/netns/slicer-" + record.name;
  record.ifname = has_follower(network) ? "eth0" : "tap0";
  TRY(save_record(settings, record));  // first: a namespace that no record names would stay for ever
  if (const Result<void> made = net::create_named_netns(record.netns); !made) {
    if (made.error().kind == Kind::kExists) record.netns.clear();  // another's: not ours to remove
    return std::unexpected(made.error());
  }
  return add(settings, network, record);
}

// The plugins that the ADD was made with; where they have been moved, those that this command would use.
std::vector<std::string> path_for_del(const Settings& settings, const VmRecord& record) {
  std::vector<std::string> path = record.cni_path;
  path.insert(path.end(), settings.cni_path.begin(), settings.cni_path.end());
  return path;
}

}  // namespace

chain::RuntimeSettings runtime_settings(const Settings& settings) {
  return {.path = settings.cni_path,
          .cache_dir = settings.cache_dir,
          .trace = settings.debug ? chain::Trace(show) : chain::Trace()};
}

Result<cni::CniResult> attach(const Settings& settings, const chain::Conflist& network, VmRecord& record) {
  return record.placement == Placement::kHost ? attach_to_host(settings, network, record)
                                              : attach_to_sandbox(settings, network, record);
}

Result<void> detach(const Settings& settings, const VmRecord& record) {
  if (record.attached) {
    chain::RuntimeSettings runtime = runtime_settings(settings);
    runtime.path = path_for_del(settings, record);
    runtime.cache_dir = record.cache_dir;
    const chain::Conflist network = TRY(chain::with_folder_plugins(
        TRY(chain::parse_conflist(record.conflist, "state of VM '" + record.name + "'")), record.conf_dir));
    TRY(chain::Runtime(runtime).del(network, attachment_of(record)));
  }
  if (record.placement == Placement::kPrivate && !record.netns.empty()) TRY(net::delete_named_netns(record.netns));
  return {};
}

Result<VmInterface> vm_interface(const cni::CniResult& result, const VmRecord& record) {
  const auto found = cni::find_guest_interface(result, record.name);
  if (!found)
    return fail(Kind::kUnsupportedField, "network '" + record.network + "' gives no TAP for a VM",
                "put slicer-tap at the end of its \"plugins\"; or use a chain that begins with slicer-bridge (without "
                "\"device\": "
                "\"veth\"), slicer-isolated or slicer-macvtap");
  return VmInterface{.tap = result.interfaces[static_cast<size_t>(found->tap)],
                     .guest = result.interfaces[static_cast<size_t>(found->guest)],
                     .guest_index = found->guest};
}

}  // namespace slicer::runner
