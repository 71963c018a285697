#pragma once
// Plugins ignore keys that they do not know, as the CNI specification lets them: a mistyped key does nothing, silently.

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/cni/json.h"

namespace slicer::runner::doctor {

/// The keys that a plugin of ours reads in its part of a conflist ("slicer-bridge"; "slicer-ipam": in "ipam"), as its
/// page in docs/ has them. Empty: not a plugin of ours.
std::span<const std::string_view> keys_of(std::string_view plugin);

struct NearMiss {
  std::string key = {};    ///< as it is written, behind "ipam." where it stands there
  std::string meant = {};  ///< the key that it resembles
};
/// Keys of a plugin's configuration that it does not know but for a slip of the pen: another case, or up to two letters
/// off (one in a short key). Others may be somebody else's and are not told of.
std::vector<NearMiss> near_misses(const cni::Json& plugin);

}  // namespace slicer::runner::doctor
