#pragma once
// slicer-macvtap's configuration (docs/slicer-macvtap.md).

#include <optional>
#include <string>

#include "lib/addr/mac.h"
#include "lib/cni/bandwidth.h"
#include "lib/cni/plugin_main.h"
#include "lib/net/macvtap.h"

namespace slicer::macvtap {

/// Every key, checked. What depends on the parent or on IPAM is checked by the verbs.
struct Config {
  std::string parent = {};  ///< empty: the default route's interface
  net::MacvlanMode mode = net::MacvlanMode::kBridge;
  unsigned mtu_bytes = 0;  ///< 0: the parent's
  bool guard_mac = true;   ///< macspoofchk
  bool guard_ip = true;    ///< ipspoofchk; never without guard_mac
  bool probe = true;       ///< ask the LAN whether an address is free
  cni::Dns dns = {};
  cni::Bandwidth bandwidth = {};
  std::optional<addr::Mac> mac = {};  ///< asked for by the call, else by the configuration
};

/// Pure. Errors: kInvalidConfig with the key, the value and what is allowed; kInvalidEnvironment (CNI_ARGS).
Result<Config> parse_config(const cni::NetConf& conf, const cni::Environment& env);

}  // namespace slicer::macvtap
