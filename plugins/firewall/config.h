#pragma once
// The keys of slicer-firewall (docs/slicer-firewall.md).

#include <string>

#include "lib/cni/net_conf.h"

namespace slicer::firewall {

struct Config {
  std::string network = {};
  std::string backend = {};  ///< "auto" (or empty), "nftables"
};

/// Errors: kInvalidConfig; kUnsupportedField for a key that would have to be enforced and cannot be yet.
Result<Config> parse_config(const cni::NetConf& conf);

}  // namespace slicer::firewall
