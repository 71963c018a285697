#include "runner/commands/gc.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <array>
#include <memory>

#include "lib/base/log.h"
#include "lib/cni/json.h"
#include "lib/net/netns.h"
#include "runner/chain/runtime.h"
#include "runner/gc/leftovers.h"
#include "runner/gc/portless.h"
#include "runner/networks/attachments.h"
#include "runner/print.h"
#include "runner/state/vm_definition.h"
#include "runner/state/vm_files.h"
#include "runner/state/vm_lock.h"
#include "runner/supervisor/attachment.h"
#include "runner/supervisor/cleanup.h"
#include "runner/supervisor/system_user.h"

namespace slicer::runner {
namespace {

/// What was done, as --json prints it.
struct Tally {
  bool json = false;
  cni::Json removed = cni::Json::array();
  cni::Json failed = cni::Json::array();
};

void report_failure(const Error& error, Tally& tally) {
  log_line(error.message);
  if (!error.hint.empty()) log_line("hint: " + error.hint);
  tally.failed.push_back({{"message", error.message}, {"hint", error.hint}});
}

Result<void> report_removal(cni::Json what, const std::string& line, Tally& tally) {
  tally.removed.push_back(std::move(what));
  return tally.json ? Result<void>{} : print(line + "\n");
}

Result<void> clean_vms(const Context& context, Tally& tally) {
  for (const std::string& name : TRY(list_vm_names(context))) {
    const Result<Cleaned> cleaned = clean_dead_vm(context, name);
    if (!cleaned) {
      report_failure(cleaned.error(), tally);
    } else if (*cleaned == Cleaned::kDone) {
      const Result<std::optional<VmDefinition>> found = find_definition(context, name);
      const bool kept = found && *found;
      TRY(report_removal(
          {{"what", "run"}, {"vm", name}, {"kept", kept}},
          kept ? "removed what the last run of VM " + name + " left; it is kept: slicer-run vm start " + name
               : "removed dead VM " + name,
          tally));
    }
  }
  return {};
}

/// As it was at the ADD, or as it is now when the cache does not say.
Result<chain::Conflist> network_for(const Context& context, const chain::CacheEntry& entry) {
  Result<chain::Conflist> network = chain::network_of(entry, context.conf_dir);
  return network ? std::move(network) : chain::load_network(context.conf_dir, entry.key.network);
}

/// DEL in the terms of the ADD, under the VM's lock: nobody begins with the name meanwhile.
Result<bool> delete_orphan(const Context& context, const chain::CacheEntry& entry) {
  const std::string& name = entry.key.container_id;
  const VmLock lock = TRY(VmLock::acquire(context, name, std::chrono::milliseconds(0)));
  const auto again = TRY(chain::Cache(context.cache_dir).load(entry.key));
  if (again) {
    TRY(chain::Runtime(runtime_settings(context)).del(TRY(network_for(context, entry)), chain::attachment_of(entry)));
    if (entry.netns == "/run/netns/slicer-" + name) TRY(net::delete_named_netns(entry.netns));
  }
  TRY(forget_vm(context, name, lock));
  return again.has_value();
}

Result<void> clean_orphans(const Context& context, Tally& tally) {
  for (const chain::CacheEntry& entry : TRY(orphaned_entries(context))) {
    const std::string what =
        fmt::format("what VM {} left on network {} ({})", entry.key.container_id, entry.key.network, entry.key.ifname);
    const Result<bool> deleted = delete_orphan(context, entry).context("remove " + what);
    if (!deleted && deleted.error().kind == Kind::kBusy) continue;  // it begins just now
    if (!deleted) {
      report_failure(deleted.error(), tally);
    } else if (*deleted) {
      const cni::Json orphan = {{"what", "attachment"},
                                {"vm", entry.key.container_id},
                                {"network", entry.key.network},
                                {"ifname", entry.key.ifname}};
      TRY(report_removal(orphan, "removed " + what, tally));
    }
  }
  return {};
}

/// Things that only their names tell of.
struct Leftover {
  const char* what;
  const char* word;
  Result<std::vector<std::string>> (*find)(const Settings& settings);
  Result<bool> (*remove)(const Settings& settings, const std::string& vm);
};
constexpr std::array<Leftover, 2> kLeftovers = {{
    {"the network namespace", "namespace", find_orphan_namespaces, remove_orphan_namespace},
    {"the files", "files", find_orphan_files, remove_orphan_files},
}};

Result<void> clean_nameless(const Context& context, const Leftover& leftover, Tally& tally) {
  for (const std::string& vm : TRY(leftover.find(context))) {
    const std::string what = fmt::format("{} of VM {}, of which nothing else is left", leftover.what, vm);
    const Result<bool> removed = leftover.remove(context, vm).context("remove " + what);
    if (!removed) {
      report_failure(removed.error(), tally);
    } else if (*removed) {
      TRY(report_removal({{"what", leftover.word}, {"vm", vm}}, "removed " + what, tally));
    }
  }
  return {};
}

Result<void> clean_portless(Tally& tally) {
  for (const DeadNeighbours& one : TRY(remove_dead_neighbours()))
    TRY(report_removal({{"what", "neighbours"}, {"bridge", one.bridge}, {"count", one.count}},
                       fmt::format("removed {} neighbour {} of guests that are gone from bridge {}", one.count,
                                   one.count == 1 ? "entry" : "entries", one.bridge),
                       tally));
  for (const std::string& ifb : TRY(remove_portless_ifbs()))
    TRY(report_removal({{"what", "ifb"}, {"name", ifb}}, "removed ifb " + ifb + ", whose port is gone", tally));
  return {};
}

Result<int> run_gc(const Context& context, bool json) {
  TRY(check_root());
  Tally tally;
  tally.json = json;
  TRY(clean_vms(context, tally));
  TRY(clean_orphans(context, tally));
  for (const Leftover& leftover : kLeftovers) TRY(clean_nameless(context, leftover, tally));
  TRY(clean_portless(tally));
  if (json) {
    const cni::Json all = {{"removed", tally.removed}, {"failed", tally.failed}};
    TRY(print(all.dump(2, ' ', false, cni::Json::error_handler_t::replace) + "\n"));
  } else if (tally.removed.empty() && tally.failed.empty()) {
    TRY(print("nothing to remove\n"));
  }
  return tally.failed.empty() ? kExitOk : kExitFailed;
}

}  // namespace

void register_gc(CLI::App& app, Context& context) {
  CLI::App& command = *app.add_subcommand("gc", "Remove what dead VMs left");
  const auto json = std::make_shared<bool>(false);
  command.add_flag("--json", *json, "What was removed and what could not be, as JSON");
  command.callback([&context, json] { context.action = [&context, json] { return run_gc(context, *json); }; });
}

}  // namespace slicer::runner
