#pragma once
// Who may open a TAP, as the call and the configuration say it.

#include <cstdint>
#include <optional>

#include "lib/cni/environment.h"
#include "lib/cni/json.h"

namespace slicer::cni {

struct TapOwner {
  uint32_t user = 0;
  std::optional<uint32_t> group = {};
};

/// `TC_REDIRECT_TAP_UID` and `TC_REDIRECT_TAP_GID` of CNI_ARGS (tc-redirect-tap's names) before the numeric keys
/// `owner` and `group`; neither: uid 0, no group. Errors: kInvalidEnvironment, kInvalidConfig.
Result<TapOwner> parse_tap_owner(const Json& conf, const Environment& env);

}  // namespace slicer::cni
