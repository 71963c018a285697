#pragma once
// The keys of slicer-firewall (docs/slicer-firewall.md).

#include <optional>
#include <string>

#include "lib/cni/net_conf.h"
#include "lib/netfilter/backend.h"
#include "lib/netfilter/policy.h"
#include "lib/netfilter/ruleset.h"

namespace slicer::firewall {

struct Config {
  std::string network = {};
  netfilter::BackendName backend = netfilter::BackendName::kAuto;
  /// "backend": "firewalld": the zone that the VMs' addresses become sources of; absent: another backend. The network's
  /// other rules are where `auto` puts them.
  std::optional<std::string> zone = {};
  /// The administrator's chain of the iptables backend: asked before ours accept.
  std::string admin_chain = "CNI-ADMIN";
  netfilter::CompiledPolicy lists = {};
  /// runtimeConfig.policy: this attachment's instead of the network's; absent: the network's.
  std::optional<netfilter::CompiledPolicy> own = {};
  netfilter::Policy entries = {};  ///< what holds for this attachment, not yet compiled
  netfilter::Ingress ingress = netfilter::Ingress::kOpen;
  bool log = false;

  /// Whether anything can be dropped.
  [[nodiscard]] bool restricts() const {
    return !lists.allows_everything() || (own && !own->allows_everything()) || ingress != netfilter::Ingress::kOpen;
  }
};

/// Errors: kInvalidConfig with the key and, in a list, the entry.
Result<Config> parse_config(const cni::NetConf& conf);

}  // namespace slicer::firewall
