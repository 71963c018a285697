#pragma once
// The TAP itself, in either place.

#include <string>

#include "lib/base/undo.h"
#include "lib/net/tap.h"
#include "lib/net/tc_guard.h"
#include "plugins/tap/call.h"

namespace slicer::tap {

/// What differs by place; owner, queues, label, alias and group are the call's.
struct TapPlan {
  std::string name = {};  ///< empty: the first free tapN
  addr::Mac mac = {};
  unsigned mtu_bytes = 0;
  int master = 0;
  bool no_ipv6_link_local = false;
};
/// Errors: kExists (the name is in use), kUnsupportedKernel; of "selinuxContext" net::name_tap_as()'s.
Result<net::Link> make_tap(Call& call, const TapPlan& plan, Undo& undo);

/// What a TAP should be; owner and queues are the call's.
struct WantedTap {
  unsigned mtu_bytes = 0;
  int master = 0;
  bool upstreams = false;  ///< upstream's tap made it: without virtio-net header, and of nobody unless told
};
/// The first difference between a TAP and that; empty: none.
std::string tap_difference(const Call& call, const net::Link& tap, const WantedTap& wanted);

/// Only the guest's frames pass; without `ips` its addresses are not known.
net::GuardSpec guard_of(const Call& call, const addr::Mac& mac, std::vector<addr::Ip> ips);
/// Makes it where "macspoofchk" wants one that is not there.
Result<void> ensure_guard(Call& call, const net::Link& tap, const net::GuardSpec& guard);
/// CHECK. Error: kMismatch.
Result<void> check_guard(Call& call, const net::Link& tap, const net::GuardSpec& guard);

}  // namespace slicer::tap
