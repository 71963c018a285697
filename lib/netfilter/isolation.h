#pragma once
// Isolated networks: constant rules of the host, once for all of them and none per VM; the table in each VM's
// namespace, which holds the drop and allow lists; and the openings to addresses of the host that an allow list names.
//
// Both layers are needed: the host's rules hold whatever becomes of a namespace, and the namespace's know the VM's
// lists. IPv6 is closed in both.

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"
#include "lib/netfilter/backend.h"
#include "lib/netfilter/policy.h"
#include "lib/netfilter/ruleset.h"

namespace slicer::netfilter {

/// Whose a table or an element is.
struct IsolationOwner {
  std::string network = {};
  std::string alias = {};  ///< of the attachment: "slicer:network/containerID/ifname"

  /// The alias, or hashes of network and alias where a comment (127 bytes) has no room for it.
  [[nodiscard]] std::string mark() const;
};
/// Is `mark` of an owner of this network?
bool is_mark_of_network(const std::string& mark, const std::string& network);

/// Between "is there a link that needs the rules" and "take the rules away" no link may come: who makes one ensures the
/// rules and shares this lock until it stands, who removes them has it alone. For isolated links, and those of a bridge
/// whose rules a failed ADD takes back. It is the network namespace's own (flock on /proc's file of
/// it), so it needs no file, and ends with the process.
class IsolationLock {
 public:
  enum class Use : uint8_t { kAdd, kRemoval };
  /// Waits: either side has it for some milliseconds. Error: kSystem.
  static Result<IsolationLock> acquire(Use use);
  /// Alone from here on; in between others may have had it.
  Result<void> make_exclusive();

 private:
  explicit IsolationLock(UniqueFd ns) : ns_(std::move(ns)) {}
  UniqueFd ns_;
};

/// A bridge that no isolated VM may reach.
struct ListedBridge {
  std::string name = {};
  std::string network = {};
};

/// Makes the host's rules stand in this process's namespace: table `inet slicer`, or with kIptables chains
/// `slicer-iso-*` of mangle. They are nobody's network's and stand once: where they stand already they stay, whatever
/// `place` says. One question when they do; else one transaction (legacy: one for each family), which also puts
/// `own_bridges()` (asked only then) into the set `bridges`. `lock` is held, shared; making legacy rules takes it
/// alone.
///   from isolated links: no address of the host but those opened below, before any DNAT and at input; no link called
///   sl*, no bridge in the set `bridges`, not 169.254.0.0/16; IPv4 only
///   to isolated links: replies only, forwarded and from the host itself
/// Errors: kExists (a chain of our name on another hook), kBusy, kSystem, kUnsupportedKernel.
/// `watch` is asked when something is missing; `everything`: the set `bridges`, too.
Result<void> ensure_isolation(IsolationLock& lock, BackendName place, bool legacy_tables,
                              const std::function<Result<std::vector<ListedBridge>>()>& own_bridges,
                              LossWatch* watch = nullptr);
/// `bridges` are in the set, too, whatever network they are there for. Error: kMismatch, naming what is missing.
Result<void> check_isolation(const std::vector<ListedBridge>& bridges = {});
/// Is nothing forwarded from isolated VMs to this link: one of ours by its name, or a listed bridge? For diagnosis.
Result<bool> is_closed_to_isolated(const std::string& link);
/// Takes them back, with what they opened; the set `bridges` stays. The caller makes sure, under an IsolationLock, that
/// no isolated link is there. False: there was nothing. Errors: kBusy, kSystem.
Result<bool> remove_isolation();

/// Lets the VM of `owner` send to exactly these addresses of the host (or of 169.254.0.0/16) and no others: one element
/// each, and the only thing per VM in the host's ruleset. Ports are judged in the VM's namespace. ensure_isolation()
/// has been called. What stands already costs one question; `addresses` empty: as close_host_addresses().
Result<void> open_host_addresses(const IsolationOwner& owner, const addr::Ip& vm, std::span<const addr::Ip> addresses);
/// Takes them back; none is success, and costs one question.
Result<void> close_host_addresses(const IsolationOwner& owner);
/// GC: those of owners of `network` that are not in `valid`.
Result<void> close_stale_host_addresses(const std::string& network, std::span<const IsolationOwner> valid);
/// Those that stand.
Result<std::vector<addr::Ip>> opened_host_addresses(const IsolationOwner& owner);

/// What no list opens but by naming the very address: 169.254.0.0/16 (other VMs, the cloud's metadata service) and the
/// host's own addresses. For compile_policy().
std::vector<addr::IpRange> closed_to_isolated(std::span<const addr::Ip> host_addresses);

/// Tells of dropped packets by NFLOG.
struct DropLog {
  uint16_t group = 0;
  uint32_t per_second = 10;
  uint32_t burst = 20;
  std::string prefix = {};  ///< at most 127 bytes
  friend bool operator==(const DropLog&, const DropLog&) = default;
};

/// All that the table in a VM's namespace depends on.
struct VmTableRules {
  IsolationOwner owner = {};
  std::string tap = {};     ///< the VM's side
  std::string uplink = {};  ///< the host's side
  addr::Ip guest = {};
  addr::Ip gateway = {};  ///< the TAP's own address: it answers pings and nothing else
  CompiledPolicy policy = {};
  /// Names the lists that the policy was compiled from, without the host's addresses (policy_id()): by it CHECK knows
  /// them when the host's addresses have changed since.
  std::string lists = {};
  std::optional<DropLog> log = {};
};

/// How much of the table check() compares.
enum class VmTableCheck : uint8_t {
  kConstants,  ///< all but the lists, which may be slicer-firewall's
  kLists,      ///< the lists, too; what was compiled in of the host's addresses may be older
  kAll,
};

/// The table of one namespace: `inet slicer-vm`, whose comment is the owner's mark; or chains `slicer-vm-*` of the
/// legacy table mangle, and the mark is the comment of the rules that lead there.
///
/// From the TAP: IPv4 without options, from the guest's address, to the uplink; packets in reply direction pass, all
/// others are judged one by one by the policy, so that another table also closes what is open. To the TAP: replies, and
/// what processes in the namespace send (port forwards).
class VmTable {
 public:
  /// In the calling thread's namespace, whatever it does later. kAuto: the table is where it stands, and where there is
  /// none, in nftables. Without `legacy` (there are no legacy tables on the host) nothing is looked for there. Errors:
  /// kSystem, kUnsupportedKernel.
  static Result<VmTable> open(BackendName place = BackendName::kAuto, bool legacy = true);
  VmTable(VmTable&&) noexcept;
  VmTable& operator=(VmTable&&) noexcept;
  /// After something was deleted from nftables the kernel lets a close wait for 7 to 24 ms: a child process does it.
  ~VmTable();

  /// The mark of the table that stands; none: no table. By it slicer-firewall knows an isolated attachment.
  Result<std::optional<std::string>> mark();
  /// Makes the table, or replaces the owner's own whole, in one transaction: at no time is more open than before or
  /// after. Another owner's table is replaced only when `abandoned` says, asked anew for each state of the ruleset,
  /// that this owner is gone. Cost: per interval about 2.5 µs, with ports 6.5 µs. Errors: kExists (another owner's
  /// table stands), kBusy, kSystem, kUnsupportedKernel.
  Result<void> put(const VmTableRules& rules, const std::function<Result<bool>()>& abandoned = {});
  /// Does it stand? Error: kMismatch.
  Result<void> check(const VmTableRules& rules, VmTableCheck what);
  /// Only the owner's that has this mark. Absent, or another owner's, is success.
  Result<void> remove(const std::string& mark);
  /// Where it stands (after mark()) or is to stand.
  [[nodiscard]] BackendName place() const;

 private:
  struct State;
  explicit VmTable(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace slicer::netfilter
