#pragma once
// From what stands of ours in one legacy table to what is wanted, as values. Pure but for read_image() and
// put_change(). Private to the iptables files.

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lib/netfilter/backend.h"
#include "lib/netfilter/iptables/chains.h"
#include "lib/netfilter/iptables/table.h"

namespace slicer::netfilter {

/// A rule of ours in a chain of somebody else's.
struct IptHooked {
  std::string chain = {};
  IptRule rule = {};
  bool first = true;  ///< where it is put; says nothing of one that stands
  [[nodiscard]] bool same_as(const IptHooked& other) const { return chain == other.chain && rule == other.rule; }
};

/// What stands of ours in one table, and what it hangs on.
struct IptImage {
  addr::Family family = addr::Family::kIpv4;
  IptTable table = IptTable::kFilter;
  IptChains chains = {};  ///< "slicer-…"; those of policies without their rules unless asked for
  std::vector<IptHooked> hooks = {};
  std::vector<std::string> others = {};  ///< names of all other chains
  [[nodiscard]] bool has_other(const std::string& chain) const;
};
enum class Detail : uint8_t { kNoPolicies, kAll };
IptImage read_image(const IptSession& session, addr::Family family, IptTable table, Detail detail);

/// Steps from one image to the next.
struct IptChange {
  IptChains put = {};                     ///< whole chains, new or rewritten
  std::vector<std::string> removed = {};  ///< chains of ours
  std::vector<std::string> made = {};     ///< chains of the administrator's, empty
  std::vector<IptHooked> hooked = {};
  std::vector<IptHooked> unhooked = {};
  [[nodiscard]] bool empty() const {
    return put.empty() && removed.empty() && made.empty() && hooked.empty() && unhooked.empty();
  }
};

/// What `rules` lack in this table. What an earlier call asked for stays, as NetworkRules says.
IptChange plan_rules(const IptImage& standing, const NetworkRules& rules);
/// What goes with a network.
IptChange plan_removal(const IptImage& standing, const std::string& network);
/// What goes when a part of a network's is no longer kept here.
IptChange plan_part_removal(const IptImage& standing, const std::string& network, IptPart part);
/// What goes with VMs that have a policy of their own.
IptChange plan_vm_removal(const IptImage& standing, const std::string& network, const VmFilter& gone);

/// The change's first step in words, for CHECK.
std::string change_text(const IptImage& standing, const IptChange& change);

/// Puts a change into a session that was read as `standing` was; commit() is the caller's.
Result<void> put_change(IptSession& session, const IptImage& standing, const IptChange& change);

}  // namespace slicer::netfilter
