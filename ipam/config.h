#pragma once
// The "ipam" section of a configuration and what the call adds to it, read and checked once. Keys: docs/slicer-ipam.md.

#include <string>
#include <vector>

#include "ipam/pool.h"
#include "lib/cni/plugin_main.h"

namespace slicer::ipam {

/// Where allocations are: all that DEL and GC need to know, so that a configuration that went bad since the ADD does
/// not keep them from working.
struct StoreConfig {
  std::string network = {};
  std::string data_dir = "/var/lib/cni/networks";
  bool blocks = false;  ///< block: 30
};

struct Config {
  StoreConfig store = {};
  std::vector<Pool> pools = {};  ///< one address of each
  std::vector<cni::Route> routes = {};
  std::string resolv_conf = {};
  std::vector<addr::Ip> requested = {};  ///< CNI_ARGS IP, args.cni.ips, runtimeConfig.ips; without repeats
};

/// Errors: kInvalidConfig with key and value.
Result<StoreConfig> parse_store_config(const cni::NetConf& conf);

/// Errors: kInvalidConfig, kInvalidEnvironment (IP of CNI_ARGS).
Result<Config> parse_config(const cni::NetConf& conf, const cni::Environment& env);

}  // namespace slicer::ipam
