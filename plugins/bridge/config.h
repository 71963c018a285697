#pragma once
// slicer-bridge's configuration: upstream's bridge keys with upstream's meaning, and ours (docs/slicer-bridge.md).

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lib/addr/mac.h"
#include "lib/cni/bandwidth.h"
#include "lib/cni/plugin_main.h"
#include "lib/cni/tap_owner.h"

namespace slicer::bridge {

/// What the namespace gets.
enum class Device {
  kTap,   ///< a TAP for a hypervisor
  kVeth,  ///< a container's interface, as upstream's bridge gives
};

/// VLANs of a trunk, inclusive.
struct VlanRange {
  uint16_t first = 0;
  uint16_t last = 0;
  friend bool operator==(const VlanRange&, const VlanRange&) = default;
};

/// Every key, checked. What depends on the kernel or on IPAM is checked by the verbs.
struct Config {
  std::string bridge = "cni0";
  Device device = Device::kTap;
  bool is_gateway = false;       ///< the bridge carries the gateway address; isDefaultGateway implies it
  bool default_gateway = false;  ///< the guest is told a default route
  bool force_address = false;
  bool ip_masq = false;
  std::string masq_backend = {};  ///< "nftables", "iptables" or empty: the library's choice
  unsigned mtu_bytes = 0;         ///< 0: the bridge's
  bool hairpin = false;
  bool promiscuous = false;
  bool guard_mac = true;  ///< macspoofchk
  bool guard_ip = true;   ///< ipspoofchk; never without guard_mac
  bool port_isolation = false;
  bool detect_duplicates = false;            ///< enabledad
  bool disable_container_interface = false;  ///< device veth: its end in the namespace stays down
  uint16_t vlan = 0;                         ///< the port's untagged VLAN; 0: none is set
  std::vector<VlanRange> trunk = {};         ///< tagged; sorted, without overlaps
  std::optional<bool> preserve_default_vlan = {};
  cni::Dns dns = {};
  cni::Bandwidth bandwidth = {};
  cni::TapOwner owner = {};
  std::optional<addr::Mac> mac = {};  ///< asked for by the call

  [[nodiscard]] bool uses_vlans() const { return vlan != 0 || !trunk.empty(); }
  /// Whether the port stays in the VLAN that the bridge gives each of its ports (its vlan_default_pvid).
  [[nodiscard]] bool keeps_default_vlan() const { return preserve_default_vlan.value_or(false); }
  /// The VLAN of the port's untagged frames; 0: they belong to none. A trunk without one has 1, as upstream's (its
  /// v1.9.1, setupVeth), unless that is refused in so many words.
  [[nodiscard]] uint16_t native_vlan() const {
    if (vlan != 0) return vlan;
    return preserve_default_vlan.value_or(true) ? 1 : 0;
  }
};

/// Pure. Errors: kInvalidConfig with the key, the value and what is allowed; kInvalidEnvironment (CNI_ARGS).
Result<Config> parse_config(const cni::NetConf& conf, const cni::Environment& env);

}  // namespace slicer::bridge
