#pragma once
// Who may open a TAP, as the call and the configuration say it.

#include <cstdint>
#include <optional>

#include "lib/cni/environment.h"
#include "lib/cni/json.h"

namespace slicer::cni {

/// With both the kernel wants both of who opens it (drivers/net/tun.c, tun_not_capable()), unless it has CAP_NET_ADMIN.
struct TapOwner {
  std::optional<uint32_t> user = 0;
  std::optional<uint32_t> group = {};
};

/// `TC_REDIRECT_TAP_UID` and `TC_REDIRECT_TAP_GID` of CNI_ARGS (tc-redirect-tap's names) before the numeric keys
/// `owner` and `group`. Without a user it is uid 0, but for a `group` that stands alone: whose members may open it,
/// whoever they are, as with upstream's tap. (tc-redirect-tap adds its own uid to a lone group.) Errors:
/// kInvalidEnvironment, kInvalidConfig.
Result<TapOwner> parse_tap_owner(const Json& conf, const Environment& env);

}  // namespace slicer::cni
