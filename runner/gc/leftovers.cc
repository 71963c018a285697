#include "runner/gc/leftovers.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <system_error>

#include "lib/net/link.h"
#include "lib/net/netns.h"
#include "lib/net/netns_find.h"
#include "runner/state/vm_definition.h"
#include "runner/state/vm_files.h"
#include "runner/state/vm_lock.h"
#include "runner/supervisor/cleanup.h"

namespace slicer::runner {
namespace {

constexpr std::string_view kPrefix = "slicer-";

std::string namespace_path(const std::string& vm) {
  return std::string(net::kNetnsFolder) + "/" + std::string(kPrefix) + vm;
}

// In a private namespace every link of ours has a group. Links that the kernel makes by itself (lo, sit0, …) are down
// or the loopback.
bool is_ours_or_idle(const net::Link& link) {
  return link.group != 0 || link.alias.starts_with("slicer:") || link.name == "lo" || !link.up;
}

// A leftover file with no namespace on it is one, too.
Result<bool> holds_ours_only(const std::string& path) {
  const Result<net::Netns> ns = net::Netns::open(path);
  if (!ns && ns.error().kind == Kind::kInvalidEnvironment) return true;
  if (!ns) return false;
  net::RouteSocket session = TRY(net::RouteSocket::open_in(*ns));
  return std::ranges::all_of(TRY(net::list_links(session, "")), is_ours_or_idle);
}

Result<std::vector<std::string>> without_state(const Settings& settings, std::vector<std::string> names) {
  // Asked after the names: a VM that begins meanwhile has its folder before anything else.
  const std::vector<std::string> known = TRY(list_vm_names(settings));
  std::erase_if(names, [&](const std::string& name) {
    return !check_vm_name(name) || std::ranges::find(known, name) != known.end();
  });
  std::ranges::sort(names);
  return names;
}

/// Runs `action` while nobody can begin with the name.
Result<bool> under_lock(const Settings& settings, const std::string& vm, const std::function<Result<void>()>& action) {
  const Result<std::vector<std::string>> still = without_state(settings, {vm});
  if (!still || still->empty()) return false;
  const Result<VmLock> lock = VmLock::acquire(settings, vm, std::chrono::milliseconds(0));
  if (!lock && lock.error().kind == Kind::kBusy) return false;
  if (!lock) return std::unexpected(lock.error());
  const Result<void> done = action();
  TRY(forget_vm(settings, vm, *lock));
  if (!done) return std::unexpected(done.error());
  return true;
}

}  // namespace

Result<std::vector<std::string>> find_orphan_namespaces(const Settings& settings) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator at(net::kNetnsFolder, error), end; !error && at != end;
       at.increment(error)) {
    const std::string name = at->path().filename();
    if (name.starts_with(kPrefix)) names.push_back(name.substr(kPrefix.size()));
  }
  names = TRY(without_state(settings, std::move(names)));
  std::vector<std::string> orphans;
  for (std::string& name : names)
    if (TRY(holds_ours_only(namespace_path(name)))) orphans.push_back(std::move(name));
  return orphans;
}

Result<std::vector<std::string>> find_orphan_files(const Settings& settings) {
  std::vector<std::string> names = TRY(without_state(settings, TRY(list_kept_folders(settings))));
  std::vector<std::string> orphans;
  for (std::string& name : names) {
    const Result<std::optional<VmDefinition>> kept = find_definition(settings, name);
    if (kept && !*kept) orphans.push_back(std::move(name));  // one that is not readable is a kept VM's
  }
  return orphans;
}

Result<bool> remove_orphan_namespace(const Settings& settings, const std::string& vm) {
  return under_lock(settings, vm, [&] { return net::delete_named_netns(namespace_path(vm)); });
}

Result<bool> remove_orphan_files(const Settings& settings, const std::string& vm) {
  return under_lock(settings, vm, [] { return Result<void>(); });  // forget_vm() takes files that are no kept VM's
}

}  // namespace slicer::runner
