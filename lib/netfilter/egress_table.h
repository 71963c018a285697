#pragma once
// Drop and allow lists of a VM whose packets meet no other hook of ours: on the egress of its macvtap, in its own
// namespace. Stateless: there is no connection tracking there (docs/slicer-firewall.md, "On a macvtap").

#include <memory>
#include <optional>
#include <string>

#include "lib/base/result.h"
#include "lib/netfilter/backend.h"
#include "lib/netfilter/isolation.h"
#include "lib/netfilter/policy.h"

namespace slicer::netfilter {

struct EgressRules {
  IsolationOwner owner = {};
  std::string device = {};  ///< the macvtap
  CompiledPolicy policy = {};
  std::string log_prefix = {};  ///< empty: nothing is logged; else to NFLOG group kLogGroup
};

/// The table `netdev slicer-vm` of one namespace. Its comment is the owner's mark.
class EgressTable {
 public:
  /// In the calling thread's namespace, whatever it does later. Errors: kSystem, kUnsupportedKernel.
  static Result<EgressTable> open();
  EgressTable(EgressTable&&) noexcept;
  EgressTable& operator=(EgressTable&&) noexcept;
  /// After something was deleted the kernel lets a close wait for 7 to 24 ms: a child process does it then.
  ~EgressTable();

  /// The mark of the table that stands; none: no table.
  Result<std::optional<std::string>> mark();
  /// Makes the table, or replaces it whole, in one transaction: at no time is more open than before or after. Errors:
  /// kNotFound (no such link), kBusy, kSystem, kUnsupportedKernel (before Linux 5.16, or without egress hooks).
  Result<void> put(const EgressRules& rules);
  /// Does it stand, with every rule and these lists? Error: kMismatch.
  Result<void> check(const EgressRules& rules);
  /// What it enforces, with packet counters; none: no table.
  Result<std::optional<PolicyInForce>> list();
  /// Absent is success.
  Result<void> remove();

 private:
  struct State;
  explicit EgressTable(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace slicer::netfilter
