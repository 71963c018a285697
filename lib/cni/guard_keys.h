#pragma once
// "macspoofchk" and "ipspoofchk": what the plugins that make a VM's link let out of it.

#include "lib/base/result.h"
#include "lib/cni/json.h"

namespace slicer::cni {

struct GuardKeys {
  bool mac = false;  ///< frames with the guest's MAC alone
  bool ip = false;   ///< and with its addresses; never without `mac`
};

/// "macspoofchk" is `by_default` where the configuration does not say, "ipspoofchk" is as that one.
/// Error: kInvalidConfig, addresses without the MAC.
Result<GuardKeys> parse_guard_keys(const Json& conf, bool by_default);

}  // namespace slicer::cni
