#pragma once
// An attachment's names: what the kernel objects of a (network, container ID, interface name) are called, so that DEL
// and GC find them with no state of their own.

#include <cstdint>
#include <string>

#include "lib/addr/mac.h"
#include "lib/cni/environment.h"

namespace slicer::cni {

struct Attachment {
  std::string network = {};
  std::string container_id = {};
  std::string ifname = {};

  /// "sl" + role + 4 characters of the network's hash + 8 of the attachment's: 15 characters, IFNAMSIZ's most.
  /// Roles in use: 'v' the host end of a veth, 'x' the other end of a veth behind tc, 'g' the port of a VLAN's gateway,
  /// 's' the host end of an isolated attachment (rules select by it: lib/netfilter/isolation.h), 'u' its other end,
  /// 'i' the ifb of a limited rate.
  [[nodiscard]] std::string kernel_name(char role) const;
  /// "sl" + role + the network's 4 characters: what all of a network's links of that role begin with.
  [[nodiscard]] std::string kernel_name_prefix(char role) const;
  /// "slicer:network/containerID/ifname", the owner in a link's alias. Longer than 255 bytes (IFALIASZ): cut, and the
  /// attachment's whole hash appended behind '#'.
  [[nodiscard]] std::string alias() const;
  /// "slicer:network/", what all aliases of a network begin with.
  [[nodiscard]] std::string alias_prefix() const;
  /// The link group (IFLA_GROUP) inside a private namespace: the attachment's hash, never 0.
  [[nodiscard]] uint32_t group() const;
  /// The group of a link that is all there is of its attachment: above 16 bits of the attachment's hash 15 of the
  /// network's, never 0. A process killed before it gave the link an alias leaves one that GC knows by this.
  [[nodiscard]] uint32_t group_in_network() const;
  /// The guest's MAC: locally administered, from machine id + network + container ID (the VM's name), so that a VM
  /// keeps its DHCP reservation and two hosts with one configuration do not clash.
  [[nodiscard]] addr::Mac guest_mac(const std::string& machine_id) const;
};

/// Whether it is group_in_network() of some attachment of the network.
bool is_group_in_network(uint32_t group, const std::string& network);

/// The group of links on the host that are all of one routed network's (an upstream ptp's ends): 30 bits of the
/// network's hash above a bit that no small number of an administrator's has.
uint32_t routed_group(const std::string& network);

/// "slicer:NETWORK": the alias of what belongs to a whole network (its bridge).
std::string network_alias(const std::string& network);

/// The MAC that the call asks for, in the order runtimeConfig.mac, args.cni.mac, CNI_ARGS MAC; absent: none asked.
/// Errors: kInvalidConfig / kInvalidEnvironment.
struct NetConf;
Result<std::optional<addr::Mac>> requested_mac(const NetConf& conf, const Environment& env);

/// /etc/machine-id, trimmed; empty when the host has none (the MAC is then the same on all such hosts).
std::string machine_id();

}  // namespace slicer::cni
