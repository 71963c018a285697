#pragma once
// The NoCloud seed of a guest: a small disk labelled "cidata" that cloud-init, its relatives and the demo guest read.
// Source: cloud-init's reference, "NoCloud" and "Networking config version 2".

#include <string>
#include <vector>

#include "lib/cni/result_types.h"

namespace slicer::runner {

/// What a guest is told beside its network.
struct SeedSpec {
  std::string vm_name = {};  ///< the guest's host name
  std::string guest_mac = {};
  unsigned mtu_bytes = 0;                  ///< 0: not told
  std::vector<std::string> ssh_keys = {};  ///< public keys that may log in, a line each
  std::string userdata = {};               ///< passed on unchanged; empty: none
};

struct SeedFiles {
  std::string meta_data = {};  ///< instance-id, local-hostname, public-keys
  std::string user_data = {};
  std::string vendor_data = {};  ///< what userdata may overrule: root may log in, the network is set at each boot
  std::string network_config = {};
};

/// The files. The keys stand in meta-data, which leaves userdata of any form as it is; without userdata in user-data,
/// too. `guest` is the index of the guest's entry in the result's interfaces; no address at all means DHCP.
SeedFiles seed_files(const SeedSpec& spec, const cni::CniResult& result, int guest);

/// A disk with them, at `path` (0600). Errors: kInternal, kSystem.
Result<void> write_seed(const SeedFiles& files, const std::string& path);

}  // namespace slicer::runner
