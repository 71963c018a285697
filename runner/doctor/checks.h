#pragma once
// The checks of `slicer-run doctor`. None changes anything on the host: what must be tried is tried in a network
// namespace that is thrown away. (The kernel loads a module for a feature that is tried, as the first ADD would.)

#include <vector>

#include "runner/chain/conflist.h"
#include "runner/doctor/finding.h"
#include "runner/networks/facts.h"
#include "runner/settings.h"

namespace slicer::runner::doctor {

/// A network whose list reads well.
struct CheckedNetwork {
  chain::Conflist network = {};
  NetworkFacts facts = {};
  bool bridge_exists = false;
};

/// TAP, bridge, veth, tc, nf_tables: each made once.
void check_kernel(Findings& findings);
/// /dev/net/tun, KVM, the hypervisors, the user slicer-vm, the machine ID, the demo image, the tar of vm cp.
void check_host(const Settings& settings, Findings& findings);
/// The folder's files, the plugins they name, STATUS. Returns the networks that can be looked at further.
std::vector<CheckedNetwork> check_networks(const Settings& settings, Findings& findings);
/// Forwarding of packets and router advertisements.
void check_forwarding(const std::vector<CheckedNetwork>& networks, Findings& findings);
/// Other programs' firewalls.
void check_firewalls(const std::vector<CheckedNetwork>& networks, Findings& findings);
/// Bridges with lists that have a port on the LAN.
void check_lan_ports(const std::vector<CheckedNetwork>& networks, Findings& findings);
/// Bridges of networks with different lists.
void check_shared_bridges(Findings& findings);
/// The host's rules of isolated networks, while there is an isolated VM; and whether they have a way out.
void check_isolation(const std::vector<CheckedNetwork>& networks, Findings& findings);
/// What each network with attachments has in the packet filter (masquerade, lists), by CHECK of one of them.
void check_network_rules(const Settings& settings, Findings& findings);
/// systemd-networkd and NetworkManager; beside `networks` those of host groups that have VMs.
void check_link_managers(const Settings& settings, std::vector<CheckedNetwork> networks, Findings& findings);
/// Pools against each other, the host's addresses and routes, and what is left in them; allocations without an owner.
void check_pools(const Settings& settings, const std::vector<CheckedNetwork>& networks, Findings& findings);
/// The folders of allocations: who can write there, and what is none.
void check_stores(const std::vector<CheckedNetwork>& networks, Findings& findings);
/// VMs whose supervisor is dead.
void check_leftovers(const Settings& settings, Findings& findings);

}  // namespace slicer::runner::doctor
