#pragma once
// The YAML that `slicer-run new` prints.

#include <optional>
#include <string>
#include <vector>

#include "lib/addr/ip.h"
#include "lib/base/result.h"

namespace slicer::runner {

/// What `new` was told, as text.
struct NewGroup {
  std::string name = {};
  std::string net = "bridge";  ///< bridge, isolated, macvtap or cni
  std::optional<unsigned> count = {};
  std::optional<unsigned> vcpus = {};
  std::string ram = {};  ///< "512M", "4G"; a number alone is GiB
  std::string hypervisor = {};
  std::string image = {};
  std::string cidr = {};                ///< bridge, macvtap: the subnet; the gateway is its first address
  std::string range = {};               ///< bridge, macvtap: "a-b"
  std::string parent = {};              ///< macvtap
  std::string isolated_range = {};      ///< isolated
  std::string network_name = "slicer";  ///< cni
  std::vector<std::string> drop = {};
  std::vector<std::string> allow = {};
};

/// The host, as far as the text depends on it.
struct HostNetworks {
  std::optional<addr::Cidr> lan = {};   ///< the subnet that this host's default route goes through
  std::optional<addr::Cidr> free = {};  ///< a /24 that the host has no route to: for bridge without a CIDR
};

/// The text, checked by the reader of `up`: what it prints, that takes. Errors: kInvalidConfig with the option's name.
Result<std::string> new_group_text(const NewGroup& wanted, const HostNetworks& host);

}  // namespace slicer::runner
