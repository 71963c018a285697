#pragma once
// Host groups: VMs of one kind, as a YAML file describes them (docs/host-groups.md). Plain values.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lib/addr/ip.h"
#include "lib/addr/mac.h"
#include "runner/state/restart_policy.h"

namespace slicer::runner {

enum class NetworkMode { kBridge, kIsolated, kMacvtap };
const char* mode_name(NetworkMode mode);

/// The section "network" of a group, checked.
struct GroupNetwork {
  NetworkMode mode = NetworkMode::kBridge;
  std::string bridge = {};                        ///< bridge; filled in from the group's name when absent
  std::string tap_prefix = {};                    ///< bridge; the same
  std::string parent = {};                        ///< macvtap
  std::optional<addr::Cidr> gateway = {};         ///< bridge (absent: group_pool.h), macvtap (absent: DHCP)
  std::optional<addr::IpRange> range = {};        ///< bridge, macvtap
  std::optional<addr::Cidr> isolated_range = {};  ///< isolated: blocks of /30
  std::vector<addr::Cidr> addresses = {};         ///< bridge, macvtap: VM n gets the n-th
  std::vector<std::string> drop = {};             ///< entries, each checked
  std::vector<std::string> allow = {};
  std::string fallback = {};  ///< "default": "drop", "allow" or empty
  unsigned mtu_bytes = 0;     ///< 0: the plugin's choice

  /// The LAN's DHCP server gives the addresses.
  [[nodiscard]] bool uses_dhcp() const { return mode == NetworkMode::kMacvtap && !gateway; }
  /// macvtap: the addresses of the LAN that VMs may get; none with DHCP, and none in other modes.
  [[nodiscard]] std::vector<addr::IpRange> lan_pool() const;
  /// For how many VMs there are addresses: those of the list, where there is no range for further ones.
  [[nodiscard]] size_t numbered_vms() const;
  [[nodiscard]] bool has_policy() const { return !drop.empty() || !allow.empty() || !fallback.empty(); }
};

/// How fast a VM may send and receive; 0: no limit. As upstream's plugin "bandwidth" takes it.
struct Bandwidth {
  uint64_t ingress_rate = 0;   ///< bits per second to the VM
  uint64_t ingress_burst = 0;  ///< bits
  uint64_t egress_rate = 0;    ///< bits per second from the VM
  uint64_t egress_burst = 0;
  friend bool operator==(const Bandwidth&, const Bandwidth&) = default;
};

struct HostGroup {
  std::string name = {};
  unsigned count = 0;
  std::string network_name = "slicer";  ///< of the CNI configuration, when there is no section "network"
  std::optional<GroupNetwork> network = {};
  unsigned vcpus = 1;
  unsigned ram_mib = 256;
  std::string hypervisor = "qemu";
  bool jailer = false;                        ///< Firecracker is started through its jailer
  std::string image = {};                     ///< a folder, or a file that names the parts; empty: the demo image
  std::vector<std::string> dns_servers = {};  ///< empty: what the network says
  RestartPolicy restart = RestartPolicy::kNo;
  std::vector<addr::Mac> macs = {};  ///< VM n gets the n-th; empty: made of the VM's name
  std::optional<Bandwidth> bandwidth = {};
  uint64_t storage_bytes = 0;              ///< of a disk of each VM's own; 0: none
  std::vector<std::string> ssh_keys = {};  ///< public keys, as authorized_keys has them
  std::string userdata = {};               ///< for cloud-init or the demo guest; empty: none

  /// "<group>-<n>", n from 1.
  [[nodiscard]] std::string vm_name(unsigned number) const { return name + "-" + std::to_string(number); }
};

/// A file.
struct HostGroups {
  std::string file = {};
  std::string text = {};
  std::vector<HostGroup> groups = {};
};

/// "br<GROUP>0", at most 15 bytes: a longer one has a hash of the name instead of its end.
std::string default_bridge(const std::string& group);
/// "<GROUP>tap", at most 10 bytes, so that five digits fit behind it.
std::string default_tap_prefix(const std::string& group);

}  // namespace slicer::runner
