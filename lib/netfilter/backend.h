#pragma once
// The packet filter behind one small interface: nftables, and iptables for hosts whose rules are in the legacy tables.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/result.h"
#include "lib/netfilter/ruleset.h"

namespace slicer::netfilter {

/// As a configuration names them.
enum class BackendName : uint8_t { kAuto, kNftables, kIptables };

/// A policy as it is enforced, and how many packets it has judged.
struct PolicyInForce {
  CompiledPolicy policy = {};
  bool log = false;
  uint64_t passed = 0;  ///< packets; those that pass whatever the policy says (replies) are not counted
  uint64_t dropped = 0;
};

/// A VM with a policy of its own.
struct VmInForce {
  std::string owner = {};  ///< vm_mark()
  addr::Ip address = {};
  std::string policy = {};  ///< key of PoliciesInForce::policies
};

/// What is in force for a network. Equal policies are one: VMs and networks share it, and its counters.
struct PoliciesInForce {
  std::map<std::string, PolicyInForce> policies = {};  ///< by policy_id()
  std::optional<std::string> lists = {};               ///< the network's; absent: nothing is closed
  std::vector<VmInForce> vms = {};
};

/// Asked about a VM's vm_mark().
using VmFilter = std::function<bool(const std::string& mark)>;

/// Tells rules that were never made from such as another program took. Costs nothing where they stand: only who has to
/// write constant rules asks. Attachments that rules must precede are made after them, so one that was there before
/// ours were missing is a proof.
struct LossWatch {
  /// Is there an attachment for which the missing rules must have stood? `everything`: no rule of ours is in nf_tables
  /// at all, so one of any network proves it. Empty: nobody can tell.
  std::function<Result<bool>(bool everything)> evidence = {};
  /// Called before anything is written, maybe again before a later step.
  std::function<Result<void>()> before_write = {};
  bool lost = false;  ///< the answer; what the call is about stands again
};
/// What to tell on stderr, with the way to bring back the rest.
std::string loss_text(const std::string& network);

/// Does anything of a network's stand, in either backend? An opening of a legacy FORWARD, or a bridge listed there,
/// alone is nothing. Reads all of our table: for calls that write. Errors: kBusy, kSystem.
Result<bool> has_network_rules(const std::string& network);

/// Constant rules of networks in the network namespace of this process. Every call opens what it needs and closes it.
/// Common errors: kSystem (EPERM: no CAP_NET_ADMIN), kUnsupportedKernel (no nf_tables, no legacy tables, or a part of
/// them), kBusy (the xtables lock).
class Backend {
 public:
  Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;
  virtual ~Backend() = default;

  /// Makes the rules stand. One question to the kernel when they do already; else one atomic transaction (iptables: one
  /// for each table and family, under the xtables lock), repeated when somebody else changed the ruleset meanwhile, so
  /// that parallel callers never make a rule twice. Other programs'
  /// tables keep every byte, but for the openings in a FORWARD that drops (docs/slicer-firewall.md).
  /// Errors: kExists (a chain of our name that is none of ours), kBusy (the ruleset changes all the time).
  Result<void> ensure(const NetworkRules& rules) { return ensure_watched(rules, nullptr); }
  virtual Result<void> ensure_watched(const NetworkRules& rules, LossWatch* watch) = 0;

  /// Do they stand? Error: kMismatch, naming what is missing.
  virtual Result<void> check(const NetworkRules& rules) = 0;

  /// Removes all that bears the network's mark: chains, set elements, openings in foreign chains; our table with the
  /// last of them. Nothing there is success.
  virtual Result<void> remove(const std::string& network) = 0;

  /// Removes the policies of their own of the VMs for which `gone` holds (DEL, GC), and what only they used. Nothing
  /// there is success; then it takes one question and writes nothing.
  virtual Result<void> remove_vms(const std::string& network, const VmFilter& gone) = 0;

  /// What is in force for a network, with packet counters.
  virtual Result<PoliciesInForce> list_policies(const std::string& network) = 0;

  /// Can rules be made here at all? (STATUS.) Error: kUnavailable.
  virtual Result<void> probe() = 0;
};

/// "nftables", "iptables" or "auto" (empty is the same). Error: kInvalidConfig with `key` and the valid names.
Result<BackendName> parse_backend_name(std::string_view key, std::string_view name);

/// Where rules of `network` go: kNftables or kIptables, never kAuto (choice.h). Asks nothing when `name` says it, or
/// there are no `legacy_tables`.
Result<BackendName> place_of_network(BackendName name, const std::string& network, bool legacy_tables);

/// Are there legacy tables in this namespace, of any program? Where the host has none no VM's namespace has ours.
bool has_legacy_tables();

/// `name` is "nftables", "iptables" or "auto" (empty is the same): nftables, unless other programs keep rules in the
/// legacy tables (choice.h). Error: kInvalidConfig with the valid names.
Result<std::unique_ptr<Backend>> make_backend(std::string_view name);

/// The same for another key of that meaning (upstream's "ipMasqBackend"), which the error names.
Result<std::unique_ptr<Backend>> make_backend_for(std::string_view key, std::string_view name);
/// Who has asked has_legacy_tables() already may say what it answered.
std::unique_ptr<Backend> make_backend(BackendName name, std::optional<bool> legacy_tables = {});

}  // namespace slicer::netfilter
