#pragma once
// slicer-tap's configuration: tc-redirect-tap's (which has no keys), upstream tap's keys, and ours
// (docs/slicer-tap.md).

#include <optional>
#include <string>

#include "lib/addr/mac.h"
#include "lib/cni/bandwidth.h"
#include "lib/cni/plugin_main.h"
#include "lib/cni/tap_owner.h"

namespace slicer::tap {

/// Every key, checked. What depends on the interface that is followed, or on IPAM, is checked by the verbs.
struct Config {
  std::string tap_name = {};  ///< TC_REDIRECT_TAP_NAME; empty: the first free tapN
  unsigned mtu_bytes = 0;     ///< 0: that of the interface followed; of a plain TAP the kernel's default
  bool multi_queue = false;
  bool guard_mac = false;               ///< macspoofchk
  bool guard_ip = false;                ///< ipspoofchk; never without guard_mac
  std::string bridge = {};              ///< in the namespace; empty: none
  std::string selinux_label = {};       ///< selinuxContext; empty: the caller's
  std::optional<addr::Mac> mac = {};    ///< of a plain TAP: asked for by the call, else the key
  std::optional<addr::Mac> asked = {};  ///< asked for by the call alone
  cni::Dns dns = {};
  cni::Bandwidth bandwidth = {};  ///< of a TAP that follows an interface
  cni::TapOwner owner = {};
};

/// Pure. Errors: kInvalidConfig with the key, the value and what is allowed; kInvalidEnvironment (CNI_ARGS).
Result<Config> parse_config(const cni::NetConf& conf, const cni::Environment& env);

/// What makes no sense for a TAP that follows another plugin's interface. Error: kUnsupportedField.
Result<void> refuse_plain_keys(const Config& config, const cni::NetConf& conf);

}  // namespace slicer::tap
