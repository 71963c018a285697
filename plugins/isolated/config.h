#pragma once
// slicer-isolated's configuration (docs/slicer-isolated.md).

#include <cstdint>
#include <optional>
#include <string>

#include "lib/addr/ip.h"
#include "lib/addr/mac.h"
#include "lib/cni/bandwidth.h"
#include "lib/cni/plugin_main.h"
#include "lib/cni/tap_owner.h"
#include "lib/netfilter/backend.h"

namespace slicer::isolated {

/// The kernel's default for Ethernet (include/uapi/linux/if_ether.h, ETH_DATA_LEN).
inline constexpr unsigned kDefaultMtu = 1500;

/// Every key, checked. What depends on the kernel or on IPAM is checked by the verbs.
struct Config {
  std::optional<addr::Cidr> range = {};  ///< absent: the network's name chooses
  unsigned mtu_bytes = kDefaultMtu;
  bool ip_masq = true;
  /// Where the rules go; the masquerade's own, when "ipMasqBackend" says another.
  netfilter::BackendName backend = netfilter::BackendName::kAuto;
  netfilter::BackendName masq_backend = netfilter::BackendName::kAuto;
  cni::Dns dns = {};
  cni::Bandwidth bandwidth = {};
  cni::TapOwner owner = {};
  std::optional<addr::Mac> mac = {};  ///< asked for by the call
  /// The "ipam" section to call IPAM with, completed; only "subnet" is missing when IPAM is ours.
  cni::Json ipam = cni::Json::object();
  bool own_ipam = true;
};

/// Pure. Errors: kInvalidConfig with the key, the value and what is allowed; kInvalidEnvironment (CNI_ARGS).
Result<Config> parse_config(const cni::NetConf& conf, const cni::Environment& env);

/// What DEL and GC need even when the configuration was edited wrongly since the ADD: which IPAM, and where its files
/// are. Never fails.
Config cleanup_config(const cni::NetConf& conf);

}  // namespace slicer::isolated
