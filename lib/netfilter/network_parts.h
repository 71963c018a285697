#pragma once
// What one backend may have left when the other one has taken a network over. Private to lib/netfilter.

namespace slicer::netfilter {

/// Parts of a network's rules that would go on working beside those of another backend.
struct NetworkParts {
  bool masquerade = false;
  bool policy = false;
  bool forward = false;      ///< the legacy tables' alone: nftables keeps it for networks of both
  bool within = false;       ///< portIsolation; of a routed network: isolated VMs out
  bool segregation = false;  ///< what a segregated bridge needs beside the lists
};

}  // namespace slicer::netfilter
