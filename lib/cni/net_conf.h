#pragma once
// The network configuration of one plugin, as it comes on stdin.

#include <optional>
#include <string>
#include <vector>

#include "lib/cni/environment.h"
#include "lib/cni/result_types.h"

namespace slicer::cni {

/// One entry of cni.dev/valid-attachments (GC).
struct ValidAttachment {
  std::string container_id = {};
  std::string ifname = {};
  friend auto operator<=>(const ValidAttachment&, const ValidAttachment&) = default;
};

/// The keys that every plugin has; its own keys it reads from `raw`.
struct NetConf {
  Json raw = Json::object();  ///< the whole document, passed to delegates as it is
  std::string cni_version = "0.1.0";
  std::string name = {};  ///< the network's
  std::string type = {};
  std::string ipam_type = {};  ///< empty: no "ipam" section, or one without type
  std::optional<CniResult> prev_result = {};
  /// GC: absent when the runtime sent no list, which is no information, not an empty list.
  std::optional<std::vector<ValidAttachment>> valid_attachments = {};
};

/// Errors: kDecode (not JSON, not an object, an unreadable prevResult), kInvalidConfig (name, types),
/// kUnsupportedVersion.
Result<NetConf> parse_net_conf(std::string_view text);

/// The same from a parsed document. A DEL or GC goes on without a prevResult that cannot be read (and logs it): a
/// damaged cache of the runtime must not keep an attachment alive.
Result<NetConf> read_net_conf(Json json, Command command);

/// A document's "cniVersion"; absent or empty: 0.1.0; empty when it has none that could be one.
std::string declared_version(const Json& json);

}  // namespace slicer::cni
