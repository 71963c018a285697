#pragma once
// Reading and changing one legacy table of one family, under the lock where there is something to write. Private to the
// iptables files.

#include <functional>
#include <memory>
#include <vector>

#include "lib/netfilter/iptables/plan.h"

namespace slicer::netfilter {

/// One table of one family.
struct IptPlace {
  IptTable table = IptTable::kFilter;
  addr::Family family = addr::Family::kIpv4;
};
/// Where isolated networks have their rules.
inline constexpr IptPlace kMangle4{IptTable::kMangle, addr::Family::kIpv4};
inline constexpr IptPlace kMangle6{IptTable::kMangle, addr::Family::kIpv6};

/// What is to change, of what stands. Asked anew for each reading.
using IptPlan = std::function<IptChange(const IptImage& standing)>;

/// A kernel without IPv6 has nothing to close there.
bool is_family_there(addr::Family family);

/// One reading of a place, and what is to change.
struct IptReading {
  std::unique_ptr<IptSession> session;
  IptImage standing;
  IptChange change;
};
Result<IptReading> read_place(const IptPlace& place, const IptPlan& plan);

/// Looks without the lock, and takes it only where there is something to write. Places are written in their order.
/// Errors: kBusy (the lock), kSystem, kUnsupportedKernel.
Result<void> change_places(const std::vector<IptPlace>& places, const IptPlan& plan);

/// From what stands to what is wanted, for rules that are no network's: the difference of chains and hooks. What is
/// neither in `standing` nor in `wanted` of these stays as it is.
IptChange difference_of(const IptImage& standing, const IptImage& wanted);

/// Adds what stands of a policy in one family, with its counters; `image` was read with Detail::kAll.
void add_ipt_policy(PolicyInForce& policy, const IptSession& session, const IptImage& image, const std::string& id);

}  // namespace slicer::netfilter
